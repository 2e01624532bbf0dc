//! What came of a load, judged: everything that is printed, written as JSON or drawn. Data only; knows no terminal.

pub mod chart;
pub mod html;
pub mod table;

use serde::Serialize;

use crate::latency::Quantiles;
use crate::messages::{Reasons, Tally};
use crate::plan::Plan;

/// A generator that sent later than this, one message in a hundred, measured itself. In milliseconds.
pub const LAG_MAX: f64 = 1.0;

/// A generator that used more of a core, which it shares, measured itself.
pub const BUSY_MAX: f64 = 0.8;

/// What Roomcast says when it is full, on either transport.
const FULL: [&str; 2] = ["too-many-connections", "503 Service Unavailable"];

/// One load, from its first connect to its last delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// As it was typed.
    pub command: String,
    /// Of `loadgen`.
    pub version: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// Where it ran.
    pub host: Host,
    /// What was under load.
    pub targets: Vec<String>,
    /// What was asked for.
    pub plan: Plan,
    /// How connecting went.
    pub connects: ConnectReport,
    /// The rooms of the load.
    pub rooms: GroupReport,
    /// The giant.
    pub giant: Option<GroupReport>,
    /// The server's side, if it runs here.
    pub server: Option<ServerReport>,
    /// The generator's side.
    pub generator: GeneratorReport,
    /// A moment each quarter of a second.
    pub timeline: Vec<Moment>,
    /// Whether somebody stopped it.
    pub interrupted: bool,
    /// Why it failed; empty if all is well.
    pub faults: Vec<String>,
}

/// Where it ran.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// The processor's name.
    pub processor: String,
    /// How many cores.
    pub cores: usize,
    /// Of Linux.
    pub kernel: String,
}

/// How connecting went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConnectReport {
    /// Clients that were to connect.
    pub clients: u32,
    /// Clients that were in their rooms.
    pub connected: u32,
    /// The others, by reason.
    pub failed: Reasons,
    /// From the first connect to the last answer.
    pub seconds: f64,
    /// From each connect to the answer to its join.
    pub latency: Quantiles,
}

/// What came of one group of rooms.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GroupReport {
    /// How many rooms.
    pub rooms: u32,
    /// How many members in all.
    pub members: u32,
    /// Messages a second that were due; `None` in a closed load.
    pub offered: Option<f64>,
    /// Messages a second that were sent.
    pub achieved: f64,
    /// Deliveries a second, within the measured time.
    pub deliveries: f64,
    /// Copies that were to come: those received and those lost.
    pub expected: u64,
    /// Everything counted.
    pub tally: Tally,
    /// Disconnects by reason.
    pub disconnected: Reasons,
    /// What the target did not accept, by reason.
    pub refused: Reasons,
    /// From when a message was due to each delivery of it.
    pub latency: Quantiles,
    /// The curve of that: share of deliveries, milliseconds.
    pub curve: Vec<(f64, f64)>,
    /// From the first to the last delivery of each message.
    pub spread: Quantiles,
}

/// The server's side.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// Its process.
    pub process_id: i32,
    /// Its processor time during the load, over all deliveries, in nanoseconds.
    pub nanos_per_delivery: f64,
    /// The same in cores.
    pub cores: f64,
    /// Private memory gained by the clients' coming, over their number.
    pub bytes_per_client: f64,
    /// Private memory with all clients in.
    pub bytes: u64,
    /// Private memory before any client of a load came.
    pub bytes_before: u64,
    /// Whether no load is known to have met it before.
    pub is_fresh: bool,
    /// Context switches that it asked for, over all deliveries.
    pub voluntary_switches_per_delivery: f64,
    /// Context switches that it did not ask for, over all deliveries.
    pub involuntary_switches_per_delivery: f64,
}

/// The generator's side.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratorReport {
    /// How many processes had clients.
    pub processes: usize,
    /// Their processor time during the load, over all deliveries, in nanoseconds.
    pub nanos_per_delivery: f64,
    /// The largest share of a core that one of them used while it sent.
    pub busy: f64,
    /// Deliveries for each read: how much the target merged.
    pub deliveries_per_read: f64,
    /// By how much messages were sent late.
    pub lag: Quantiles,
    /// Why the figures are the generator's and not the server's; `None` if they are the server's.
    pub limited: Option<String>,
}

/// One moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moment {
    /// Since the first connect.
    pub seconds: f64,
    /// Clients in their rooms.
    pub clients: u32,
    /// Deliveries a second.
    pub deliveries: f64,
    /// The median latency, in milliseconds, of what was delivered since the moment before; `None` if nothing was.
    pub p50: Option<f64>,
    /// Of these, 99 in 100 were below.
    pub p99: Option<f64>,
}

impl Report {
    /// What makes a load fail, in words.
    pub fn judge(&self) -> Vec<String> {
        let ConnectReport { clients, connected, failed, .. } = &self.connects;
        let mut faults = Vec::new();
        if connected < clients && !self.interrupted {
            let fault = format!("{} of {clients} clients did not get in: {}", clients - connected, in_words(failed));
            faults.push(fault + self.connects.hint());
        }
        for group in [Some(&self.rooms), self.giant.as_ref()].into_iter().flatten() {
            faults.extend(group.judge());
            if group.latency.count == 0 && !self.interrupted {
                faults.push("no delivery was measured: a longer --duration or a higher --rate brings some".to_owned());
            }
        }
        faults
    }

    /// All deliveries, each counted once.
    pub fn received(&self) -> u64 {
        self.rooms.tally.received + self.giant.as_ref().map_or(0, |giant| giant.tally.received)
    }
}

impl ConnectReport {
    /// Whether the server has turned clients away because it is full.
    pub fn is_full(&self) -> bool {
        self.failed.keys().any(|reason| FULL.iter().any(|words| reason.contains(words)))
    }

    /// What helps a server that is full.
    fn hint(&self) -> &'static str {
        if self.is_full() {
            "; the server is full: it holds more with --descriptor-tables per-worker and more --workers"
        } else {
            ""
        }
    }
}

impl GroupReport {
    fn judge(&self) -> Vec<String> {
        let Tally { lost, duplicated, reordered, stray, damaged, unsaid, unanswered, .. } = self.tally;
        let of = format!("of {} deliveries", self.expected);
        let counted = [
            (lost, format!("{of} lost")),
            (duplicated, format!("{of} duplicated")),
            (reordered, format!("{of} reordered")),
            (stray, format!("{of} in a room where they do not belong")),
            (damaged, format!("{of} damaged")),
            (unsaid, "messages that nobody was there to say".to_owned()),
            (unanswered, "joins or leaves that were never answered".to_owned()),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut faults: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        for (what, reasons) in [("disconnects", &self.disconnected), ("refusals", &self.refused)] {
            if !reasons.is_empty() {
                faults.push(format!("{} {what}: {}", reasons.values().sum::<u64>(), in_words(reasons)));
            }
        }
        faults
    }
}

impl GeneratorReport {
    /// Whether the figures are the generator's own, with the lag of the group that lagged most.
    pub fn judge(&self, worst_lag: &Quantiles) -> Option<String> {
        if worst_lag.p99 > LAG_MAX {
            return Some(format!("1 message in 100 was sent {:.1} ms late or more", worst_lag.p99));
        }
        (self.busy > BUSY_MAX).then(|| format!("it used {:.0} % of a core", self.busy * 100.0))
    }
}

/// The reasons, the most frequent first.
pub fn in_words(reasons: &Reasons) -> String {
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<_> = reasons.into_iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    words.join(", ")
}
