//! The idempotency keys of publishes that a shard has seen, so that a publish that is sent twice is published once.
//! Plain synchronous code; never reads a clock itself.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::protocol::idempotency_key::IdempotencyKey;
use crate::protocol::names::RoomName;
use crate::protocol::position::Position;

/// The time for which a key is remembered.
pub const KEY_AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// The memory for the keys of a shard, in bytes. Beyond it the oldest are forgotten first.
pub const KEYS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// About the memory of a key beside its own text and that of its room, in bytes: its entries in the table and the
/// queue.
pub const KEY_BYTES: usize = 250;

/// The table and the queue keep space for this many keys, however few there are.
const KEYS_KEPT: usize = 64;

/// A key that was used for another publish in the same room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the idempotency key was used for another publish in this room: one key is for one publish and its repeats")]
pub struct KeyReused;

/// The first publish with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPublish {
    /// The position of the publication.
    pub position: Position,
    /// A fingerprint of what was published.
    pub content: u64,
}

/// A key is one of a room: in another room the same key is another.
type RoomKey = (RoomName, IdempotencyKey);

/// The keys that a shard has seen.
#[derive(Debug, Default)]
pub struct SeenKeys {
    /// With the time of the first publish.
    publishes: HashMap<RoomKey, (Instant, FirstPublish)>,
    /// In the order in which they came. A key that was used again when it was too old is there twice.
    by_age: VecDeque<(Instant, RoomKey)>,
    bytes: usize,
}

impl SeenKeys {
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// About the memory of all keys, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first publish with this key, if the key is remembered and not too old. Only the two times decide, so that all
    /// nodes of a cluster agree, whatever else they have remembered or forgotten meanwhile.
    pub fn first(&self, now: Instant, room: &RoomName, key: &IdempotencyKey) -> Option<FirstPublish> {
        let (at, publish) = self.publishes.get(&(room.clone(), key.clone()))?;
        (now.saturating_duration_since(*at) < KEY_AGE_MAX).then_some(*publish)
    }

    /// Remembers the key of a publication. A key that is remembered already keeps its first publish.
    pub fn remember(&mut self, now: Instant, room: &RoomName, key: &IdempotencyKey, publish: FirstPublish) {
        if self.first(now, room, key).is_some() {
            return;
        }
        let key = (room.clone(), key.clone());
        self.bytes += bytes(&key);
        self.publishes.insert(key.clone(), (now, publish));
        self.by_age.push_back((now, key));
        while self.bytes > KEYS_BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old. To be called once a second, so that each call has only the keys of one second to
    /// forget.
    pub fn expire(&mut self, now: Instant) {
        let is_too_old = |(at, _): &(Instant, RoomKey)| now.saturating_duration_since(*at) >= KEY_AGE_MAX;
        while self.by_age.front().is_some_and(is_too_old) {
            self.forget_oldest();
        }
    }

    /// Forgets all keys.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn forget_oldest(&mut self) {
        let Some((at, key)) = self.by_age.pop_front() else { return };
        if self.publishes.get(&key).is_some_and(|(newest, _)| *newest == at) {
            self.publishes.remove(&key);
        }
        self.bytes -= bytes(&key);
        let kept = KEYS_KEPT.max(2 * self.len());
        if self.publishes.capacity() > 4 * kept {
            self.publishes.shrink_to(kept);
        }
        if self.by_age.capacity() > 4 * kept {
            self.by_age.shrink_to(kept);
        }
    }
}

/// The memory that a key counts for.
fn bytes((room, key): &RoomKey) -> usize {
    room.as_str().len() + key.as_str().len() + KEY_BYTES
}
