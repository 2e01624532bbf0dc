//! The messages between the coordinator and its worker processes: one line of JSON each. Data only.

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::comebacks::Comebacks;
use crate::latency::HistogramCounts;
use crate::reasons::Reasons;
use crate::room_order::RoomOrder;

/// A command to a worker process. The end of its input tells it to exit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerCommand {
    /// Start the load at this time.
    Start(Nanos),
    /// Stop publishing.
    Stop,
    /// Wait for the deliveries that are still on their way. Carries the number of messages published in each room that
    /// is split over several processes.
    Drain(Vec<(u32, u32)>),
    /// In all processes, the clients that were cut are back since this time.
    AllBack(Nanos),
}

/// An event from a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerEvent {
    /// Progress since the last report.
    Progress(Progress),
    /// Every client has joined or failed.
    Ready(ConnectResult),
    /// Publishing has ended. Carries the number of messages published in each room that is split over several
    /// processes.
    Published(Vec<(u32, u32)>),
    /// The clients of this process that were cut are back since this time, and none is still to be cut.
    AllBack(Nanos),
    /// Every delivery has arrived or counts as lost.
    Result(Box<WorkerResult>),
    /// The worker cannot continue.
    Failed(String),
}

/// Progress since the last report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Clients in their rooms now.
    pub clients: u32,
    /// Deliveries received since the last report.
    pub deliveries: u64,
    /// Time since the last report.
    pub over: Duration,
    /// Latencies of the measured deliveries since the last report.
    pub latencies: HistogramCounts,
}

/// The result of connecting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectResult {
    /// Clients that joined their rooms.
    pub connected: u32,
    /// Clients that failed, by reason.
    pub failed: Reasons,
    /// When the first client began to connect.
    pub began: Nanos,
    /// When the last client joined or failed.
    pub ended: Nanos,
    /// Time from each connect to the answer to its join.
    pub latencies: HistogramCounts,
}

/// The result of one worker process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerResult {
    pub tally: Tally,
    /// Disconnects by reason.
    pub disconnected: Reasons,
    /// Refused commands by reason.
    pub refused: Reasons,
    /// Time from the first to the last delivery of each measured message, in rooms that are not split.
    pub spreads: HistogramCounts,
    /// How late each message was sent.
    pub lags: HistogramCounts,
    /// Time from when a measured message was due until the answer to its publish, where publishes are answered.
    pub answers: HistogramCounts,
    /// Time from when a message was due until its sender lost its connection, for messages that nobody received.
    pub unaccepted: HistogramCounts,
    /// Clients that lost their connection and came back; `None` if none was to come back.
    pub reconnects: Option<ReconnectResult>,
    /// Message orders observed in rooms that are split over several processes.
    pub room_orders: Vec<(u32, RoomOrder)>,
    /// Processor time of the worker during the load.
    pub processor_nanos: u64,
    /// Fraction of a core that the worker used while messages were sent.
    pub busy: f64,
}

/// Counters of one group of rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Messages handed to the target.
    pub published: u64,
    /// Messages that the kernel did not accept at once.
    pub blocked: u64,
    /// Publishes that the target refused because it could not take any at the moment.
    pub unavailable: u64,
    /// Messages that nobody received and of which the sender lost its connection first.
    pub unaccepted: u64,
    /// Messages that stand in the order of a room behind a later one of the same connection.
    pub overtaken: u64,
    /// Messages that were due while no client was ready to publish them.
    pub unsaid: u64,
    /// Joins, leaves and publishes that were never answered.
    pub unanswered: u64,
    /// Deliveries received, without duplicates.
    pub received: u64,
    /// Deliveries received within the measured time.
    pub received_in_time: u64,
    /// Deliveries that never arrived.
    pub lost: u64,
    /// Deliveries that arrived again.
    pub duplicated: u64,
    /// Deliveries in a different order than another member received them. They count as received too.
    pub reordered: u64,
    /// Deliveries for another room, or after leaving.
    pub stray: u64,
    /// Deliveries with a changed length or intended time.
    pub damaged: u64,
    /// Reads that returned data.
    pub reads: u64,
    /// Bytes received from the sockets during the load; over TLS, sealed ones.
    pub bytes: u64,
    /// Joins and leaves during the load.
    pub churned: u64,
    /// Clients that stopped reading on purpose.
    pub stalled: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.blocked += other.blocked;
        self.unavailable += other.unavailable;
        self.unaccepted += other.unaccepted;
        self.overtaken += other.overtaken;
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
        self.bytes += other.bytes;
        self.churned += other.churned;
        self.stalled += other.stalled;
    }
}

/// Clients of one worker that lost their connection, and how they came back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReconnectResult {
    pub counts: ReconnectCounts,
    /// Why the server disconnected clients that then came back or tried to.
    pub disconnected: Reasons,
    /// Why clients did not come back.
    pub failed: Reasons,
    /// When the first client was due to reconnect and when the last one was back.
    pub returned: Option<(Nanos, Nanos)>,
    /// Time from when a client was due to reconnect until it had everything that it had missed or was told of a gap.
    pub times: HistogramCounts,
    /// The same time from when the client began to connect.
    pub connects: HistogramCounts,
    /// When connections ended and when clients were back.
    pub comebacks: Comebacks,
    /// Latencies in rooms without cut clients, of messages due before the first cut.
    pub beside_before: HistogramCounts,
    /// Latencies in the same rooms, of messages due from the first reconnect until all clients were back, in all
    /// processes.
    pub beside_during: HistogramCounts,
}

/// Counters of clients that lost their connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconnectCounts {
    /// Clients that were cut on purpose.
    pub cut: u64,
    /// Connections that the server ended and whose clients were to come back.
    pub disconnected: u64,
    /// Returns to another target than before.
    pub moved: u64,
    /// Clients that came back and received everything that they had missed.
    pub recovered: u64,
    /// Clients that came back and were told of a gap.
    pub told: u64,
    /// Clients that came back, were not told of a gap, and did not receive everything that they had missed.
    pub deceived: u64,
    /// Clients that had not come back at the end.
    pub away: u64,
    /// Missed messages that were replayed.
    pub replayed: u64,
    /// Duplicates that clients received after they came back.
    pub doubled: u64,
    /// Lost deliveries of missed messages that the server has neither replayed nor told as a gap.
    pub untold: u64,
    /// Clients that came back and resumed their TLS session.
    pub tls_resumed: u64,
}

impl ReconnectCounts {
    /// Counts the untold messages of one client that came back.
    pub fn add_untold(&mut self, messages: u64) {
        self.untold += messages;
        self.deceived += u64::from(messages > 0);
    }
}

impl AddAssign for ReconnectCounts {
    fn add_assign(&mut self, other: Self) {
        self.cut += other.cut;
        self.disconnected += other.disconnected;
        self.moved += other.moved;
        self.recovered += other.recovered;
        self.told += other.told;
        self.deceived += other.deceived;
        self.away += other.away;
        self.replayed += other.replayed;
        self.doubled += other.doubled;
        self.untold += other.untold;
        self.tls_resumed += other.tls_resumed;
    }
}
