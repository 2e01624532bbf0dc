//! The command line of `loadgen overload`, checked as a whole.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, Subcommand};

use super::{CLIENTS_MAX, SIZE_MAX, ServerArguments};
use crate::mark::MARK_BYTES;
use crate::objective::Objective;
use crate::target::{Scheme, Target};

/// More messages of one client at one moment are a flood.
const MESSAGES_MAX: u32 = 1_000;

/// Every watcher keeps the number of each message that it has heard.
const DELIVERIES_WATCHED_MAX: u64 = 100_000_000;

/// Which overload.
#[derive(Debug, Args)]
pub struct OverloadArguments {
    #[command(subcommand)]
    pub load: OverloadLoad,
}

/// The overloads.
#[derive(Debug, Subcommand)]
pub enum OverloadLoad {
    /// All members of one room speak at the same moment, while watchers listen that read at once
    Burst(BurstArguments),
    /// One member of a room says lines as fast as its socket takes them, while bystanders ask PING and newcomers connect
    Flood(FloodArguments),
}

/// Everybody speaks at once.
#[derive(Clone, Debug, Args)]
pub struct BurstArguments {
    /// Where all clients connect, by turns: tcp://host:port or ws://host:port/ws; tcp://127.0.0.1:8080 if none
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// Members who speak, and read as fast as the machine lets them
    #[arg(long, default_value_t = 4_000)]
    pub clients: u32,
    /// Members who only listen, in a process that is served first; at least 1
    #[arg(long, default_value_t = 100)]
    pub watchers: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 1_024)]
    pub size: usize,
    /// Messages that each client says, one behind the other
    #[arg(long, default_value_t = 1)]
    pub messages: u32,
    /// When it ends in any case, counted from the burst
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub time: Duration,
    /// Sends SIGTERM to the server so long after the burst began, and expects that all is delivered that was accepted
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub stop_after: Option<Duration>,
    /// How long to wait while nothing at all happens
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Everything, as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArguments,
}

/// One speaks without end.
#[derive(Clone, Debug, Args)]
pub struct FloodArguments {
    /// Where clients connect: tcp://host:port or ws://host:port/ws; with both, the quiet ones go to the latter; tcp://127.0.0.1:8080 if none
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// Members of the flooded room, with the one who floods it
    #[arg(long, default_value_t = 2_000)]
    pub members: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// How long the flood lasts
    #[arg(long = "for", value_name = "TIME", default_value = "15s", value_parser = humantime::parse_duration)]
    pub time: Duration,
    /// Clients that ask PING once a second: so many in rooms of ten, and as many again in no room
    #[arg(long, default_value_t = 50)]
    pub bystanders: u32,
    /// Further members of the flooded room, that ask PING once a second
    #[arg(long, default_value_t = 20)]
    pub inside: u32,
    /// Clients that connect each second and wait for the greeting
    #[arg(long, default_value_t = 10)]
    pub newcomers: u32,
    /// Fails unless PINGs in other rooms and in no room, and greetings, keep this, as p99=100ms
    #[arg(long, value_name = "QUANTILE=TIME")]
    pub slo: Option<Objective>,
    /// WebSocket clients in rooms of ten that only answer the server's pings
    #[arg(long, default_value_t = 0)]
    pub quiet: u32,
    /// How long to wait for answers when the flood is over
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Everything, as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArguments,
}

impl BurstArguments {
    /// Refuses what cannot be done, with the rule.
    pub fn check(&self) -> anyhow::Result<()> {
        check_targets(&self.targets)?;
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
    /// Refuses what cannot be done, with the rule.
    pub fn check(&self) -> anyhow::Result<()> {
        check_targets(&self.targets)?;
        check_size(self.size)?;
        ensure!((1..=CLIENTS_MAX).contains(&self.members), "--members {}: 1 to {CLIENTS_MAX}", self.members);
        ensure!(
            self.quiet == 0 || self.quiet_target().is_some(),
            "--quiet {}: it needs a ws:// target, beside the other",
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

    /// Where quiet clients connect.
    pub fn quiet_target(&self) -> Option<&Target> {
        self.targets.iter().find(|target| target.scheme == Scheme::WebSocket)
    }
}

fn check_targets(targets: &[Target]) -> anyhow::Result<()> {
    for target in targets {
        let is_roomcast = matches!(target.scheme, Scheme::Tcp | Scheme::WebSocket);
        ensure!(is_roomcast, "{target}: an overload speaks tcp:// or ws:// only");
    }
    Ok(())
}

fn check_size(size: usize) -> anyhow::Result<()> {
    ensure!((MARK_BYTES..=SIZE_MAX).contains(&size), "--size {size}: {MARK_BYTES} to {SIZE_MAX}");
    Ok(())
}
