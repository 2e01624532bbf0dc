//! A model of what the rooms of one shard remember: one list of all publications, oldest first. It knows the limits of the
//! rooms.

use std::collections::BTreeSet;
use std::time::Instant;

use roomcast::broker::{Evicted, PUBLICATION_BYTES, ROOM_BYTES, Retained};
use roomcast::config::{HistoryLimits, LimitsOfRoom};
use roomcast::protocol::names::RoomName;

#[derive(Debug)]
struct Publication {
    room: RoomName,
    at: Instant,
    bytes: usize,
}

#[derive(Debug)]
pub struct Retention {
    pub history: HistoryLimits,
    pub evicted: Evicted,
    publications: Vec<Publication>,
    /// The room that a rule names, and its limits.
    ruled: Option<(RoomName, LimitsOfRoom)>,
    /// The limits of all other rooms.
    others: LimitsOfRoom,
}

impl Retention {
    pub fn new(history: HistoryLimits, others: LimitsOfRoom) -> Self {
        Self { history, evicted: Evicted::default(), publications: Vec::new(), ruled: None, others }
    }

    /// The limits of a room.
    pub fn limits_of(&self, room: &RoomName) -> LimitsOfRoom {
        self.ruled.as_ref().filter(|(ruled, _)| ruled == room).map_or(self.others, |(_, limits)| *limits)
    }

    /// Gives one room these limits, and the rest the others. Drops what is over their counts.
    pub fn apply_rule(&mut self, room: &RoomName, limits: LimitsOfRoom, others: LimitsOfRoom) {
        self.ruled = Some((room.clone(), limits));
        self.others = others;
        let rooms: BTreeSet<_> = self.publications.iter().map(|publication| publication.room.clone()).collect();
        rooms.iter().for_each(|room| self.trim(room));
    }

    pub fn publish(&mut self, room: &RoomName, at: Instant, bytes: usize) {
        if self.limits_of(room).history_messages_max == 0 {
            return;
        }
        self.publications.push(Publication { room: room.clone(), at, bytes });
        self.trim(room);
        if self.is_over_budget() {
            self.reclaim(at);
        }
    }

    /// Drops what is too old, and over budget what would become too old first.
    pub fn reclaim(&mut self, now: Instant) {
        let too_old_at = |this: &Self, index: &usize| {
            let Publication { room, at, .. } = &this.publications[*index];
            *at + this.limits_of(room).history_age_max
        };
        while let Some(first) = (0..self.publications.len()).min_by_key(|index| too_old_at(self, index)) {
            if too_old_at(self, &first) <= now {
                self.evicted.age += 1;
            } else if self.is_over_budget() {
                self.evicted.budget += 1;
            } else {
                return;
            }
            self.publications.remove(first);
        }
    }

    /// The bytes of each publication that a room retains, as they count in a replay, newest first.
    pub fn of(&self, room: &RoomName) -> impl Iterator<Item = usize> {
        let of_room = self.publications.iter().rev().filter(move |publication| publication.room == *room);
        of_room.map(|publication| publication.bytes + PUBLICATION_BYTES)
    }

    pub fn retained(&self) -> Retained {
        let rooms: BTreeSet<_> = self.publications.iter().map(|publication| &publication.room).collect();
        let of_publications: usize =
            self.publications.iter().map(|publication| publication.bytes + PUBLICATION_BYTES).sum();
        Retained { messages: self.publications.len(), bytes: of_publications + rooms.len() * ROOM_BYTES }
    }

    /// Drops the oldest of what a room retains over its count.
    fn trim(&mut self, room: &RoomName) {
        while self.of(room).count() > self.limits_of(room).history_messages_max {
            let oldest = self.publications.iter().position(|publication| publication.room == *room);
            self.publications.remove(oldest.expect("it has some"));
            self.evicted.count += 1;
        }
    }

    fn is_over_budget(&self) -> bool {
        self.retained().bytes > self.history.budget
    }
}
