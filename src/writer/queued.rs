//! Frames as they lie in the outboxes of one worker: shared by all who are owed them, and counted once for as long as
//! anybody is. Never copies the bytes of a message.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::rc::Rc;

use bytes::Bytes;

use super::frames::Frames;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::Event;

/// About what an entry takes in memory beside its bytes.
pub const ENTRY_BYTES: usize = 160;

/// What is held for all outboxes of a worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Rc<Cell<usize>>);

impl Meter {
    /// Bytes of memory, each entry counted once however many are owed it.
    pub fn held(&self) -> usize {
        self.0.get()
    }

    fn add(&self, frames: &Frames) {
        self.0.set(self.0.get() + frames.bytes().len() + ENTRY_BYTES);
    }

    fn subtract(&self, frames: &Frames) {
        self.0.set(self.0.get() - frames.bytes().len() - ENTRY_BYTES);
    }
}

/// Its place among all entries that came to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryNumber(pub(super) u64);

/// An entry as the outboxes share it.
#[derive(Debug)]
pub(super) struct QueuedFrames {
    frames: Frames,
    number: EntryNumber,
    hold: Hold,
}

/// What else there is to an entry.
#[derive(Debug)]
enum Hold {
    /// The meter counts it until the last outbox has let go of it.
    Counted(Meter),
    /// Some messages of another, which is counted whole: its memory is one piece.
    PartOf(Rc<QueuedFrames>),
    /// It tells one client how many messages were dropped here. No bytes until its turn to be written has come, so that
    /// more can be added.
    Notice(u64),
}

impl QueuedFrames {
    /// Frames that came just now. Counted from here on.
    pub fn new(frames: Frames, number: EntryNumber, meter: &Meter) -> Rc<Self> {
        meter.add(&frames);
        Rc::new(Self { frames, number, hold: Hold::Counted(meter.clone()) })
    }

    /// A notice for one client, in the place of the entry of this number.
    pub fn notice(missing: u64, number: EntryNumber) -> Rc<Self> {
        Rc::new(Self { frames: Frames::notice(Bytes::new()), number, hold: Hold::Notice(missing) })
    }

    /// Some of its messages; not all of them.
    pub fn part(self: &Rc<Self>, messages: Range<usize>) -> Rc<Self> {
        let frames = self.frames.part(messages);
        let whole = match &self.hold {
            Hold::PartOf(whole) => whole,
            _ => self,
        };
        Rc::new(Self { frames, number: self.number, hold: Hold::PartOf(Rc::clone(whole)) })
    }

    /// The place of what it was made from.
    pub fn number(&self) -> EntryNumber {
        self.number
    }

    /// Whether it is a notice.
    pub fn is_notice(&self) -> bool {
        matches!(self.hold, Hold::Notice(_))
    }

    /// Adds to a notice, whose turn has to come once more.
    pub fn add_missing(self: &mut Rc<Self>, more: u64) {
        let notice = Rc::get_mut(self).expect("a notice is in one outbox");
        if let Hold::Notice(missing) = &mut notice.hold {
            *missing += more;
            notice.frames = Frames::notice(Bytes::new());
        }
    }

    /// Gives a notice its bytes. Returns how many.
    pub fn word(self: &mut Rc<Self>, dialect: Dialect) -> usize {
        let Hold::Notice(missing) = self.hold else { return 0 };
        let notice = Rc::get_mut(self).expect("a notice is in one outbox");
        notice.frames = Frames::notice(dialect.encode(&Event::Gap(missing)));
        notice.frames.bytes().len()
    }
}

impl Deref for QueuedFrames {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

impl Drop for QueuedFrames {
    fn drop(&mut self) {
        if let Hold::Counted(meter) = &self.hold {
            meter.subtract(&self.frames);
        }
    }
}
