//! A model of what the rooms of one shard remember: one list of all publications, oldest first.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use roomcast::broker::{Evicted, PUBLICATION_BYTES, ROOM_BYTES, Retained};
use roomcast::config::HistoryLimits;
use roomcast::protocol::names::RoomName;

#[derive(Debug)]
struct Publication {
    room: RoomName,
    at: Instant,
    bytes: usize,
}

#[derive(Debug)]
pub struct Retention {
    pub limits: HistoryLimits,
    pub evicted: Evicted,
    publications: VecDeque<Publication>,
}

impl Retention {
    pub fn new(limits: HistoryLimits) -> Self {
        Self { limits, evicted: Evicted::default(), publications: VecDeque::new() }
    }

    pub fn publish(&mut self, room: &RoomName, at: Instant, bytes: usize) {
        if self.limits.messages_max == 0 {
            return;
        }
        self.publications.push_back(Publication { room: room.clone(), at, bytes });
        if self.of(room).count() > self.limits.messages_max {
            let oldest = self.publications.iter().position(|publication| publication.room == *room);
            self.publications.remove(oldest.expect("it has some"));
            self.evicted.count += 1;
        }
        if self.is_over_budget() {
            self.reclaim(at);
        }
    }

    /// Drops what is too old, and over budget the oldest.
    pub fn reclaim(&mut self, now: Instant) {
        while let Some(oldest) = self.publications.front() {
            if now.saturating_duration_since(oldest.at) >= self.limits.age_max {
                self.evicted.age += 1;
            } else if self.is_over_budget() {
                self.evicted.budget += 1;
            } else {
                return;
            }
            self.publications.pop_front();
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

    fn is_over_budget(&self) -> bool {
        self.retained().bytes > self.limits.budget
    }
}
