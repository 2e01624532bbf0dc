//! Messages on their way through outboxes: encoded once, and shared by all clients that get them. Never copies their bytes.
//!
//! A shard or a session sends an [`Entry`]: [`Frames`] and their targets. In the writer the frames become [`QueuedFrames`],
//! which outboxes share by reference and whose memory is counted once.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::Slot;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::Event;

/// About the memory of an entry beside its bytes.
pub const ENTRY_BYTES: usize = 160;

/// What messages are to the client that gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A reply to the client's own command: never dropped while the client is there.
    #[default]
    Reply,
    /// A reply which says that everything of a room up to a position is ahead of it. It is dropped where that is dropped:
    /// the client would else resume behind what it has not got.
    Position,
    /// Messages of a room, which a slow consumer may lose, counted.
    Delivery,
}

/// One or more whole messages back to back.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    pub(crate) bytes: Bytes,
    /// Where each message ends except the last, so that a single message allocates nothing for it.
    inner_ends: Vec<u32>,
    messages: u32,
    kind: Kind,
    /// When the first message was read from its sender.
    pub(crate) read_at: Option<Instant>,
    /// Held until the frames are sent or dropped: the turn of a client that gets one long reply at a time.
    turn: Option<Arc<OwnedSemaphorePermit>>,
}

impl Frames {
    /// A reply of one message.
    pub fn reply(bytes: Bytes) -> Self {
        Self { bytes, messages: 1, ..Self::default() }
    }

    /// A reply with a position, up to which everything is ahead of it.
    pub fn position(bytes: Bytes) -> Self {
        Self { kind: Kind::Position, ..Self::reply(bytes) }
    }

    /// Messages of a room. `inner_ends` are the ends of all messages except the last, ascending, in bytes.
    pub fn delivery(bytes: Bytes, inner_ends: Vec<u32>) -> Self {
        debug_assert!(inner_ends.is_sorted() && inner_ends.last().is_none_or(|&end| (end as usize) < bytes.len()));
        let messages = u32::try_from(inner_ends.len() + 1).expect("an entry is shorter than 4 GiB");
        Self { bytes, inner_ends, messages, kind: Kind::Delivery, read_at: None, turn: None }
    }

    /// Several replies in a row, or publications that a client has missed, which are never dropped one by one. The ends
    /// are as for deliveries.
    pub fn replies(bytes: Bytes, inner_ends: Vec<u32>) -> Self {
        Self { kind: Kind::Reply, ..Self::delivery(bytes, inner_ends) }
    }

    /// The frames, which release this permit once they are sent or dropped.
    pub fn holding(self, turn: Option<OwnedSemaphorePermit>) -> Self {
        Self { turn: turn.map(Arc::new), ..self }
    }

    /// Counts one more message, which begins where the bytes so far end.
    pub(crate) fn begin_message(&mut self, end: usize) {
        self.inner_ends.push(u32::try_from(end).expect("an entry is shorter than 4 GiB"));
        self.messages += 1;
    }

    /// Whether they are a long reply that the client has asked for, such as what it has missed.
    pub(super) fn is_long_reply(&self) -> bool {
        self.turn.is_some()
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether these are a reply or deliveries.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of messages.
    pub fn messages(&self) -> usize {
        self.messages as usize
    }

    /// The number of messages that lie wholly within the first `sent` bytes. Logarithmic.
    pub(super) fn whole_within(&self, sent: usize) -> usize {
        if sent == self.bytes.len() {
            return self.messages();
        }
        self.inner_ends.partition_point(|&end| end as usize <= sent)
    }

    /// The number of messages that begin within the first `sent` bytes.
    pub(super) fn begun_within(&self, sent: usize) -> usize {
        let whole = self.whole_within(sent);
        whole + usize::from(self.start(whole) < sent)
    }

    /// The number of messages, from the first, that have at least this many bytes. Logarithmic.
    pub(super) fn messages_of(&self, bytes: usize) -> usize {
        if bytes == 0 { 0 } else { self.inner_ends.partition_point(|&end| (end as usize) < bytes) + 1 }
    }

    /// Where a message begins; for the index behind the last one, where that ends.
    pub(super) fn start(&self, message: usize) -> usize {
        if message == 0 { 0 } else { self.end(message - 1) }
    }

    fn end(&self, message: usize) -> usize {
        self.inner_ends.get(message).map_or(self.bytes.len(), |&end| end as usize)
    }

    /// Some of the messages, at least one. Linear in those.
    fn part(&self, messages: Range<usize>) -> Self {
        let (start, end) = (self.start(messages.start), self.end(messages.end - 1));
        let inner = &self.inner_ends[messages.start..messages.end - 1];
        Self {
            bytes: self.bytes.slice(start..end),
            inner_ends: inner.iter().map(|&end| end - start as u32).collect(),
            messages: messages.len() as u32,
            kind: self.kind,
            read_at: self.read_at,
            turn: self.turn.clone(),
        }
    }
}

/// The clients of one writer that an entry is for.
#[derive(Clone, Debug)]
pub enum Targets {
    /// One client.
    One(Slot),
    /// An audience, shared with the room, which makes a new list when a member joins or leaves.
    Audience(Arc<[Slot]>),
}

impl Targets {
    /// The slots, in the order in which they are written to.
    pub fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Audience(slots) => slots,
        }
    }
}

/// The same messages for each of some clients.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The clients.
    pub targets: Targets,
    /// The messages.
    pub frames: Frames,
}

impl Entry {
    /// A reply to one client.
    pub fn reply(slot: Slot, bytes: Bytes) -> Self {
        Self { targets: Targets::One(slot), frames: Frames::reply(bytes) }
    }
}

/// The memory held for all outboxes of a worker, in bytes; each entry counts once, however many outboxes share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Rc<Cell<usize>>);

impl Meter {
    pub fn held(&self) -> usize {
        self.0.get()
    }
}

/// The number of an entry, in the order in which entries came to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryNumber(pub(super) u64);

/// Frames as the outboxes share them.
#[derive(Debug)]
pub(super) struct QueuedFrames {
    frames: Frames,
    number: EntryNumber,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// An entry, counted by the meter until the last outbox drops it.
    Entry(Meter),
    /// Some messages of another entry, which stays counted whole: its memory is one piece.
    PartOf(Rc<QueuedFrames>),
    /// A notice to one client of the number of messages that were dropped here. It is encoded when its turn to be written
    /// has come, so that the number can grow until then.
    Notice(u64),
}

impl QueuedFrames {
    pub fn new(frames: Frames, number: EntryNumber, meter: &Meter) -> Rc<Self> {
        meter.0.update(|held| held + frames.bytes.len() + ENTRY_BYTES);
        Rc::new(Self { frames, number, origin: Origin::Entry(meter.clone()) })
    }

    /// An entry whose memory is a piece of `whole`, which is counted.
    pub fn part_of(frames: Frames, number: EntryNumber, whole: Rc<Self>) -> Rc<Self> {
        Rc::new(Self { frames, number, origin: Origin::PartOf(whole) })
    }

    /// A notice in the place of the entry of this number. It is no message that counts against the client.
    pub fn notice(missing: u64, number: EntryNumber) -> Rc<Self> {
        Rc::new(Self { frames: Frames::default(), number, origin: Origin::Notice(missing) })
    }

    /// Some of the messages; not all of them.
    pub fn part(self: &Rc<Self>, messages: Range<usize>) -> Rc<Self> {
        let whole = match &self.origin {
            Origin::PartOf(whole) => whole,
            _ => self,
        };
        let frames = self.frames.part(messages);
        Rc::new(Self { frames, number: self.number, origin: Origin::PartOf(Rc::clone(whole)) })
    }

    /// Becomes a copy if these are the last part of their entry, so that the rest of its memory is free.
    pub fn release_entry(self: &mut Rc<Self>) {
        if let Origin::PartOf(whole) = &self.origin
            && let (Origin::Entry(meter), 1) = (&whole.origin, Rc::strong_count(whole))
        {
            let frames = Frames { bytes: Bytes::copy_from_slice(self.bytes()), ..self.frames.clone() };
            *self = Self::new(frames, self.number, &meter.clone());
        }
    }

    /// The number of the entry that these came with.
    pub fn number(&self) -> EntryNumber {
        self.number
    }

    pub fn is_notice(&self) -> bool {
        matches!(self.origin, Origin::Notice(_))
    }

    /// Adds to the number of a notice, which is encoded again.
    pub fn add_missing(self: &mut Rc<Self>, more: u64) {
        let notice = Rc::get_mut(self).expect("a notice is in one outbox");
        if let Origin::Notice(missing) = &mut notice.origin {
            *missing += more;
            notice.frames.bytes = Bytes::new();
        }
    }

    /// Encodes a notice. Returns its length in bytes.
    pub fn encode_notice(self: &mut Rc<Self>, dialect: Dialect) -> usize {
        let Origin::Notice(missing) = self.origin else { return 0 };
        let notice = Rc::get_mut(self).expect("a notice is in one outbox");
        notice.frames.bytes = dialect.encode(&Event::Gap(missing));
        notice.frames.bytes.len()
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
        if let Origin::Entry(meter) = &self.origin {
            meter.0.update(|held| held - self.frames.bytes.len() - ENTRY_BYTES);
        }
    }
}
