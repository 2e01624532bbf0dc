//! Compares the log of one room with a list of everything that was ever published to it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::broker::{History, PUBLICATION_BYTES, RoomLog, Unrecovered};
use roomcast::config::LimitsOfRoom;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publication, Publisher};

use crate::common::{ROOM_LIMITS, label, room};

const AGE_MAX: Duration = Duration::from_secs(10);

const EPOCH_MILLIS: u64 = 1_000;

/// An operation on the log, and the questions that follow it.
#[derive(Clone, Debug)]
enum Act {
    /// Publishes data of this length in bytes.
    Publish(usize),
    /// Lets time pass, in seconds, and drops what is too old.
    Wait(u64),
}

/// A publication as the model keeps it.
#[derive(Clone, Copy, Debug)]
struct Published {
    offset: u64,
    bytes: usize,
    at: Instant,
}

/// The log and its model.
struct Fixture {
    history: History,
    rooms: HashMap<RoomName, RoomLog>,
    /// Everything that was ever published.
    published: Vec<Published>,
    now: Instant,
    /// When old publications were dropped last.
    dropped_at: Instant,
    messages_max: usize,
}

/// The next publication of a log, with this many bytes of data.
pub fn next(log: &RoomLog, bytes: usize) -> Publication {
    Publication {
        offset: log.next_offset(),
        published_at: UnixMillis(0),
        publisher: Publisher::anonymous(ClientId(0), label(0)).into(),
        data: Data::Text("x".repeat(bytes).into()),
    }
}

/// The offset and the data's length of each publication.
pub fn told<'a>(publications: impl Iterator<Item = &'a Publication>) -> Vec<(u64, usize)> {
    publications.map(|publication| (publication.offset.0, publication.data.bytes())).collect()
}

impl Fixture {
    fn open(messages_max: usize) -> Self {
        let limits = LimitsOfRoom { history_messages_max: messages_max, history_age_max: AGE_MAX, ..ROOM_LIMITS };
        let log = RoomLog::new(Epoch::new(UnixMillis(EPOCH_MILLIS), 0), limits.into());
        let now = Instant::now();
        Self {
            history: History::new(usize::MAX),
            rooms: HashMap::from([(room(0), log)]),
            published: Vec::new(),
            now,
            dropped_at: now,
            messages_max,
        }
    }

    fn log(&self) -> &RoomLog {
        &self.rooms[&room(0)]
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Publish(bytes) => {
                let log = self.rooms.get_mut(&room(0)).expect("it stays");
                let publication = next(log, bytes);
                self.published.push(Published { offset: publication.offset.0, bytes, at: self.now });
                self.history.append(&room(0), log, publication, self.now);
            }
            Act::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.dropped_at = self.now;
                self.history.reclaim(self.now, &mut self.rooms, |log| log);
            }
        }
    }

    /// What the model says must be retained.
    fn retained(&self) -> Vec<(u64, usize)> {
        let newest = &self.published[self.published.len().saturating_sub(self.messages_max)..];
        let is_young = |one: &&Published| self.dropped_at.saturating_duration_since(one.at) < AGE_MAX;
        newest.iter().filter(is_young).map(|one| (one.offset, one.bytes)).collect()
    }

    /// What the model answers to a client that has everything up to `offset`.
    fn missed(&self, offset: u64, messages_max: usize, bytes_max: usize) -> Result<Vec<(u64, usize)>, Unrecovered> {
        let last = self.published.len() as u64;
        if offset > last {
            return Err(Unrecovered::Ahead);
        }
        let missed = &self.published[offset as usize..];
        let missed: Vec<_> = missed.iter().map(|one| (one.offset, one.bytes)).collect();
        if !self.retained().ends_with(&missed) {
            Err(Unrecovered::Trimmed)
        } else if missed.len() > messages_max {
            Err(Unrecovered::TooMany)
        } else if counted(&missed) > bytes_max {
            Err(Unrecovered::TooLong)
        } else {
            Ok(missed)
        }
    }

    /// The newest of what is retained that fit, oldest first.
    fn latest(&self, messages_max: usize, bytes_max: usize) -> Vec<(u64, usize)> {
        let mut latest = self.retained();
        while latest.len() > messages_max || counted(&latest) > bytes_max {
            latest.remove(0);
        }
        latest
    }

    fn check(&self, messages_max: usize, bytes_max: usize) -> Result<(), TestCaseError> {
        let epoch = Epoch::new(UnixMillis(EPOCH_MILLIS), 0);
        let last = self.published.len() as u64;
        prop_assert_eq!(self.log().position(), Position { epoch, offset: Offset(last) });
        prop_assert_eq!(told(self.log().latest(usize::MAX, usize::MAX)), self.retained());
        prop_assert_eq!(told(self.log().latest(messages_max, bytes_max)), self.latest(messages_max, bytes_max));
        for offset in (0..last + 2).chain([u64::MAX]) {
            let position = Position { epoch, offset: Offset(offset) };
            let missed = self.log().missed_since(position.into(), messages_max, bytes_max);
            prop_assert_eq!(missed.map(told), self.missed(offset, messages_max, bytes_max), "since {}", offset);
        }
        Ok(())
    }
}

fn counted(publications: &[(u64, usize)]) -> usize {
    publications.iter().map(|(_, bytes)| bytes + PUBLICATION_BYTES).sum()
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![5 => (0..300usize).prop_map(Act::Publish), 1 => (0..13u64).prop_map(Act::Wait)];
    vec(act, 0..40)
}

proptest! {
    #[test]
    fn a_client_that_resumes_gets_exactly_what_it_missed_or_a_reason(
        acts in acts(),
        retained_max in 0..12usize,
        messages_max in 0..12usize,
        bytes_max in 0..4_000usize,
    ) {
        let mut fixture = Fixture::open(retained_max);
        fixture.check(messages_max, bytes_max)?;
        for act in acts {
            fixture.act(&act);
            fixture.check(messages_max, bytes_max)?;
        }
    }
}

#[test]
fn a_position_of_another_epoch_is_refused_whatever_its_offset_is() {
    let mut fixture = Fixture::open(10);
    fixture.act(&Act::Publish(1));
    for (millis, random) in [(EPOCH_MILLIS, 1), (EPOCH_MILLIS - 1, 0), (EPOCH_MILLIS + 1, 0)] {
        for offset in [0, 1, 2] {
            let epoch = Epoch::new(UnixMillis(millis), random);
            let missed = fixture.log().missed_since(Position { epoch, offset: Offset(offset) }.into(), 10, usize::MAX);
            assert_eq!(missed.map(told), Err(Unrecovered::OtherEpoch));
        }
    }
}
