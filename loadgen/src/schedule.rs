//! When which message is due. An open schedule never waits for anybody: what is late stays due. Never reads a clock.

use std::time::Duration;

use crate::clock::Nanos;
use crate::plan::{Pace, Publishers};
use crate::share::Share;

/// Messages to come, evenly spaced, the rooms of the group by turns; those of other processes are left out.
#[derive(Debug)]
pub struct Schedule {
    start: Nanos,
    end: Nanos,
    /// Between two messages of the group.
    period: Duration,
    rooms_in_group: u64,
    /// The rooms published here: their turn, and their index among the rooms of this process.
    rooms: Vec<(u64, usize)>,
    round: u64,
    next: usize,
}

impl Schedule {
    /// The messages of an open load that starts at `start` and ends, warm-up included, before `end`; none of a closed one.
    pub fn new(share: &Share, start: Nanos, end: Nanos) -> Self {
        let published = share.rooms.iter().enumerate().filter(|(_, room)| room.is_published_here());
        let rooms = published.map(|(index, room)| (u64::from(room.turn), index)).collect();
        let (period, rooms) = match (share.pace, share.manner.publishers) {
            (Pace::InFlight(_), _) | (_, Publishers::Target) => (Duration::ZERO, Vec::new()),
            (Pace::Rate(rate), _) => (Duration::from_secs_f64(1.0 / rate), rooms),
        };
        Self { start, end, period, rooms_in_group: u64::from(share.rooms_in_group), rooms, round: 0, next: 0 }
    }

    /// When the next message is due; `None` when there is none left.
    pub fn due(&self) -> Option<Nanos> {
        let (turn, _) = self.rooms.get(self.next)?;
        let messages = self.round * self.rooms_in_group + turn;
        let due = self.start + Duration::from_nanos((messages as f64 * self.period.as_secs_f64() * 1e9) as u64);
        (due < self.end).then_some(due)
    }

    /// The room of the next message, which is then over.
    pub fn take(&mut self) -> usize {
        let (_, room) = self.rooms[self.next];
        self.next += 1;
        if self.next == self.rooms.len() {
            self.next = 0;
            self.round += 1;
        }
        room
    }

    /// Nothing more is due.
    pub fn stop(&mut self) {
        self.rooms.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn due(share: &Share) -> Vec<(u64, u32)> {
        let mut schedule = Schedule::new(share, Nanos(0), Nanos(1_000_000_000));
        let mut due = Vec::new();
        while let Some(Nanos(nanos)) = schedule.due() {
            due.push((nanos / 1_000_000, share.rooms[schedule.take()].number));
        }
        due
    }

    #[test]
    fn messages_are_evenly_spaced_and_rooms_take_turns() {
        let plan = Plan { clients: 6, rooms: 3, pace: Pace::Rate(5.0), ..Plan::example() };
        assert_eq!(due(&plan.shares(100)[0]), [(0, 0), (200, 1), (400, 2), (600, 0), (800, 1)]);
    }

    #[test]
    fn processes_share_one_schedule() {
        let plan = Plan { clients: 6, rooms: 3, pace: Pace::Rate(5.0), ..Plan::example() };
        let mut all: Vec<_> = plan.shares(2).iter().flat_map(due).collect();
        all.sort_unstable();
        assert_eq!(all, due(&plan.shares(100)[0]));
        let plan = Plan { rooms: 1, ..plan };
        let all: Vec<_> = plan.shares(2).iter().map(|share| due(share).len()).collect();
        assert_eq!(all, [5, 0, 0], "a room in pieces is published by one process");
    }

    #[test]
    fn a_closed_load_has_no_schedule() {
        let plan = Plan { pace: Pace::InFlight(8), ..Plan::example() };
        assert_eq!(due(&plan.shares(100)[0]), []);
    }
}
