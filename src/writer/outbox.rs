//! The pending output of one client, in order. Never reorders, never copies bytes except to merge them into one write.
//!
//! It has two parts: the `Head` lies in the writer's hot table and is all that a lone delivery needs; the `Backlog` behind
//! it is touched only for clients with more than one pending entry.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::time::Instant;

use super::frames::{EntryNumber, Kind, QueuedFrames};

/// Entries are merged into one write up to this many bytes; a longer entry is sent from where it lies.
const MERGE_BYTES: usize = 16 * 1024;

/// An empty backlog keeps memory for this many entries, which a member of a busy room needs again at once.
const KEPT_ENTRIES: usize = 32;

/// The first pending entry and how far it is sent.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub first: Option<Rc<QueuedFrames>>,
    pub sent: u32,
    /// The backlog is not empty.
    pub more: bool,
}

/// The entries behind the head.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub rest: VecDeque<Rc<QueuedFrames>>,
    pub bytes: usize,
    /// Fits: eight times the greatest bound in bytes holds fewer messages.
    pub messages: u32,
    /// The number of entries at the front that are known to be replies or notices, which are never dropped.
    pub kept: u32,
}

/// An amount of pending output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PendingSize {
    /// Bytes that the socket has not taken.
    pub bytes: usize,
    /// Messages of which the socket has not taken every byte.
    pub messages: usize,
}

/// Messages that left an outbox, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageCounts {
    pub replies: usize,
    pub deliveries: usize,
}

/// The messages that a write has completed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Completed {
    pub messages: MessageCounts,
    /// When the oldest delivery of them was read from its sender.
    pub read_at: Option<Instant>,
}

impl MessageCounts {
    fn add(&mut self, kind: Kind, messages: usize) {
        match kind {
            Kind::Reply | Kind::Position => self.replies += messages,
            Kind::Delivery => self.deliveries += messages,
        }
    }

    pub fn messages(self) -> usize {
        self.replies + self.deliveries
    }
}

impl Head {
    /// Adds an entry behind all others. Constant time; touches the backlog only if something is pending already.
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

    /// Replaces the entry of the same number, which is returned, unless some of it is sent. Logarithmic in the entries.
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

    /// The bytes to offer the socket next: the first entry from where it lies, or several small ones merged in `scratch`.
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

    /// Removes bytes that the socket has taken.
    pub fn advance(&mut self, mut taken: usize, backlog: &mut Backlog) -> Completed {
        let mut completed = Completed::default();
        while taken > 0 {
            let first = self.first.as_ref().expect("a socket takes no more than it was offered");
            let sent = self.sent as usize;
            let step = taken.min(first.bytes().len() - sent);
            completed.messages.add(first.kind(), first.whole_within(sent + step) - first.whole_within(sent));
            completed.read_at = completed.read_at.or(first.read_at);
            taken -= step;
            if sent + step < first.bytes().len() {
                self.sent += u32::try_from(step).expect("an entry is shorter than 4 GiB");
            } else {
                self.pop(backlog);
            }
        }
        completed
    }

    /// All pending output. Logarithmic in the messages of the first entry.
    pub fn pending(&self, backlog: &Backlog) -> PendingSize {
        let behind = PendingSize { bytes: backlog.bytes, messages: backlog.messages as usize };
        self.first.as_ref().map_or(behind, |first| PendingSize {
            bytes: first.bytes().len() - self.sent as usize + behind.bytes,
            messages: first.messages() - first.whole_within(self.sent as usize) + behind.messages,
        })
    }

    /// The pending output that counts against the bounds: all but notices.
    pub fn weight(&self, backlog: &Backlog) -> PendingSize {
        let pending = self.pending(backlog);
        let notice = self.first.as_ref().filter(|first| first.is_notice());
        let notice = notice.map_or(0, |notice| notice.bytes().len() - self.sent as usize);
        PendingSize { bytes: pending.bytes - notice, ..pending }
    }

    /// Whether nothing is pending, not even a notice.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The number of the oldest entry.
    pub fn oldest(&self) -> Option<EntryNumber> {
        self.first.as_ref().map(|first| first.number())
    }

    /// Drops everything except the message that is partly sent and the kinds that are kept. Returns what was dropped.
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

    /// Frees the entry that the message partly sent is a part of, unless other outboxes hold it, for a copy of the message.
    pub fn release_entry(&mut self) {
        self.first.iter_mut().for_each(QueuedFrames::release_entry);
    }

    /// Drops everything, a message partly sent included. Returns what was dropped.
    pub fn drop_all(&mut self, backlog: &mut Backlog) -> MessageCounts {
        let dropped = self.messages_by_kind(backlog);
        (*self, *backlog) = Default::default();
        dropped
    }

    /// Keeps only the message that is partly sent in the head. Returns the messages behind it in its entry.
    pub fn keep_begun(&mut self) -> Option<Rc<QueuedFrames>> {
        let first = self.first.take()?;
        let (sent, messages) = (self.sent as usize, first.messages());
        let begun = first.begun_within(sent);
        let rest = match begun {
            0 => Some(Rc::clone(&first)),
            begun if begun < messages => Some(first.part(begun..messages)),
            _ => None,
        };
        let whole = first.whole_within(sent);
        if begun > whole {
            self.sent -= first.start(whole) as u32;
            self.first = Some(if messages > 1 { first.part(whole..begun) } else { first });
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
    pub fn pop(&mut self) -> Option<Rc<QueuedFrames>> {
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
