//! What the coordinator of an overload and its processes tell each other: a line of JSON each. Data only.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::order::Compared;
use crate::clock::Nanos;
use crate::latency::Counts;
use crate::messages::Reasons;
use crate::target::Target;

/// What one process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its clients.
    pub groups: Vec<Group>,
    /// How many of its clients, the last of them, come only when it is told to open.
    pub late: u32,
    /// Whether the system should let it run before all others.
    pub is_prompt: bool,
    /// Bytes of a message.
    pub size: usize,
    /// Messages that each speaker says.
    pub messages: u32,
    /// The number of its first speaker among those of all processes.
    pub first_speaker: u32,
    /// Messages of all speakers.
    pub expected: u32,
    /// Clients of the processes before, for the choice of a source address.
    pub clients_before: u32,
    /// So long it waits for the next client to come in, and for answers at the end.
    pub patience: Duration,
}

/// Clients that do the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// What they do.
    pub role: Role,
    /// Where they connect.
    pub target: Target,
    /// How many.
    pub clients: u32,
    /// Which room they join; none if they join none.
    pub room: Option<String>,
}

/// What a client does besides reading everything that it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Says its messages when the load begins.
    Speaker,
    /// Records every message.
    Watcher,
    /// Says messages as fast as its socket takes them.
    Flooder,
    /// Nothing.
    Member,
    /// Asks `PING` once a second, in another room than the flooded one.
    Elsewhere,
    /// Asks `PING` once a second, in no room.
    Nowhere,
    /// Asks `PING` once a second in the flooded room, and checks the order of its messages.
    Inside,
    /// Answers the server's pings.
    Quiet,
    /// Connects while the load goes on, waits for the greeting and goes. As many a second as there are clients.
    Newcomer,
}

impl Role {
    /// Whether it asks `PING`.
    pub fn asks(self) -> bool {
        matches!(self, Self::Elsewhere | Self::Nowhere | Self::Inside)
    }
}

/// What a process is told. The end of its input tells it to go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    /// Those who come late may.
    Open,
    /// The load begins at this time.
    Start(Nanos),
    /// It is over, and nothing has moved since this time: answers may still come, and then the outcome is wanted.
    Finish(Nanos),
}

/// What a process tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Word {
    /// All clients are in, or never will be.
    Ready(Ready),
    /// How far it is.
    Progress(Progress),
    /// All that it has found.
    Outcome(Box<Outcome>),
    /// It cannot go on.
    Failed(String),
}

/// How connecting went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ready {
    /// Clients that are in.
    pub connected: u32,
    /// The others, by reason.
    pub failed: Reasons,
    /// What the system gave to a process that should run before all others.
    pub priority: Option<String>,
}

/// How far a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Deliveries to all its clients.
    pub deliveries: u64,
    /// Clients that were cut.
    pub cut: u32,
    /// Watchers that have heard everything, or were cut.
    pub watchers_settled: u32,
    /// Watchers that were cut.
    pub watchers_cut: u32,
}

/// What a process has found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// By role.
    pub roles: BTreeMap<Role, OfRole>,
    /// Messages handed whole to the kernel.
    pub said: u64,
    /// Speakers that were cut.
    pub speakers_cut: Vec<u32>,
    /// What each watcher has heard.
    pub watchers: Vec<Watched>,
    /// Messages that no watcher has heard.
    pub unheard: Vec<u32>,
}

/// What clients of one role have met.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OfRole {
    /// Clients that were in.
    pub clients: u32,
    /// Messages that they were sent.
    pub deliveries: u64,
    /// Those that were cut, by reason.
    pub cut: Reasons,
    /// Those cut without having heard a ping of the server.
    pub cut_without_ping: u32,
    /// Pings of the server that they have answered.
    pub pings: u64,
    /// How long answers or greetings took.
    pub waits: Counts,
    /// Answers or greetings that had not come when patience was over; those of clients that were not cut count among the waits too.
    pub unanswered: u64,
    /// Messages that did not follow the one before.
    pub disordered: u64,
    /// What they were refused.
    pub refused: Reasons,
}

/// What a watcher has met.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Watched {
    /// Its messages, compared with the others'.
    pub compared: Compared,
    /// Messages that nobody has said like this.
    pub strange: u64,
    /// Its longest time without a message, from the beginning of the burst until it had all or was cut.
    pub silence: Duration,
    /// Why it was cut.
    pub cut: Option<String>,
}
