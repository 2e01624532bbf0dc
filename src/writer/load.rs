//! The load of a writer: what it has still to write, as the shards that send to it see it. A few atomics: no task waits for
//! another, and a shard that finds no room is notified when there is some.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::frames::{Entry, Kind};

/// An entry for at most this many targets is small: it must not wait behind a large fan-out.
pub(super) const SMALL_AUDIENCE: usize = 64;

/// The bounds of a writer in deliveries.
#[derive(Clone, Copy, Debug)]
pub struct LoadLimits {
    /// A writer has room while fewer deliveries than this are on their way to its sockets.
    pub deliveries_max: usize,
    /// A message to at most this many members passes those to more, up to twice as many deliveries.
    pub small_audience: usize,
}

impl Default for LoadLimits {
    /// Messages to as many members as a process has descriptors wait behind no more than a few writes of each, which is
    /// tens of milliseconds of work.
    fn default() -> Self {
        Self { deliveries_max: 1 << 16, small_audience: SMALL_AUDIENCE }
    }
}

impl LoadLimits {
    /// Messages to small audiences are handed over up to this many deliveries.
    pub fn deliveries_small_max(self) -> usize {
        2 * self.deliveries_max
    }

    /// Shards that found no room are notified once there are fewer deliveries than this.
    fn deliveries_resume(self) -> usize {
        self.deliveries_max / 2
    }

    /// A shard adds no more messages to a batch once the batch has this many deliveries for a writer: the commands behind
    /// them in the shard's mailbox must not wait for them.
    pub fn batch_deliveries_max(self) -> usize {
        self.deliveries_max / 4
    }
}

/// What a writer has still to write: in its mailbox, and pending for sockets that are not blocked.
#[derive(Debug, Default)]
pub struct WriterLoad {
    limits: LoadLimits,
    /// Deliveries that shards have handed over since the start.
    handed_over: AtomicU64,
    /// Those of them that the writer has taken out of its mailbox.
    appended: AtomicU64,
    /// Messages pending for clients that are not blocked.
    waiting: AtomicUsize,
    is_over_budget: AtomicBool,
    /// A shard has found no room and waits: until it is notified, no other shard takes what becomes free bit by bit.
    is_wanted: AtomicBool,
    /// Deliveries to small audiences that were handed over since then.
    passed: AtomicUsize,
    freed: Arc<Notify>,
}

impl WriterLoad {
    /// The load of a writer with nothing to write.
    pub fn new(limits: LoadLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The bounds of the writer.
    pub(super) fn limits(&self) -> LoadLimits {
        self.limits
    }

    /// Whether a message to `targets` members may be handed over behind a batch of `in_batch` deliveries. A caller that gets
    /// false waits on [`Self::freed`], created before this call. With no target only the budget counts.
    pub fn has_room(&self, in_batch: usize, targets: usize) -> bool {
        if targets > 0 && in_batch >= self.limits.batch_deliveries_max() {
            // The next batch begins at once.
            return false;
        }
        if self.is_below(in_batch, targets) {
            return true;
        }
        self.is_wanted.store(true, Ordering::SeqCst);
        // The writer may have made room before it could see that.
        self.is_below(in_batch, targets)
    }

    /// Returns once there is room again. Counts from the call on, not from the first poll.
    pub fn freed(&self) -> OwnedNotified {
        Arc::clone(&self.freed).notified_owned()
    }

    /// A shard hands entries over.
    pub(super) fn hand_over(&self, entries: &[Entry]) {
        let (mut deliveries, mut small) = (0, 0);
        for entry in entries.iter().filter(|entry| entry.frames.kind() == Kind::Delivery) {
            let targets = entry.targets.as_slice().len();
            deliveries += entry.frames.messages() * targets;
            small += if targets <= self.limits.small_audience { entry.frames.messages() * targets } else { 0 };
        }
        if small > 0 && self.is_wanted.load(Ordering::SeqCst) {
            self.passed.fetch_add(small, Ordering::SeqCst);
        }
        self.handed_over.fetch_add(deliveries as u64, Ordering::SeqCst);
    }

    /// The writer publishes its progress: deliveries taken out of the mailbox so far, and messages still to write.
    pub(super) fn settle(&self, appended: u64, waiting: usize, is_over_budget: bool) {
        // In this order, a reader meanwhile may count what is appended just now twice, and never misses it.
        self.waiting.store(waiting, Ordering::SeqCst);
        self.appended.store(appended, Ordering::SeqCst);
        self.is_over_budget.store(is_over_budget, Ordering::SeqCst);
        if self.is_wanted.load(Ordering::SeqCst)
            && !is_over_budget
            && self.deliveries() < self.limits.deliveries_resume()
        {
            self.passed.store(0, Ordering::SeqCst);
            self.is_wanted.store(false, Ordering::SeqCst);
            self.freed.notify_waiters();
        }
    }

    fn is_below(&self, in_batch: usize, targets: usize) -> bool {
        if self.is_over_budget.load(Ordering::SeqCst) {
            return false;
        }
        let limits = self.limits;
        let deliveries = self.deliveries() + in_batch;
        let is_wanted = self.is_wanted.load(Ordering::SeqCst);
        if targets == 0 {
            true
        } else if targets <= limits.small_audience {
            let has_turn = !is_wanted || self.passed.load(Ordering::SeqCst) < limits.deliveries_max;
            has_turn && deliveries < limits.deliveries_small_max()
        } else {
            deliveries < if is_wanted { limits.deliveries_resume() } else { limits.deliveries_max }
        }
    }

    /// Deliveries on their way to the sockets.
    fn deliveries(&self) -> usize {
        let appended = self.appended.load(Ordering::SeqCst);
        let waiting = self.waiting.load(Ordering::SeqCst);
        let in_mailbox = self.handed_over.load(Ordering::SeqCst).saturating_sub(appended);
        waiting + in_mailbox as usize
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::writer::{Frames, Slot, Targets};

    const DELIVERIES_MAX: usize = 1 << 16;
    const DELIVERIES_RESUME: usize = 1 << 15;
    const BATCH_DELIVERIES_MAX: usize = 1 << 14;

    fn entry(targets: usize) -> Entry {
        let slots: Vec<Slot> = (0..targets as u32).map(|index| Slot { index, generation: 0 }).collect();
        Entry { targets: Targets::Audience(slots.into()), frames: Frames::delivery("x".into(), Vec::new()) }
    }

    #[test]
    fn a_small_audience_passes_a_large_one_for_a_while_and_none_passes_the_budget() {
        let load = WriterLoad::default();
        load.hand_over(&[entry(DELIVERIES_MAX)]);
        assert!(!load.has_room(0, SMALL_AUDIENCE + 1) && load.has_room(0, SMALL_AUDIENCE));
        let small: Vec<Entry> = (0..DELIVERIES_MAX / SMALL_AUDIENCE).map(|_| entry(SMALL_AUDIENCE)).collect();
        load.hand_over(&small);
        load.settle(2 * DELIVERIES_MAX as u64, DELIVERIES_RESUME, false);
        assert!(!load.has_room(0, 1), "a large one waits, and enough has passed it");
        load.settle(2 * DELIVERIES_MAX as u64, DELIVERIES_RESUME - 1, false);
        assert!(load.has_room(0, 1) && load.has_room(0, 1_000));
        load.settle(2 * DELIVERIES_MAX as u64, 0, true);
        assert!(!load.has_room(0, 1) && !load.has_room(0, 0));
    }

    #[test]
    fn a_shard_that_found_no_room_is_notified_when_half_of_it_is_free_and_no_other_takes_it_before() {
        let load = WriterLoad::default();
        assert!(load.has_room(0, 1_000) && !load.has_room(BATCH_DELIVERIES_MAX, 1_000));
        load.hand_over(&[entry(DELIVERIES_MAX)]);
        let [mut one, mut other] = [load.freed(), load.freed()].map(Box::pin);
        assert!(!load.has_room(0, 1_000));
        load.settle(DELIVERIES_MAX as u64, DELIVERIES_RESUME, false);
        assert!(!load.has_room(0, 1_000), "appended and not written, and another shard has waited for longer");
        assert!(one.as_mut().now_or_never().is_none());
        load.settle(DELIVERIES_MAX as u64, DELIVERIES_RESUME - 1, false);
        assert!(one.as_mut().now_or_never().is_some() && other.as_mut().now_or_never().is_some());
    }
}
