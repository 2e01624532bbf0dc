//! The messages between the coordinator of an overload and its worker processes: one line of JSON each. Data only.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::order::OrderCheck;
use crate::clock::Nanos;
use crate::latency::HistogramCounts;
use crate::reasons::{Reasons, add_reasons};
use crate::target::Target;
use crate::tls::TlsSettings;

/// What one worker process has to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Assignment {
    pub groups: Vec<ClientGroup>,
    /// Number of clients, the last ones, that connect only after [`WorkerCommand::Open`].
    pub late: u32,
    /// Whether the process asks for the best scheduling priority.
    pub high_priority: bool,
    pub size: usize,
    /// Messages of each speaker.
    pub messages: u32,
    /// Number of the first speaker in this process, counted over all processes.
    pub first_speaker: u32,
    /// Messages of all speakers.
    pub expected: u32,
    /// Clients in earlier processes, to choose source addresses.
    pub clients_before: u32,
    /// Maximum time without progress while connecting, and to wait for answers at the end.
    pub patience: Duration,
    /// Trust of targets over TLS.
    pub tls: TlsSettings,
}

/// Clients with the same role, target and room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientGroup {
    pub role: Role,
    pub target: Target,
    /// Number of clients.
    pub clients: u32,
    /// The room to join, if any.
    pub room: Option<String>,
}

/// What a client does besides reading everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Publishes its messages when the load begins.
    Speaker,
    /// Records every message.
    Watcher,
    /// Publishes as fast as its socket accepts.
    Flooder,
    /// Only reads.
    Member,
    /// Sends `PING` once a second, in another room than the flooded one.
    Elsewhere,
    /// Sends `PING` once a second, in no room.
    Nowhere,
    /// Sends `PING` once a second in the flooded room, and checks the order of messages.
    Inside,
    /// Only answers the server's pings.
    Quiet,
    /// Connects during the load, waits for the greeting and disconnects. The number of clients is the rate per second.
    Newcomer,
}

impl Role {
    /// Whether the role sends `PING`.
    pub fn sends_pings(self) -> bool {
        matches!(self, Self::Elsewhere | Self::Nowhere | Self::Inside)
    }
}

/// A command to a worker process. The end of its input tells it to exit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerCommand {
    /// Let the late clients connect.
    Open,
    /// Start the load at this time.
    Start(Nanos),
    /// End the load and send the result once outstanding answers have arrived. Nothing has happened since this time.
    Finish(Nanos),
}

/// An event from a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerEvent {
    /// Every client has joined or failed.
    Ready(Ready),
    Progress(Progress),
    /// The result of the load.
    Result(Box<WorkerResult>),
    /// The worker cannot continue.
    Failed(String),
}

/// The result of connecting.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ready {
    /// Clients that joined.
    pub connected: u32,
    /// Clients that failed, by reason.
    pub failed: Reasons,
    /// The scheduling priority that the system gave, if the process asked for one.
    pub priority: Option<String>,
}

/// The progress of a process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Deliveries to all its clients.
    pub deliveries: u64,
    /// Clients that were disconnected.
    pub cut: u32,
    /// Watchers that received everything or were disconnected.
    pub watchers_settled: u32,
    /// Watchers that were disconnected.
    pub watchers_cut: u32,
}

/// The result of one worker process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerResult {
    pub roles: BTreeMap<Role, RoleResult>,
    /// Messages handed to the kernel.
    pub said: u64,
    /// Numbers of the speakers that were disconnected.
    pub speakers_cut: Vec<u32>,
    /// The result of each watcher.
    pub watchers: Vec<WatcherResult>,
    /// Messages that no watcher received.
    pub unheard: Vec<u32>,
}

/// The result of all clients with one role in one process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RoleResult {
    pub counts: RoleCounts,
    /// Waiting times for answers or greetings.
    pub waits: HistogramCounts,
}

/// What is counted for all clients with one role.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RoleCounts {
    /// Clients that joined.
    pub clients: u32,
    /// Messages received.
    pub deliveries: u64,
    /// Disconnected clients by reason.
    pub cut: Reasons,
    /// Clients disconnected without having received a ping.
    pub cut_without_ping: u32,
    /// Pings answered.
    pub pings: u64,
    /// Answers or greetings that had not arrived when the patience was over. Those of connected clients are also among
    /// the waiting times.
    pub unanswered: u64,
    /// Messages that do not follow the one before, or are damaged.
    pub disordered: u64,
    /// Refused commands by reason.
    pub refused: Reasons,
}

impl RoleCounts {
    /// Adds the counts of another process.
    pub fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.deliveries += other.deliveries;
        self.cut_without_ping += other.cut_without_ping;
        self.pings += other.pings;
        self.unanswered += other.unanswered;
        self.disordered += other.disordered;
        add_reasons(&mut self.cut, &other.cut);
        add_reasons(&mut self.refused, &other.refused);
    }
}

/// The result of one watcher.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WatcherResult {
    /// Its messages compared with the common order.
    pub compared: OrderCheck,
    /// Messages that differ from every published one.
    pub strange: u64,
    /// Longest time without a message, from the burst until it had received everything or was disconnected.
    pub silence: Duration,
    /// Why it was disconnected.
    pub cut: Option<String>,
}
