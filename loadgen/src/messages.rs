//! What the coordinator and its workers tell each other: a line of JSON each, orders down, news up. Data only.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::latency::Counts;
use crate::record::Record;

/// How often each reason was given.
pub type Reasons = BTreeMap<String, u64>;

/// What a worker is told. The end of its input tells it to go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// The load begins at this time.
    Start(Nanos),
    /// Nothing more is to be published.
    Stop,
    /// So many messages were published in rooms that lie in several processes; now all that is on its way may come.
    Drain(Vec<(u32, u32)>),
}

/// What a worker tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum News {
    /// What has happened since the last one.
    Progress(Progress),
    /// All clients are in their rooms, or never will be.
    Ready(Connects),
    /// Everything is published; so much of it in rooms that lie in several processes.
    Published(Vec<(u32, u32)>),
    /// Everything has come, or never will.
    Outcome(Box<Outcome>),
    /// It cannot go on.
    Failed(String),
}

/// What has happened since the last one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Clients in their rooms now.
    pub clients: u32,
    /// Copies received.
    pub deliveries: u64,
    /// The time in which they were: since the report before.
    pub over: Duration,
    /// Their latencies, of those that are measured.
    pub latencies: Counts,
}

/// How connecting went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connects {
    /// Clients in their rooms.
    pub connected: u32,
    /// Those that are not, by reason.
    pub failed: Reasons,
    /// From the first connect.
    pub began: Nanos,
    /// To the last answer.
    pub ended: Nanos,
    /// From each connect to the answer to its join.
    pub latencies: Counts,
}

/// What came of the load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What was counted.
    pub tally: Tally,
    /// Disconnects by reason.
    pub disconnected: Reasons,
    /// What the target did not accept, by reason.
    pub refused: Reasons,
    /// From the first to the last receipt of each message, of those that are measured, in rooms that lie here whole.
    pub spreads: Counts,
    /// By how much each message was sent late.
    pub lags: Counts,
    /// Rooms that lie in several processes.
    pub records: Vec<(u32, Record)>,
    /// The worker's processor time from the start of the load to its end.
    pub processor_nanos: u64,
    /// The share of a core it used while messages were sent.
    pub busy: f64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Messages handed to the target.
    pub published: u64,
    /// Messages that the kernel did not take at once.
    pub blocked: u64,
    /// Messages that were due and could not be said: nobody was there to say them.
    pub unsaid: u64,
    /// Joins and leaves that were never answered.
    pub unanswered: u64,
    /// Copies received, each once.
    pub received: u64,
    /// The same, within the measured time.
    pub received_in_time: u64,
    /// Copies that never came.
    pub lost: u64,
    /// Copies that came again.
    pub duplicated: u64,
    /// Copies that came in another order than to other members; they are received too.
    pub reordered: u64,
    /// Copies of messages for another room, or after leaving.
    pub stray: u64,
    /// Messages of ours that were changed on their way.
    pub damaged: u64,
    /// Reads that brought something.
    pub reads: u64,
    /// Joins and leaves during the load.
    pub churned: u64,
    /// Clients that stopped reading.
    pub stalled: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.blocked += other.blocked;
        self.unsaid += other.unsaid;
        self.unanswered += other.unanswered;
        self.received += other.received;
        self.received_in_time += other.received_in_time;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.stray += other.stray;
        self.damaged += other.damaged;
        self.reads += other.reads;
        self.churned += other.churned;
        self.stalled += other.stalled;
    }
}

/// A target may say what it likes; so much of it is kept.
const REASON_CHARACTERS_MAX: usize = 100;

/// So many different reasons are told apart; what comes after is one of `OTHER_REASONS`.
const REASONS_MAX: usize = 20;

const OTHER_REASONS: &str = "other reasons";

/// Counts a reason.
pub fn add_reason(all: &mut Reasons, reason: String) {
    let shown = reason.chars().filter(|character| !character.is_control()).take(REASON_CHARACTERS_MAX).collect();
    let is_known = all.contains_key::<String>(&shown) || all.len() < REASONS_MAX;
    *all.entry(if is_known { shown } else { OTHER_REASONS.to_owned() }).or_default() += 1;
}

/// Adds reasons to reasons.
pub fn add_reasons(all: &mut Reasons, others: &Reasons) {
    for (reason, count) in others {
        *all.entry(reason.clone()).or_default() += count;
    }
}
