//! Members that leave their room and come back, while others talk. Never the witness of a room.

use std::time::Duration;

use super::client::Stage;
use super::{Phase, Worker};
use crate::clock::Nanos;

/// So many leave before sockets are looked at again.
const LEAVERS_AT_ONCE_MAX: usize = 64;

/// So often a client is drawn that cannot leave just now, before this one is left out.
const DRAWS_MAX: usize = 8;

/// When somebody leaves next.
pub struct Churn {
    /// Between two that leave; each joins again.
    period: Option<Duration>,
    next: Nanos,
}

impl Churn {
    /// So many joins and leaves a second.
    pub fn new(rate: f64) -> Self {
        let period = (rate > 0.0).then(|| Duration::from_secs_f64(2.0 / rate));
        Self { period, next: Nanos(u64::MAX) }
    }

    /// From now on.
    pub fn start(&mut self, now: Nanos) {
        if let Some(period) = self.period {
            self.next = now + period;
        }
    }

    /// When somebody leaves next.
    pub fn next(&self) -> Nanos {
        self.next
    }
}

impl Worker {
    /// All who must have left by now do.
    pub(super) fn churn_due(&mut self, now: Nanos) {
        for _ in 0..LEAVERS_AT_ONCE_MAX {
            let Some(period) = self.churn.period.filter(|_| self.churn.next <= now) else { return };
            self.churn.next = self.churn.next + period;
            if !matches!(self.phase, Phase::Sending { .. }) {
                return;
            }
            if let Some(index) = self.draw_leaver() {
                let left = self.ask(index, Stage::Leaving(now), |dialect, room, out| dialect.leave(room, out), now);
                // It counts as disconnected by now.
                drop(left);
            }
        }
    }

    fn draw_leaver(&mut self) -> Option<usize> {
        let Self { clients, rooms, random, .. } = self;
        let may_leave = |index: &usize| {
            let client = &clients[*index];
            let lobby = &rooms[client.room as usize];
            let is_needed = client.seat.is_none_or(|seat| seat == 0 || seat == lobby.witness);
            client.stage == Stage::Ready && !is_needed && lobby.publisher_apart != Some(*index as u32)
        };
        (0..DRAWS_MAX).map(|_| random.usize(..clients.len())).find(may_leave)
    }
}
