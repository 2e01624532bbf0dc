//! How the server becomes a node of a cluster as it starts: the stream first, then the shards that follow it.

use std::fs::read_to_string;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::backplane::feed::Reached;
use crate::backplane::{self, BackplaneMetrics, CaughtUp, PeerMailbox, Peers, Prepared};
use crate::broker::{ShardMailbox, ShardSenders};
use crate::config::Config;
use crate::worker::DescriptorTable;

/// The name of the host, as the kernel tells it.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";

/// The time for the backplane to end once nothing uses it. It sends for at most two seconds what is in flight.
const END_TIME_MAX: Duration = Duration::from_secs(3);

/// What a server that has joined a cluster does for it, and hears from it.
pub(super) struct Membership {
    /// The other nodes.
    pub peers: Peers,
    /// What they ask.
    pub questions: PeerMailbox,
    /// Rises each time that the shards were told that the stream has restarted.
    pub restarts: watch::Receiver<u64>,
    ended: oneshot::Receiver<()>,
}

/// Finds the stream of the cluster, or creates it; `None` where the server is alone.
///
/// # Errors
/// NATS or its stream is not as a node needs it, or the server is asked to stop meanwhile.
pub(super) async fn prepare(
    config: &Config,
    metrics: Option<&Arc<BackplaneMetrics>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Prepared>> {
    let (Some(rules), Some(metrics)) = (&config.cluster, metrics) else { return Ok(None) };
    let name = read_to_string(HOST_NAME_FILE).unwrap_or_default().trim().to_owned();
    let starting = backplane::start(rules.clone(), Arc::clone(metrics), name)?;
    tokio::select! {
        prepared = starting.prepared() => Ok(Some(prepared?)),
        () = shutdown.cancelled() => Err(anyhow!("asked to stop while it looked for NATS")),
    }
}

/// Makes all shards follow the stream. To be called before their workers start.
pub(super) fn follow(
    prepared: Prepared,
    shards: &ShardSenders,
    mailboxes: &mut [ShardMailbox],
    table: Option<DescriptorTable>,
) -> (CaughtUp, Membership) {
    let Prepared { epoch, proposer, begin, peers, questions, restarts, ended } = prepared;
    let reached = Reached::default();
    let join = |mailbox: &mut ShardMailbox| mailbox.join_cluster(proposer.clone(), epoch, reached.clone());
    let feeds = mailboxes.iter_mut().map(join).collect();
    let caught_up = match table {
        Some(table) => begin.follow(feeds, reached, shards.router(), Box::pin(table.unshare())),
        None => begin.follow(feeds, reached, shards.router(), Box::pin(ready(Ok(())))),
    };
    (caught_up, Membership { peers, questions, restarts, ended })
}

impl Membership {
    /// Waits until the stream has what this node has published last. The shards must have ended.
    pub async fn end(self) {
        let _ = timeout(END_TIME_MAX, self.ended).await;
    }
}
