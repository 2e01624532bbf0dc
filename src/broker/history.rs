//! The history of a shard: what the logs of all of its rooms retain, within a budget and each within the count and the
//! age of its room. Plain synchronous code; never reads a clock itself.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use super::log::{PUBLICATION_BYTES, Retained, RoomLog};
use crate::config::LimitsOfRoom;
use crate::protocol::names::RoomName;
use crate::protocol::publication::Publication;

/// Publications and rooms that one call of [`History::reclaim`] looks at, so that it delays no room for long: about 0.1
/// ms. It looks at more only to make up for a long message, in proportion to its bytes.
pub const RECLAIM_STEPS_MAX: usize = 1_024;

/// What a shard knows of the logs of all of its rooms. The rooms own their logs.
#[derive(Debug)]
pub struct History {
    /// Memory of what all logs retain, in bytes.
    budget: usize,
    retained: Retained,
    evicted: Evicted,
    /// Each room whose log is not empty once, by a time at which its oldest publication is not too old yet, or becomes so.
    /// The time is corrected when the room comes first: so a publish costs no queue work, unless the log was empty. Over
    /// budget the first room gives way, so the publications are dropped that would become too old first.
    queue: BTreeSet<(Instant, RoomName)>,
}

/// Publications that are not retained any more, by the limit that they exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// The number of publications of a room.
    pub count: u64,
    /// The age.
    pub age: u64,
    /// The budget over all rooms.
    pub budget: u64,
}

/// What came of reclaiming.
#[derive(Debug, PartialEq, Eq)]
pub struct Reclaimed {
    /// The rooms that retain nothing any more.
    pub emptied: Vec<RoomName>,
    /// Whether the call ended early. Another one is due soon.
    pub has_more: bool,
}

impl History {
    /// The history of a shard without rooms. The budget is that of one shard, in bytes.
    pub fn new(budget: usize) -> Self {
        Self { budget, retained: Retained::default(), evicted: Evicted::default(), queue: BTreeSet::new() }
    }

    /// What all logs retain.
    pub fn retained(&self) -> Retained {
        self.retained
    }

    /// The publications that were evicted so far.
    pub fn evicted(&self) -> Evicted {
        self.evicted
    }

    /// Rooms that retain something.
    pub fn rooms(&self) -> usize {
        self.queue.len()
    }

    /// Whether [`Self::reclaim`] is due at once.
    pub fn is_over_budget(&self) -> bool {
        self.retained.bytes > self.budget
    }

    /// Appends the next publication to the log of a room, which is trimmed by count. Amortised constant time, without
    /// allocations where the log is full; a room that retained nothing is queued.
    pub fn append(&mut self, room: &RoomName, log: &mut RoomLog, publication: Publication, at: Instant) {
        let before = log.retained();
        log.append(publication, at);
        let after = log.retained();
        self.count(before, after);
        if log.queued_at.is_none() && !log.is_empty() {
            self.enqueue(room.clone(), log);
        }
        if after.messages > 0 {
            self.evicted.count += (before.messages + 1 - after.messages) as u64;
        }
    }

    /// Gives a room other limits, and drops what is over their count. Returns the number of publications dropped, in which
    /// the call is linear. What is over their age is dropped by the next [`Self::reclaim`].
    pub fn change_limits(&mut self, room: &RoomName, log: &mut RoomLog, limits: Arc<LimitsOfRoom>) -> usize {
        if *log.limits == *limits {
            return 0;
        }
        self.dequeue(room, log);
        log.limits = limits;
        let before = log.retained();
        let dropped = before.messages.saturating_sub(log.limits.history_messages_max);
        (0..dropped).for_each(|_| log.drop_oldest());
        self.count(before, log.retained());
        self.evicted.count += dropped as u64;
        self.enqueue(room.clone(), log);
        dropped
    }

    /// Forgets everything that a room retains. To be called before a room is removed, unless its log is empty.
    pub fn forget(&mut self, room: &RoomName, log: &mut RoomLog) {
        self.dequeue(room, log);
        let before = log.retained();
        log.clear();
        self.count(before, log.retained());
    }

    /// Drops what is too old, and over budget the publications of all rooms that would become too old first: the oldest,
    /// where all rooms have one age. To be called when the history is over budget, and once a second. `log_of` returns the
    /// log of a room.
    pub fn reclaim<R, S: BuildHasher>(
        &mut self,
        now: Instant,
        rooms: &mut HashMap<RoomName, R, S>,
        log_of: impl Fn(&mut R) -> &mut RoomLog,
    ) -> Reclaimed {
        let excess = self.retained.bytes.saturating_sub(self.budget);
        let mut steps_left = RECLAIM_STEPS_MAX + excess / PUBLICATION_BYTES;
        let mut emptied = Vec::new();
        while steps_left > 0 && self.is_due(now) {
            let Some((_, room)) = self.queue.pop_first() else { break };
            steps_left -= 1;
            let log = log_of(rooms.get_mut(&room).expect("a room is forgotten before it is removed"));
            self.trim(now, log, &mut steps_left);
            if log.is_empty() {
                emptied.push(room.clone());
            }
            self.enqueue(room, log);
        }
        Reclaimed { emptied, has_more: self.is_due(now) }
    }

    /// Drops from one log what is too old, and over budget its oldest publications until another room may have one that
    /// becomes too old earlier.
    fn trim(&mut self, now: Instant, log: &mut RoomLog, steps_left: &mut usize) {
        let next_at = self.queue.first().map(|(at, _)| *at);
        while *steps_left > 0
            && let Some(at) = log.expires_at()
        {
            let evicted = if at <= now {
                &mut self.evicted.age
            } else if self.is_over_budget() && next_at.is_none_or(|next_at| at <= next_at) {
                &mut self.evicted.budget
            } else {
                return;
            };
            *evicted += 1;
            *steps_left -= 1;
            let before = log.retained();
            log.drop_oldest();
            self.count(before, log.retained());
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.queue.first().is_some_and(|(at, _)| self.is_over_budget() || *at <= now)
    }

    /// Queues a room under the time at which its oldest publication becomes too old, if it has one.
    fn enqueue(&mut self, room: RoomName, log: &mut RoomLog) {
        log.queued_at = log.expires_at();
        self.queue.extend(log.queued_at.map(|at| (at, room)));
    }

    fn dequeue(&mut self, room: &RoomName, log: &mut RoomLog) {
        if let Some(at) = log.queued_at.take() {
            self.queue.remove(&(at, room.clone()));
        }
    }

    fn count(&mut self, before: Retained, after: Retained) {
        self.retained.messages = self.retained.messages - before.messages + after.messages;
        self.retained.bytes = self.retained.bytes - before.bytes + after.bytes;
    }
}
