//! How many rooms there may be over all shards, and how large each. A count that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::RoomLimits;

/// The limits of rooms, and how many there are. All clones are one.
#[derive(Clone, Debug)]
pub struct RoomLimiter {
    rooms: Arc<AtomicUsize>,
    limits: RoomLimits,
}

impl RoomLimiter {
    /// Nothing is taken.
    pub fn new(limits: RoomLimits) -> Self {
        Self { rooms: Arc::default(), limits }
    }

    /// What applies.
    pub fn limits(&self) -> RoomLimits {
        self.limits
    }

    /// One more room, if there may be one.
    pub(super) fn take_room(&self) -> bool {
        let one_more = |rooms| (rooms < self.limits.rooms_max).then_some(rooms + 1);
        self.rooms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// One room less.
    pub(super) fn release_room(&self) {
        self.rooms.fetch_sub(1, Ordering::Relaxed);
    }
}
