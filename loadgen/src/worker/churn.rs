//! Members that leave their room and join again while messages are published. Never the pacing member of a room.

use std::time::Duration;

use super::client::Stage;
use super::{Phase, Worker};
use crate::clock::Nanos;

/// Maximum leaves before sockets are polled again.
const LEAVERS_AT_ONCE_MAX: usize = 64;

/// Random draws for a client that can leave, before this leave is skipped.
const DRAWS_MAX: usize = 8;

/// When the next member leaves.
pub struct Churn {
    /// Time between two leaves; each is followed by a join.
    period: Option<Duration>,
    next: Nanos,
}

impl Churn {
    /// Churn at this many joins and leaves per second.
    pub fn new(rate: f64) -> Self {
        let period = (rate > 0.0).then(|| Duration::from_secs_f64(2.0 / rate));
        Self { period, next: Nanos(u64::MAX) }
    }

    /// Starts the churn.
    pub fn start(&mut self, now: Nanos) {
        if let Some(period) = self.period {
            self.next = now + period;
        }
    }

    /// When the next member leaves.
    pub fn next(&self) -> Nanos {
        self.next
    }
}

impl Worker {
    /// Makes all members leave that are due.
    pub(super) fn churn_due(&mut self, now: Nanos) {
        for _ in 0..LEAVERS_AT_ONCE_MAX {
            let Some(period) = self.churn.period.filter(|_| self.churn.next <= now) else { return };
            self.churn.next = self.churn.next + period;
            if !matches!(self.phase, Phase::Sending { .. }) {
                return;
            }
            if let Some(index) = self.pick_leaver() {
                let left = self.request(index, Stage::Leaving(now), |dialect, room, out| dialect.leave(room, out), now);
                // A failed send has already counted the client as disconnected.
                drop(left);
            }
        }
    }

    fn pick_leaver(&mut self) -> Option<usize> {
        let Self { clients, rooms, random, .. } = self;
        let may_leave = |index: &usize| {
            let client = &clients[*index];
            let room = &rooms[client.room as usize];
            let is_needed = client.member.is_none_or(|member| member == 0 || member == room.pacing_member);
            client.stays() && !is_needed && room.separate_publisher != Some(*index as u32)
        };
        (0..DRAWS_MAX).map(|_| random.usize(..clients.len())).find(may_leave)
    }
}
