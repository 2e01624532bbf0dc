//! The command line: as typed, then as a `Plan`. Every mistake is told with the value and the rule.

mod overload;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::contestant::Contestant;
use crate::mark::MARK_BYTES;
use crate::objective::Objective;
use crate::plan::{Giant, Manner, Pace, Plan, Publishers, TargetShare};
use crate::target::{Scheme, Target};
pub use overload::{BurstArguments, FloodArguments, OverloadArguments, OverloadLoad};

/// Where Roomcast listens if nobody says otherwise.
pub const LINES: &str = "tcp://127.0.0.1:8080";
const WEBSOCKET: &str = "ws://127.0.0.1:3000/ws";

/// How many if nobody says.
const CLIENTS: u32 = 1_000;

/// More clients than one host has ports for.
const CLIENTS_MAX: u32 = 1_000_000;

/// Anything a second: seldom enough to wait for, and not so often that no clock could tell.
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1_000_000.0;

/// The longest message: what Roomcast takes by default.
const SIZE_MAX: usize = 64 * 1024;

/// Measures the latency of every delivery of a room server, and whether any was lost, doubled or out of order.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub measure: MeasureArguments,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Raises the load until the objective breaks, and narrows down where
    FindCapacity(CapacityArguments),
    /// What no server can beat: a bare loop that sends the same messages to as many sockets
    Limit(LimitArguments),
    /// The same load on several targets by turns, and the ratios between them
    Compare(CompareArguments),
    /// More than a server can do at once: what happens to those who read and wait as they should
    Overload(OverloadArguments),
    /// A process of a load; not for people.
    #[command(hide = true)]
    Worker,
    /// A process of an overload; not for people.
    #[command(hide = true)]
    OverloadWorker,
    /// The bare loop; not for people.
    #[command(hide = true)]
    BareSender,
    /// Becomes a command that ends with its parent; not for people.
    #[command(hide = true)]
    BoundToParent {
        /// The command.
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// One load on one server.
#[derive(Debug, Args)]
pub struct MeasureArguments {
    /// Where clients connect: tcp://host:port, ws://host:port/ws, nats://host:port, redis://host:port or echo://host:port (lines that come back: to their sender, with as many --rooms as --clients, or to all, with --rooms 1); tcp://127.0.0.1:8080 if none
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    #[command(flatten)]
    pub load: LoadArguments,
    #[command(flatten)]
    pub server: ServerArguments,
    #[command(flatten)]
    pub output: OutputArguments,
}

/// How much one server carries.
#[derive(Debug, Args)]
pub struct CapacityArguments {
    /// Where clients connect: tcp://host:port, ws://host:port/ws, nats://host:port, redis://host:port or echo://host:port (lines that come back); tcp://127.0.0.1:8080 if none
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// What must be kept, as p99=50ms
    #[arg(long, value_name = "QUANTILE=TIME")]
    pub slo: Objective,
    /// What is raised
    #[arg(long, default_value = "clients")]
    pub vary: Vary,
    /// Where to begin
    #[arg(long, default_value_t = 1_000)]
    pub from: u32,
    /// Where to end in any case
    #[arg(long, default_value_t = 100_000)]
    pub to: u32,
    /// How near the last load that was carried and the first that was not must be, in percent
    #[arg(long, default_value_t = 5)]
    pub within: u32,
    /// The steps, as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// One page with the steps
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArguments,
    #[command(flatten)]
    pub load: LoadArguments,
}

/// What is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Vary {
    /// Clients; rooms grow with them unless they are given.
    Clients,
    /// Messages a second.
    Rate,
}

/// The bare loop.
#[derive(Debug, Args)]
pub struct LimitArguments {
    /// Everything, as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    #[command(flatten)]
    pub load: LoadArguments,
}

/// Several targets.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// limit, or a target, or a target and the command that starts its server: 'tcp://127.0.0.1:8080 target/release/roomcast'
    #[arg(value_name = "CONTESTANT", required = true, num_args = 2..)]
    pub contestants: Vec<Contestant>,
    /// How often each is measured, by turns
    #[arg(long, default_value_t = 7)]
    pub rounds: u32,
    /// Every run, as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// One page with the table
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub load: LoadArguments,
}

/// What is put on the server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArguments {
    /// Clients, shared out evenly over the rooms; 1000 if not given
    #[arg(long)]
    pub clients: Option<u32>,
    /// Rooms; one for each hundred clients if not given
    #[arg(long)]
    pub rooms: Option<u32>,
    /// Messages a second over all rooms, whatever happens to those before; one for each room if not given
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Messages on their way in each room at any time, as fast as the server can; latency then counts from the sending
    #[arg(long)]
    pub in_flight: Option<u32>,
    /// Bytes of a message, as said
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// How long messages are measured
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long messages are sent before that
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// Clients a second; as many as the server lets in if not given
    #[arg(long)]
    pub connect_rate: Option<f64>,
    /// Who says what is said: any member of a room, its first, or one more connection for each room
    #[arg(long, default_value = "members")]
    pub publishers: Publishers,
    /// Joins and leaves a second, while messages are sent
    #[arg(long, default_value_t = 0.0)]
    pub churn: f64,
    /// Share of the clients that stop reading when messages are sent, 0 to 0.9
    #[arg(long, default_value_t = 0.0)]
    pub slow: f64,
    /// Shares of the transports, as tcp=50,ws=50
    #[arg(long)]
    pub mix: Option<String>,
    /// One more room, MEMBERS@RATE as 10000@4, whose clients are processes of their own and whose figures are told apart
    #[arg(long, value_name = "MEMBERS@RATE", value_parser = parse_giant)]
    pub giant: Option<Giant>,
    /// Addresses from which to connect, by turns; each has 28 000 ports for one server
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub source: Vec<IpAddr>,
    /// How long to wait while nothing at all happens
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Decides every choice: the same load again
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Which server it is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArguments {
    /// The server's process; found by itself if it listens on this host
    #[arg(long, conflicts_with = "spawn")]
    pub pid: Option<i32>,
    /// Starts this command first and stops it afterwards, as 'target/release/roomcast --workers 1'
    #[arg(long, value_name = "COMMAND")]
    pub spawn: Option<String>,
}

/// What is made of it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Report")]
pub struct OutputArguments {
    /// Fails unless a latency is kept, as p99=50ms
    #[arg(long, value_name = "QUANTILE=TIME")]
    pub slo: Option<Objective>,
    /// Everything, as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// One page with curves
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The raw histogram of latencies, in HdrHistogram's V2 format, in nanoseconds
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
}

impl LoadArguments {
    /// Checked as a whole.
    pub fn plan(&self, targets: &[Target]) -> anyhow::Result<Plan> {
        let clients = self.clients.unwrap_or(CLIENTS);
        let rooms = self.rooms.unwrap_or(clients.div_ceil(100));
        ensure!((1..=CLIENTS_MAX).contains(&clients), "--clients {clients}: 1 to {CLIENTS_MAX}");
        ensure!((1..=clients).contains(&rooms), "--rooms {rooms}: 1 to --clients {clients}");
        ensure!(
            (MARK_BYTES..=SIZE_MAX).contains(&self.size),
            "--size {}: {MARK_BYTES} to {SIZE_MAX}, or a message could not be known again",
            self.size
        );
        ensure!((0.0..=0.9).contains(&self.slow), "--slow {}: 0 to 0.9", self.slow);
        ensure!((0.0..=RATE_MAX).contains(&self.churn), "--churn {}: 0 to {RATE_MAX}", self.churn);
        ensure!(self.churn == 0.0 || rooms < clients, "--churn: in rooms of one member nobody may leave");
        ensure!(!self.duration.is_zero(), "--duration 0: longer than nothing");
        if let Some(rate) = self.connect_rate {
            ensure!((RATE_MIN..=RATE_MAX).contains(&rate), "--connect-rate {rate}: {RATE_MIN} to {RATE_MAX}");
        }
        Ok(Plan {
            targets: self.target_shares(targets)?,
            clients,
            rooms,
            giant: self.giant,
            pace: self.pace(rooms)?,
            manner: self.manner(),
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

    fn manner(&self) -> Manner {
        Manner {
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

    /// The targets, each with its weight: even, or as `--mix` says.
    fn target_shares(&self, targets: &[Target]) -> anyhow::Result<Vec<TargetShare>> {
        let Some(mix) = &self.mix else {
            let even = |target: &Target| TargetShare { target: target.clone(), weight: 1 };
            let default = || Ok(vec![TargetShare { target: LINES.parse()?, weight: 1 }]);
            return if targets.is_empty() { default() } else { Ok(targets.iter().map(even).collect()) };
        };
        mix.split(',').map(|part| mixed_share(part, targets)).collect()
    }
}

fn mixed_share(part: &str, targets: &[Target]) -> anyhow::Result<TargetShare> {
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
    Ok(TargetShare { target, weight })
}

/// A room of this name was never used before.
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

    fn plan(words: &[&str]) -> anyhow::Result<Plan> {
        let words = ["loadgen"].iter().chain(words);
        let measure = Arguments::try_parse_from(words)?.measure;
        measure.load.plan(&measure.targets)
    }

    #[test]
    fn nothing_asked_for_is_a_load_on_the_server_beside() {
        let plan = plan(&[]).unwrap();
        assert_eq!(plan.targets[0].target, LINES.parse().unwrap());
        assert_eq!((plan.clients, plan.rooms, plan.pace), (1_000, 10, Pace::Rate(10.0)));
    }

    #[test]
    fn a_mix_shares_out_the_clients() {
        let mixed = plan(&["--mix", "tcp=80,ws=20", "ws://127.0.0.1:9/ws"]).unwrap();
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
            let error = format!("{:#}", plan(words).unwrap_err());
            assert!(error.contains(rule), "{words:?}: {error}");
        }
    }
}
