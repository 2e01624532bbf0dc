//! What is owed to one client, in order. Never reorders, never copies bytes but to merge them into one write.
//!
//! It has two parts: the `Head` lies in the writer's hot table and is all that a lone delivery needs; the `Backlog`
//! behind it is touched only by clients that are owed more than one entry.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::time::Instant;

use super::frames::Kind;
use super::queued::{EntryNumber, QueuedFrames};

/// Entries are merged into one write up to this many bytes; a longer entry is sent from where it lies.
const MERGE_BYTES: usize = 16 * 1024;

/// A backlog keeps the memory of this many entries when it empties: what a member of a busy room needs again at once.
const KEPT_ENTRIES: usize = 32;

/// The first pending entry and how far it is sent.
#[derive(Debug, Default)]
pub struct Head {
    pub(super) first: Option<Rc<QueuedFrames>>,
    pub(super) sent: u32,
    pub(super) more: bool,
}

/// What waits behind the head.
#[derive(Debug, Default)]
pub struct Backlog {
    pub(super) rest: VecDeque<Rc<QueuedFrames>>,
    pub(super) bytes: usize,
    /// Eight times the greatest bound in bytes holds fewer messages than this counts.
    pub(super) messages: u32,
    /// So many entries at the front are known to be replies or notices, which are never dropped.
    pub(super) kept: u32,
}

/// An amount of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingSize {
    /// Bytes not yet taken by the socket.
    pub bytes: usize,
    /// MessageDecoder of which the socket has not taken every byte.
    pub messages: usize,
}

/// MessageDecoder that left an outbox, by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Answers.
    pub replies: usize,
    /// MessageDecoder of rooms.
    pub deliveries: usize,
}

/// What a write has completed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Completed {
    /// The messages.
    pub messages: MessageCounts,
    /// When the oldest of them that came from a room was read from its sender.
    pub read_at: Option<Instant>,
}

impl MessageCounts {
    fn add(&mut self, kind: Kind, messages: usize) {
        match kind {
            Kind::Reply => self.replies += messages,
            Kind::Delivery => self.deliveries += messages,
        }
    }

    /// Both kinds together.
    pub fn messages(self) -> usize {
        self.replies + self.deliveries
    }
}

impl Head {
    /// Adds an entry behind all others. Constant time; touches the backlog only if something is owed already.
    pub fn push(&mut self, frames: Rc<QueuedFrames>, backlog: &mut Backlog) {
        if self.first.is_none() {
            self.first = Some(frames);
            return;
        }
        backlog.bytes += frames.bytes().len();
        backlog.messages += frames.messages() as u32;
        backlog.rest.push_back(frames);
        self.more = true;
    }

    /// Puts an entry into the place of the one of the same number, which is returned; not if any byte of that is sent.
    /// Logarithmic in the entries.
    pub fn replace(&mut self, later: Rc<QueuedFrames>, backlog: &mut Backlog) -> Option<Rc<QueuedFrames>> {
        if self.oldest() == Some(later.number()) {
            return if self.sent == 0 { self.first.replace(later) } else { None };
        }
        let place = backlog.rest.binary_search_by_key(&later.number(), |entry| entry.number()).ok()?;
        backlog.bytes += later.bytes().len();
        let replaced = mem::replace(&mut backlog.rest[place], later);
        backlog.bytes -= replaced.bytes().len();
        Some(replaced)
    }

    /// What to offer the socket next: the first entry from where it lies, or several small ones merged in `scratch`.
    pub fn next_write<'a>(&'a self, backlog: &Backlog, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let first = &self.first.as_ref()?.bytes()[self.sent as usize..];
        if !self.more || first.len() >= MERGE_BYTES {
            return Some(first);
        }
        scratch.clear();
        scratch.extend_from_slice(first);
        for frames in &backlog.rest {
            // A notice has no bytes before its turn has come.
            if frames.bytes().is_empty() || scratch.len() + frames.bytes().len() > MERGE_BYTES {
                break;
            }
            scratch.extend_from_slice(frames.bytes());
        }
        Some(scratch)
    }

    /// The socket has taken `taken` more bytes. Returns the messages that are now whole with it.
    pub fn advance(&mut self, mut taken: usize, backlog: &mut Backlog) -> Completed {
        let mut whole = Completed::default();
        while taken > 0 {
            let first = self.first.as_ref().expect("a socket takes no more than it was offered");
            let sent = self.sent as usize;
            let step = taken.min(first.bytes().len() - sent);
            whole.messages.add(first.kind(), first.whole_within(sent + step) - first.whole_within(sent));
            whole.read_at = whole.read_at.or(first.read_at());
            taken -= step;
            if sent + step < first.bytes().len() {
                self.sent += u32::try_from(step).expect("an entry is shorter than 4 GiB");
            } else {
                self.pop(backlog);
            }
        }
        whole
    }

    /// What is owed in all. Logarithmic in the messages of the first entry.
    pub fn pending(&self, backlog: &Backlog) -> PendingSize {
        let behind = PendingSize { bytes: backlog.bytes, messages: backlog.messages as usize };
        self.first.as_ref().map_or(behind, |first| PendingSize {
            bytes: first.bytes().len() - self.sent as usize + behind.bytes,
            messages: first.messages() - first.whole_within(self.sent as usize) + behind.messages,
        })
    }

    /// What counts against the bounds: all that is owed but notices.
    pub fn weight(&self, backlog: &Backlog) -> PendingSize {
        let pending = self.pending(backlog);
        let notice = self.first.as_ref().filter(|first| first.is_notice());
        let notice = notice.map_or(0, |notice| notice.bytes().len() - self.sent as usize);
        PendingSize { bytes: pending.bytes - notice, ..pending }
    }

    /// Whether nothing is owed, not even a notice.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The oldest entry.
    pub fn oldest(&self) -> Option<EntryNumber> {
        self.first.as_ref().map(|first| first.number())
    }

    /// Drops everything but the message that is partly sent and the kinds that are kept. Returns what was
    /// dropped.
    pub fn drop_unless(&mut self, keeps: fn(Kind) -> bool, backlog: &mut Backlog) -> MessageCounts {
        let before = self.messages_by_kind(backlog);
        let all = self.keep_begun().into_iter().chain(backlog.rest.drain(..));
        let kept: Vec<_> = all.filter(|frames| keeps(frames.kind())).collect();
        *backlog = Backlog::default();
        self.more = false;
        for frames in kept {
            self.push(frames, backlog);
        }
        let after = self.messages_by_kind(backlog);
        MessageCounts { replies: before.replies - after.replies, deliveries: before.deliveries - after.deliveries }
    }

    /// Drops everything. Returns what was dropped, a message partly sent included.
    pub fn drop_all(&mut self, backlog: &mut Backlog) -> MessageCounts {
        let dropped = self.messages_by_kind(backlog);
        self.clear(backlog);
        dropped
    }

    /// Leaves the message that is partly sent; what came with it and behind it is returned.
    pub(super) fn keep_begun(&mut self) -> Option<Rc<QueuedFrames>> {
        let first = self.first.take()?;
        let (sent, messages) = (self.sent as usize, first.messages());
        let begun = first.begun_within(sent);
        let rest = match begun {
            0 => Some(Rc::clone(&first)),
            begun if begun < messages => Some(first.part(begun..messages)),
            _ => None,
        };
        if begun > first.whole_within(sent) {
            self.first = Some(if rest.is_some() { first.part(0..begun) } else { first });
        } else {
            self.sent = 0;
        }
        rest
    }

    fn pop(&mut self, backlog: &mut Backlog) {
        self.sent = 0;
        self.first = if self.more { backlog.pop() } else { None };
        self.more &= !backlog.rest.is_empty();
    }

    fn clear(&mut self, backlog: &mut Backlog) {
        *self = Self::default();
        *backlog = Backlog::default();
    }

    fn messages_by_kind(&self, backlog: &Backlog) -> MessageCounts {
        let mut count = MessageCounts::default();
        if let Some(first) = &self.first {
            count.add(first.kind(), first.messages() - first.whole_within(self.sent as usize));
        }
        for frames in &backlog.rest {
            count.add(frames.kind(), frames.messages());
        }
        count
    }
}

impl Backlog {
    /// Takes the first entry out.
    pub(super) fn pop(&mut self) -> Option<Rc<QueuedFrames>> {
        let frames = self.rest.pop_front()?;
        self.bytes -= frames.bytes().len();
        self.messages -= frames.messages() as u32;
        self.kept = self.kept.saturating_sub(1);
        if self.rest.is_empty() && self.rest.capacity() > KEPT_ENTRIES {
            self.rest = VecDeque::new();
        }
        Some(frames)
    }
}
