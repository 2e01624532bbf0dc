//! Compares the history of a shard with a list of everything that was ever published to its rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::broker::{Evicted, History, PUBLICATION_BYTES, RECLAIM_STEPS_MAX, ROOM_BYTES, Retained, RoomLog};
use roomcast::config::LimitsOfRoom;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Epoch, UnixMillis};

use crate::common::{ROOM_LIMITS, room};
use crate::log::{next, told};

const ROOMS: usize = 4;

/// The limits that all rooms have at first.
const LIMITS: LimitsOfRoom =
    LimitsOfRoom { history_messages_max: 5, history_age_max: Duration::from_secs(10), ..ROOM_LIMITS };

/// About three rooms with ten publications in all.
const BUDGET: usize = 3 * ROOM_BYTES + 10 * (PUBLICATION_BYTES + 150);

/// An operation on the rooms of a shard.
#[derive(Clone, Debug)]
enum Act {
    /// Publishes data of this length in bytes to a room, and reclaims if the history is over budget.
    Publish(usize, usize),
    /// The same without reclaiming, so that the history exceeds its budget by more than one publication.
    PublishOnly(usize, usize),
    /// Lets time pass, in seconds, and reclaims.
    Wait(u64),
    /// Removes a room. The next publication makes it anew.
    Remove(usize),
    /// Gives a room another count and another age, in seconds.
    Limit(usize, usize, u64),
}

/// A publication as the model keeps it.
#[derive(Clone, Debug)]
struct Published {
    room: usize,
    offset: u64,
    bytes: usize,
    at: Instant,
    is_retained: bool,
}

/// The history of a shard, its rooms, and the model of both.
struct Fixture {
    history: History,
    rooms: HashMap<RoomName, RoomLog>,
    /// Everything that was ever published, in order.
    published: Vec<Published>,
    evicted: Evicted,
    now: Instant,
    budget: usize,
    /// By the number of the room.
    limits: [LimitsOfRoom; ROOMS],
}

impl Fixture {
    fn open(budget: usize) -> Self {
        Self {
            history: History::new(budget),
            rooms: HashMap::new(),
            published: Vec::new(),
            evicted: Evicted::default(),
            now: Instant::now(),
            budget,
            limits: [LIMITS; ROOMS],
        }
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match *act {
            Act::Publish(number, bytes) => {
                self.publish(number, bytes);
                if self.history.is_over_budget() {
                    self.reclaim()?;
                }
            }
            Act::PublishOnly(number, bytes) => self.publish(number, bytes),
            Act::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.reclaim()?;
            }
            Act::Remove(number) => {
                if let Some(mut log) = self.rooms.remove(&room(number)) {
                    self.history.forget(&room(number), &mut log);
                    prop_assert!(log.is_empty());
                }
                self.retained_mut().filter(|one| one.room == number).for_each(|one| one.is_retained = false);
            }
            Act::Limit(number, messages_max, seconds) => self.limit(number, messages_max, seconds),
        }
        self.check()
    }

    fn publish(&mut self, number: usize, bytes: usize) {
        // No two publications have the same time, so that it is known which one is the oldest.
        self.now += Duration::from_nanos(1);
        let at = self.now;
        let new = || RoomLog::new(Epoch::new(UnixMillis(0), 0), self.limits[number].into());
        let log = self.rooms.entry(room(number)).or_insert_with(new);
        let publication = next(log, bytes);
        let is_retained = self.limits[number].history_messages_max > 0;
        self.published.push(Published { room: number, offset: publication.offset.0, bytes, at, is_retained });
        self.history.append(&room(number), log, publication, at);
        self.trim(number);
    }

    fn limit(&mut self, number: usize, history_messages_max: usize, seconds: u64) {
        let history_age_max = Duration::from_secs(seconds);
        self.limits[number] = LimitsOfRoom { history_messages_max, history_age_max, ..LIMITS };
        if let Some(log) = self.rooms.get_mut(&room(number)) {
            self.history.change_limits(&room(number), log, self.limits[number].into());
            self.trim(number);
        }
    }

    /// Drops what is over the count of a room, in the model.
    fn trim(&mut self, number: usize) {
        let messages_max = self.limits[number].history_messages_max;
        let of_room: Vec<_> = self.retained_mut().filter(|one| one.room == number).collect();
        let excess = of_room.len().saturating_sub(messages_max);
        of_room.into_iter().take(excess).for_each(|one| one.is_retained = false);
        self.evicted.count += excess as u64;
    }

    /// Reclaims in both, and compares which rooms became empty.
    fn reclaim(&mut self) -> Result<(), TestCaseError> {
        let before = self.rooms_retaining();
        let reclaimed = self.history.reclaim(self.now, &mut self.rooms, |log| log);
        let now = self.now;
        for one in self.published.iter_mut().filter(|one| one.is_retained) {
            if now.saturating_duration_since(one.at) >= self.limits[one.room].history_age_max {
                one.is_retained = false;
                self.evicted.age += 1;
            }
        }
        while self.total().bytes > self.budget {
            let limits = self.limits;
            let first = self.retained_mut().min_by_key(|one| one.at + limits[one.room].history_age_max);
            first.expect("a history over budget retains something").is_retained = false;
            self.evicted.budget += 1;
        }
        let after = self.rooms_retaining();
        let emptied: BTreeSet<_> = before.difference(&after).map(|&number| room(number)).collect();
        prop_assert_eq!(reclaimed.emptied.len(), emptied.len());
        prop_assert_eq!(reclaimed.emptied.into_iter().collect::<BTreeSet<_>>(), emptied);
        prop_assert!(!reclaimed.has_more);
        prop_assert!(!self.history.is_over_budget());
        Ok(())
    }

    fn retained(&self) -> impl Iterator<Item = &Published> {
        self.published.iter().filter(|one| one.is_retained)
    }

    /// Oldest first.
    fn retained_mut(&mut self) -> impl Iterator<Item = &mut Published> {
        self.published.iter_mut().filter(|one| one.is_retained)
    }

    fn rooms_retaining(&self) -> BTreeSet<usize> {
        self.retained().map(|one| one.room).collect()
    }

    fn total(&self) -> Retained {
        let bytes: usize = self.retained().map(|one| one.bytes + PUBLICATION_BYTES).sum();
        Retained { messages: self.retained().count(), bytes: bytes + self.rooms_retaining().len() * ROOM_BYTES }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut expected: BTreeMap<RoomName, Vec<(u64, usize)>> = BTreeMap::new();
        for one in self.retained() {
            expected.entry(room(one.room)).or_default().push((one.offset, one.bytes));
        }
        let logs = self.rooms.iter().filter(|(_, log)| !log.is_empty());
        let actual = logs.map(|(name, log)| (name.clone(), told(log.latest(usize::MAX, usize::MAX))));
        prop_assert_eq!(actual.collect::<BTreeMap<_, _>>(), expected);
        prop_assert_eq!(self.history.retained(), self.total());
        prop_assert_eq!(self.history.evicted(), self.evicted);
        prop_assert_eq!(self.history.rooms(), self.rooms_retaining().len(), "each is queued once, and no other");
        Ok(())
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (0..ROOMS, 0..600usize).prop_map(|(room, bytes)| Act::Publish(room, bytes)),
        2 => (0..ROOMS, 0..600usize).prop_map(|(room, bytes)| Act::PublishOnly(room, bytes)),
        2 => (0..13u64).prop_map(Act::Wait),
        1 => (0..ROOMS).prop_map(Act::Remove),
    ];
    vec(act, 0..150)
}

/// The same, and now and then a room gets other limits.
fn acts_and_limits() -> impl Strategy<Value = Vec<Act>> {
    let limit = (0..ROOMS, 0..8usize, 0..20u64).prop_map(|(room, count, age)| vec![Act::Limit(room, count, age)]);
    let acts = acts().prop_map(|acts| acts.into_iter().take(15).collect());
    vec(prop_oneof![limit, acts], 0..30).prop_map(|acts| acts.concat())
}

proptest! {
    #[test]
    fn the_oldest_publications_of_all_rooms_give_way_to_count_age_and_budget(acts in acts()) {
        let mut fixture = Fixture::open(BUDGET);
        for act in acts {
            fixture.act(&act)?;
        }
    }

    #[test]
    fn each_room_keeps_to_its_own_count_and_age_and_over_budget_what_is_too_old_first_gives_way(
        acts in acts_and_limits(),
    ) {
        let mut fixture = Fixture::open(BUDGET);
        for act in acts {
            fixture.act(&act)?;
        }
    }
}

/// A history of `rooms` rooms with `messages` publications of one byte each.
fn filled(limits: LimitsOfRoom, budget: usize, rooms: usize, messages: usize) -> Fixture {
    let mut fixture = Fixture::open(budget);
    let new = || RoomLog::new(Epoch::new(UnixMillis(0), 0), limits.into());
    for at in 0..rooms * messages {
        let name = room(at % rooms);
        let log = fixture.rooms.entry(name.clone()).or_insert_with(new);
        fixture.history.append(&name, log, next(log, 1), fixture.now);
    }
    fixture
}

const ROOMY: LimitsOfRoom = LimitsOfRoom { history_messages_max: 1 << 20, ..LIMITS };

#[test]
fn what_is_too_old_is_dropped_step_by_step() {
    for (rooms, messages) in [(1, 3 * RECLAIM_STEPS_MAX), (3 * RECLAIM_STEPS_MAX, 1), (10, RECLAIM_STEPS_MAX / 5)] {
        let mut fixture = filled(ROOMY, usize::MAX, rooms, messages);
        fixture.now += LIMITS.history_age_max;
        let mut emptied = 0;
        loop {
            let before = fixture.history.retained().messages;
            let reclaimed = fixture.history.reclaim(fixture.now, &mut fixture.rooms, |log| log);
            emptied += reclaimed.emptied.len();
            let dropped = before - fixture.history.retained().messages;
            assert!((1..=RECLAIM_STEPS_MAX).contains(&dropped), "{dropped} in one call");
            if !reclaimed.has_more {
                break;
            }
        }
        assert_eq!((emptied, fixture.history.rooms()), (rooms, 0));
        assert_eq!(fixture.history.retained(), Retained::default());
    }
}

#[test]
fn a_long_publication_displaces_as_many_short_ones_as_it_needs_at_once() {
    const SHORT: usize = 10 * RECLAIM_STEPS_MAX;
    let budget = ROOM_BYTES + SHORT * (PUBLICATION_BYTES + 1);
    let mut fixture = filled(ROOMY, budget, 1, SHORT);
    assert!(!fixture.history.is_over_budget());
    let log = fixture.rooms.get_mut(&room(0)).expect("it has a log");
    fixture.history.append(&room(0), log, next(log, budget / 2), fixture.now);
    assert!(fixture.history.is_over_budget());
    let reclaimed = fixture.history.reclaim(fixture.now, &mut fixture.rooms, |log| log);
    assert!(!reclaimed.has_more);
    assert!(!fixture.history.is_over_budget());
    assert!(fixture.history.retained().messages > SHORT / 3);
}

#[test]
fn nothing_is_retained_where_history_is_off() {
    let mut fixture = filled(LimitsOfRoom { history_messages_max: 0, ..LIMITS }, BUDGET, 1, 10);
    assert_eq!(fixture.history.retained(), Retained::default());
    assert_eq!((fixture.history.rooms(), fixture.history.evicted()), (0, Evicted::default()));
    let log = fixture.rooms.get_mut(&room(0)).expect("it has a log");
    assert_eq!(log.next_offset().0, 11);
}
