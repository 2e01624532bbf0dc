//! Slow consumers: which clients are slow, and what the policy does to them. Never waits for a client, and never counts
//! against one what the server itself has not yet written. No client is cut before its socket was offered bytes once more.

use std::time::{Duration, Instant};

use super::Slot;
use super::slots::{Phase, Row, SocketState, Stall};
use super::state::Writer;
use super::wire::Wire;
use crate::config::{OutboxLimits, SlowPolicy};
use crate::protocol::disconnect::Disconnect;

/// A client over a bound is cut when its socket has taken nothing for this long.
const STALL_TIME: Duration = Duration::from_secs(1);

/// A client with this many times its bound in pending bytes is cut at once. Not in messages: 8 192 short ones can be pending
/// within milliseconds for a reader that takes a moment to wake, and they are 200 KB.
const BOUND_HARD: usize = 8;

impl Row<'_> {
    /// Whether something must be done about a blocked client before more is appended.
    pub fn overflows(&self, limits: &OutboxLimits) -> bool {
        match self.policy(limits) {
            SlowPolicy::Disconnect => self.weight().bytes > BOUND_HARD * limits.bytes_max,
            SlowPolicy::DropOldest => self.weight().is_over(limits),
        }
    }

    /// Whether the oldest deliveries of a blocked client should be dropped.
    fn is_over_and_drops(&self, limits: &OutboxLimits) -> bool {
        self.hot.state == SocketState::Blocked
            && self.policy(limits) == SlowPolicy::DropOldest
            && self.weight().is_over(limits)
    }

    /// What is done to the client if it is slow. One that resumes by offsets is never told of a gap: it must come back.
    fn policy(&self, limits: &OutboxLimits) -> SlowPolicy {
        if self.cold.dialect.has_offsets() { SlowPolicy::Disconnect } else { limits.policy }
    }

    /// Moves every date by the time in which the server itself did not run, though not beyond now: sockets may have taken
    /// everything meanwhile, and the writer does not know yet.
    fn give_time(&mut self, now: Instant, time: Duration) {
        if let Some(stall) = &mut self.cold.stall {
            stall.since = (stall.since + time).min(now);
            stall.taken_at = (stall.taken_at + time).min(now);
        }
        if let Some(closing) = &mut self.cold.closing {
            closing.put_off(now, time);
        }
    }
}

impl Writer {
    /// A blocked client is over a bound: it is offered its bytes once more before anything counts against it.
    pub(super) fn overflow(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        if !self.is_still_blocked(now, slot, wire) {
            return;
        }
        self.drop_to_bounds(now, slot);
        // Under drop-oldest only replies are left.
        let row = self.slots.row(slot).filter(|row| row.hot.phase == Phase::Open);
        if row.is_some_and(|row| row.weight().bytes > BOUND_HARD * self.limits.bytes_max) {
            self.cut_slow(now, slot);
        }
    }

    /// Drops the oldest deliveries of a client over its bounds, if the policy says so. Its socket took nothing of the last
    /// offer.
    pub(super) fn drop_to_bounds(&mut self, now: Instant, slot: Slot) {
        let limits = self.limits;
        if self.slots.row(slot).is_some_and(|row| row.is_over_and_drops(&limits)) {
            self.drop_from(now, slot, |row| row.hot.outbox.drop_to_bounds(&mut row.cold.backlog, &limits));
        }
    }

    /// Lets `drop` take messages out of the outbox of an open, blocked client, and counts them.
    pub(super) fn drop_from(&mut self, now: Instant, slot: Slot, drop: impl FnOnce(&mut Row<'_>) -> usize) {
        let dropped = self.change_outbox(slot, |row| {
            if row.hot.phase != Phase::Open || row.hot.state != SocketState::Blocked {
                return 0;
            }
            let before = row.pending().bytes;
            let messages = drop(row);
            let after = row.pending().bytes;
            if let Some(stall) = &mut row.cold.stall {
                stall.forget(now, before.saturating_sub(after), after);
            }
            messages
        });
        self.metrics.dropped_gap.add(dropped.unwrap_or(0) as u64);
    }

    /// Closes a slow consumer and has its connection stop.
    pub(super) fn cut_slow(&mut self, now: Instant, slot: Slot) {
        self.begin_close(now, slot, Disconnect::SlowConsumer);
        self.disconnect(slot, Disconnect::SlowConsumer);
    }

    /// Looks at every client that is blocked or closing; the time by which the look is late counts against none. Linear in
    /// those.
    pub(super) fn sweep(&mut self, now: Instant, late: Duration, wire: &mut impl Wire) {
        for slot in std::mem::take(&mut self.swept) {
            let Some(mut row) = self.slots.row(slot) else { continue };
            row.cold.swept = false;
            row.give_time(now, late);
            // The offer that left it over its bounds was taken in part.
            if row.is_over_and_drops(&self.limits) && self.is_still_blocked(now, slot, wire) {
                self.drop_to_bounds(now, slot);
            }
            let Some(row) = self.slots.row(slot) else { continue };
            match verdict(&row, now, &self.limits) {
                Verdict::Settled => {}
                Verdict::Waits => self.sweep_later(slot),
                Verdict::Over => self.close(slot, Disconnect::IoError, wire),
                Verdict::Slow if self.is_still_blocked(now, slot, wire) => self.give_up(now, slot, wire),
                Verdict::Slow => self.sweep_later(slot),
            }
        }
    }

    /// Cuts a client whose time is over, or closes it if it is closing already.
    fn give_up(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        if self.slots.row(slot).is_some_and(|row| row.hot.phase == Phase::Open) {
            self.cut_slow(now, slot);
        } else {
            self.close(slot, Disconnect::IoError, wire);
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
    /// Its time is over, unless its socket takes bytes now.
    Slow,
    /// Everything is sent, and the time for the end of its input is over.
    Over,
}

fn verdict(row: &Row<'_>, now: Instant, limits: &OutboxLimits) -> Verdict {
    if row.hot.phase == Phase::Finished {
        let closing = row.cold.closing.as_deref().expect("a finished slot has a reason");
        return if now >= closing.deadline { Verdict::Over } else { Verdict::Waits };
    }
    let is_slow = match row.cold.stall.as_deref() {
        Some(stall) if row.hot.state == SocketState::Blocked => is_slow(row, stall, now, limits),
        // Writable, as far as is known: it waits for the server.
        Some(_) => false,
        None if row.cold.closing.is_some() => false,
        None => return Verdict::Settled,
    };
    if is_slow { Verdict::Slow } else { Verdict::Waits }
}

/// Whether a client has been blocked for too long.
fn is_slow(row: &Row<'_>, stall: &Stall, now: Instant, limits: &OutboxLimits) -> bool {
    let is_too_old = |since: Instant| now.saturating_duration_since(since) >= limits.slow_after;
    if let Some(closing) = &row.cold.closing {
        // The grace period bounds a stop; every other ending is bounded as the connection was.
        return now >= closing.deadline || (closing.reason != Disconnect::Shutdown && is_too_old(stall.since));
    }
    let aged = match row.policy(limits) {
        SlowPolicy::Disconnect => is_too_old(stall.since),
        // Its pending output is always recent: only a client that takes nothing at all is too slow.
        SlowPolicy::DropOldest => is_too_old(stall.taken_at),
    };
    aged || (row.weight().is_over(limits) && now.saturating_duration_since(stall.taken_at) >= STALL_TIME)
}

impl Stall {
    /// A socket that took everything before has left this many bytes.
    pub fn new(now: Instant, bytes: usize) -> Self {
        Self {
            since: now,
            until: bytes,
            sealed: 0,
            taken_at: now,
            offered_at: None,
            resumed_at: now,
            pong: None,
            is_in_long_reply: false,
        }
    }

    /// The socket was writable and is blocked again; this many bytes are left. The time in which it waited to be written is
    /// left out of its dates.
    pub fn go_on(&mut self, now: Instant, bytes: usize) {
        let waited_since = |date: Instant| now.saturating_duration_since(self.resumed_at.max(date));
        self.since = (self.since + waited_since(self.since)).min(now);
        self.taken_at = (self.taken_at + waited_since(self.taken_at)).min(now);
        self.date(now, bytes);
    }

    /// Dates the bytes that are left now, if those dated before are all taken.
    pub fn date(&mut self, now: Instant, bytes: usize) {
        if self.until == 0 {
            (self.since, self.until) = (now, bytes);
        }
    }

    /// The socket has taken bytes. A long reply may take longer than a byte may wait: what its client has missed is not to
    /// make it slow, so that only a client that takes nothing of it ages.
    pub fn taken(&mut self, now: Instant, bytes: usize) {
        self.taken_at = now;
        if self.is_in_long_reply {
            self.since = now;
        }
        self.until = self.until.saturating_sub(bytes);
    }

    /// The oldest bytes were dropped. They count as dated ones, so that no byte seems older than it is.
    fn forget(&mut self, now: Instant, dropped: usize, left: usize) {
        self.until = self.until.saturating_sub(dropped);
        self.date(now, left);
    }
}
