//! What the shards of a node do for other nodes: they say what they have, and tell the members of large rooms how many
//! they are on all nodes.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::batch::Batch;
use super::command::{RoomCounts, ShardCommand, Viewer};
use super::handle::WeakShards;
use super::peers::{PeerAnswers, PeerCommand, RoomUsers};
use super::shard::Shard;
use crate::protocol::command::CommandError;
use crate::protocol::listing::Listing;
use crate::protocol::names::{Label, RoomName};
use crate::protocol::publication::Publisher;

impl Shard {
    /// Does what other nodes have to do with the rooms. An answer that only reads need not follow the output.
    pub(super) fn obey_peer(&mut self, command: PeerCommand, batch: &mut Batch) {
        match command {
            PeerCommand::Labels(room, asked_at, answer) => {
                let room = self.rooms.get_mut(&room);
                let labels = room.map(|room| room.labels(asked_at, &mut self.listing_budget));
                let _ = answer.send(labels.unwrap_or_default());
            }
            PeerCommand::Users(room, answer) => drop(answer.send(self.users(&room))),
            PeerCommand::Recounted(answer) => drop(answer.send(self.presence.take_recounted())),
            PeerCommand::TellCount(room, others) => self.presence.tell_count(&room, others, &mut self.rooms, batch),
        }
    }
}

/// Each call returns nothing once the shards have ended.
impl WeakShards {
    /// The labels of the members of a room.
    pub async fn labels(&self, room: RoomName) -> Option<Arc<Listing<Label>>> {
        self.ask_shard(room, |room, answer| PeerCommand::Labels(room, Instant::now(), answer)).await
    }

    /// The users of a room, and the number of its members.
    pub async fn users(&self, room: RoomName) -> Option<RoomUsers> {
        self.ask_shard(room, PeerCommand::Users).await
    }

    /// The members of a room as others see them.
    pub async fn presence(&self, room: RoomName) -> Option<Result<Vec<Arc<Publisher>>, CommandError>> {
        let nobody = PeerAnswers::default();
        let shards = self.0.upgrade()?;
        let request = shards.of(&room).0.request(move |answer| ShardCommand::Presence(room, nobody, answer));
        drop(shards);
        Some(request.await)
    }

    /// The number of the members of a room.
    pub async fn count(&self, room: RoomName) -> Option<usize> {
        let nobody = PeerAnswers::default();
        let shards = self.0.upgrade()?;
        let request = shards.of(&room).0.request(move |answer| ShardCommand::PresenceCount(room, nobody, answer));
        drop(shards);
        Some(request.await.clients)
    }

    /// The rooms with members that the viewer may know of.
    pub async fn rooms(&self, viewer: Viewer) -> Option<Listing<RoomName>> {
        let parts = self.ask_all(|answer| ShardCommand::Rooms(Instant::now(), viewer, answer)).await?;
        Some(Listing::merge(&parts))
    }

    /// The rooms with members, and the number of the members of each, by shard.
    pub async fn counts(&self) -> Option<Vec<RoomCounts>> {
        self.ask_all(ShardCommand::CountMembers).await
    }

    /// The rooms whose members are to be told their number.
    pub async fn recounted(&self) -> Option<Vec<RoomName>> {
        let rooms = self.ask_all(|answer| ShardCommand::Peer(PeerCommand::Recounted(answer))).await?;
        Some(rooms.concat())
    }

    /// Tells the members of a room their number, of whom so many are on other nodes.
    pub async fn tell_count(&self, room: RoomName, others: usize) {
        if let Some(shards) = self.0.upgrade() {
            let sending = shards.of(&room).0.send(ShardCommand::Peer(PeerCommand::TellCount(room, others)));
            drop(shards);
            sending.await;
        }
    }

    async fn ask_shard<T>(
        &self,
        room: RoomName,
        command: impl FnOnce(RoomName, oneshot::Sender<T>) -> PeerCommand,
    ) -> Option<T> {
        let shards = self.0.upgrade()?;
        let shard = shards.of(&room).0;
        let request = shard.request(move |answer| ShardCommand::Peer(command(room, answer)));
        drop(shards);
        Some(request.await)
    }

    async fn ask_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> ShardCommand) -> Option<Vec<T>> {
        let requests = self.0.upgrade()?.request_all(command);
        Some(requests.await)
    }
}
