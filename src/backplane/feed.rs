//! The ways between the shards and the thread of the backplane. A shard never waits for the thread; the thread waits for
//! a shard that has too much to do, and NATS stores meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::entry::{Entry, Proposal, ProposalError};
use super::signal::Signal;
use crate::protocol::position::{Epoch, Offset, UnixMillis};

/// Entries that wait in the feed of one shard.
const FEED_ENTRIES_MAX: usize = 4 * 1024;

/// The bytes of entries that one shard has not applied yet, in its feed or behind its writers.
const FEED_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// About the memory of an entry beside its texts.
const ENTRY_BYTES: usize = 256;

/// Proposals of all shards that wait for the thread. The windows of publishers bound their bytes.
const PROPOSALS_MAX: usize = 16 * 1024;

/// Signals that wait for the thread. One more is dropped.
const SIGNALS_MAX: usize = 1_024;

/// What a shard is told by the backplane.
#[derive(Debug)]
pub enum Followed {
    /// The next entry of the stream for a room of the shard.
    Placed(Placed),
    /// What came of a proposal of the shard, by its number, that has no place in the stream.
    Failed(u64, ProposalError),
    /// The stream goes on in another epoch, or with a hole that nobody can fill. Nothing up to the horizon can be had.
    Restarted {
        /// The epoch of the stream.
        epoch: Epoch,
        /// The last offset that nobody can have any more.
        horizon: Offset,
        /// Answered once the shard goes on in that epoch.
        told: oneshot::Sender<()>,
    },
    /// News of another node.
    Signal(Signal),
}

/// An entry at its place in the stream.
#[derive(Debug)]
pub struct Placed {
    /// The place, above that of every entry before it.
    pub offset: Offset,
    /// When NATS stored it.
    pub stored_at: UnixMillis,
    /// The entry.
    pub entry: Entry,
    /// The number of the proposal, if this shard has made it.
    pub proposal: Option<u64>,
    /// Counts its bytes until the shard has applied it.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// The way from the thread to one shard.
#[derive(Clone, Debug)]
pub struct ShardFeed {
    entries: mpsc::Sender<Followed>,
    window: Arc<Semaphore>,
}

/// The receiving end of a shard's feed.
#[derive(Debug)]
pub struct FeedMailbox {
    entries: mpsc::Receiver<Followed>,
    reached: Reached,
}

/// Up to where all shards have been told everything. Written by the thread alone.
#[derive(Clone, Debug, Default)]
pub struct Reached(Arc<AtomicU64>);

/// The way from the shards to the thread.
#[derive(Clone, Debug)]
pub struct Proposer {
    proposals: flume::Sender<Proposal>,
    signals: flume::Sender<Signal>,
}

/// The receiving ends of what all shards propose and signal. They end when every [`Proposer`] is gone.
#[derive(Debug)]
pub struct ProposalMailbox {
    /// What the shards propose.
    pub proposals: flume::Receiver<Proposal>,
    /// What the shards signal.
    pub signals: flume::Receiver<Signal>,
}

/// A feed for one shard. All shards of a node share `reached`.
pub fn feed(reached: Reached) -> (ShardFeed, FeedMailbox) {
    let (sender, entries) = mpsc::channel(FEED_ENTRIES_MAX);
    let window = Arc::new(Semaphore::new(FEED_BYTES_MAX as usize));
    (ShardFeed { entries: sender, window }, FeedMailbox { entries, reached })
}

/// The way from all shards to the thread.
pub fn proposals() -> (Proposer, ProposalMailbox) {
    let (proposer, proposals) = flume::bounded(PROPOSALS_MAX);
    let (signaller, signals) = flume::bounded(SIGNALS_MAX);
    (Proposer { proposals: proposer, signals: signaller }, ProposalMailbox { proposals, signals })
}

impl ShardFeed {
    /// Tells the shard. Waits while it has too much to do; an entry is charged to the shard's window. Does nothing once
    /// the shard has ended.
    pub async fn tell(&self, mut followed: Followed) {
        if let Followed::Placed(placed) = &mut followed {
            let bytes = u32::try_from(placed.entry.bytes() + ENTRY_BYTES).unwrap_or(u32::MAX).min(FEED_BYTES_MAX);
            placed.permit = Arc::clone(&self.window).acquire_many_owned(bytes).await.ok();
        }
        let _ = self.entries.send(followed).await;
    }

    /// Tells the shard, unless it has too much to do: then the news is dropped.
    pub fn try_tell(&self, followed: Followed) {
        let _ = self.entries.try_send(followed);
    }
}

impl FeedMailbox {
    /// Waits for the next news; `None` when the thread has ended.
    pub async fn next(&mut self) -> Option<Followed> {
        self.entries.recv().await
    }

    /// The next news, if some wait.
    pub fn try_next(&mut self) -> Option<Followed> {
        self.entries.try_recv().ok()
    }

    /// Up to where everything for this shard is in the mailbox or was taken from it.
    pub fn reached(&self) -> Offset {
        self.reached.offset()
    }
}

impl Reached {
    /// All shards have been told everything up to here.
    pub fn advance(&self, offset: Offset) {
        self.0.store(offset.0, Ordering::Release);
    }

    /// Up to where all shards have been told everything.
    pub fn offset(&self) -> Offset {
        Offset(self.0.load(Ordering::Acquire))
    }
}

impl Proposer {
    /// Proposes without waiting.
    ///
    /// # Errors
    /// The proposal, when too many wait or the thread has ended.
    pub fn try_propose(&self, proposal: Proposal) -> Result<(), Proposal> {
        self.proposals.try_send(proposal).map_err(flume::TrySendError::into_inner)
    }

    /// Tells the other nodes, unless too many signals wait: then it is dropped.
    pub fn signal(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }
}
