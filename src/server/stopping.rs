//! The stop, in order: announced, nobody is let in, clients end over the drain spread, the rest end at once, and cut after
//! the grace period. Logs how far it is.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::joining::END_TIME_MAX;
use super::ready_file;
use super::sampling::Sampler;
use crate::config::Config;
use crate::shutdown::Drain;
use crate::transport::metrics::ServerMetrics;
use crate::worker::RunningWorker;

/// How long clients are cut after the grace period.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// The time between two log lines that say how far the stop is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The longest time that a stop takes.
pub(super) fn time_max(config: &Config) -> Duration {
    let of_backplane = config.cluster.as_ref().map_or(Duration::ZERO, |_| END_TIME_MAX);
    config.drain_delay + config.drain_spread + config.grace + CUT_WITHIN + of_backplane
}

/// Stops the workers of a server, whose figures the sampler goes on to publish.
///
/// # Errors
/// A worker has panicked, or does not end.
pub(super) async fn stop(
    workers: Vec<RunningWorker>,
    drain: &Drain,
    sampler: &mut Sampler,
    metrics: &ServerMetrics,
    config: &Config,
) -> anyhow::Result<()> {
    drain.announce();
    let Config { drain_delay, drain_spread, grace, .. } = config;
    info!(?drain_delay, ?drain_spread, ?grace, "stopping");
    logging_progress(metrics, stop_in_order(workers, drain, sampler, config)).await
}

async fn stop_in_order(
    workers: Vec<RunningWorker>,
    drain: &Drain,
    sampler: &mut Sampler,
    config: &Config,
) -> anyhow::Result<()> {
    if !config.drain_delay.is_zero() {
        sampler.run_during(sleep(config.drain_delay)).await;
    }
    // While the addresses are still bound: the next server that binds them may use the same file.
    if let Some(path) = &config.ready_file
        && let Err(error) = ready_file::remove(path)
    {
        warn!(%error, path = %path.display(), "cannot remove the ready file");
    }
    if !config.drain_spread.is_zero() {
        sampler.run_during(drain.spread_endings()).await;
    }
    sampler.forget_workers();
    sampler.run_during(end_all(workers, drain, config.grace)).await
}

/// Ends all clients, and cuts those who are left after the grace period. Once sessions have left, everything ends by itself:
/// the broker's handles drop with the sessions, so the shards end when their mailboxes are empty, and the writers when the
/// shards and their last clients are gone.
async fn end_all(workers: Vec<RunningWorker>, drain: &Drain, grace: Duration) -> anyhow::Result<()> {
    let mut stopping = std::pin::pin!(async {
        drain.stop_publishing().await;
        collect(workers).await
    });
    if let Ok(stopped) = timeout(grace, &mut stopping).await {
        return stopped;
    }
    warn!("the grace period is over");
    drain.cut();
    timeout(CUT_WITHIN, stopping).await.map_err(|_| anyhow!("the workers did not end within {CUT_WITHIN:?}"))?
}

async fn collect(workers: Vec<RunningWorker>) -> anyhow::Result<()> {
    for worker in workers {
        // Only a panic ends a worker without an answer, and in a server process that ends the process.
        worker.ended.await.context("a worker has panicked")??;
    }
    Ok(())
}

/// Logs the clients that are left at the beginning, now and then, and at the end.
async fn logging_progress<T>(metrics: &ServerMetrics, stopping: impl Future<Output = T>) -> T {
    let began_at = Instant::now();
    let log = || info!(clients = metrics.clients(), elapsed = ?began_at.elapsed(), "draining");
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = std::pin::pin!(stopping);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => log(),
            outcome = &mut stopping => {
                log();
                return outcome;
            }
        }
    }
}
