//! The report of a load: everything that is printed, written as JSON or drawn. Data only.

pub mod chart;
mod comebacks;
pub mod html;
pub mod table;

use serde::Serialize;

use crate::latency::Quantiles;
use crate::messages::{ReconnectCounts, Tally};
use crate::reasons::Reasons;
use crate::workload::Workload;
pub use comebacks::ComebackReport;

/// Maximum p99 of the schedule lag in milliseconds. Beyond it the load measured the generator.
pub const LAG_MAX: f64 = 1.0;

/// Maximum fraction of a core that a worker may use. Beyond it the load measured the generator.
pub const BUSY_MAX: f64 = 0.8;

/// What Roomcast answers when it is full, on either transport.
const FULL: [&str; 2] = ["too-many-connections", "503 Service Unavailable"];

/// The report of one load.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The command line.
    pub command: String,
    /// Version of `loadgen`.
    pub version: String,
    /// When the load began, in RFC 3339.
    pub began: String,
    pub host: Host,
    pub targets: Vec<String>,
    /// The load that was run.
    #[serde(rename = "plan")]
    pub workload: Workload,
    pub connects: ConnectReport,
    /// The ordinary rooms.
    pub rooms: GroupReport,
    /// The giant room.
    pub giant: Option<GroupReport>,
    /// The server's resources, if it runs on this host.
    pub server: Option<ServerReport>,
    /// The generator's resources.
    pub generator: GeneratorReport,
    /// Samples at regular intervals.
    pub timeline: Vec<Sample>,
    /// Whether Ctrl-C stopped the load.
    pub interrupted: bool,
    /// Why the load failed; empty if it passed.
    pub faults: Vec<String>,
}

/// The machine on which the load ran.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Name of the processor.
    pub processor: String,
    /// Number of cores.
    pub cores: usize,
    /// Version of the Linux kernel.
    pub kernel: String,
}

/// The result of connecting.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConnectReport {
    /// Clients that were to connect.
    pub clients: u32,
    /// Clients that joined their rooms.
    pub connected: u32,
    /// Clients that failed, by reason.
    pub failed: Reasons,
    /// Seconds from the first connect to the last answer.
    pub seconds: f64,
    /// Time from each connect to the answer to its join.
    pub latency: Quantiles,
}

/// The result of one group of rooms.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GroupReport {
    /// Number of rooms.
    pub rooms: u32,
    /// Number of members over all rooms.
    pub members: u32,
    /// Messages per second that were due; `None` in a closed load.
    pub offered: Option<f64>,
    /// Messages per second that were sent.
    pub achieved: f64,
    /// Deliveries per second within the measured time.
    pub deliveries: f64,
    /// Expected deliveries: those received and those lost.
    pub expected: u64,
    pub tally: Tally,
    pub disconnected: Reasons,
    /// Refused commands by reason.
    pub refused: Reasons,
    /// Clients that were cut and came back; `None` if none was to be cut.
    pub reconnects: Option<ReconnectReport>,
    /// Time from the intended time of a message to each delivery.
    pub latency: Quantiles,
    /// The latency distribution: fraction of deliveries, milliseconds.
    pub curve: Vec<(f64, f64)>,
    /// Time from the first to the last delivery of each message.
    pub spread: Quantiles,
    /// Time from the intended time of a message to the answer to its publish; empty where publishes are not answered.
    pub answers: Quantiles,
    /// Time from when a message was due until its sender lost its connection, for messages that nobody received.
    pub unaccepted: Quantiles,
}

/// Clients that lost their connection during the load, and how they came back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReconnectReport {
    #[serde(flatten)]
    pub counts: ReconnectCounts,
    /// Why the server disconnected clients that then came back or tried to.
    #[serde(rename = "reasons")]
    pub disconnected: Reasons,
    /// Why clients did not come back.
    pub failed: Reasons,
    /// Seconds from when the first client was due to reconnect until the last one was back; `None` if some were not.
    pub all_back_seconds: Option<f64>,
    /// Time from when a client was due to reconnect until it had everything that it had missed or was told of a gap.
    pub times: Quantiles,
    /// The same time from when the client began to connect: that of the attempt that succeeded.
    pub connects: Quantiles,
    /// When connections ended and when their clients were back.
    pub comebacks: ComebackReport,
    /// Latency in rooms without cut clients, of messages due before the first cut.
    pub beside_before: Quantiles,
    /// Latency in the same rooms, of messages due from the first reconnect until all clients were back.
    pub beside_during: Quantiles,
    /// The p99 of `beside_during` over that of `beside_before`; `None` if either has no delivery.
    pub beside_ratio: Option<f64>,
}

/// Resources of the server process.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    pub process_id: i32,
    /// Processor time during the load per delivery, in nanoseconds.
    pub nanos_per_delivery: f64,
    /// Processor time during the load in cores.
    pub cores: f64,
    /// Anonymous memory gained while clients connected, per client.
    pub bytes_per_client: f64,
    /// Anonymous memory with all clients connected.
    pub bytes: u64,
    /// Anonymous memory before any client of any load connected.
    pub bytes_before: u64,
    /// Whether no earlier load on this process is known.
    pub is_fresh: bool,
    /// Voluntary context switches per delivery.
    pub voluntary_switches_per_delivery: f64,
    /// Involuntary context switches per delivery.
    pub involuntary_switches_per_delivery: f64,
}

/// Resources of the generator.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratorReport {
    /// Number of worker processes.
    pub processes: usize,
    /// Processor time during the load per delivery, in nanoseconds.
    pub nanos_per_delivery: f64,
    /// Largest fraction of a core that a worker used while it sent.
    pub busy: f64,
    /// Deliveries per read, which shows how many the target merged.
    pub deliveries_per_read: f64,
    /// Bytes received from the sockets during the load per delivery: compressed and sealed, with headers, replies and
    /// pings.
    pub bytes_per_delivery: f64,
    /// How late messages were sent.
    pub lag: Quantiles,
    /// Why the generator rather than the server limited the load; `None` if it did not.
    pub limited: Option<String>,
}

/// One sample of the timeline.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since the first connect.
    pub seconds: f64,
    /// Clients in their rooms.
    pub clients: u32,
    /// Deliveries per second.
    pub deliveries: f64,
    /// Median latency in milliseconds since the previous sample; `None` without a delivery.
    pub p50: Option<f64>,
    /// The 99th percentile of the same deliveries.
    pub p99: Option<f64>,
}

impl Report {
    /// The faults of the load, as text.
    pub fn find_faults(&self) -> Vec<String> {
        let ConnectReport { clients, connected, failed, .. } = &self.connects;
        let mut faults = Vec::new();
        if connected < clients && !self.interrupted {
            let fault =
                format!("{} of {clients} clients did not get in: {}", clients - connected, format_reasons(failed));
            faults.push(fault + self.connects.hint());
        }
        for group in [Some(&self.rooms), self.giant.as_ref()].into_iter().flatten() {
            faults.extend(group.find_faults());
            if group.latency.count == 0 && !self.interrupted {
                faults.push("no delivery was measured: a longer --duration or a higher --rate brings some".to_owned());
            }
        }
        faults
    }

    /// What passed, in words that fit the gaps that clients were told of.
    pub fn passed(&self) -> &'static str {
        match &self.rooms.reconnects {
            Some(reconnects) if reconnects.counts.told > 0 => "once and in one order, but for the gaps that were told",
            _ => "once and in one order",
        }
    }

    /// Deliveries received over all groups.
    pub fn received(&self) -> u64 {
        self.rooms.tally.received + self.giant.as_ref().map_or(0, |giant| giant.tally.received)
    }
}

impl ConnectReport {
    /// Whether the server refused clients because it is full.
    pub fn is_full(&self) -> bool {
        self.failed.keys().any(|reason| FULL.iter().any(|words| reason.contains(words)))
    }

    /// Advice for a server that is full.
    fn hint(&self) -> &'static str {
        if self.is_full() {
            "; the server is full: it holds more with --descriptor-tables per-worker and more --workers"
        } else {
            ""
        }
    }
}

impl GroupReport {
    fn find_faults(&self) -> Vec<String> {
        // A server that has disconnected all members of a room could not have let them publish.
        let are_gone = self.reconnects.as_ref().is_some_and(|reconnects| reconnects.counts.disconnected > 0);
        let Tally { lost, duplicated, reordered, overtaken, stray, damaged, unsaid, unanswered, .. } = self.tally;
        let of = format!("of {} deliveries", self.expected);
        let counted = [
            (lost, format!("{of} lost")),
            (duplicated, format!("{of} duplicated")),
            (reordered, format!("{of} reordered")),
            (overtaken, "messages that a later one of the same connection has overtaken".to_owned()),
            (stray, format!("{of} in a room where they do not belong")),
            (damaged, format!("{of} damaged")),
            (if are_gone { 0 } else { unsaid }, "messages that no client was there to publish".to_owned()),
            (unanswered, "joins, leaves or publishes that were never answered".to_owned()),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut faults: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        for (what, reasons) in [("disconnects", &self.disconnected), ("refusals", &self.refused)] {
            if !reasons.is_empty() {
                faults.push(format!("{} {what}: {}", reasons.values().sum::<u64>(), format_reasons(reasons)));
            }
        }
        faults.extend(self.reconnects.iter().flat_map(ReconnectReport::find_faults));
        faults
    }
}

impl ReconnectReport {
    fn find_faults(&self) -> Vec<String> {
        let ReconnectCounts { cut, disconnected, away, untold, doubled, .. } = self.counts;
        let gone = cut + disconnected;
        let counted = [
            (untold, "of the lost deliveries untold: neither replayed nor told as a gap".to_owned()),
            (doubled, "of the duplicates for clients that had come back".to_owned()),
            (away, format!("of {gone} clients did not come back: {}", self.reasons_to_stay_away())),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        counted.map(|(count, what)| format!("{count} {what}")).collect()
    }

    fn reasons_to_stay_away(&self) -> String {
        if self.failed.is_empty() { "no answer".to_owned() } else { format_reasons(&self.failed) }
    }
}

impl GeneratorReport {
    /// Why the generator limited the load, given the lag of the group that lagged most.
    pub fn find_faults(&self, worst_lag: &Quantiles) -> Option<String> {
        if worst_lag.p99 > LAG_MAX {
            return Some(format!("1 message in 100 was sent {:.1} ms late or more", worst_lag.p99));
        }
        (self.busy > BUSY_MAX).then(|| format!("it used {:.0} % of a core", self.busy * 100.0))
    }
}

/// Formats reasons with their counts, the most frequent first.
pub fn format_reasons(reasons: &Reasons) -> String {
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<_> = reasons.into_iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    words.join(", ")
}
