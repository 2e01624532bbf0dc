//! The command line of `loadgen overload`, checked as a whole.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, Subcommand};

use super::{CLIENTS_MAX, SIZE_MAX, ServerArguments};
use crate::objective::Objective;
use crate::payload::PAYLOAD_BYTES_MIN;
use crate::target::{Scheme, Target};
use crate::tls::TlsSettings;

/// Upper limit of `--messages`; the flood is the load for more.
const MESSAGES_MAX: u32 = 1_000;

/// Upper limit of watched deliveries: every watcher stores the number of each message that it receives.
const DELIVERIES_WATCHED_MAX: u64 = 100_000_000;

/// Arguments of `overload`.
#[derive(Debug, Args)]
pub struct OverloadArguments {
    #[command(subcommand)]
    pub load: OverloadLoad,
}

const BURST_EXAMPLES: &str = "\
Examples:
  loadgen overload burst --clients 16000 --size 2048
  loadgen overload burst --messages 4 --stop-after 1s --spawn 'target/release/roomcast --workers 1'";

const FLOOD_EXAMPLES: &str = "\
Examples:
  loadgen overload flood --members 2000 --slo p99=100ms
  loadgen overload flood tcp://127.0.0.1:8080 ws://127.0.0.1:3000/ws --quiet 50";

/// The kinds of overload.
#[derive(Debug, Subcommand)]
pub enum OverloadLoad {
    /// All members of one room publish at the same moment while watchers record every message
    #[command(after_help = BURST_EXAMPLES)]
    Burst(BurstArguments),
    /// One member publishes as fast as its socket accepts while bystanders ping and newcomers connect
    #[command(after_help = FLOOD_EXAMPLES)]
    Flood(FloodArguments),
}

/// Arguments of a burst.
#[derive(Clone, Debug, Args)]
pub struct BurstArguments {
    /// Servers to connect to by turns: tcp://, tls://, ws:// or wss:// [default: tcp://127.0.0.1:8080]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// Members that publish, and read as fast as the machine allows
    #[arg(long, default_value_t = 4_000, help_heading = "Load")]
    pub clients: u32,
    /// Members that only record, in a process of the best priority; at least 1
    #[arg(long, default_value_t = 100, help_heading = "Load")]
    pub watchers: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 1_024, help_heading = "Load")]
    pub size: usize,
    /// Messages of each client, sent in one piece
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub messages: u32,
    /// Maximum time of the burst
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    #[arg(help_heading = "Load")]
    pub time: Duration,
    /// Send SIGTERM to the server this long after the burst began
    ///
    /// Every watcher must then receive all that was accepted, and the last line or close code behind it.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Load")]
    pub stop_after: Option<Duration>,
    /// Maximum time without any progress
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, help_heading = "Load")]
    pub patience: Duration,
    #[command(flatten)]
    pub tls: TlsSettings,
    #[command(flatten)]
    pub server: ServerArguments,
    /// Write everything as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,
}

/// Arguments of a flood.
#[derive(Clone, Debug, Args)]
pub struct FloodArguments {
    /// Servers to connect to: tcp://, tls://, ws:// or wss:// [default: tcp://127.0.0.1:8080]
    ///
    /// With one of each, quiet clients connect to the WebSocket and all others to the first target.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// Members of the flooded room, including the one that floods it
    #[arg(long, default_value_t = 2_000, help_heading = "Load")]
    pub members: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 128, help_heading = "Load")]
    pub size: usize,
    /// Time that the flood lasts
    #[arg(long = "for", value_name = "TIME", default_value = "15s", value_parser = humantime::parse_duration)]
    #[arg(help_heading = "Load")]
    pub time: Duration,
    /// Clients in other rooms that send PING once a second, and as many again in no room
    #[arg(long, default_value_t = 50, help_heading = "Bystanders")]
    pub bystanders: u32,
    /// Additional members of the flooded room that send PING once a second
    #[arg(long, default_value_t = 20, help_heading = "Bystanders")]
    pub inside: u32,
    /// Clients that connect each second and wait for the greeting
    #[arg(long, default_value_t = 10, help_heading = "Bystanders")]
    pub newcomers: u32,
    /// WebSocket clients in rooms of ten that only answer the server's pings
    #[arg(long, default_value_t = 0, help_heading = "Bystanders")]
    pub quiet: u32,
    /// Time to wait for answers after the flood
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, help_heading = "Bystanders")]
    pub patience: Duration,
    #[command(flatten)]
    pub tls: TlsSettings,
    #[command(flatten)]
    pub server: ServerArguments,
    /// Fail unless answers outside the flooded room and greetings meet this objective, for example p99=100ms
    #[arg(long, value_name = "QUANTILE=TIME", help_heading = "Report")]
    pub slo: Option<Objective>,
    /// Write everything as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,
}

impl BurstArguments {
    /// Validates all arguments together.
    pub fn check(&self) -> anyhow::Result<()> {
        check_targets(&self.targets, &self.tls)?;
        check_size(self.size)?;
        let Self { clients, watchers, messages, .. } = *self;
        ensure!((1..=CLIENTS_MAX).contains(&clients), "--clients {clients}: 1 to {CLIENTS_MAX}");
        ensure!((1..=CLIENTS_MAX).contains(&watchers), "--watchers {watchers}: 1 to {CLIENTS_MAX}");
        ensure!((1..=MESSAGES_MAX).contains(&messages), "--messages {messages}: 1 to {MESSAGES_MAX}");
        let deliveries = u64::from(clients) * u64::from(messages) * u64::from(watchers);
        ensure!(
            deliveries <= DELIVERIES_WATCHED_MAX,
            "{deliveries} deliveries to watchers: up to {DELIVERIES_WATCHED_MAX}; fewer --watchers help"
        );
        Ok(())
    }
}

impl FloodArguments {
    /// Validates all arguments together.
    pub fn check(&self) -> anyhow::Result<()> {
        check_targets(&self.targets, &self.tls)?;
        check_size(self.size)?;
        ensure!((1..=CLIENTS_MAX).contains(&self.members), "--members {}: 1 to {CLIENTS_MAX}", self.members);
        ensure!(
            self.quiet == 0 || self.quiet_target().is_some(),
            "--quiet {}: it needs a ws:// or wss:// target, beside the other",
            self.quiet
        );
        for (name, count) in [
            ("bystanders", self.bystanders),
            ("inside", self.inside),
            ("newcomers", self.newcomers),
            ("quiet", self.quiet),
        ] {
            ensure!(count <= CLIENTS_MAX, "--{name} {count}: 0 to {CLIENTS_MAX}");
        }
        ensure!(!self.time.is_zero(), "--for 0: longer than nothing");
        Ok(())
    }

    /// The target of quiet clients, which must be a WebSocket.
    pub fn quiet_target(&self) -> Option<&Target> {
        self.targets.iter().find(|target| target.scheme == Scheme::WebSocket)
    }
}

fn check_targets(targets: &[Target], tls: &TlsSettings) -> anyhow::Result<()> {
    for target in targets {
        let is_roomcast = matches!(target.scheme, Scheme::Tcp | Scheme::WebSocket);
        ensure!(is_roomcast, "{target}: an overload speaks tcp://, tls://, ws:// or wss:// only");
    }
    tls.check(targets.iter().any(|target| target.is_tls))
}

fn check_size(size: usize) -> anyhow::Result<()> {
    ensure!((PAYLOAD_BYTES_MIN..=SIZE_MAX).contains(&size), "--size {size}: {PAYLOAD_BYTES_MIN} to {SIZE_MAX}");
    Ok(())
}
