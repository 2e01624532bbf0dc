//! What a stream is made of: messages at their places and times, and what its leader says about it.

use bytes::Bytes;

use super::publishing::ENTRIES_MAX;
use crate::protocol::position::{Epoch, Offset, UnixMillis};

/// Offsets of one message: as many as its envelope has entries at most.
const PLACES: u64 = ENTRIES_MAX as u64;

/// The time at which the stream has stored something, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredAt(pub u64);

/// A message of the stream.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: StoredAt,
    /// The envelope.
    pub bytes: Bytes,
}

/// What the leader says about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// When the stream was made.
    pub created: StoredAt,
    /// The first message that it has, or the next one if it has none.
    pub first: u64,
    /// The last message that it has had.
    pub last: u64,
    /// When the last one was stored.
    pub last_at: StoredAt,
    /// When it has stored the message that was asked for, if it still has that.
    pub asked: Option<StoredAt>,
}

/// A part of the stream to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// From this message on.
    pub from: u64,
    /// At most this number of messages.
    pub messages: u64,
}

/// The offset of an entry.
pub fn offset(sequence: u64, place: usize) -> Offset {
    Offset(sequence * PLACES + place as u64)
}

/// The epoch of a stream that was made at this time: the same on all nodes.
pub fn epoch(created: StoredAt) -> Epoch {
    // Fibonacci hashing: the high bits of the product depend on all bits of the time.
    Epoch::new(created.unix_millis(), created.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44)
}

impl StoredAt {
    /// In milliseconds.
    pub fn unix_millis(self) -> UnixMillis {
        UnixMillis(self.0 / 1_000_000)
    }
}
