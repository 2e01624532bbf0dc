//! The arguments that describe a load, and their validation into a [`Workload`].

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::reconnect::ReconnectArguments;
use super::{CLIENTS_MAX, LINES, SIZE_MAX, room_prefix};
use crate::payload::PAYLOAD_BYTES_MIN;
use crate::target::{Scheme, Target, WITH_TOKENS, parse_scheme};
use crate::tls::TlsSettings;
use crate::tokens;
use crate::workload::{Giant, Pace, Publishers, WeightedTarget, Workload, WorkloadSettings};

/// The default WebSocket address of Roomcast.
const WEBSOCKET: &str = "ws://127.0.0.1:3000/ws";

/// Clients of a load that does not set `--clients`.
const CLIENTS: u32 = 1_000;

/// Bounds of every rate, in events per second.
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1_000_000.0;

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
    /// Targets to which one more connection for each room connects and publishes, for example api://127.0.0.1:3000
    ///
    /// Readers of sse:// cannot publish, so the default for them is the WebSocket of their server. api:// publishes by the
    /// server API with the key of --api-key-file, and the time to each answer is reported. With --in-flight N such a
    /// connection has up to N requests on their way.
    #[arg(
        long,
        value_name = "TARGET,…",
        conflicts_with = "publishers",
        value_delimiter = ',',
        help_heading = "Clients"
    )]
    pub publish_over: Vec<Target>,
    /// File with the key of the server API, for api:// targets
    #[arg(long, value_name = "PATH", hide_short_help = true, help_heading = "Clients")]
    pub api_key_file: Option<PathBuf>,
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
    /// Offer permessage-deflate (RFC 7692) to ws://, wss:// and centrifuge targets, and inflate what they compress
    ///
    /// The same as +deflate behind the scheme of every such target, as ws+deflate://. A target that declines is an error.
    /// What clients publish is not compressed.
    #[arg(long, hide_short_help = true, help_heading = "Clients")]
    pub deflate: bool,
    /// Seed of all random choices; the same seed repeats the load
    #[arg(long, default_value_t = 1, hide_short_help = true, help_heading = "Clients")]
    pub seed: u64,
    /// File of tokens, one on each line, by turns: clients present one before they join
    ///
    /// Needs tcp://, tls://, ws://, wss:// or centrifuge+ws:// targets. Each process of the load begins with the first token.
    #[arg(long, value_name = "PATH", hide_short_help = true, help_heading = "Clients")]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    pub tls: TlsSettings,
    #[command(flatten)]
    pub reconnects: ReconnectArguments,
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
        let targets = self.offer_deflate(self.weighted_targets(targets)?)?;
        self.check_tokens(&targets)?;
        let reconnect = self.reconnects.reconnect((clients, rooms), self.duration, &targets)?;
        let (targets, publishers) = self.with_publishers(targets)?;
        self.reconnects.check_failover(&targets)?;
        self.tls.check(targets.iter().any(|weighted| weighted.target.is_tls))?;
        Ok(Workload {
            targets,
            clients,
            rooms,
            giant: self.giant,
            pace: self.pace(rooms)?,
            settings: WorkloadSettings { reconnect, publishers, ..self.settings() },
            sources: self.source.clone(),
        })
    }

    /// Makes the clients of all targets over WebSocket offer compression, if `--deflate` asks for it.
    fn offer_deflate(&self, mut targets: Vec<WeightedTarget>) -> anyhow::Result<Vec<WeightedTarget>> {
        for WeightedTarget { target, .. } in &mut targets {
            target.is_deflated |= self.deflate && target.scheme.is_websocket();
        }
        let is_useless = self.deflate && !targets.iter().any(|weighted| weighted.target.is_deflated);
        ensure!(!is_useless, "--deflate: only WebSockets compress; ws:// and centrifuge+ws:// are such");
        Ok(targets)
    }

    /// Adds the targets over which others than the members publish, if there are any, and says who publishes.
    fn with_publishers(&self, mut targets: Vec<WeightedTarget>) -> anyhow::Result<(Vec<WeightedTarget>, Publishers)> {
        let readers = targets.iter().filter(|weighted| weighted.target.scheme == Scheme::Sse);
        let readers: Vec<_> = readers.map(|weighted| weighted.target.websocket()).collect();
        ensure!(self.churn == 0.0 || readers.is_empty(), "--churn: readers of sse:// leave by their end alone");
        let is_api = |weighted: &WeightedTarget| weighted.target.scheme == Scheme::Api;
        ensure!(!targets.iter().any(is_api), "api:// only publishes: it is a target of --publish-over");
        let publishing = if self.publish_over.is_empty() { readers } else { self.publish_over.clone() };
        if publishing.is_empty() {
            return Ok((targets, self.publishers));
        }
        let key = self.api_key_file.as_deref().map(tokens::read_api_key).transpose()?;
        for target in publishing {
            let cannot_publish = matches!(target.scheme, Scheme::Sse | Scheme::Echo);
            ensure!(!cannot_publish, "--publish-over {target}: it cannot publish to a room");
            let has_key = target.scheme != Scheme::Api || key.is_some();
            ensure!(has_key, "--publish-over {target}: it needs --api-key-file PATH");
            targets.push(WeightedTarget { target, weight: 0 });
        }
        Ok((targets, Publishers::Apart))
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

    fn check_tokens(&self, targets: &[WeightedTarget]) -> anyhow::Result<()> {
        let Some(path) = &self.token_file else { return Ok(()) };
        for WeightedTarget { target, .. } in targets {
            ensure!(target.scheme.has_tokens(), "--token-file: {target} has no AUTH; {WITH_TOKENS} have");
        }
        tokens::read_tokens(path).map(drop)
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
            reconnect: None,
            failover: self.reconnects.failover,
            seed: self.seed,
            messages_per_write: 1,
            room_prefix: room_prefix(),
            tls: self.tls.clone(),
            token_file: self.token_file.clone(),
            api_key_file: self.api_key_file.clone(),
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
    let (name, weight) = part.split_once('=').with_context(|| format!("--mix {part:?}: as tcp=50,ws=50"))?;
    let (scheme, is_tls) = parse_scheme(name).context("--mix")?;
    let weight = weight.parse().ok().filter(|weight| (1..=1_000).contains(weight));
    let weight = weight.with_context(|| format!("--mix {part:?}: a share from 1 to 1000"))?;
    let given = targets.iter().find(|target| (target.scheme, target.is_tls) == (scheme, is_tls)).cloned();
    let target = match (given, name) {
        (Some(target), _) => target,
        (None, "tcp") => LINES.parse()?,
        (None, "ws") => WEBSOCKET.parse()?,
        (None, name) => bail!("--mix {part:?}: no {name}:// target is named"),
    };
    Ok(WeightedTarget { target, weight })
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
    use clap::Parser;

    use super::super::Arguments;
    use super::*;
    use crate::workload::Failover;

    fn workload(words: &[&str]) -> anyhow::Result<Workload> {
        let words = ["loadgen"].iter().chain(words);
        let measure = Arguments::try_parse_from(words)?.measure;
        measure.load.workload(measure.targets.all())
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
    fn a_list_of_targets_is_that_of_the_nodes_of_a_cluster() {
        let nodes = workload(&["--targets", "tcp://127.0.0.1:1,ws://127.0.0.1:2,tcp://127.0.0.1:3", "--failover"]);
        let nodes = nodes.unwrap();
        let shares: Vec<_> = nodes.targets.iter().map(|share| (share.target.to_string(), share.weight)).collect();
        let shares: Vec<_> = shares.iter().map(|(target, weight)| (&target[..], *weight)).collect();
        assert_eq!(shares, [("tcp://127.0.0.1:1", 1), ("ws://127.0.0.1:2/ws", 1), ("tcp://127.0.0.1:3", 1)]);
        assert_eq!(nodes.settings.failover, Some(Failover::Other));
    }

    #[test]
    fn a_server_that_is_restarted_in_place_is_one_target() {
        let restarted = workload(&["tcp://127.0.0.1:1", "sse://127.0.0.1:2", "--failover=same"]).unwrap();
        assert_eq!(restarted.settings.failover, Some(Failover::Same));
    }

    #[test]
    fn readers_that_cannot_publish_have_a_publisher_over_the_websocket_of_their_server() {
        let workload = workload(&["sse://127.0.0.1:9"]).unwrap();
        let shares: Vec<_> = workload.targets.iter().map(|share| (share.target.to_string(), share.weight)).collect();
        assert_eq!(shares, [("sse://127.0.0.1:9".to_owned(), 1), ("ws://127.0.0.1:9/ws".to_owned(), 0)]);
        assert_eq!(workload.settings.publishers, Publishers::Apart);
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
            (&["--reconnect", "0"], "above 0 and up to 1"),
            (&["--reconnect", "0.5@soon"], "as 0.3 or 0.3@5s"),
            (&["--reconnect", "0.5", "nats://127.0.0.1:1"], "nats://127.0.0.1:1 has no positions to resume from"),
            (&["--reconnect", "0.5", "tcp://127.0.0.1:1", "echo://127.0.0.1:1"], "echo://127.0.0.1:1 has no positions"),
            (&["--reconnect", "0.5", "--rooms", "1"], "less than one of 1 rooms"),
            (&["--reconnect", "0.5", "--clients", "5", "--rooms", "5"], "nobody is cut"),
            (&["--reconnect", "0.5@9s"], "comes back at 10s, but --duration is 10s"),
            (&["--away", "1s"], "--reconnect"),
            (&["--failover"], "tcp://127.0.0.1:8080: no other target has positions like it"),
            (&["--failover", "tcp://127.0.0.1:1", "sse://127.0.0.1:2"], "no other target has positions like it"),
            (&["--failover", "nats://127.0.0.1:1", "nats://127.0.0.1:2"], "has no positions to resume from"),
            (&["--failover=same", "nats://127.0.0.1:1"], "nats://127.0.0.1:1 has no positions to resume from"),
            (&["--failover=same", "--in-flight", "1"], "cannot be used with"),
            (&["--failover", "--churn", "1"], "cannot be used with"),
            (&["--targets", "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"], "cannot be used with"),
            (&["api://127.0.0.1:1"], "a target of --publish-over"),
            (&["--publish-over", "api://127.0.0.1:1"], "it needs --api-key-file PATH"),
            (&["--publish-over", "sse://127.0.0.1:1"], "it cannot publish to a room"),
            (&["--publish-over", "tcp://127.0.0.1:1", "--publishers", "first"], "cannot be used with"),
            (&["sse://127.0.0.1:1", "--churn", "1"], "leave by their end alone"),
            (&["sse://127.0.0.1:1", "--token-file", "no-such-file"], "sse://127.0.0.1:1 has no AUTH"),
            (&["http://127.0.0.1:80"], "tcp, tls, ws, wss, sse, api, nats, redis or echo"),
            (&["--mix", "tls=1"], "no tls:// target"),
            (&["tls://127.0.0.1:1"], "--ca PATH"),
            (&["--deflate"], "only WebSockets compress"),
            (&["tls://127.0.0.1:1", "--ca", "a", "--insecure"], "cannot be used with"),
            (&["--token-file", "no-such-file"], "no-such-file"),
            (&["nats://127.0.0.1:1", "--token-file", "no-such-file"], "nats://127.0.0.1:1 has no AUTH"),
        ] {
            let error = format!("{:#}", workload(words).unwrap_err());
            assert!(error.contains(rule), "{words:?}: {error}");
        }
    }
}
