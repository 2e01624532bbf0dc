//! What goes through an outbox: whole messages, encoded once and shared by all who get them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::address::Slot;

/// What the messages are to the client that gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An answer to what the client itself said: never dropped while the client is there.
    Reply,
    /// Messages of a room, which a slow consumer may lose, counted.
    Delivery,
}

/// One or more whole messages back to back.
#[derive(Clone, Debug)]
pub struct Frames {
    bytes: Bytes,
    /// Where each message ends but the last, so that a single message allocates nothing for it.
    inner_ends: Vec<u32>,
    kind: Kind,
    /// When the first of them was read from its sender.
    read_at: Option<Instant>,
}

impl Frames {
    /// One message that answers a client.
    pub fn reply(bytes: Bytes) -> Self {
        Self { bytes, inner_ends: Vec::new(), kind: Kind::Reply, read_at: None }
    }

    /// Messages of a room. `inner_ends`: where each ends but the last, ascending, in bytes.
    pub fn delivery(bytes: Bytes, inner_ends: Vec<u32>) -> Self {
        debug_assert!(inner_ends.is_sorted() && inner_ends.last().is_none_or(|&end| (end as usize) < bytes.len()));
        Self { bytes, inner_ends, kind: Kind::Delivery, read_at: None }
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
        self.inner_ends.len() + 1
    }

    /// How many messages lie wholly within the first `sent` bytes. Logarithmic.
    pub(super) fn whole_within(&self, sent: usize) -> usize {
        if sent == self.bytes.len() {
            return self.messages();
        }
        self.inner_ends.partition_point(|&end| end as usize <= sent)
    }

    /// The rest of the message that `sent` cuts, as a message of its own; `None` where `sent` is a boundary.
    pub(super) fn rest_of_message(&self, sent: usize) -> Option<Self> {
        let before = self.whole_within(sent);
        let boundary = if before == 0 { 0 } else { self.end(before - 1) };
        (boundary < sent).then(|| Self {
            bytes: self.bytes.slice(sent..self.end(before)),
            inner_ends: Vec::new(),
            kind: self.kind,
            read_at: self.read_at,
        })
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
    fn the_rest_of_a_message_ends_where_it_ends() {
        let frames = three_messages();
        let rest = |sent| frames.rest_of_message(sent).map(|rest| rest.bytes);
        assert_eq!(rest(0), None);
        assert_eq!(rest(1).as_deref(), Some(&b"\n"[..]));
        assert_eq!(rest(2), None);
        assert_eq!(rest(3).as_deref(), Some(&b"b\n"[..]));
        assert_eq!(rest(6).as_deref(), Some(&b"cc\n"[..]));
        assert_eq!(rest(9), None);
    }
}
