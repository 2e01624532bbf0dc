//! The composition root: configuration → workers → wait for the shutdown → drain. Owns nothing of what it composes.

mod cluster;
mod control;
mod descriptors;
mod joining;
mod ready_file;
mod reload;
mod sampling;
mod service;
mod stopping;
mod tls_files;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use thiserror::Error;
use tokio::runtime::RuntimeMetrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::control::Control;
use self::descriptors::Descriptors;
use self::joining::{BackplaneEnd, Membership};
pub use self::reload::Reloader;
use self::sampling::Sampler;
use self::service::ServiceManager;
use self::tls_files::Certificate;
use crate::access::Access;
use crate::api::{Node, node_name};
use crate::backplane::{NatsTls, Prepared};
use crate::broker::{RoomLimiter, ShardRules, ShardSenders, WeakShards};
use crate::config::{Config, ConfigError, DescriptorTables, exposure, read_file};
use crate::hooks::Application;
use crate::net::address_limiter::AddressLimiter;
use crate::net::connection_limit::ConnectionLimit;
use crate::net::handshakes::TlsServer;
use crate::net::listen::listeners;
use crate::probe::{Probe, probe};
use crate::session::SpentDeliveries;
use crate::session::workers::{WorkerSenders, worker_mailboxes};
use crate::shutdown::Drain;
use crate::stats::{Limits, Stats};
use crate::transport::emulation::emulation_mailboxes;
use crate::transport::metrics::ServerMetrics;
use crate::worker::{DescriptorTable, RunningWorker, Shared, Worker, thread_name};
use crate::writer::handle::mailbox;
use crate::writer::{Counts, WriterIndex};

/// A hard limit below this is probably a default of the system (often 1024), not one for a server.
const DESCRIPTORS_FEW: u64 = 4096;

/// The addresses on which a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundAddresses {
    /// For line clients.
    pub tcp: SocketAddr,
    /// For browsers and operators.
    pub http: SocketAddr,
}

/// The server was asked to stop before it accepted clients.
#[derive(Clone, Copy, Debug, Error)]
#[error("stopped before it was ready")]
pub struct AskedToStop;

/// Runs a server until `shutdown` is cancelled, then drains it within the drain delay, the drain spread, the grace period
/// and five seconds; a node of a cluster within three more. Calls `on_bound` with the bound addresses, and the control of
/// the server, once clients are accepted. Returns the totals of what was delivered.
///
/// With [`DescriptorTables::PerWorker`] the server needs the process to itself: every worker's table holds copies of
/// the descriptors that are open at the start, so that closing one elsewhere does not end its connection before this
/// returns.
///
/// # Errors
/// An address could not be bound, a limit is too low, a file of keys or of the certificate is wrong, the system refuses
/// what the configuration requires, or the ready file could not be written; [`AskedToStop`] if `shutdown` was cancelled
/// before clients were accepted.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    on_bound: impl FnOnce(BoundAddresses, Control),
) -> anyhow::Result<Counts> {
    check_addresses(&config)?;
    let descriptors = Descriptors::raise(&config)?;
    let clients_max = descriptors.clients_max(config.max_clients)?;
    let metrics = ServerMetrics {
        backplane: config.cluster.as_ref().map(|_| Arc::default()),
        ..ServerMetrics::new(config.workers, config.shards, limits(&config, clients_max))
    };
    let mut tls = Certificate::load(config.tls.as_ref(), &metrics.certificate_not_after)?;
    let access = Arc::new(Access::load(&config.access)?);
    access.warnings.iter().for_each(|warning| warn!("{warning}"));
    let application = application(&config)?;
    let has_tokens = !access.tokens.is_empty();
    let cluster = joining::prepare(&config, metrics.backplane.as_ref(), node_name(), &shutdown).await?;
    let lines = listen(config.tcp, "tcp", &config)?;
    let http = listen(config.http, "http", &config)?;
    // Not before the addresses are bound: it may be the file of a server that runs.
    if let Some(path) = &config.ready_file {
        ready_file::remove(path).with_context(|| format!("cannot replace the ready file {}", path.display()))?;
    }
    let bound = BoundAddresses { tcp: lines[0].local_addr()?, http: http[0].local_addr()? };
    let drain = Drain::new(config.drain_spread, config.cluster.is_some());
    let listeners = lines.into_iter().zip(http);
    let asked = (Arc::clone(&access), application);
    let (publisher, stats) = watch::channel(Arc::default());
    let Started { mut workers, shards, commands, probes, backplane_end } =
        start(&config, descriptors, listeners, asked, (&metrics, stats), (tls.server(), cluster), &drain)?;
    let manager = ServiceManager::of_environment(&metrics, probes, &drain, stopping::time_max(&config));
    let mut sampler = Sampler::new(metrics.clone(), shards.clone(), drain.clone(), publisher);
    match become_ready(&mut workers, bound, config.ready_file.as_deref(), &shutdown).await {
        Ok(runtimes) => sampler.watch_workers(runtimes),
        Err(error) => {
            // What they have handed over must be dropped before they end. The threads that did start end by themselves.
            drop(workers);
            drain.cut();
            drain.stop_publishing().await;
            return Err(error);
        }
    }
    // Not before everything has worked: a start that fails says why, in one line.
    log_start(descriptors, clients_max, bound, &tls.server().borrow());
    if !has_tokens {
        warn_of_open_ports(bound);
    }
    manager.ready().await;
    on_bound(bound, Control::new(commands, shards, tls.requests(), access, manager, &metrics));
    let asked_to_stop = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tls.watch() => {}
        }
    };
    sampler.run_during(asked_to_stop).await;
    drop(tls);
    let cut_before = Counts::of(&metrics.writers).cut;
    stopping::stop(workers, &drain, &mut sampler, &metrics, &config).await?;
    if let Some(backplane_end) = backplane_end {
        backplane_end.wait().await;
    }
    let counts = Counts::of(&metrics.writers);
    info!(delivered = counts.delivered, clients_cut = counts.cut - cut_before, "stopped");
    Ok(counts)
}

/// What the configuration and the system allow.
fn limits(config: &Config, clients_max: usize) -> Limits {
    Limits {
        clients_max: clients_max as u64,
        rooms_max: config.rooms_max as u64,
        outbox_budget: config.rules.outbox.budget as u64,
        history_budget: config.history.budget as u64,
    }
}

/// Logs the limit and the addresses, with warnings where an operator may not have meant them.
fn log_start(
    Descriptors { limit, tables, .. }: Descriptors,
    clients_max: usize,
    bound: BoundAddresses,
    tls: &TlsServer,
) {
    info!(descriptors = limit, tables, clients_max, "descriptor limit");
    // The field is there only where it is true.
    let [lines_tls, http_tls] = [&tls.lines, &tls.http].map(|config| config.is_some().then_some(true));
    info!(tls = lines_tls, address = %bound.tcp, "listening for tcp lines");
    info!(tls = http_tls, address = %bound.http, "listening for http");
    if limit < DESCRIPTORS_FEW {
        let descriptors = limit;
        warn!(descriptors, clients_max, "few descriptors: raise the hard limit (ulimit -Hn) for more clients");
    }
}

/// Warns of the ports of a server that verifies no tokens, where others may not mean to be let in.
fn warn_of_open_ports(bound: BoundAddresses) {
    for address in [bound.tcp, bound.http].into_iter().filter(|address| !address.ip().is_loopback()) {
        warn!(%address, "listening for other hosts without tokens: anybody who can reach it may join");
    }
}

/// Refuses a configuration that [`run`] would refuse on this machine, as far as that is known without listening.
///
/// # Errors
/// Both ports are one, a limit is too low, a file of a certificate or of the hooks' secret is wrong, or the ready file has
/// no folder.
pub fn check(config: &Config) -> anyhow::Result<()> {
    check_addresses(config)?;
    Descriptors::after_raise(config).clients_max(config.max_clients)?;
    config.tls.as_ref().map_or(Ok(()), tls_files::check)?;
    config.cluster.as_ref().map(NatsTls::load).transpose()?;
    application(config)?;
    config.ready_file.as_deref().map_or(Ok(()), ready_file::check)
}

/// Refuses one address for both protocols.
fn check_addresses(Config { tcp, http, .. }: &Config) -> Result<(), ConfigError> {
    if tcp == http && http.port() != 0 {
        return Err(ConfigError::new("http", http, format!("needs another port than {{tcp}} {tcp}")));
    }
    Ok(())
}

/// The application that hooks ask, if any is on.
fn application(config: &Config) -> Result<Option<Arc<Application>>, ConfigError> {
    let Some(rules) = &config.hooks else { return Ok(None) };
    let (setting, path) = ("hook-secret-file", &rules.secret_file);
    let (secret, metadata) = read_file(setting, path)?;
    if let Some(warning) = exposure(setting, path, &metadata) {
        warn!("{warning}");
    }
    Application::new(rules, &secret, config.rules.message_bytes_max).map(|application| Some(application.into()))
}

/// Opens one listener per worker on the address of a setting.
fn listen(address: SocketAddr, setting: &'static str, config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    listeners(address, config.workers, config.backlog).map_err(|error| {
        let rule = format!("cannot listen there: {error}: choose another with --{setting}");
        ConfigError::new(setting, address, rule).into()
    })
}

/// Waits until all workers accept, then writes the ready file. Returns the metrics of their runtimes.
async fn become_ready(
    workers: &mut [RunningWorker],
    bound: BoundAddresses,
    ready_file: Option<&Path>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<RuntimeMetrics>> {
    let mut runtimes = Vec::new();
    for worker in workers {
        let ready = tokio::select! {
            ready = &mut worker.ready => ready,
            () = shutdown.cancelled() => return Err(AskedToStop.into()),
        };
        match ready {
            Ok(runtime) => runtimes.push(runtime),
            Err(_) => (&mut worker.ended).await?.context("cannot start a worker")?,
        }
    }
    ready_file.map_or(Ok(()), |path| ready_file::write(path, bound))?;
    Ok(runtimes)
}

/// A server whose workers have started.
struct Started {
    workers: Vec<RunningWorker>,
    shards: WeakShards,
    commands: WorkerSenders,
    /// The ways of probes to all threads that must run.
    probes: Vec<Probe>,
    /// `None` where the server is alone.
    backplane_end: Option<BackplaneEnd>,
}

fn start(
    config: &Config,
    descriptors: Descriptors,
    listeners: impl Iterator<Item = (TcpListener, TcpListener)>,
    (access, application): (Arc<Access>, Option<Arc<Application>>),
    (metrics, stats): (&ServerMetrics, watch::Receiver<Arc<Stats>>),
    (tls, cluster): (watch::Receiver<TlsServer>, Option<Prepared>),
    drain: &Drain,
) -> anyhow::Result<Started> {
    let (shards, mut shard_mailboxes) =
        ShardSenders::new(config.shards, &RoomLimiter::new(config.rooms_max), ShardRules::from(config));
    let weak_shards = shards.downgrade();
    let (writers, writer_mailboxes): (Vec<_>, Vec<_>) = (0..config.workers).map(|_| mailbox()).unzip();
    let (commands, command_mailboxes) = worker_mailboxes(config.workers);
    let (mut probes, probe_mailboxes): (Vec<_>, Vec<_>) =
        (0..config.workers).map(|index| probe(thread_name(index))).unzip();
    let (emulation, emulation_mailboxes) = emulation_mailboxes(config.workers);
    let own = listeners.zip(command_mailboxes).zip(writer_mailboxes).zip(emulation_mailboxes).zip(probe_mailboxes);
    let clients_max = usize::try_from(metrics.limits.clients_max).unwrap_or(usize::MAX);
    let connection_limit = ConnectionLimit::new(clients_max);
    let mut tables = match config.descriptor_tables {
        DescriptorTables::Shared => Vec::new(),
        DescriptorTables::PerWorker => DescriptorTable::for_each(config.workers + u16::from(cluster.is_some())),
    };
    let follow = |prepared| joining::follow(prepared, &shards, &mut shard_mailboxes, tables.pop());
    let (caught_up, membership) = cluster.map(follow).unzip();
    probes.extend(membership.as_ref().map(|membership| membership.probe.clone()));
    let shared = Shared {
        workers: config.workers,
        shards,
        writers,
        address_limiter: AddressLimiter::new(config.per_address),
        spent: SpentDeliveries::new(Instant::now()),
        metrics: metrics.clone(),
        stats,
        rules: config.rules.clone(),
        tls,
        access,
        application,
        caught_up,
        commands: commands.clone(),
        node: Node::new(emulation.node()),
        emulation,
        peers: membership.as_ref().map(|membership: &Membership| membership.peers.clone()),
        drain: drain.clone(),
    };
    let serve = |membership: Membership| membership.serve(weak_shards.clone(), commands.clone(), shared.node.clone());
    let backplane_end = membership.map(serve);
    let mut running = Vec::new();
    for (index, (((((lines, http), commands), writer), emulated), probes)) in (0..).zip(own) {
        let table = tables.pop();
        let worker = Worker {
            index: WriterIndex(index),
            lines,
            http,
            connection_limit: match &table {
                Some(_) => connection_limit.part(descriptors.allowed_per_table()),
                None => connection_limit.clone(),
            },
            table,
            // Spread evenly: shard i lives on worker i % workers.
            shards: shard_mailboxes.extract_if(.., |shard| shard.index.0 % config.workers == index).collect(),
            writer,
            commands,
            emulated,
            probes,
            serving: drain.serving(),
        };
        running.push(worker.start(shared.clone()).context("cannot start a worker thread")?);
    }
    Ok(Started { workers: running, shards: weak_shards, commands, probes, backplane_end })
}
