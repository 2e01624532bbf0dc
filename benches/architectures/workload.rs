//! What each broker is asked to do: who is in which room, who publishes, and in what order. The same for all of them.

use std::time::Duration;

use crate::common;

/// A workload, in rounds. The clock stops when every member that stays has everything that was published in the round.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub rooms: usize,
    /// Of each room, those who stay.
    pub members: usize,
    /// Tasks, each of which publishes by itself: several to one room, or several rooms to one.
    pub publishers: usize,
    /// Of all publishers to each room in one round. No more than a `broadcast` channel keeps, so that nobody loses any.
    pub publishes: usize,
    /// After so many publishes a publisher has its guest join its room or leave it.
    pub visit_every: Option<usize>,
}

pub const WORKLOADS: [Workload; 5] = [
    Workload { name: "one_big_room", rooms: 1, members: 10_000, publishers: 1, publishes: 1, visit_every: None },
    Workload { name: "one_big_room_burst", rooms: 1, members: 10_000, publishers: 1, publishes: 8, visit_every: None },
    Workload { name: "many_small_rooms", rooms: 1_000, members: 10, publishers: 8, publishes: 4, visit_every: None },
    Workload { name: "churn", rooms: 8, members: 100, publishers: 8, publishes: 100, visit_every: Some(10) },
    Workload { name: "many_publishers", rooms: 1, members: 100, publishers: 32, publishes: 640, visit_every: None },
];

/// What a publisher does next.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Publish {
        room: usize,
    },
    /// Its guest joins if it is out, and leaves if it is in.
    Visit {
        room: usize,
    },
}

impl Workload {
    /// What a publisher does in one round: it takes turns with its rooms.
    pub fn script(&self, publisher: usize) -> Vec<Act> {
        let sharing = self.publishers.div_ceil(self.rooms);
        let own_rooms: Vec<usize> = (publisher % self.rooms..self.rooms).step_by(self.publishers).collect();
        let rooms = own_rooms.iter().cycle().take(own_rooms.len() * self.publishes / sharing);
        let mut acts = Vec::new();
        for (published, &room) in (1..).zip(rooms) {
            acts.push(Act::Publish { room });
            if self.visit_every.is_some_and(|every| published % every == 0) {
                acts.push(Act::Visit { room });
            }
        }
        acts
    }

    /// All members of all rooms.
    pub fn members_in_all(&self) -> usize {
        self.rooms * self.members
    }

    /// The room of a member.
    pub fn room_of(&self, member: usize) -> usize {
        member / self.members
    }

    /// The number of a publisher's guest, who is none of the members.
    pub fn guest_of(&self, publisher: usize) -> usize {
        self.members_in_all() + publisher
    }

    /// What each member gets in a round, in bytes.
    pub fn bytes_per_round(&self) -> usize {
        self.publishes * common::line().len()
    }

    /// What each member gets when it joins, in bytes.
    pub fn bytes_at_join(&self) -> usize {
        common::joined_line(&common::room(0)).len()
    }

    pub fn deliveries_per_round(&self) -> usize {
        self.members_in_all() * self.publishes
    }
}

/// A broker under measurement, with everybody of a workload in their rooms.
pub trait Architecture {
    const NAME: &'static str;

    /// Starts the threads and lets everybody in.
    fn open(workload: Workload) -> Self;

    /// Has every publisher act out its script once; how long until every member has all of it.
    fn round(&mut self) -> Duration;
}
