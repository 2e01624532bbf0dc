//! What a node of a cluster does for the other nodes: it answers their questions, has its clients obey their orders, and
//! tells the members of large rooms how many they are on all nodes. When the stream has lost what clients could resume
//! from, it ends their connections, so that they come back and join anew. Never waits for one question while it could
//! answer another.

use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

use crate::api::{ApiError, Node, NodeResult};
use crate::auth::pattern::Pattern;
use crate::backplane::questions::{Answer, Question, USERS_MAX, UserKey};
use crate::backplane::{PeerMailbox, Peers};
use crate::broker::{RoomUsers, Viewer, WeakShards};
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::RoomName;
use crate::session::orders::{Addressee, Order};
use crate::session::workers::WorkerSenders;

/// Questions that are answered at once. What other nodes ask beyond waits, and they wait for 0.2 s.
const ANSWERS_MAX: usize = 64;

/// An order that takes its clients longer than this is answered while they go on: other nodes wait for 0.2 s.
const ORDER_TIME_MAX: Duration = Duration::from_millis(100);

/// The time between two looks at the rooms whose members are to be told their number.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Rooms whose members other nodes are asked to count at once.
const RECOUNTS_MAX: usize = 16;

/// The node as its peers ask it.
#[derive(Clone)]
pub struct ClusterNode {
    /// The rooms.
    pub shards: WeakShards,
    /// The clients.
    pub workers: WorkerSenders,
    /// What the server API says of this process.
    pub node: Node,
    /// The other nodes.
    pub peers: Peers,
}

impl ClusterNode {
    /// Works for the other nodes until the backplane ends. `restarts` counts the times
    /// that the shards have begun anew.
    pub async fn run(self, questions: PeerMailbox, mut restarts: watch::Receiver<u64>) {
        let mut answering = FuturesUnordered::new();
        let mut ending = FuturesUnordered::new();
        let mut telling = FuturesUnordered::new();
        let mut recounts = interval(RECOUNT_INTERVAL);
        recounts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let node = &self;
        loop {
            tokio::select! {
                question = questions.recv_async(), if answering.len() < ANSWERS_MAX => {
                    let Ok((question, answer)) = question else { return };
                    answering.push(async move {
                        let _ = answer.send(node.answer(&question).await.encode());
                    });
                }
                Ok(()) = restarts.changed() => ending.push(node.end_clients()),
                _ = recounts.tick(), if telling.is_empty() => telling.push(node.tell_counts()),
                Some(()) = answering.next() => {}
                Some(()) = ending.next() => {}
                Some(()) = telling.next() => {}
            }
        }
    }

    async fn answer(&self, question: &[u8]) -> Answer {
        let Some(question) = Question::decode(question) else {
            warn!("another node asks what this one does not understand");
            return Answer::Unknown;
        };
        // Nothing is asked of shards that have ended.
        self.answer_known(question).await.unwrap_or(Answer::Unknown)
    }

    async fn answer_known(&self, question: Question) -> Option<Answer> {
        Some(match question {
            Question::Labels(room) => {
                let labels = self.shards.labels(room).await?;
                Answer::Labels { labels: labels.names().to_vec(), more: labels.more() }
            }
            Question::Presence(room) => match self.shards.presence(room).await? {
                Ok(members) => Answer::Presence(members),
                Err(CommandError::PresenceTooLong { members, .. }) => Answer::PresenceTooLong { members },
                Err(_) => Answer::Unknown,
            },
            Question::Count(room) => Answer::Count(self.shards.count(room).await?),
            Question::Users(room, key) => hashed(self.shards.users(room).await?, key),
            Question::Rooms { is_user } => {
                let rooms = self.shards.rooms(if is_user { Viewer::User } else { Viewer::Guest }).await?;
                Answer::Rooms { rooms: rooms.names().to_vec(), more: rooms.more() }
            }
            Question::Channels { pattern } => Answer::Channels(self.channels(pattern.as_deref()).await?),
            Question::Info => {
                let node = NodeResult::new(&self.node, self.workers.count().await, &self.shards.counts().await?);
                Answer::Info(serde_json::to_value(node).ok()?)
            }
            Question::Order(order) => match serde_json::from_str(order.get()) {
                Ok((addressee, order)) => self.order(addressee, order).await,
                Err(_) => Answer::Unknown,
            },
            Question::Revoke(revocation) if self.workers.revoke(&revocation).await => Answer::Done,
            Question::Revoke(_) => refused(ApiError::not_remembered()),
        })
    }

    async fn channels(&self, pattern: Option<&str>) -> Option<Vec<(RoomName, usize)>> {
        let pattern = pattern.map(Pattern::new);
        let counts = self.shards.counts().await?;
        let rooms = counts.iter().flat_map(|counts| counts.iter());
        let matching = rooms.filter(|(room, _)| pattern.as_ref().is_none_or(|pattern| pattern.matches(room)));
        Some(matching.cloned().collect())
    }

    async fn order(&self, addressee: Addressee, order: Order) -> Answer {
        let workers = self.workers.clone();
        let mut obeying = Box::pin(async move { workers.order(addressee, order).await });
        match timeout(ORDER_TIME_MAX, &mut obeying).await {
            Ok(Ok(())) => Answer::Done,
            Ok(Err(error)) => refused(error.into()),
            Err(_) => {
                spawn_local(obeying);
                Answer::Done
            }
        }
    }

    /// Ends the connections of all clients. Every shard has begun anew already.
    async fn end_clients(&self) {
        warn!("the cluster has lost what clients could resume from: all clients are to join anew");
        self.workers.end_all(Disconnect::InsufficientState).await;
    }

    /// Tells the members of large rooms with changes how many they are on all nodes.
    async fn tell_counts(&self) {
        let rooms = self.shards.recounted().await.unwrap_or_default();
        let told = stream::iter(rooms).map(|room| self.tell_count(room)).buffer_unordered(RECOUNTS_MAX);
        told.for_each(|()| async {}).await;
    }

    async fn tell_count(&self, room: RoomName) {
        let answers = self.peers.ask(Question::Count(room.clone()).encode()).await;
        let count = |answer| if let Answer::Count(members) = Answer::decode(answer) { members } else { 0 };
        let others = answers.iter().map(|answer| count(answer)).sum();
        self.shards.tell_count(room, others).await;
    }
}

/// The users of a room as hashes, as many as fit.
fn hashed(RoomUsers { clients, users }: RoomUsers, key: UserKey) -> Answer {
    let more = users.len().saturating_sub(USERS_MAX);
    let users = users.iter().take(USERS_MAX).map(|user| key.hash(user.as_str())).collect();
    Answer::Users { clients, users, more }
}

fn refused(ApiError { code, message }: ApiError) -> Answer {
    Answer::Refused { code, message }
}
