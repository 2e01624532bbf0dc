//! The limits on the number of rooms, over all shards, and on the members of each. Never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::RoomLimits;

/// The limits of rooms and the number of rooms, which all clones share.
#[derive(Clone, Debug)]
pub struct RoomLimiter {
    rooms: Arc<AtomicUsize>,
    pub(super) limits: RoomLimits,
}

impl RoomLimiter {
    /// A limiter that counts no room yet.
    pub fn new(limits: RoomLimits) -> Self {
        Self { rooms: Arc::default(), limits }
    }

    /// Counts one more room, unless the limit is reached.
    pub(super) fn take_room(&self) -> bool {
        let one_more = |rooms| (rooms < self.limits.rooms_max).then_some(rooms + 1);
        self.rooms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(super) fn release_room(&self) {
        self.rooms.fetch_sub(1, Ordering::Relaxed);
    }
}
