//! The command line. Every error names the value and the rule.

mod load;
mod overload;
mod reconnect;

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Parser, Subcommand};

use crate::candidate::Candidate;
use crate::objective::Objective;
use crate::target::Target;
pub use load::LoadArguments;
pub use overload::{BurstArguments, FloodArguments, OverloadArguments, OverloadLoad};

/// Roomcast's default address for lines.
pub const LINES: &str = "tcp://127.0.0.1:8080";

/// Upper limit of `--clients`: more than one host has ports for.
const CLIENTS_MAX: u32 = 1_000_000;

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
  loadgen tls://localhost:8080 --ca ca.pem --clients 10000 --rooms 1 --rate 5
  loadgen --spawn 'target/release/roomcast --workers 1' --slo p99=50ms
  loadgen --mix tcp=50,ws=50 --giant 10000@4 --churn 200 --slow 0.05
  loadgen --clients 12800 --rate 1280 --reconnect 0.8@5s --away 5s --duration 20s
  loadgen --targets tcp://127.0.0.1:8080,tcp://127.0.0.1:8081 --failover --duration 60s
  loadgen --clients 15000 --failover=same --duration 60s

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
    /// tcp://host:port (Roomcast's lines), ws://host:port/ws, the same over TLS as tls:// and wss://, nats://host:port, redis://host:port, or echo://host:port.
    /// The Centrifuge protocol as centrifuge+ws://host:port (JSON) or centrifuge-protobuf+ws://host:port, over TLS with +wss.
    /// Readers of rooms over plain HTTP as sse://host:port, over TLS sses://. ws+deflate:// and the like ask for compression.
    /// An echo server returns each line to its sender (use as many --rooms as --clients) or to all (use --rooms 1).
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// The same as one list, for the nodes of a cluster: tcp://127.0.0.1:8080,tcp://127.0.0.1:8081
    ///
    /// The members of each room are spread evenly over all targets. What all of them receive is compared with one order
    /// of the room.
    #[arg(long = "targets", id = "list", value_name = "TARGET,…", value_delimiter = ',', conflicts_with = "targets")]
    pub list: Vec<Target>,
}

impl TargetArguments {
    /// All targets, however they were given.
    pub fn all(&self) -> &[Target] {
        if self.list.is_empty() { &self.targets } else { &self.list }
    }
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

/// A prefix that no earlier load used, so that a load never meets the rooms of another.
pub fn room_prefix() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("load-{:x}-{:x}", std::process::id(), since_epoch.as_millis())
}
