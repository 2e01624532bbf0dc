//! A node that publishes to a stream which loses what it is sent, stores it twice, refuses it or says nothing. Whatever
//! happens, the stream has the entries of the node in their order; each proposal has one outcome; and what has failed as
//! never sent is not in the stream.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use roomcast::backplane::entry::{Entry, Proposal, ProposalError};
use roomcast::backplane::envelope::{Envelope, NodeId};
use roomcast::backplane::publishing::{PublishStep, Publishing};
use roomcast::protocol::names::RoomName;

/// What may happen.
#[derive(Clone, Debug)]
enum Act {
    Propose,
    Wait {
        milliseconds: u64,
    },
    /// NATS stores what it was sent last, and says so or not.
    Store {
        says: bool,
    },
    Refuse,
    /// The node sees the next message of the stream.
    See,
    Disconnect,
    Connect,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        10 => Just(Act::Propose),
        4 => (0..1_500_u64).prop_map(|milliseconds| Act::Wait { milliseconds }),
        1 => (0..9_000_u64).prop_map(|milliseconds| Act::Wait { milliseconds }),
        6 => any::<bool>().prop_map(|says| Act::Store { says }),
        1 => Just(Act::Refuse),
        6 => Just(Act::See),
        1 => Just(Act::Disconnect),
        2 => Just(Act::Connect),
    ];
    prop::collection::vec(act, 0..150)
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Seen,
    Failed(ProposalError),
}

struct Model {
    publishing: Publishing,
    now: Instant,
    proposed: u64,
    outcomes: HashMap<u64, Outcome>,
    sent: Option<(u64, Envelope)>,
    stream: Vec<Envelope>,
    seen: usize,
}

impl Model {
    fn new() -> Self {
        let now = Instant::now();
        let publishing = Publishing::new(NodeId(1), 1_000, now);
        Self { publishing, now, proposed: 0, outcomes: HashMap::new(), sent: None, stream: Vec::new(), seen: 0 }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Propose if self.publishing.is_open(self.now) => self.propose(),
            Act::Propose => {}
            Act::Wait { milliseconds } => self.now += Duration::from_millis(milliseconds),
            Act::Store { says } => self.store(says),
            Act::Refuse => {
                let number = self.sent.as_ref().map(|(number, _)| *number);
                number.into_iter().for_each(|number| self.publishing.refused(number, self.now));
            }
            Act::See => self.see(),
            Act::Disconnect => self.publishing.disconnected(self.now),
            Act::Connect => self.publishing.connected(self.now),
        }
        self.step();
    }

    fn propose(&mut self) {
        self.proposed += 1;
        let number = self.proposed;
        let entry = Entry::RemoveHistory(RoomName::parse(&number.to_string()).expect("a name"));
        if let Err(error) = self.publishing.propose(Proposal { shard: 3, number, entry }, self.now) {
            self.end(number, Outcome::Failed(error));
        }
    }

    fn end(&mut self, number: u64, outcome: Outcome) {
        assert!(self.outcomes.insert(number, outcome).is_none(), "{number} has two outcomes");
    }

    fn store(&mut self, says: bool) {
        let Some((number, envelope)) = self.sent.clone() else { return };
        self.stream.push(envelope);
        if says {
            self.publishing.stored(number, self.now);
        }
    }

    /// As one who follows: repeats are none.
    fn see(&mut self) {
        let Some(envelope) = self.stream.get(self.seen) else { return };
        let is_repeat = self.stream[..self.seen].iter().any(|before| before.number == envelope.number);
        self.seen += 1;
        if is_repeat {
            return;
        }
        let rooms: Vec<u64> = envelope.entries.iter().map(number_of).collect();
        let proposals = self.publishing.seen(envelope.number);
        assert!(proposals.is_empty() || proposals.iter().map(|id| id.number).eq(rooms.iter().copied()));
        for id in proposals {
            assert_eq!(id.shard, 3);
            self.end(id.number, Outcome::Seen);
        }
    }

    fn step(&mut self) {
        loop {
            match self.publishing.step(self.now) {
                PublishStep::Send { number, bytes, is_repeat } => {
                    let envelope = Envelope::decode(bytes).expect("an envelope");
                    assert_eq!((envelope.node, envelope.number), (NodeId(1), number));
                    if is_repeat {
                        assert_eq!(self.sent, Some((number, envelope)), "repeats are the same");
                    } else {
                        let is_seen = |sent: &(u64, _)| self.stream[..self.seen].iter().any(|one| one.number == sent.0);
                        assert!(self.sent.as_ref().is_none_or(is_seen), "one envelope is in flight");
                        self.sent = Some((number, envelope));
                    }
                }
                PublishStep::Fail(proposals, error) => {
                    proposals.iter().for_each(|id| self.end(id.number, Outcome::Failed(error)));
                }
                PublishStep::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "it waits for what was");
                    return;
                }
            }
        }
    }

    /// NATS is well from here on.
    fn settle(&mut self) {
        self.act(&Act::Connect);
        for _ in 0..30 {
            for act in [Act::Store { says: true }, Act::See, Act::See, Act::Wait { milliseconds: 5 }] {
                self.act(&act);
            }
            while self.seen < self.stream.len() {
                self.act(&Act::See);
            }
        }
    }

    fn check(&self) {
        assert!(self.publishing.is_idle());
        assert_eq!(self.outcomes.len() as u64, self.proposed, "each proposal has an outcome");
        let mut numbers = HashSet::new();
        let first = self.stream.iter().filter(|envelope| numbers.insert(envelope.number));
        let rooms = first.flat_map(|envelope| &envelope.entries).map(number_of);
        let order: Vec<u64> = rooms.collect();
        assert!(order.is_sorted_by(|one, next| one < next), "{order:?}");
        for (number, outcome) in &self.outcomes {
            match outcome {
                Outcome::Seen => assert!(order.contains(number)),
                Outcome::Failed(ProposalError::Unavailable) => assert!(!order.contains(number), "{number} was sent"),
                Outcome::Failed(ProposalError::Unknown) => {}
            }
        }
    }
}

/// The number of the proposal, by which its room is called.
fn number_of(entry: &Entry) -> u64 {
    entry.room().as_str().parse().expect("a number")
}

proptest! {
    #[test]
    fn what_was_published_is_in_the_stream_in_its_order(acts in acts()) {
        let mut model = Model::new();
        for act in &acts {
            model.act(act);
        }
        model.settle();
        model.check();
    }
}
