//! The thread that talks to NATS, and how it starts: it makes or checks the stream, and closes that connection again.
//! Once the shards are there it connects anew and follows the stream.

mod connection;
mod error;
mod links;
mod messages;
mod prepare;
mod shards;
mod stream;
mod subjects;
mod task;
mod tls;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use async_nats::Client;
use async_nats::connection::State;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tracing::{error, warn};

pub use self::error::BackplaneError;
use self::prepare::Opened;
use self::shards::Shards;
pub(super) use self::subjects::Subjects;
use self::task::{Task, Tellers};
pub use self::tls::NatsTls;
use super::envelope::NodeId;
use super::feed::{ProposalMailbox, Proposer, Reached, ShardFeed, proposals};
use super::metrics::BackplaneMetrics;
use super::peers::{self, PeerChannels, PeerMailbox, Peers};
use crate::config::ClusterRules;
use crate::fault;
use crate::probe::{Probe, ProbeMailbox, probe};
use crate::protocol::names::RoomName;
use crate::protocol::position::Epoch;

/// The name of the thread.
const THREAD: &str = "backplane";

/// The shard of a room.
pub type ShardOf = Box<dyn Fn(&RoomName) -> usize + Send>;

/// What the thread awaits before it connects for good.
pub type Unshare = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// The thread, which looks for NATS.
#[derive(Debug)]
pub struct Starting {
    opened: oneshot::Receiver<Result<Epoch, BackplaneError>>,
    prepared: Prepared,
}

/// The stream is there.
#[derive(Debug)]
pub struct Prepared {
    /// The epoch of the stream.
    pub epoch: Epoch,
    /// For the shards. The thread ends when every clone is gone.
    pub proposer: Proposer,
    /// The other nodes.
    pub peers: Peers,
    /// The way of probes to the thread.
    pub probe: Probe,
    /// What they ask.
    pub questions: PeerMailbox,
    /// Rises each time that the shards were told that the stream has restarted.
    pub restarts: watch::Receiver<u64>,
    /// Becomes ready when the thread has ended: what was in flight was sent, within two seconds.
    pub ended: oneshot::Receiver<()>,
    /// Starts to follow.
    pub begin: Begin,
}

/// The right to start following, once.
#[derive(Debug)]
pub struct Begin {
    orders: oneshot::Sender<Orders>,
    caught_up: watch::Receiver<bool>,
}

/// Whether the node has caught up with what was in the stream when it started.
#[derive(Clone, Debug)]
pub struct CaughtUp(watch::Receiver<bool>);

/// What the thread needs for following.
struct Orders {
    shards: Shards,
    unshare: Unshare,
}

impl fmt::Debug for Orders {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Orders").field("shards", &self.shards.feeds.len()).finish_non_exhaustive()
    }
}

/// The ends of the thread.
struct Ends {
    opened: oneshot::Sender<Result<Epoch, BackplaneError>>,
    orders: oneshot::Receiver<Orders>,
    proposals: ProposalMailbox,
    peers: PeerChannels,
    probes: ProbeMailbox,
    restarts: watch::Sender<u64>,
    caught_up: watch::Sender<bool>,
    ended: oneshot::Sender<()>,
}

/// What the thread knows all the time.
struct Node {
    rules: ClusterRules,
    tls: NatsTls,
    metrics: Arc<BackplaneMetrics>,
    id: NodeId,
    name: String,
}

/// Starts the thread.
///
/// # Errors
/// The system has no thread or no runtime for it.
pub fn start(
    rules: ClusterRules,
    tls: NatsTls,
    metrics: Arc<BackplaneMetrics>,
    node_name: String,
) -> io::Result<Starting> {
    let (starting, ends) = channels();
    let node = Node { rules, tls, metrics, id: NodeId::random(), name: node_name };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(THREAD.into()).spawn(move || run(&runtime, node, ends))?;
    Ok(starting)
}

impl Starting {
    /// Waits until the stream is there.
    ///
    /// # Errors
    /// NATS was not found within 30 s, or is not as a node needs it. The text is for the operator.
    pub async fn prepared(self) -> Result<Prepared, BackplaneError> {
        let epoch = self.opened.await.unwrap_or(Err(BackplaneError::Ended))?;
        Ok(Prepared { epoch, ..self.prepared })
    }
}

impl Begin {
    /// Follows the stream from its first message and tells the shards. `feeds` has one for each shard, in order, and
    /// `reached` is what they share. The thread awaits `unshare` before it connects.
    pub fn follow(self, feeds: Vec<ShardFeed>, reached: Reached, shard_of: ShardOf, unshare: Unshare) -> CaughtUp {
        let orders = Orders { shards: Shards { feeds, reached, shard_of }, unshare };
        // Fails if the thread has ended, as it does when every proposer is gone.
        let _ = self.orders.send(orders);
        CaughtUp(self.caught_up)
    }
}

impl CaughtUp {
    /// Whether it has.
    pub fn is_true(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it has, or the thread has ended. A server that is alone has nothing to catch up with.
    pub async fn wait(this: Option<Self>) {
        if let Some(Self(mut receiver)) = this {
            let _ = receiver.wait_for(|is_true| *is_true).await;
        }
    }
}

/// Whether there is a connection.
pub(super) fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}

fn channels() -> (Starting, Ends) {
    let (opened_sender, opened) = oneshot::channel();
    let (orders, orders_receiver) = oneshot::channel();
    let (ended_sender, ended) = oneshot::channel();
    let (restarts_sender, restarts) = watch::channel(0);
    let (caught_up_sender, caught_up) = watch::channel(false);
    let (proposer, proposals) = proposals();
    let (peers, questions, peer_channels) = peers::channels();
    let (probe, probes) = probe(THREAD.to_owned());
    let begin = Begin { orders, caught_up };
    let prepared = Prepared {
        epoch: Epoch::new(Default::default(), 0),
        proposer,
        peers,
        probe,
        questions,
        restarts,
        ended,
        begin,
    };
    let ends = Ends {
        opened: opened_sender,
        orders: orders_receiver,
        proposals,
        peers: peer_channels,
        probes,
        restarts: restarts_sender,
        caught_up: caught_up_sender,
        ended: ended_sender,
    };
    (Starting { opened, prepared }, ends)
}

/// The thread.
fn run(runtime: &Runtime, node: Node, ends: Ends) {
    let Ends { opened, orders, proposals, peers, probes, restarts, caught_up, ended } = ends;
    fault::inject("backplane");
    let stream = match runtime.block_on(prepare::open(&node)) {
        Ok(stream) => stream,
        // Fails if nobody waits any more.
        Err(error) => return drop(opened.send(Err(error))),
    };
    let _ = opened.send(Ok(super::stream::epoch(stream.inspection.created)));
    runtime.block_on(async {
        tokio::spawn(probes.answer_all());
        let Ok(Orders { shards, unshare }) = orders.await else { return };
        if let Err(error) = unshare.await {
            warn!(%error, "the backplane shares the descriptors of the process");
        }
        follow(node, stream, shards, proposals, peers, Tellers { restarts, caught_up }).await;
    });
    let _ = ended.send(());
}

async fn follow(
    node: Node,
    stream: Opened,
    shards: Shards,
    proposals: ProposalMailbox,
    peers: PeerChannels,
    tellers: Tellers,
) {
    match Task::connect(node, stream, shards, proposals, peers, tellers).await {
        Ok(task) => task.run().await,
        Err(error) => error!(%error, "the backplane cannot subscribe"),
    }
}
