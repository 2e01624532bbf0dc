//! How much one writer has still to write, as the shards that feed it know it. A few numbers in atomics: nobody waits for
//! another, and a shard that finds no room is told when there is.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::frames::{Entry, Kind};
use super::state::SMALL_AUDIENCE;

/// A writer has room while fewer deliveries than this are on their way to its sockets. Messages to as many members as a
/// process has descriptors wait behind no more than a few writes of each, which is tens of milliseconds of work.
const DELIVERIES_MAX: usize = 1 << 16;

/// Messages to a small audience pass those to large ones up to this many deliveries.
const DELIVERIES_SMALL_MAX: usize = 2 * DELIVERIES_MAX;

/// Shards that found no room are told once there are fewer deliveries than this.
const DELIVERIES_RESUME: usize = DELIVERIES_MAX / 2;

/// What a writer has still to write: in its mailbox, and pending for sockets that have not refused it.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Deliveries that shards have handed over, ever.
    handed_over: AtomicU64,
    /// Those of them that the writer has taken out of its mailbox.
    appended: AtomicU64,
    /// Messages pending for clients that are not blocked.
    waiting: AtomicUsize,
    is_over_budget: AtomicBool,
    /// A shard has found no room and waits to be told.
    is_wanted: AtomicBool,
    freed: Notify,
}

impl Backlog {
    /// Whether a message to so many targets may be handed over behind a batch of so many deliveries. Whoever hears no
    /// waits for `freed`, which it has called before.
    pub fn has_room(&self, in_batch: usize, targets: usize) -> bool {
        if self.is_below(in_batch, targets) {
            return true;
        }
        self.is_wanted.store(true, Ordering::SeqCst);
        // The writer may have made room before it could know.
        self.is_below(in_batch, targets)
    }

    /// Returns once there is room again. Counts from the call on, not from the first poll.
    pub fn freed(&self) -> impl Future<Output = ()> + '_ {
        self.freed.notified()
    }

    /// A shard hands entries over.
    pub(super) fn hand_over(&self, entries: &[Entry]) {
        let deliveries = entries.iter().filter(|entry| entry.frames.kind() == Kind::Delivery);
        let deliveries =
            deliveries.map(|entry| entry.frames.messages() * entry.targets.as_slice().len()).sum::<usize>();
        self.handed_over.fetch_add(deliveries as u64, Ordering::SeqCst);
    }

    /// The writer says where it is: deliveries taken out of the mailbox so far, and messages that it has still to write.
    pub(super) fn settle(&self, appended: u64, waiting: usize, is_over_budget: bool) {
        self.appended.store(appended, Ordering::SeqCst);
        self.waiting.store(waiting, Ordering::SeqCst);
        self.is_over_budget.store(is_over_budget, Ordering::SeqCst);
        if self.is_wanted.load(Ordering::SeqCst) && !is_over_budget && self.deliveries() < DELIVERIES_RESUME {
            self.is_wanted.store(false, Ordering::SeqCst);
            self.freed.notify_waiters();
        }
    }

    fn is_below(&self, in_batch: usize, targets: usize) -> bool {
        let most = if targets <= SMALL_AUDIENCE { DELIVERIES_SMALL_MAX } else { DELIVERIES_MAX };
        self.deliveries() + in_batch < most && !self.is_over_budget.load(Ordering::SeqCst)
    }

    /// Deliveries on their way to the sockets.
    fn deliveries(&self) -> usize {
        // Read in this order, what is appended meanwhile counts twice and never not at all.
        let waiting = self.waiting.load(Ordering::SeqCst);
        let appended = self.appended.load(Ordering::SeqCst);
        let in_mailbox = self.handed_over.load(Ordering::SeqCst).saturating_sub(appended);
        waiting + in_mailbox as usize
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::super::address::Slot;
    use super::super::frames::{Frames, Targets};
    use super::*;

    /// A message to so many targets.
    fn entry(targets: usize) -> Entry {
        let slots: Vec<Slot> = (0..targets as u32).map(|index| Slot { index, generation: 0 }).collect();
        Entry {
            targets: Targets::Audience(slots.into()),
            frames: Frames::delivery(Bytes::from_static(b"x"), Vec::new()),
        }
    }

    #[test]
    fn deliveries_count_from_the_shard_to_the_socket() {
        let backlog = Backlog::default();
        assert!(backlog.has_room(0, 1_000));
        assert!(!backlog.has_room(DELIVERIES_MAX, 1_000));
        backlog.hand_over(&[entry(DELIVERIES_MAX)]);
        assert!(!backlog.has_room(0, 1_000));
        backlog.settle(DELIVERIES_MAX as u64, DELIVERIES_MAX, false);
        assert!(!backlog.has_room(0, 1_000), "appended and not written");
        backlog.settle(DELIVERIES_MAX as u64, 0, false);
        assert!(backlog.has_room(0, 1_000));
    }

    #[test]
    fn a_small_audience_passes_a_large_one_and_nobody_passes_the_budget() {
        let backlog = Backlog::default();
        backlog.hand_over(&[entry(DELIVERIES_MAX)]);
        assert!(backlog.has_room(0, SMALL_AUDIENCE) && !backlog.has_room(0, SMALL_AUDIENCE + 1));
        backlog.hand_over(&[entry(DELIVERIES_MAX)]);
        assert!(!backlog.has_room(0, 1));
        backlog.settle(2 * DELIVERIES_MAX as u64, 0, true);
        assert!(!backlog.has_room(0, 1));
    }

    #[test]
    fn whoever_found_no_room_is_told_when_half_of_it_is_free() {
        let backlog = Backlog::default();
        backlog.hand_over(&[entry(DELIVERIES_MAX)]);
        let mut freed = pin!(backlog.freed());
        assert!(!backlog.has_room(0, 1_000));
        backlog.settle(DELIVERIES_MAX as u64, DELIVERIES_RESUME, false);
        assert!(freed.as_mut().now_or_never().is_none());
        backlog.settle(DELIVERIES_MAX as u64, DELIVERIES_RESUME - 1, false);
        assert!(freed.as_mut().now_or_never().is_some());
    }
}
