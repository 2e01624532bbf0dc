//! The figures of the dashboard as plain values: what the counters said once a second, what lies between two of these
//! moments, and a verdict on it. Reads no clock and no counter itself; the server samples, and HTTP encodes.

mod figures;
mod lately;
mod phrases;
mod samples;
mod verdict;

use strum::VariantArray;

use crate::metrics::BucketCounts;
use crate::protocol::dialect::Transport;
use crate::protocol::disconnect::Disconnect;

pub use figures::{BusyRoom, Recorder, Stats, TopRooms};
pub use samples::SAMPLES_MAX;
pub use verdict::{Level, Verdict};

/// The sums of all counters of a server at one moment.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Clients that are connected, by [`Transport`].
    pub clients: [u64; Transport::VARIANTS.len()],
    /// Clients that are connected, by worker.
    pub clients_by_worker: Vec<u64>,
    /// HTTP connections that are open and are no clients.
    pub http_connections: u64,
    /// Rooms that have members.
    pub rooms: u64,
    /// Publications.
    pub published: u64,
    /// Deliveries handed whole to the kernel.
    pub delivered: u64,
    /// Deliveries that will never be made.
    pub dropped: Dropped,
    /// Clients and requests that were turned away for want of a place.
    pub refused: Refused,
    /// Bytes that wait for clients; what two wait for counts twice.
    pub pending_bytes: u64,
    /// Memory in bytes of what waits for clients, which `outbox-budget` limits.
    pub held_bytes: u64,
    /// Memory in bytes of what rooms retain, which `history-budget` limits.
    pub history_bytes: u64,
    /// Clients that have ended, by [`Transport`] and [`Disconnect`].
    pub ended: [[u64; Disconnect::VARIANTS.len()]; Transport::VARIANTS.len()],
    /// The times from the read of a message to the write that completes it for a member.
    pub written: BucketCounts,
    /// Questions to the application that have had no answer.
    pub hooks: Unanswered,
    /// Log lines that were lost.
    pub log_lines_dropped: u64,
    /// When the certificate ends, in Unix seconds; 0 without TLS.
    pub certificate_not_after: u64,
    /// Requests for the figures of the dashboard.
    pub requests_for_figures: u64,
    /// How the node stands in its cluster; `None` where the server is alone.
    pub cluster: Option<ClusterFigures>,
}

/// How a node stands in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ClusterFigures {
    /// Nodes that were heard of lately, this one among them.
    pub nodes: u64,
    /// How it stands to the stream.
    pub state: ClusterState,
    /// Messages of the stream that it has not followed.
    pub lag_messages: u64,
    /// Seconds from the last message that it has followed to the last of the stream.
    pub lag_seconds: f64,
}

/// How a node stands to the stream of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterState {
    /// It follows.
    Following,
    /// It is behind.
    CatchingUp,
    /// NATS cannot be reached or stores nothing, and publishes are refused.
    Unavailable,
}

/// Deliveries that will never be made, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// The member was cut, since it was too slow.
    pub slow: u64,
    /// The member was slow, and was told of the gap.
    pub gap: u64,
    /// The member was gone or closing.
    pub gone: u64,
}

/// Clients and requests that were turned away for want of a place, by what was lacking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The connection limit was reached.
    pub full: u64,
    /// The address had too many clients, or connected too fast.
    pub address: u64,
    /// There was no file descriptor.
    pub descriptors: u64,
}

/// Questions to the application that have had no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// The answer was late, wrong or missing, or too many other questions were waiting.
    pub failed: u64,
    /// The application was not asked, after many failures.
    pub circuit_open: u64,
}

/// What does not change while the server runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The connection limit.
    pub clients_max: u64,
    /// Rooms that may have members at once.
    pub rooms_max: u64,
    /// Memory of all outboxes, in bytes.
    pub outbox_budget: u64,
    /// Memory of what all rooms retain, in bytes.
    pub history_budget: u64,
}

/// What is measured at one moment and counted nowhere.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// In milliseconds since 1970-01-01 UTC, by a clock that may jump.
    pub unix_millis: u64,
    /// In seconds since the server started.
    pub uptime: u64,
    /// Seconds since the moment before.
    pub seconds: f64,
    /// The share of that time in which the thread of each worker worked, from 0 to 1; empty where it is unknown.
    pub loads: Vec<f64>,
    /// Memory that the process occupies, in bytes; 0 where it is unknown.
    pub memory_bytes: u64,
    /// The server is stopping, or says that it will.
    pub is_draining: bool,
}

impl Totals {
    /// Clients that are connected.
    pub fn clients(&self) -> u64 {
        self.clients.iter().sum()
    }

    /// Clients that have been cut, since they were too slow.
    fn cut(&self) -> u64 {
        self.ended.iter().map(|reasons| reasons[Disconnect::SlowConsumer as usize]).sum()
    }
}

impl Refused {
    fn sum(self) -> u64 {
        self.full + self.address + self.descriptors
    }
}

/// Rounds to that many digits behind the point, so that JSON is not filled with digits that mean nothing.
fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}
