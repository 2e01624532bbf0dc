//! The command line: arguments as typed, then validated into a [`Workload`]. Every error names the value and the rule.

mod overload;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::candidate::Candidate;
use crate::objective::Objective;
use crate::payload::PAYLOAD_BYTES_MIN;
use crate::target::{Scheme, Target};
use crate::workload::{Giant, Pace, Publishers, WeightedTarget, Workload, WorkloadSettings};
pub use overload::{BurstArguments, FloodArguments, OverloadArguments, OverloadLoad};

/// Roomcast's default address for lines.
pub const LINES: &str = "tcp://127.0.0.1:8080";
const WEBSOCKET: &str = "ws://127.0.0.1:3000/ws";

/// Clients of a load that does not set `--clients`.
const CLIENTS: u32 = 1_000;

/// Upper limit of `--clients`: more than one host has ports for.
const CLIENTS_MAX: u32 = 1_000_000;

/// Bounds of every rate, in events per second.
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1_000_000.0;

/// Upper limit of `--size`: the longest line that Roomcast accepts by default.
const SIZE_MAX: usize = 64 * 1024;

/// Measures the latency of every delivery of a room server and counts lost, duplicated and reordered deliveries
///
/// Without a subcommand, loadgen puts one load on one server and prints a table. Exit codes: 0 passed, 1 a fault or a
/// missed objective, 2 the load could not run, 130 stopped by Ctrl-C.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(after_help = MEASURE_EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub measure: MeasureArguments,
}

const MEASURE_EXAMPLES: &str = "\
Examples:
  loadgen --clients 15000 --rooms 150 --rate 300
  loadgen ws://127.0.0.1:3000/ws --clients 10000 --rooms 1 --rate 5 --html report.html
  loadgen --spawn 'target/release/roomcast --workers 1' --slo p99=50ms
  loadgen --mix tcp=50,ws=50 --giant 10000@4 --churn 200 --slow 0.05

-h lists the common options, --help all of them.";

const CAPACITY_EXAMPLES: &str = "\
Examples:
  loadgen find-capacity --slo p99=50ms
  loadgen find-capacity --slo p99=50ms --vary rate --clients 1000 --from 100 --to 10000";

const COMPARE_EXAMPLES: &str = "\
Examples:
  loadgen compare limit 'tcp://127.0.0.1:8080 target/release/roomcast' --clients 1000
  loadgen compare 'tcp://127.0.0.1:8080 ./old' 'tcp://127.0.0.1:8080 ./new' --rounds 5";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find the largest load that meets a latency objective
    #[command(after_help = CAPACITY_EXAMPLES)]
    FindCapacity(CapacityArguments),
    /// Measure a bare send loop: the lower bound of the cost of a delivery
    #[command(after_help = "Example:\n  loadgen limit --clients 10000 --rooms 1 --rate 5")]
    Limit(LimitArguments),
    /// Run the same load on several servers by turns and print the ratios
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArguments),
    /// Overload a server and check that clients which read promptly lose nothing
    Overload(OverloadArguments),
    /// Internal: one process of a load
    #[command(hide = true)]
    Worker,
    /// Internal: one process of an overload
    #[command(hide = true)]
    OverloadWorker,
    /// Internal: the bare send loop
    #[command(hide = true)]
    BareSender,
    /// Internal: runs a command that is killed when its parent exits
    #[command(hide = true)]
    BoundToParent {
        /// The command to run.
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// Arguments of a single load on one server.
#[derive(Debug, Args)]
pub struct MeasureArguments {
    #[command(flatten)]
    pub targets: TargetArguments,
    #[command(flatten)]
    pub load: LoadArguments,
    #[command(flatten)]
    pub server: ServerArguments,
    #[command(flatten)]
    pub output: OutputArguments,
}

/// The targets of a load.
#[derive(Clone, Debug, Args)]
pub struct TargetArguments {
    /// Servers to connect to, tcp://127.0.0.1:8080 by default
    ///
    /// tcp://host:port (Roomcast's lines), ws://host:port/ws, nats://host:port, redis://host:port, or echo://host:port.
    /// An echo server returns each line to its sender (use as many --rooms as --clients) or to all (use --rooms 1).
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
}

/// Arguments of `find-capacity`.
#[derive(Debug, Args)]
pub struct CapacityArguments {
    #[command(flatten)]
    pub targets: TargetArguments,
    /// The objective that a load must meet, for example p99=50ms
    #[arg(long, value_name = "QUANTILE=TIME", help_heading = "Search")]
    pub slo: Objective,
    /// The quantity to raise
    #[arg(long, default_value = "clients", help_heading = "Search")]
    pub vary: Vary,
    /// The first load
    #[arg(long, default_value_t = 1_000, help_heading = "Search")]
    pub from: u32,
    /// The largest load to try
    #[arg(long, default_value_t = 100_000, help_heading = "Search")]
    pub to: u32,
    /// Precision of the result in percent
    #[arg(long, default_value_t = 5, help_heading = "Search")]
    pub within: u32,
    #[command(flatten)]
    pub load: LoadArguments,
    #[command(flatten)]
    pub server: ServerArguments,
    #[command(flatten)]
    pub output: PageArguments,
}

/// The quantity that `find-capacity` raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Vary {
    /// Number of clients; the number of rooms grows with it unless --rooms is set
    Clients,
    /// Messages per second
    Rate,
}

/// Arguments of `limit`.
#[derive(Debug, Args)]
pub struct LimitArguments {
    #[command(flatten)]
    pub load: LoadArguments,
    /// Write everything as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// limit (the bare send loop), or a target, or 'TARGET COMMAND' with the command that starts its server
    #[arg(value_name = "CANDIDATE", required = true, num_args = 2..)]
    pub candidates: Vec<Candidate>,
    /// How often each candidate is measured
    #[arg(long, default_value_t = 7, help_heading = "Comparison")]
    pub rounds: u32,
    #[command(flatten)]
    pub load: LoadArguments,
    #[command(flatten)]
    pub output: PageArguments,
}

/// The load, shared by all commands but `overload`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArguments {
    /// Clients, spread evenly over the rooms [default: 1000]
    #[arg(long)]
    pub clients: Option<u32>,
    /// Rooms [default: one per 100 clients]
    #[arg(long)]
    pub rooms: Option<u32>,
    /// Messages per second over all rooms, on a fixed schedule [default: one per room]
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Messages in flight in each room, in place of a rate
    ///
    /// The next message follows when a member has received one, so the server sets the pace. Latency then counts from
    /// the sending and shows what a saturated server does, not what its users would feel.
    #[arg(long)]
    pub in_flight: Option<u32>,
    /// Bytes of a message, without the label that the server adds
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// Time in which messages are measured
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Time in which messages are sent before that and not measured
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// Additional large room, for example 10000@4, with its own processes and its own report
    #[arg(long, value_name = "MEMBERS@RATE", value_parser = parse_giant)]
    pub giant: Option<Giant>,
    /// Weights of the transports, for example tcp=50,ws=50
    #[arg(long, help_heading = "Clients")]
    pub mix: Option<String>,
    /// Which clients publish: any member of a room, its first, or an additional connection for each room
    #[arg(long, default_value = "members", hide_short_help = true, help_heading = "Clients")]
    pub publishers: Publishers,
    /// Joins and leaves per second while messages are sent
    #[arg(long, default_value_t = 0.0, help_heading = "Clients")]
    pub churn: f64,
    /// Fraction of the clients that stop reading when messages are sent, 0 to 0.9
    #[arg(long, default_value_t = 0.0, help_heading = "Clients")]
    pub slow: f64,
    /// Connects per second [default: as fast as the server accepts]
    #[arg(long, hide_short_help = true, help_heading = "Clients")]
    pub connect_rate: Option<f64>,
    /// Source addresses, by turns; each has 28 000 ports for one server
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', hide_short_help = true, help_heading = "Clients")]
    pub source: Vec<IpAddr>,
    /// Maximum time without any progress
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    #[arg(hide_short_help = true, help_heading = "Clients")]
    pub patience: Duration,
    /// Seed of all random choices; the same seed repeats the load
    #[arg(long, default_value_t = 1, hide_short_help = true, help_heading = "Clients")]
    pub seed: u64,
}

/// The server process to observe.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArguments {
    /// Process of the server [default: the process that listens on the target's address of this host]
    #[arg(long, conflicts_with = "spawn")]
    pub pid: Option<i32>,
    /// Command that starts the server for the load, for example 'target/release/roomcast --workers 1'
    #[arg(long, value_name = "COMMAND")]
    pub spawn: Option<String>,
}

/// The objective and the files of a load.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Report")]
pub struct OutputArguments {
    /// Fail unless this objective is met, for example p99=50ms
    #[arg(long, value_name = "QUANTILE=TIME")]
    pub slo: Option<Objective>,
    #[command(flatten)]
    pub page: PageArguments,
    /// Write the latency histogram in HdrHistogram's V2 format, in nanoseconds
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub hdr: Option<PathBuf>,
}

/// The files that most commands can write.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Report")]
pub struct PageArguments {
    /// Write everything as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write one HTML page with tables and charts
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl LoadArguments {
    /// Validates all load arguments together.
    pub fn workload(&self, targets: &[Target]) -> anyhow::Result<Workload> {
        let clients = self.clients.unwrap_or(CLIENTS);
        let rooms = self.rooms.unwrap_or(clients.div_ceil(100));
        ensure!((1..=CLIENTS_MAX).contains(&clients), "--clients {clients}: 1 to {CLIENTS_MAX}");
        ensure!((1..=clients).contains(&rooms), "--rooms {rooms}: 1 to --clients {clients}");
        ensure!(
            (PAYLOAD_BYTES_MIN..=SIZE_MAX).contains(&self.size),
            "--size {}: {PAYLOAD_BYTES_MIN} to {SIZE_MAX}, or a message could not be known again",
            self.size
        );
        ensure!((0.0..=0.9).contains(&self.slow), "--slow {}: 0 to 0.9", self.slow);
        ensure!((0.0..=RATE_MAX).contains(&self.churn), "--churn {}: 0 to {RATE_MAX}", self.churn);
        ensure!(self.churn == 0.0 || rooms < clients, "--churn: in rooms of one member nobody may leave");
        ensure!(!self.duration.is_zero(), "--duration 0: longer than nothing");
        if let Some(rate) = self.connect_rate {
            ensure!((RATE_MIN..=RATE_MAX).contains(&rate), "--connect-rate {rate}: {RATE_MIN} to {RATE_MAX}");
        }
        Ok(Workload {
            targets: self.weighted_targets(targets)?,
            clients,
            rooms,
            giant: self.giant,
            pace: self.pace(rooms)?,
            settings: self.settings(),
            sources: self.source.clone(),
        })
    }

    fn pace(&self, rooms: u32) -> anyhow::Result<Pace> {
        if let Some(in_flight) = self.in_flight {
            ensure!(in_flight > 0, "--in-flight 0: at least 1");
            return Ok(Pace::InFlight(in_flight));
        }
        let rate = self.rate.unwrap_or(f64::from(rooms));
        ensure!((RATE_MIN..=RATE_MAX).contains(&rate), "--rate {rate}: {RATE_MIN} to {RATE_MAX}");
        Ok(Pace::Rate(rate))
    }

    fn settings(&self) -> WorkloadSettings {
        WorkloadSettings {
            size: self.size,
            warmup: self.warmup,
            duration: self.duration,
            patience: self.patience,
            connect_rate: self.connect_rate,
            publishers: self.publishers,
            churn: self.churn,
            slow: self.slow,
            seed: self.seed,
            messages_per_write: 1,
            room_prefix: room_prefix(),
        }
    }

    /// The targets with their weights: equal, or as `--mix` says.
    fn weighted_targets(&self, targets: &[Target]) -> anyhow::Result<Vec<WeightedTarget>> {
        let Some(mix) = &self.mix else {
            let even = |target: &Target| WeightedTarget { target: target.clone(), weight: 1 };
            let default = || Ok(vec![WeightedTarget { target: LINES.parse()?, weight: 1 }]);
            return if targets.is_empty() { default() } else { Ok(targets.iter().map(even).collect()) };
        };
        mix.split(',').map(|part| weighted_target(part, targets)).collect()
    }
}

fn weighted_target(part: &str, targets: &[Target]) -> anyhow::Result<WeightedTarget> {
    let (scheme, weight) = part.split_once('=').with_context(|| format!("--mix {part:?}: as tcp=50,ws=50"))?;
    let scheme: Scheme = scheme.parse().context("--mix")?;
    let weight = weight.parse().ok().filter(|weight| (1..=1_000).contains(weight));
    let weight = weight.with_context(|| format!("--mix {part:?}: a share from 1 to 1000"))?;
    let given = targets.iter().find(|target| target.scheme == scheme).cloned();
    let target = match (given, scheme) {
        (Some(target), _) => target,
        (None, Scheme::Tcp) => LINES.parse()?,
        (None, Scheme::WebSocket) => WEBSOCKET.parse()?,
        (None, scheme) => bail!("--mix {part:?}: no {}:// target is named", scheme.name()),
    };
    Ok(WeightedTarget { target, weight })
}

/// A prefix that no earlier load used, so that a load never meets the rooms of another.
pub fn room_prefix() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("load-{:x}-{:x}", std::process::id(), since_epoch.as_millis())
}

fn parse_giant(text: &str) -> anyhow::Result<Giant> {
    let parse = || {
        let (members, rate) = text.split_once('@')?;
        let giant = Giant { members: members.parse().ok()?, rate: rate.parse().ok()? };
        ((1..=CLIENTS_MAX).contains(&giant.members) && (RATE_MIN..=RATE_MAX).contains(&giant.rate)).then_some(giant)
    };
    parse().with_context(|| format!("{text:?}: MEMBERS@RATE, as 10000@4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(words: &[&str]) -> anyhow::Result<Workload> {
        let words = ["loadgen"].iter().chain(words);
        let measure = Arguments::try_parse_from(words)?.measure;
        measure.load.workload(&measure.targets.targets)
    }

    #[test]
    fn nothing_asked_for_is_a_load_on_the_server_beside() {
        let workload = workload(&[]).unwrap();
        assert_eq!(workload.targets[0].target, LINES.parse().unwrap());
        assert_eq!((workload.clients, workload.rooms, workload.pace), (1_000, 10, Pace::Rate(10.0)));
    }

    #[test]
    fn a_mix_shares_out_the_clients() {
        let mixed = workload(&["--mix", "tcp=80,ws=20", "ws://127.0.0.1:9/ws"]).unwrap();
        let shares: Vec<_> = mixed.targets.iter().map(|share| (share.target.to_string(), share.weight)).collect();
        assert_eq!(shares, [(LINES.to_owned(), 80), ("ws://127.0.0.1:9/ws".to_owned(), 20)]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_rule() {
        for (words, rule) in [
            (&["--clients", "0"][..], "1 to 1000000"),
            (&["--clients", "5", "--rooms", "6"], "1 to --clients 5"),
            (&["--size", "10"], "36 to 65536"),
            (&["--slow", "1.5"], "0 to 0.9"),
            (&["--rate", "0"], "0.001 to 1000000"),
            (&["--rate", "1e300"], "0.001 to 1000000"),
            (&["--clients", "5", "--rooms", "5", "--churn", "1"], "nobody may leave"),
            (&["--rate", "1", "--in-flight", "1"], "cannot be used with"),
            (&["--mix", "tcp"], "tcp=50,ws=50"),
            (&["--mix", "nats=1"], "no nats:// target"),
            (&["--giant", "10000"], "10000@4"),
            (&["http://127.0.0.1:80"], "tcp, ws, nats, redis or echo"),
        ] {
            let error = format!("{:#}", workload(words).unwrap_err());
            assert!(error.contains(rule), "{words:?}: {error}");
        }
    }
}
