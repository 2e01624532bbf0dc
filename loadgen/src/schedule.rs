//! The schedule of an open load: which message is due when. It never waits, so a late message stays due. Never reads a
//! clock.

use std::time::Duration;

use crate::assignment::Assignment;
use crate::clock::Nanos;
use crate::workload::{Pace, Publishers};

/// Evenly spaced messages for the rooms of a group in turn, restricted to the rooms that this process publishes to.
#[derive(Debug)]
pub struct Schedule {
    start: Nanos,
    end: Nanos,
    /// Time between two messages of the group.
    period: Duration,
    rooms_in_group: u64,
    /// Position in the schedule and local index of each room that is published here.
    rooms: Vec<(u64, usize)>,
    round: u64,
    next: usize,
}

impl Schedule {
    /// Schedules the messages of an open load from `start`, warm-up included, until before `end`. A closed load has
    /// none.
    pub fn new(assignment: &Assignment, start: Nanos, end: Nanos) -> Self {
        let published = assignment.rooms.iter().enumerate().filter(|(_, room)| room.is_published_here());
        let rooms = published.map(|(index, room)| (u64::from(room.turn), index)).collect();
        let (period, rooms) = match (assignment.pace, assignment.settings.publishers) {
            (Pace::InFlight(_), _) | (_, Publishers::Target) => (Duration::ZERO, Vec::new()),
            (Pace::Rate(rate), _) => (Duration::from_secs_f64(1.0 / rate), rooms),
        };
        Self { start, end, period, rooms_in_group: u64::from(assignment.rooms_in_group), rooms, round: 0, next: 0 }
    }

    /// When the next message is due; `None` if there is none left.
    pub fn due(&self) -> Option<Nanos> {
        let (turn, _) = self.rooms.get(self.next)?;
        let messages = self.round * self.rooms_in_group + turn;
        let due = self.start + Duration::from_nanos((messages as f64 * self.period.as_secs_f64() * 1e9) as u64);
        (due < self.end).then_some(due)
    }

    /// Removes the next message and returns its room.
    pub fn take(&mut self) -> usize {
        let (_, room) = self.rooms[self.next];
        self.next += 1;
        if self.next == self.rooms.len() {
            self.next = 0;
            self.round += 1;
        }
        room
    }

    /// Removes all remaining messages.
    pub fn stop(&mut self) {
        self.rooms.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    fn due(assignment: &Assignment) -> Vec<(u64, u32)> {
        let mut schedule = Schedule::new(assignment, Nanos(0), Nanos(1_000_000_000));
        let mut due = Vec::new();
        while let Some(Nanos(nanos)) = schedule.due() {
            due.push((nanos / 1_000_000, assignment.rooms[schedule.take()].number));
        }
        due
    }

    #[test]
    fn messages_are_evenly_spaced_and_rooms_take_turns() {
        let workload = Workload { clients: 6, rooms: 3, pace: Pace::Rate(5.0), ..Workload::example() };
        assert_eq!(due(&workload.assignments(100)[0]), [(0, 0), (200, 1), (400, 2), (600, 0), (800, 1)]);
    }

    #[test]
    fn processes_share_one_schedule() {
        let workload = Workload { clients: 6, rooms: 3, pace: Pace::Rate(5.0), ..Workload::example() };
        let mut all: Vec<_> = workload.assignments(2).iter().flat_map(due).collect();
        all.sort_unstable();
        assert_eq!(all, due(&workload.assignments(100)[0]));
        let workload = Workload { rooms: 1, ..workload };
        let all: Vec<_> = workload.assignments(2).iter().map(|assignment| due(assignment).len()).collect();
        assert_eq!(all, [5, 0, 0], "a room in pieces is published by one process");
    }

    #[test]
    fn a_closed_load_has_no_schedule() {
        let workload = Workload { pace: Pace::InFlight(8), ..Workload::example() };
        assert_eq!(due(&workload.assignments(100)[0]), []);
    }
}
