//! The limit on the number of rooms, over all shards. Never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The limit of rooms and the number of rooms, which all clones share.
#[derive(Clone, Debug)]
pub struct RoomLimiter {
    rooms: Arc<AtomicUsize>,
    pub(super) rooms_max: usize,
}

impl RoomLimiter {
    /// A limiter that counts no room yet.
    pub fn new(rooms_max: usize) -> Self {
        Self { rooms: Arc::default(), rooms_max }
    }

    /// Counts one more room, unless the limit is reached.
    pub(super) fn take_room(&self) -> bool {
        let one_more = |rooms| (rooms < self.rooms_max).then_some(rooms + 1);
        self.rooms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(super) fn release_room(&self) {
        self.rooms.fetch_sub(1, Ordering::Relaxed);
    }
}
