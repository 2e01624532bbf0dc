//! Slow consumers: who is one, and what becomes of each under the policy. Never waits for a client, and never counts
//! against one what the server itself has not got round to writing. Nobody is cut before its socket has refused once more.

use std::time::{Duration, Instant};

use super::address::Slot;
use super::slots::{Phase, Row, SocketState, Stall};
use super::state::Writer;
use super::wire::Wire;
use crate::config::{OutboxLimits, SlowPolicy};
use crate::protocol::disconnect::Disconnect;

/// A client over a bound is cut when its socket has taken nothing for this long.
const STALL_TIME: Duration = Duration::from_secs(1);

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
    /// A blocked client was given more than it may be owed: it is offered its bytes once more before anything is held
    /// against it.
    pub(super) fn overflow(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        if !self.is_still_blocked(now, slot, wire) {
            return;
        }
        self.drop_to_bounds(now, slot);
        // What is left under drop-oldest are replies.
        let row = self.slots.row(slot).filter(|row| row.hot.phase == Phase::Open);
        if row.is_some_and(|row| row.weight().bytes > BOUND_HARD * self.limits.bytes_max) {
            self.cut_slow(now, slot);
        }
    }

    /// What drop-oldest does for a blocked client.
    pub(super) fn drop_to_bounds(&mut self, now: Instant, slot: Slot) {
        let limits = self.limits;
        if limits.policy == SlowPolicy::DropOldest && self.slots.row(slot).is_some_and(|row| row.overflows(&limits)) {
            self.drop_from(now, slot, |row| row.hot.outbox.drop_to_bounds(&mut row.cold.backlog, &limits));
        }
    }

    /// Lets `drop` take messages out of the outbox of an open, blocked client, and counts them.
    pub(super) fn drop_from(&mut self, now: Instant, slot: Slot, drop: impl FnOnce(&mut Row<'_>) -> usize) {
        let is_blocked = |row: &Row<'_>| row.hot.phase == Phase::Open && row.hot.state == SocketState::Blocked;
        let Some(mut row) = self.slots.row(slot).filter(is_blocked) else { return };
        let before = row.pending().bytes;
        let messages = drop(&mut row);
        let after = row.pending().bytes;
        if let Some(stall) = &mut row.cold.stall {
            stall.forget(now, before.saturating_sub(after), after);
        }
        self.metrics.pending_bytes.add(after as u64);
        self.metrics.pending_bytes.subtract(before as u64);
        self.metrics.dropped_gap.add(messages as u64);
    }

    /// Closes a slow consumer and has its connection stop.
    pub(super) fn cut_slow(&mut self, now: Instant, slot: Slot) {
        self.begin_close(now, slot, Disconnect::SlowConsumer);
        self.disconnect(slot, Disconnect::SlowConsumer);
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
                Verdict::Over => self.close(slot, Disconnect::IoError, wire),
                Verdict::Slow if self.is_still_blocked(now, slot, wire) => self.give_up(now, slot, wire),
                Verdict::Slow => self.sweep_later(slot),
            }
        }
    }

    /// A client whose time is over: cut and told so, or closed if it is on its way out.
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
        // Writable, as far as is known: whatever it waits for, it waits for the server.
        Some(_) => false,
        None if row.cold.closing.is_some() => false,
        None => return Verdict::Settled,
    };
    if is_slow { Verdict::Slow } else { Verdict::Waits }
}

/// Whether a blocked client has been so for too long.
fn is_slow(row: &Row<'_>, stall: &Stall, now: Instant, limits: &OutboxLimits) -> bool {
    let is_too_old = |since: Instant| now.saturating_duration_since(since) >= limits.slow_after;
    if let Some(closing) = &row.cold.closing {
        // The grace period bounds a stop; every other ending is bounded as the conversation was.
        return now >= closing.deadline || (closing.reason != Disconnect::Shutdown && is_too_old(stall.since));
    }
    let aged = match limits.policy {
        SlowPolicy::Disconnect => is_too_old(stall.since),
        // What it holds is ever newer: only one that takes nothing at all has no use of it.
        SlowPolicy::DropOldest => is_too_old(stall.taken_at),
    };
    aged || (row.weight().is_over(limits) && now.saturating_duration_since(stall.taken_at) >= STALL_TIME)
}

impl Stall {
    /// A socket has refused so many bytes, of which it had taken all before.
    pub(super) fn new(now: Instant, bytes: usize) -> Self {
        Self { since: now, until: bytes, taken_at: now, offered_at: None, resumed_at: now, pong: None }
    }

    /// The socket was writable, and refuses again; so many bytes are left. The time in which it waited to be written is
    /// left out of its dates.
    pub(super) fn go_on(&mut self, now: Instant, bytes: usize) {
        let waited_since = |date: Instant| now.saturating_duration_since(self.resumed_at.max(date));
        self.since = (self.since + waited_since(self.since)).min(now);
        self.taken_at = (self.taken_at + waited_since(self.taken_at)).min(now);
        self.date(now, bytes);
    }

    /// So many bytes are refused now: they are dated if those dated before are all taken.
    pub(super) fn date(&mut self, now: Instant, bytes: usize) {
        if self.until == 0 {
            (self.since, self.until) = (now, bytes);
        }
    }

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
