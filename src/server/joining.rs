//! How the server becomes a node of a cluster as it starts: the stream first, then the shards that follow it.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::AskedToStop;
use super::cluster::ClusterNode;
use crate::api::Node;
use crate::backplane::feed::Reached;
use crate::backplane::{self, BackplaneMetrics, CaughtUp, NatsTls, PeerMailbox, Peers, Prepared};
use crate::broker::{ShardMailbox, ShardSenders, WeakShards};
use crate::config::Config;
use crate::probe::Probe;
use crate::session::workers::WorkerSenders;
use crate::worker::DescriptorTable;

/// The time for the backplane to end once nothing uses it. It sends for at most two seconds what is in flight.
pub(super) const END_TIME_MAX: Duration = Duration::from_secs(3);

/// A server that has joined a cluster.
pub(super) struct Membership {
    /// The other nodes.
    pub peers: Peers,
    /// The way of probes to the thread of the backplane.
    pub probe: Probe,
    questions: PeerMailbox,
    restarts: watch::Receiver<u64>,
    ended: oneshot::Receiver<()>,
}

/// The end of the backplane.
pub(super) struct BackplaneEnd(oneshot::Receiver<()>);

/// Finds the stream of the cluster, or creates it; `None` where the server is alone.
///
/// # Errors
/// A file of the settings is wrong, NATS or its stream is not as a node needs it, or the server is asked to stop meanwhile.
pub(super) async fn prepare(
    config: &Config,
    metrics: Option<&Arc<BackplaneMetrics>>,
    node_name: String,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Prepared>> {
    let (Some(rules), Some(metrics)) = (&config.cluster, metrics) else { return Ok(None) };
    let tls = NatsTls::load(rules)?;
    let starting = backplane::start(rules.clone(), tls, Arc::clone(metrics), node_name)?;
    tokio::select! {
        prepared = starting.prepared() => Ok(Some(prepared?)),
        () = shutdown.cancelled() => Err(AskedToStop.into()),
    }
}

/// Makes all shards follow the stream. To be called before their workers start.
pub(super) fn follow(
    prepared: Prepared,
    shards: &ShardSenders,
    mailboxes: &mut [ShardMailbox],
    table: Option<DescriptorTable>,
) -> (CaughtUp, Membership) {
    let Prepared { epoch, proposer, begin, peers, probe, questions, restarts, ended } = prepared;
    let reached = Reached::default();
    let join = |mailbox: &mut ShardMailbox| mailbox.join_cluster(proposer.clone(), epoch, reached.clone());
    let feeds = mailboxes.iter_mut().map(join).collect();
    let caught_up = match table {
        Some(table) => begin.follow(feeds, reached, shards.router(), Box::pin(table.unshare())),
        None => begin.follow(feeds, reached, shards.router(), Box::pin(ready(Ok(())))),
    };
    (caught_up, Membership { peers, probe, questions, restarts, ended })
}

impl Membership {
    /// Works for the other nodes from here on, until the backplane ends.
    pub fn serve(self, shards: WeakShards, workers: WorkerSenders, node: Node) -> BackplaneEnd {
        let Self { peers, questions, restarts, ended, .. } = self;
        spawn_local(ClusterNode { shards, workers, node, peers }.run(questions, restarts));
        BackplaneEnd(ended)
    }
}

impl BackplaneEnd {
    /// Waits until the stream has what this node has published last. The shards must have ended.
    pub async fn wait(self) {
        let _ = timeout(END_TIME_MAX, self.0).await;
    }
}
