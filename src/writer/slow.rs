//! Slow consumers: who is one, and what becomes of each under the policy. Never waits for a client, and never counts
//! against one what the server itself has not got round to writing.

use std::time::{Duration, Instant};

use super::address::Slot;
use super::slots::{Phase, Refusal, Row};
use super::state::Writer;
use super::wire::Wire;
use crate::config::{OutboxLimits, SlowPolicy};
use crate::protocol::disconnect::Disconnect;

/// A client over a bound is cut when its socket has taken nothing for this long.
const STALL: Duration = Duration::from_secs(1);

/// A client that is owed this many times its bound in bytes is cut at once. Not in messages: a reader that takes a moment to
/// wake can be owed 8 192 short ones within milliseconds, and they are 200 KB.
const BOUND_HARD: usize = 8;

impl Row<'_> {
    /// Whether something is to be done about a client whose socket has refused bytes before more is added.
    pub(super) fn overflows(&self, limits: &OutboxLimits) -> bool {
        match limits.policy {
            SlowPolicy::Disconnect => self.weight().bytes > BOUND_HARD * limits.bytes_max,
            SlowPolicy::DropOldest => self.weight().is_over(limits),
        }
    }

    /// Moves every date by the time that the server itself did not run, though none beyond now: sockets may have taken
    /// everything meanwhile, and the writer is still to hear of it.
    fn give_time(&mut self, now: Instant, time: Duration) {
        if let Some(refusal) = &mut self.cold.refusal {
            refusal.since = (refusal.since + time).min(now);
            refusal.taken_at = (refusal.taken_at + time).min(now);
        }
        if let Some(closing) = &mut self.cold.closing {
            closing.put_off(now, time);
        }
    }
}

impl Writer {
    /// A client that had refused bytes was given more than it may be owed.
    pub(super) fn overflow(&mut self, now: Instant, slot: Slot) {
        self.drop_to_bounds(now, slot);
        // What is left under drop-oldest are replies.
        let row = self.slots.row(slot).filter(|row| row.hot.phase == Phase::Open);
        if row.is_some_and(|row| row.weight().bytes > BOUND_HARD * self.limits.bytes_max) {
            self.cut_slow(now, slot);
        }
    }

    /// What drop-oldest does for a client that has refused bytes.
    pub(super) fn drop_to_bounds(&mut self, now: Instant, slot: Slot) {
        let limits = self.limits;
        if limits.policy == SlowPolicy::DropOldest && self.slots.row(slot).is_some_and(|row| row.overflows(&limits)) {
            self.drop_from(now, slot, |row| row.hot.outbox.drop_to_bounds(&mut row.cold.backlog, &limits));
        }
    }

    /// Lets `drop` take messages out of the outbox of an open client that has refused bytes, and counts them.
    pub(super) fn drop_from(&mut self, now: Instant, slot: Slot, drop: impl FnOnce(&mut Row<'_>) -> usize) {
        let Some(mut row) = self.slots.row(slot).filter(|row| row.hot.phase == Phase::Open && row.hot.refused) else {
            return;
        };
        let before = row.owed().bytes;
        let messages = drop(&mut row);
        let after = row.owed().bytes;
        if let Some(refusal) = &mut row.cold.refusal {
            refusal.forget(now, before.saturating_sub(after), after);
        }
        self.metrics.owed_bytes.add(after as u64);
        self.metrics.owed_bytes.subtract(before as u64);
        self.metrics.dropped_gap.add(messages as u64);
    }

    /// Closes a slow consumer and has its connection stop.
    pub(super) fn cut_slow(&mut self, now: Instant, slot: Slot) {
        self.begin_close(now, slot, Disconnect::SlowConsumer);
        self.hang_up(slot, Disconnect::SlowConsumer);
    }

    /// Looks at every client that has refused bytes or is closing; what the look is late by counts against none. Linear in
    /// those.
    pub(super) fn sweep(&mut self, now: Instant, late: Duration, wire: &mut impl Wire) {
        for slot in std::mem::take(&mut self.swept) {
            let Some(mut row) = self.slots.row(slot) else { continue };
            row.cold.swept = false;
            row.give_time(now, late);
            match verdict(&row, now, &self.limits) {
                Verdict::Settled => {}
                Verdict::Waits => self.sweep_later(slot),
                Verdict::Slow => self.cut_slow(now, slot),
                Verdict::Expired => self.close(slot, Disconnect::IoError, wire),
            }
        }
    }

    pub(super) fn sweep_later(&mut self, slot: Slot) {
        let Some(row) = self.slots.row(slot) else { return };
        if !row.cold.swept {
            row.cold.swept = true;
            self.swept.push(slot);
        }
    }
}

/// What the sweep finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing more to watch.
    Settled,
    /// To be looked at again.
    Waits,
    /// A slow consumer.
    Slow,
    /// Closing, and its time is over.
    Expired,
}

fn verdict(row: &Row<'_>, now: Instant, limits: &OutboxLimits) -> Verdict {
    let is_too_old = |since: Instant| now.duration_since(since) >= limits.slow_after;
    let holds_old_bytes = || row.cold.refusal.as_deref().is_some_and(|refusal| is_too_old(refusal.since));
    if let Some(closing) = &row.cold.closing {
        // The grace period bounds a stop; every other ending is bounded as the conversation was.
        let is_over = now >= closing.deadline || (closing.reason != Disconnect::Shutdown && holds_old_bytes());
        return if is_over { Verdict::Expired } else { Verdict::Waits };
    }
    let Some(refusal) = row.cold.refusal.as_deref() else {
        return Verdict::Settled;
    };
    let aged = match limits.policy {
        SlowPolicy::Disconnect => is_too_old(refusal.since),
        // What it holds is ever newer: only one that takes nothing at all has no use of it.
        SlowPolicy::DropOldest => is_too_old(refusal.taken_at),
    };
    let stalled = row.weight().is_over(limits) && now.duration_since(refusal.taken_at) >= STALL;
    if stalled || aged { Verdict::Slow } else { Verdict::Waits }
}

impl Refusal {
    /// The socket has taken bytes.
    pub(super) fn taken(&mut self, now: Instant, bytes: usize) {
        self.taken_at = now;
        self.until = self.until.saturating_sub(bytes);
    }

    /// Bytes were dropped, the oldest; so many are left. Those that are dated go first, so none is taken for older than it
    /// is.
    fn forget(&mut self, now: Instant, dropped: usize, left: usize) {
        self.until = self.until.saturating_sub(dropped);
        if self.until == 0 {
            (self.since, self.until) = (now, left);
        }
    }
}
