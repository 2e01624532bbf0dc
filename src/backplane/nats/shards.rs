//! The shards, as the thread sees them: where an entry goes, and what each is told.

use tokio::sync::oneshot;

use super::super::entry::{Entry, ProposalError};
use super::super::feed::{Followed, Placed, Reached, ShardFeed};
use super::super::publishing::ProposalId;
use super::super::signal::Signal;
use super::super::stream::{StoredAt, offset};
use super::ShardOf;
use crate::protocol::position::{Epoch, Offset};

/// The shards, as the thread sees them.
pub(super) struct Shards {
    pub feeds: Vec<ShardFeed>,
    pub reached: Reached,
    pub shard_of: ShardOf,
}

impl Shards {
    /// Tells the entries of an envelope to their shards. `proposals` are what this node knows them by; none for those of
    /// other nodes. Waits for shards that have too much to do.
    pub(super) async fn place(
        &self,
        sequence: u64,
        stored_at: StoredAt,
        entries: Vec<Entry>,
        proposals: &[ProposalId],
    ) {
        let stored_at = stored_at.unix_millis();
        for (place, entry) in entries.into_iter().enumerate() {
            let shard = (self.shard_of)(entry.room());
            let proposal = proposals.get(place).filter(|id| id.shard == shard).map(|id| id.number);
            let placed = Placed { offset: offset(sequence, place), stored_at, entry, proposal, permit: None };
            self.tell(shard, Followed::Placed(placed)).await;
        }
    }

    /// Tells shards that their proposals have no place.
    pub(super) async fn fail(&self, proposals: &[ProposalId], error: ProposalError) {
        for &ProposalId { shard, number } in proposals {
            self.tell(shard, Followed::Failed(number, error)).await;
        }
    }

    /// Tells all shards in which epoch the stream goes on, and from where. Returns once they do.
    pub(super) async fn restart(&self, epoch: Epoch, horizon: Offset) {
        // Before the first shard goes on: it would take the place of before for one of the new epoch.
        self.reached.advance(horizon);
        let mut telling = Vec::with_capacity(self.feeds.len());
        for shard in 0..self.feeds.len() {
            let (told, begun_anew) = oneshot::channel();
            self.tell(shard, Followed::Restarted { epoch, horizon, told }).await;
            telling.push(begun_anew);
        }
        for begun_anew in telling {
            // A shard that has ended does not answer.
            let _ = begun_anew.await;
        }
    }

    /// Tells a shard what has happened on another node, unless the shard has too much to do.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(feed) = self.feeds.get((self.shard_of)(&signal.room)) {
            feed.try_tell(Followed::Signal(signal));
        }
    }

    async fn tell(&self, shard: usize, followed: Followed) {
        if let Some(feed) = self.feeds.get(shard) {
            feed.tell(followed).await;
        }
    }
}
