//! A node that follows a stream of which messages are lost, come late, again and in another order; which forgets, loses
//! and is made anew; with copies that are behind and a leader that does not always answer. What the node has followed is
//! the stream: from the last restart on each envelope once, in order, none left out.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use proptest::prelude::*;
use roomcast::backplane::entry::Entry;
use roomcast::backplane::envelope::{NodeId, append_entry, seal};
use roomcast::backplane::following::{Following, RestartCause, Source, Verdict};
use roomcast::backplane::stream::{Inspection, Stored, StoredAt, offset};
use roomcast::protocol::names::RoomName;

/// What may happen.
#[derive(Clone, Debug)]
enum Act {
    /// A node publishes its next envelope, or repeats the one before.
    Publish {
        node: u64,
        is_repeat: bool,
        is_lost: bool,
    },
    /// The node hears one of the messages that are on their way.
    Deliver {
        which: usize,
    },
    /// A server that was stopped publishes a message once more.
    Again {
        which: usize,
    },
    /// The node reads, from a copy that lacks the last messages, and hears a part of the answer.
    Read {
        lacking: u64,
        heard: usize,
        ends: bool,
    },
    /// The leader answers, or does not.
    Ask {
        answers: bool,
    },
    Wait {
        milliseconds: u64,
    },
    /// The oldest messages are dropped.
    Forget {
        messages: usize,
    },
    /// The connection is lost and made again.
    Reconnect,
    /// A server comes back without its last messages.
    Lose {
        messages: usize,
    },
    MakeAnew,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0..3_u64, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(node, is_repeat, is_lost)| Act::Publish { node, is_repeat, is_lost }),
        12 => (0..3_usize).prop_map(|which| Act::Deliver { which }),
        1 => any::<usize>().prop_map(|which| Act::Again { which }),
        4 => (0..3_u64, 0..8_usize, any::<bool>()).prop_map(|(lacking, heard, ends)| Act::Read { lacking, heard, ends }),
        4 => prop::bool::weighted(0.8).prop_map(|answers| Act::Ask { answers }),
        3 => (0..600_u64).prop_map(|milliseconds| Act::Wait { milliseconds }),
        1 => (0..6_usize).prop_map(|messages| Act::Forget { messages }),
        1 => Just(Act::Reconnect),
        1 => (0..4_usize).prop_map(|messages| Act::Lose { messages }),
        1 => Just(Act::MakeAnew),
    ];
    prop::collection::vec(act, 0..120)
}

/// An envelope as the model knows it.
type Name = (u64, u64);

struct Model {
    following: Following,
    now: Instant,
    /// Nanoseconds since 1970.
    clock: u64,
    created: StoredAt,
    first: u64,
    stream: VecDeque<(Stored, Name)>,
    /// All messages that were ever published again.
    old: Vec<Stored>,
    on_the_way: VecDeque<Stored>,
    numbers: [u64; 3],
    /// What was followed since the last restart, by its place: an envelope, or a repeat and what came before it.
    followed: BTreeMap<u64, Result<Name, [u64; 3]>>,
    /// The last number of each node that was followed since the stream was another one.
    highest: [u64; 3],
    next: u64,
}

impl Model {
    fn new() -> Self {
        let (now, created) = (Instant::now(), StoredAt(1_000));
        let empty = Inspection { created, first: 1, last: 0, last_at: StoredAt(0), asked: None };
        Self {
            following: Following::new(empty, now),
            now,
            clock: 2_000,
            created,
            first: 1,
            stream: VecDeque::new(),
            old: Vec::new(),
            on_the_way: VecDeque::new(),
            numbers: [1; 3],
            followed: BTreeMap::new(),
            highest: [0; 3],
            next: 1,
        }
    }

    fn last(&self) -> u64 {
        self.first + self.stream.len() as u64 - 1
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Publish { node, is_repeat, is_lost } => self.publish(node, is_repeat, is_lost),
            Act::Deliver { which } => {
                let which = which.min(self.on_the_way.len().saturating_sub(1));
                let delivered = self.on_the_way.remove(which);
                delivered.into_iter().for_each(|stored| self.following.take(stored, Source::Feed, self.now));
            }
            Act::Again { which } => {
                let old = self.old.get(which % self.old.len().max(1)).cloned();
                old.into_iter().for_each(|stored| self.following.take(stored, Source::Feed, self.now));
            }
            Act::Read { lacking, heard, ends } => self.read(lacking, heard, ends),
            Act::Ask { answers } => self.ask(answers),
            Act::Wait { milliseconds } => self.now += Duration::from_millis(milliseconds),
            Act::Forget { messages } => {
                let messages = messages.min(self.stream.len());
                self.stream.drain(..messages);
                self.first += messages as u64;
            }
            Act::Reconnect => self.reconnect(),
            Act::Lose { messages } => {
                let kept = self.stream.len() - messages.min(self.stream.len());
                for (lost, _) in self.stream.drain(kept..) {
                    self.old.retain(|old| old.stored_at != lost.stored_at);
                }
                self.reconnect();
            }
            Act::MakeAnew => {
                self.clock += 1;
                (self.created, self.first) = (StoredAt(self.clock), 1);
                self.stream.clear();
            }
        }
        self.follow();
    }

    fn publish(&mut self, node: u64, is_repeat: bool, is_lost: bool) {
        let number = &mut self.numbers[node as usize];
        *number += u64::from(!is_repeat);
        let number = *number;
        let mut entries = BytesMut::new();
        append_entry(Entry::RemoveHistory(RoomName::parse("room").expect("a name")), &mut entries);
        self.clock += 1;
        let bytes = seal(NodeId(node), number, &entries);
        let stored = Stored { sequence: self.last() + 1, stored_at: StoredAt(self.clock), bytes };
        self.stream.push_back((stored.clone(), (node, number)));
        if !is_lost {
            self.old.push(stored.clone());
            self.on_the_way.push_back(stored);
        }
    }

    fn read(&mut self, lacking: u64, heard: usize, ends: bool) {
        let Some(read) = self.following.read(self.now) else { return };
        let has = |sequence| sequence >= read.from && sequence + lacking <= self.last();
        let found = self.stream.iter().map(|(stored, _)| stored).filter(|stored| has(stored.sequence));
        let found: Vec<Stored> = found.take(heard.min(read.messages as usize)).cloned().collect();
        found.into_iter().for_each(|stored| self.following.take(stored, Source::Read, self.now));
        self.follow();
        if ends {
            self.following.read_ended(self.now);
        }
    }

    fn ask(&mut self, answers: bool) {
        let Some(question) = self.following.ask_leader(self.now) else { return };
        if !answers {
            return self.following.leader_failed(question.number, self.now);
        }
        let asked = question.sequence.and_then(|sequence| {
            self.stream.iter().find(|(stored, _)| stored.sequence == sequence).map(|(stored, _)| stored.stored_at)
        });
        let last_at = self.stream.back().map_or(StoredAt(0), |(stored, _)| stored.stored_at);
        let answer = Inspection { created: self.created, first: self.first, last: self.last(), last_at, asked };
        if let Verdict::Restarted(restart) = self.following.leader_answered(question.number, answer, 7, self.now) {
            assert_eq!(restart.horizon, self.following.reached());
            assert_eq!(restart.epoch, self.following.epoch());
            self.next = self.following.followed() + 1;
            assert_eq!(restart.horizon.0, offset(self.next, 0).0 - 1);
            self.followed.clear();
            if restart.cause != RestartCause::Hole {
                self.on_the_way.clear();
                self.highest = [0; 3];
            }
        }
    }

    fn reconnect(&mut self) {
        self.following.connected(self.now);
        self.on_the_way.clear();
    }

    /// Follows what can be followed: without a gap.
    fn follow(&mut self) {
        while let Some(next) = self.following.take_next() {
            assert_eq!(next.sequence, self.next);
            self.next += 1;
            let followed = match next.envelope.expect("an envelope") {
                Some(envelope) => {
                    let (node, number) = (envelope.node.0, envelope.number);
                    assert!(number > self.highest[node as usize], "{node} {number} comes again or too late");
                    self.highest[node as usize] = number;
                    Ok((node, number))
                }
                None => Err(self.highest),
            };
            self.followed.insert(next.sequence, followed);
        }
    }

    /// Nothing is lost from here on, and everybody answers.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.now += Duration::from_millis(100);
            self.ask(true);
            self.read(0, usize::MAX, true);
            self.follow();
        }
    }

    /// What was followed since the last restart is the stream.
    fn check(&self) {
        assert_eq!(self.following.followed(), self.last());
        assert!(self.following.has_caught_up());
        let begin = self.followed.keys().next().copied().unwrap_or(self.next);
        for (stored, name) in self.stream.iter().filter(|(stored, _)| stored.sequence >= begin) {
            match self.followed[&stored.sequence] {
                Ok(followed) => assert_eq!(followed, *name, "at {}", stored.sequence),
                Err(highest) => assert!(name.1 <= highest[name.0 as usize], "{name:?} is no repeat"),
            }
        }
    }
}

proptest! {
    #[test]
    fn what_was_followed_is_the_stream(acts in acts()) {
        let mut model = Model::new();
        model.ask(true);
        for act in &acts {
            model.act(act);
        }
        model.settle();
        model.check();
    }
}
