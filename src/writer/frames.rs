//! What goes through an outbox: whole messages, encoded once and shared by all who get them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::address::Slot;

/// What the messages are to the client that gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An answer to what the client itself said: never dropped while the client is there.
    Reply,
    /// MessageDecoder of a room, which a slow consumer may lose, counted.
    Delivery,
}

/// One or more whole messages back to back.
#[derive(Clone, Debug)]
pub struct Frames {
    bytes: Bytes,
    /// Where each message ends but the last, so that a single message allocates nothing for it.
    inner_ends: Vec<u32>,
    messages: u32,
    kind: Kind,
    /// When the first of them was read from its sender.
    read_at: Option<Instant>,
}

impl Frames {
    /// One message that answers a client.
    pub fn reply(bytes: Bytes) -> Self {
        Self { bytes, inner_ends: Vec::new(), messages: 1, kind: Kind::Reply, read_at: None }
    }

    /// MessageDecoder of a room. `inner_ends`: where each ends but the last, ascending, in bytes.
    pub fn delivery(bytes: Bytes, inner_ends: Vec<u32>) -> Self {
        debug_assert!(inner_ends.is_sorted() && inner_ends.last().is_none_or(|&end| (end as usize) < bytes.len()));
        let messages = u32::try_from(inner_ends.len() + 1).expect("an entry is shorter than 4 GiB");
        Self { bytes, inner_ends, messages, kind: Kind::Delivery, read_at: None }
    }

    /// What tells a client that it is too slow: stays like a reply, but is no message that would be held against it.
    pub(super) fn notice(bytes: Bytes) -> Self {
        Self { messages: 0, ..Self::reply(bytes) }
    }

    /// The same messages, the first of which was read then.
    pub fn with_read_at(self, read_at: Option<Instant>) -> Self {
        Self { read_at, ..self }
    }

    /// When the first message was read from its sender, if that is known.
    pub fn read_at(&self) -> Option<Instant> {
        self.read_at
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All bytes, to be sent some other time.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// A reply or a delivery.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many messages.
    pub fn messages(&self) -> usize {
        self.messages as usize
    }

    /// How many messages lie wholly within the first `sent` bytes. Logarithmic.
    pub(super) fn whole_within(&self, sent: usize) -> usize {
        if sent == self.bytes.len() {
            return self.messages();
        }
        self.inner_ends.partition_point(|&end| end as usize <= sent)
    }

    /// How many messages, the first ones, are sent in whole or in part.
    pub(super) fn begun_within(&self, sent: usize) -> usize {
        let whole = self.whole_within(sent);
        whole + usize::from(self.start(whole) < sent)
    }

    /// Some of the messages, at least one. Linear in those.
    pub(super) fn part(&self, messages: Range<usize>) -> Self {
        let (start, end) = (self.start(messages.start), self.end(messages.end - 1));
        let inner = &self.inner_ends[messages.start..messages.end - 1];
        Self {
            bytes: self.bytes.slice(start..end),
            inner_ends: inner.iter().map(|&end| end - start as u32).collect(),
            messages: messages.len() as u32,
            kind: self.kind,
            read_at: self.read_at,
        }
    }

    /// How many messages, the first ones, have at least so many bytes. Logarithmic.
    pub(super) fn messages_of(&self, bytes: usize) -> usize {
        if bytes == 0 { 0 } else { self.inner_ends.partition_point(|&end| (end as usize) < bytes) + 1 }
    }

    /// Where a message begins; one that comes next, where the last one ends.
    pub(super) fn start(&self, message: usize) -> usize {
        if message == 0 { 0 } else { self.end(message - 1) }
    }

    fn end(&self, message: usize) -> usize {
        self.inner_ends.get(message).map_or(self.bytes.len(), |&end| end as usize)
    }
}

/// Whom an entry is for, on one writer.
#[derive(Clone, Debug)]
pub enum Targets {
    /// One client.
    One(Slot),
    /// An audience: shared with the room, which makes a new list when a member comes or goes.
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

    /// Whether both are one and the same list of an audience. Constant time.
    pub fn is_same_audience(&self, other: &Arc<[Slot]>) -> bool {
        matches!(self, Self::Audience(slots) if Arc::ptr_eq(slots, other))
    }
}

/// The same messages for each of some targets.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whom for.
    pub targets: Targets,
    /// What.
    pub frames: Frames,
}

impl Entry {
    /// A reply to one client.
    pub fn reply(slot: Slot, bytes: Bytes) -> Self {
        Self { targets: Targets::One(slot), frames: Frames::reply(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_messages() -> Frames {
        Frames::delivery(Bytes::from_static(b"a\nbb\nccc\n"), vec![2, 5])
    }

    #[test]
    fn messages_are_counted_when_their_last_byte_is_sent() {
        let frames = three_messages();
        let counted: Vec<usize> = (0..=9).map(|sent| frames.whole_within(sent)).collect();
        assert_eq!(counted, [0, 0, 1, 1, 1, 2, 2, 2, 2, 3]);
    }

    #[test]
    fn a_part_is_whole_messages_and_knows_where_they_end() {
        let frames = three_messages();
        let part = |messages| frames.part(messages);
        assert_eq!(part(1..2).bytes(), b"bb\n");
        assert_eq!((part(1..3).bytes(), part(1..3).messages()), (&b"bb\nccc\n"[..], 2));
        let counted: Vec<usize> = (0..=7).map(|sent| part(1..3).whole_within(sent)).collect();
        assert_eq!(counted, [0, 0, 0, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn so_many_bytes_are_in_so_many_messages() {
        let frames = three_messages();
        let counted: Vec<usize> = (0..=9).map(|bytes| frames.messages_of(bytes)).collect();
        assert_eq!(counted, [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn messages_are_begun_with_their_first_byte() {
        let frames = three_messages();
        let counted: Vec<usize> = (0..=8).map(|sent| frames.begun_within(sent)).collect();
        assert_eq!(counted, [0, 1, 1, 2, 2, 2, 3, 3, 3]);
    }
}
