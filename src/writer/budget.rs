//! The outbox budget of a worker, in memory held. When it is exceeded, the clients with the most pending bytes give way, so
//! that no client gives way that holds no more than its share. Bytes that a socket has not been offered yet count against no
//! client: until they are written, publishers wait.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::Slot;
use super::slots::{Phase, SocketState};
use super::state::Writer;
use super::wire::Wire;
use crate::config::SlowPolicy;
use crate::protocol::disconnect::Disconnect;

/// This part of the budget is freed once it is exceeded, so that not every entry starts over.
const FREED_PART: usize = 16;

/// No client is shed before this many slots have been written out, while anything waits to be written.
const TURNS_BEFORE_SHEDDING_MIN: usize = 1_024;

impl Writer {
    /// Whether outboxes hold more memory than the budget allows, so that publishers must wait.
    pub fn is_over_budget(&self) -> bool {
        self.meter.held() > self.limits.budget
    }

    /// Sheds once all that is held is pending for blocked clients, or once everything that waited when the budget was
    /// exceeded has been written: what comes meanwhile must not keep the budget exceeded forever.
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
        if self.limits.policy == SlowPolicy::DropOldest {
            self.shed(now, SlowPolicy::DropOldest, wire);
        }
        self.shed(now, SlowPolicy::Disconnect, wire);
        // Closes those that are closing since the last line, if even that was too much.
        self.shed(now, SlowPolicy::Disconnect, wire);
    }

    /// Takes from the blocked clients, first from the one with the most pending bytes, until enough is free. Linear in the
    /// blocked clients, logarithmic for each that is shed.
    fn shed(&mut self, now: Instant, policy: SlowPolicy, wire: &mut impl Wire) {
        let enough = self.limits.budget - self.limits.budget / FREED_PART;
        if self.meter.held() <= enough {
            return;
        }
        let blocked = self.swept.clone().into_iter();
        let mut largest: BinaryHeap<_> =
            blocked.filter_map(|slot| Some((self.sheddable_bytes(slot, policy)?, Reverse(slot)))).collect();
        while self.meter.held() > enough
            && let Some((_, Reverse(slot))) = largest.pop()
        {
            if self.is_still_blocked(now, slot, wire) {
                match policy {
                    SlowPolicy::DropOldest => {
                        self.drop_from(now, slot, |row| row.hot.outbox.drop_oldest_entry(&mut row.cold.backlog));
                    }
                    SlowPolicy::Disconnect => self.cut_or_close(now, slot, wire),
                }
            }
            if policy == SlowPolicy::DropOldest {
                largest.extend(self.sheddable_bytes(slot, policy).map(|bytes| (bytes, Reverse(slot))));
            }
        }
    }

    /// The pending bytes of a blocked client from which the policy could take something.
    fn sheddable_bytes(&mut self, slot: Slot, policy: SlowPolicy) -> Option<usize> {
        let row = self.slots.row(slot).filter(|row| row.hot.state == SocketState::Blocked)?;
        let can_free = match policy {
            SlowPolicy::DropOldest => {
                let is_told = row.hot.phase == Phase::Open && !row.cold.dialect.has_offsets();
                is_told && row.hot.outbox.can_drop(&mut row.cold.backlog)
            }
            SlowPolicy::Disconnect => !row.hot.outbox.is_empty(),
        };
        can_free.then(|| row.weight().bytes)
    }

    /// Cuts a client as a slow consumer; it gets only the message that is partly sent and the last line. Closes it at once if
    /// it is closing already.
    fn cut_or_close(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        if self.slots.row(slot).is_none_or(|row| row.hot.phase != Phase::Open) {
            return self.close(slot, Disconnect::SlowConsumer, wire);
        }
        let dropped = self.change_outbox(slot, |row| {
            let dropped = row.hot.outbox.drop_unless(|_| false, &mut row.cold.backlog);
            row.hot.outbox.release_entry();
            dropped
        });
        self.count_dropped(dropped.unwrap_or_default().deliveries, Disconnect::SlowConsumer);
        self.cut_slow(now, slot);
    }
}
