//! The workloads: the members of each room, the publishers, and the order of their actions. Every broker runs the same
//! workloads.

use std::time::Duration;

use crate::common;

/// A workload in rounds. The clock stops when every permanent member has received everything that was published in the
/// round.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub rooms: usize,
    /// Permanent members of each room.
    pub members: usize,
    /// The number of publishing tasks. Several of them share one room, or one of them serves several rooms.
    pub publishers: usize,
    /// Messages to each room in one round, over all publishers. A `broadcast` channel has capacity for all of them, so
    /// none is lost.
    pub publishes: usize,
    /// The number of publishes after which a publisher's guest joins or leaves the room.
    pub visit_every: Option<usize>,
}

pub const WORKLOADS: [Workload; 5] = [
    Workload { name: "one_big_room", rooms: 1, members: 10_000, publishers: 1, publishes: 1, visit_every: None },
    Workload { name: "one_big_room_burst", rooms: 1, members: 10_000, publishers: 1, publishes: 8, visit_every: None },
    Workload { name: "many_small_rooms", rooms: 1_000, members: 10, publishers: 8, publishes: 4, visit_every: None },
    Workload { name: "churn", rooms: 8, members: 100, publishers: 8, publishes: 100, visit_every: Some(10) },
    Workload { name: "many_publishers", rooms: 1, members: 100, publishers: 32, publishes: 640, visit_every: None },
];

/// The next action of a publisher.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Publish {
        room: usize,
    },
    /// The guest joins if it is out, and leaves if it is in.
    Visit {
        room: usize,
    },
}

impl Workload {
    /// The actions of a publisher in one round; it takes turns with its rooms.
    pub fn script(&self, publisher: usize) -> Vec<Action> {
        let sharing = self.publishers.div_ceil(self.rooms);
        let own_rooms: Vec<usize> = (publisher % self.rooms..self.rooms).step_by(self.publishers).collect();
        let rooms = own_rooms.iter().cycle().take(own_rooms.len() * self.publishes / sharing);
        let mut actions = Vec::new();
        for (published, &room) in (1..).zip(rooms) {
            actions.push(Action::Publish { room });
            if self.visit_every.is_some_and(|every| published % every == 0) {
                actions.push(Action::Visit { room });
            }
        }
        actions
    }

    /// Members over all rooms.
    pub fn members_in_all(&self) -> usize {
        self.rooms * self.members
    }

    /// The room of a member.
    pub fn room_of(&self, member: usize) -> usize {
        member / self.members
    }

    /// The number of a publisher's guest. Guests are numbered after all members.
    pub fn guest_of(&self, publisher: usize) -> usize {
        self.members_in_all() + publisher
    }

    /// Bytes that each member receives in a round.
    pub fn bytes_per_round(&self) -> usize {
        self.publishes * common::line().len()
    }

    /// Bytes that each member receives when it joins.
    pub fn bytes_at_join(&self) -> usize {
        common::joined_line(&common::room(0)).len()
    }

    pub fn deliveries_per_round(&self) -> usize {
        self.members_in_all() * self.publishes
    }
}

/// A broker under measurement, with all members of a workload in their rooms.
pub trait Architecture {
    const NAME: &'static str;

    /// Starts the threads and joins all members.
    fn open(workload: Workload) -> Self;

    /// Runs the script of every publisher once. Returns the time until every member has received everything.
    fn round(&mut self) -> Duration;
}
