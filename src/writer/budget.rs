//! The budget of a worker over all its outboxes, in memory held: who gives way when it is passed. That is whoever has the
//! most pending bytes, so that nobody gives way who holds no more than its share. Never counts against anybody what no
//! socket has refused yet: until that is written, publishers wait.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::address::Slot;
use super::slots::{Phase, Row, SocketState};
use super::state::Writer;
use super::wire::Wire;
use crate::config::SlowPolicy;
use crate::protocol::disconnect::Disconnect;

/// This part of the budget is free once it was passed, so that not every entry begins it anew.
const FREED_PART: usize = 16;

/// Nobody is shed before this many slots have been written out, while anything waits to be written.
const TURNS_BEFORE_SHEDDING_MIN: usize = 1_024;

/// What is done to clients that have refused bytes; a harsher measure only where the one before has not been enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Loses its oldest deliveries, entry by entry.
    DropOldest,
    /// Is cut as a slow consumer and told so; one that closes already is closed.
    Cut,
    /// Is closed.
    Close,
}

impl Measure {
    /// Under a policy, the mildest first.
    fn of(policy: SlowPolicy) -> &'static [Self] {
        match policy {
            SlowPolicy::Disconnect => &[Self::Cut, Self::Close],
            SlowPolicy::DropOldest => &[Self::DropOldest, Self::Cut, Self::Close],
        }
    }

    /// The pending bytes of a client for whom the measure would free something.
    fn frees(self, row: &mut Row<'_>) -> Option<usize> {
        let can_free = row.hot.state == SocketState::Blocked
            && match self {
                Self::DropOldest => {
                    row.hot.phase == Phase::Open && row.hot.outbox.oldest_delivery(&mut row.cold.backlog).is_some()
                }
                Self::Cut | Self::Close => !row.hot.outbox.is_empty(),
            };
        can_free.then(|| row.weight().bytes)
    }
}

impl Writer {
    /// Whether more is held for outboxes than the budget allows.
    pub(super) fn is_over_budget(&self) -> bool {
        self.meter.held() > self.limits.budget
    }

    /// Sheds until the budget is kept, once all that is held is pending for blocked clients, or everything that waited when
    /// the budget was passed has been written since: what comes meanwhile does not keep it passed for ever.
    pub(super) fn keep_budget(&mut self, now: Instant, wire: &mut impl Wire) {
        if !self.is_over_budget() {
            self.turns_before_shedding = None;
            return;
        }
        let waits = 2 * (self.small.len() + self.large.len());
        let left = *self.turns_before_shedding.get_or_insert(waits.max(TURNS_BEFORE_SHEDDING_MIN));
        if self.waiting > 0 && left > 0 {
            return;
        }
        self.turns_before_shedding = None;
        let enough = self.limits.budget - self.limits.budget / FREED_PART;
        for &measure in Measure::of(self.limits.policy) {
            self.shed(now, measure, enough, wire);
            if self.meter.held() <= enough {
                return;
            }
        }
    }

    /// Applies a measure until no more than `enough` is held: first to the client with the most pending bytes. Linear in
    /// the blocked clients, logarithmic for each that is shed.
    fn shed(&mut self, now: Instant, measure: Measure, enough: usize, wire: &mut impl Wire) {
        let frees = |writer: &mut Self, slot| measure.frees(&mut writer.slots.row(slot)?);
        let blocked: Vec<Slot> = self.swept.clone();
        let mut largest: BinaryHeap<_> =
            blocked.into_iter().filter_map(|slot| Some((frees(self, slot)?, Reverse(slot)))).collect();
        while self.meter.held() > enough
            && let Some((_, Reverse(slot))) = largest.pop()
        {
            if self.is_still_blocked(now, slot, wire) {
                self.apply(now, measure, slot, wire);
            }
            if measure == Measure::DropOldest {
                largest.extend(frees(self, slot).map(|bytes| (bytes, Reverse(slot))));
            }
        }
    }

    fn apply(&mut self, now: Instant, measure: Measure, slot: Slot, wire: &mut impl Wire) {
        let is_open = self.slots.row(slot).is_some_and(|row| row.hot.phase == Phase::Open);
        match measure {
            Measure::DropOldest => {
                self.drop_from(now, slot, |row| row.hot.outbox.drop_oldest_entry(&mut row.cold.backlog));
            }
            Measure::Cut if is_open => {
                self.drop_unbegun(slot);
                self.cut_slow(now, slot);
            }
            Measure::Cut | Measure::Close => self.close(slot, Disconnect::SlowConsumer, wire),
        }
    }

    /// Drops all that is pending for a blocked client, replies as well, but for the message partly sent.
    fn drop_unbegun(&mut self, slot: Slot) {
        let Some(row) = self.slots.row(slot) else { return };
        let before = row.pending().bytes;
        let dropped = row.hot.outbox.drop_unless(|_| false, &mut row.cold.backlog);
        self.metrics.pending_bytes.add(row.pending().bytes as u64);
        self.metrics.pending_bytes.subtract(before as u64);
        self.count_gone(dropped, Disconnect::SlowConsumer);
    }
}
