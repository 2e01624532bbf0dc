//! The handle of the shards: the broker as the sessions of one worker see it. Holds no room.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::future::{JoinAll, join_all};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::ShardIndex;
use super::answers::PublishError;
use super::busiest::BusiestRooms;
use super::cluster::ClusterLink;
use super::command::{
    Farewell, Join, Joined, MemberCommand, Page, PageOfRoom, PresenceCount, Reserved, RoomCounts, ServerPublish,
    ShardCommand, Viewer,
};
use super::in_flight::{ClientWindow, ShardWindow};
use super::limits::ShardRules;
use super::peers::{PeerAnswers, PeerRooms};
use super::room_limiter::RoomLimiter;
use super::shard::Shard;
use crate::auth::rules::RoomRules;
use crate::backplane::feed::{FeedMailbox, Proposer, Reached, ShardFeed, feed};
use crate::mailbox::{Full, Mailbox, Sending};
use crate::protocol::command::CommandError;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Epoch, Position, Since};
use crate::protocol::publication::Publisher;
use crate::writer::Address;

/// The most commands in a shard's mailbox, 3 MiB of them; permits bound the bytes of their texts. Large enough that a crowd
/// which joins at once waits here and not in futures, which would leave holes in the heap.
const MAILBOX_COMMANDS: usize = 16 * 1_024;

/// The clients of one worker that may hold what they have missed in several rooms, up to a replay each.
const COLLECTING_MAX: usize = 16;

/// The way to all shards, from which each worker makes its [`Broker`]. The shards end when every clone is gone.
#[derive(Clone)]
pub struct ShardSenders {
    shards: Arc<Shards>,
}

/// All shards as their senders see them.
pub(super) struct Shards {
    handles: Vec<ShardHandle>,
    keys: RandomState,
    recovery_messages_max: usize,
    replay_bytes_max: usize,
    /// The most publications that any room may retain by the newest rules.
    history_messages_max: AtomicUsize,
}

impl Shards {
    /// The shard of a room, and other bits of the room's hash.
    pub(super) fn of(&self, room: &RoomName) -> (&ShardHandle, u64) {
        let Self { handles, keys, .. } = self;
        let hash = keys.hash_one(room);
        (&handles[shard_index(hash, handles.len())], hash >> 8)
    }

    /// The answers of all shards, which are asked at once.
    pub(super) fn request_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> ShardCommand) -> JoinAll<Request<T>> {
        join_all(self.handles.iter().map(|shard| shard.request(&command)).collect::<Vec<_>>())
    }
}

pub(super) struct ShardHandle {
    mailbox: Mailbox<ShardCommand>,
    window: ShardWindow,
}

impl ShardHandle {
    pub(super) fn request<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> ShardCommand) -> Request<T> {
        let (sender, answer) = oneshot::channel();
        Request { sending: self.mailbox.send(command(sender)), answer }
    }

    pub(super) fn send(&self, command: ShardCommand) -> Sending {
        self.mailbox.send(command)
    }
}

/// The receiving end of one shard.
#[derive(Debug)]
pub struct ShardMailbox {
    /// The shard's index.
    pub index: ShardIndex,
    commands: mpsc::Receiver<ShardCommand>,
    keys: RandomState,
    room_limiter: RoomLimiter,
    rules: ShardRules,
    /// `None` where the server is alone.
    cluster: Option<(ClusterLink, FeedMailbox)>,
}

impl ShardMailbox {
    /// The shard that the mailbox is for, without rooms.
    pub fn shard(&self) -> Shard {
        let shard = Shard::new(self.keys.clone(), self.room_limiter.clone(), self.rules.clone());
        match &self.cluster {
            Some((link, _)) => shard.in_cluster(link.clone()),
            None => shard,
        }
    }

    /// Makes the shard a part of a cluster. The feed is what the backplane tells it.
    pub fn join_cluster(&mut self, proposer: Proposer, epoch: Epoch, reached: Reached) -> ShardFeed {
        let (feed, mailbox) = feed(reached);
        let link = ClusterLink { proposer, shard: usize::from(self.index.0), epoch };
        self.cluster = Some((link, mailbox));
        feed
    }

    /// What the backplane tells the shard; `None` where the server is alone.
    pub fn take_feed(&mut self) -> Option<FeedMailbox> {
        self.cluster.take().map(|(_, feed)| feed)
    }

    /// Waits for the next command; `None` when every sender is gone.
    pub async fn next(&mut self) -> Option<ShardCommand> {
        self.commands.recv().await
    }

    /// The next command, if one waits.
    pub fn try_next(&mut self) -> Option<ShardCommand> {
        self.commands.try_recv().ok()
    }

    /// The number of commands that wait.
    pub fn waiting(&self) -> usize {
        self.commands.len()
    }
}

impl ShardSenders {
    /// Mailboxes for this many shards, and what sends to them.
    pub fn new(shards: u16, room_limiter: &RoomLimiter, rules: ShardRules) -> (Self, Vec<ShardMailbox>) {
        Self::with_capacity(MAILBOX_COMMANDS, shards, room_limiter, rules)
    }

    /// The same, where each mailbox holds at most this many commands. Tests fill small ones.
    pub fn with_capacity(
        commands_max: usize,
        shards: u16,
        room_limiter: &RoomLimiter,
        rules: ShardRules,
    ) -> (Self, Vec<ShardMailbox>) {
        let keys = RandomState::new();
        let (mut handles, mut mailboxes) = (Vec::new(), Vec::new());
        for index in (0..shards).map(ShardIndex) {
            let (sender, commands) = mpsc::channel(commands_max);
            handles.push(ShardHandle { mailbox: Mailbox::new(sender), window: ShardWindow::new() });
            let (keys, room_limiter, rules) = (keys.clone(), room_limiter.clone(), rules.clone());
            mailboxes.push(ShardMailbox { index, commands, keys, room_limiter, rules, cluster: None });
        }
        let (recovery_messages_max, replay_bytes_max) = (rules.history.recovery_messages_max, rules.replay_bytes_max);
        let history_messages_max = rules.rooms.history_messages_max().into();
        let shards = Shards { handles, keys, recovery_messages_max, replay_bytes_max, history_messages_max };
        (Self { shards: shards.into() }, mailboxes)
    }

    /// What finds the shard of a room. It does not keep the shards alive.
    pub fn router(&self) -> Box<dyn Fn(&RoomName) -> usize + Send> {
        let (keys, shards) = (self.shards.keys.clone(), self.shards.handles.len());
        Box::new(move |room| shard_index(keys.hash_one(room), shards))
    }

    /// A handle that does not keep the shards alive.
    pub fn downgrade(&self) -> WeakShards {
        WeakShards(Arc::downgrade(&self.shards))
    }

    /// The broker of the worker that calls this.
    pub fn broker(self) -> Broker {
        let collecting = Arc::new(Semaphore::new(COLLECTING_MAX));
        Broker { shards: self.shards, merged: Rc::default(), collecting, peers: None }
    }
}

/// The way to all shards while they live, for what is done to a server that runs.
#[derive(Clone)]
pub struct WeakShards(pub(super) Weak<Shards>);

impl WeakShards {
    /// Applies other rules to the rooms of all shards. When it returns, they hold for each room that is created. Rooms that
    /// exist follow within seconds: members above a new limit stay, messages above it are dropped. Does nothing
    /// once the shards have ended.
    pub async fn apply_rules(&self, rules: Arc<RoomRules>) {
        let Some(shards) = self.0.upgrade() else { return };
        shards.history_messages_max.store(rules.history_messages_max(), Ordering::Relaxed);
        for shard in &shards.handles {
            shard.request(|answer| ShardCommand::Rules(Arc::clone(&rules), answer)).await;
        }
    }

    /// The busiest rooms of all shards, which are asked at once. None once the shards have ended.
    pub async fn busiest(&self) -> BusiestRooms {
        let Some(shards) = self.0.upgrade() else { return BusiestRooms::default() };
        let requests = shards.request_all(ShardCommand::Busiest);
        // A shard answers whatever is in its mailbox before it ends.
        drop(shards);
        requests.await.into_iter().fold(BusiestRooms::default(), BusiestRooms::merge)
    }
}

/// All rooms, as the sessions of one worker see them. Every call becomes a message to the room's shard; a call with an answer
/// returns once the shard has handed all earlier output to the writers.
#[derive(Clone)]
pub struct Broker {
    shards: Arc<Shards>,
    /// By [`Viewer`].
    merged: Rc<RefCell<[MergedListing; Viewer::COUNT]>>,
    /// The clients that may hold what they have missed in several rooms.
    collecting: Arc<Semaphore>,
    /// The other nodes; `None` where the server is alone.
    pub(super) peers: Option<Rc<PeerRooms>>,
}

/// The listings of all shards merged into one, which is reused until one of them changes.
#[derive(Default)]
struct MergedListing {
    parts: Vec<Arc<Listing<RoomName>>>,
    whole: Arc<Listing<RoomName>>,
}

impl MergedListing {
    fn of(&mut self, parts: Vec<Arc<Listing<RoomName>>>) -> Arc<Listing<RoomName>> {
        let is_same = self.parts.len() == parts.len() && self.parts.iter().zip(&parts).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            self.whole = Arc::new(Listing::merge(&parts));
            self.parts = parts;
        }
        Arc::clone(&self.whole)
    }
}

impl Broker {
    /// Reserves a place in a room for a client that leaves another room first, or is told first what it has missed. The
    /// client must then join.
    pub fn reserve(&self, room: RoomName, since: Option<Since>) -> Request<Result<Reserved, CommandError>> {
        self.shard_of(&room).0.request(move |answer| ShardCommand::Reserve(room, since, answer))
    }

    /// Joins a room; the client gets `Joined` ahead of everything from it. A client that is refused is sent nothing.
    pub fn join(&self, join: Join) -> Request<Result<Joined, CommandError>> {
        self.shard_of(&join.room).0.request(move |answer| ShardCommand::Join(join, answer))
    }

    /// Leaves a room; nothing from it follows.
    pub fn leave(&self, room: RoomName, address: Address, farewell: Farewell) -> Request<()> {
        self.shard_of(&room).0.request(move |answer| ShardCommand::Leave(room, address, farewell, answer))
    }

    /// Publishes for an application, which need not be in the room. The answer is the position of the publication, or of
    /// the first with the same key; `None` if the room has no members and no history. Waits while all publishers together
    /// have too much in flight.
    ///
    /// # Errors
    /// The key was used for another publish, or the cluster takes no publications.
    pub async fn publish(&self, mut publish: ServerPublish) -> Result<Option<Position>, PublishError> {
        let (shard, room_hash) = self.shard_of(&publish.room);
        publish.permit =
            Some(shard.window.enter_room(room_hash, publish.data.bytes() + publish.publisher.tags_bytes()).await);
        shard.request(move |answer| ShardCommand::Publish(Box::new(publish), answer)).await
    }

    pub(super) fn own_presence(
        &self,
        room: RoomName,
        others: PeerAnswers,
    ) -> Request<Result<Vec<Arc<Publisher>>, CommandError>> {
        self.shards.of(&room).0.request(move |answer| ShardCommand::Presence(room, others, answer))
    }

    pub(super) fn own_presence_count(&self, room: RoomName, others: PeerAnswers) -> Request<PresenceCount> {
        self.shards.of(&room).0.request(move |answer| ShardCommand::PresenceCount(room, others, answer))
    }

    /// A part of what a room retains, for a reader that is no client.
    pub fn page(&self, room: RoomName, page: Page) -> Request<Result<PageOfRoom, CommandError>> {
        self.shard_of(&room).0.request(move |answer| ShardCommand::Page(room, page, answer))
    }

    /// Drops everything that a room retains, on all nodes of a cluster.
    pub fn remove_history(&self, room: RoomName) -> Request<Result<(), CommandError>> {
        self.shard_of(&room).0.request(move |answer| ShardCommand::RemoveHistory(room, answer))
    }

    /// The rooms with members on this node, and the number of the members of each, as they were a moment ago. By shard.
    pub async fn counts(&self) -> Vec<RoomCounts> {
        self.shards.request_all(ShardCommand::CountMembers).await
    }

    /// Sends a member's command without waiting.
    ///
    /// # Errors
    /// The command, when its sender has too much in flight, all publishers together have, or the mailbox is full.
    pub fn try_send(&self, mut command: MemberCommand, window: &mut ClientWindow) -> Result<(), MemberCommand> {
        let (shard, room_hash) = self.shard_of(&command.room);
        command.permit = shard.window.try_enter(window, room_hash, &command.act);
        if command.permit.is_none() {
            return Err(command);
        }
        match shard.mailbox.try_send(ShardCommand::Member(command)) {
            Err(Full(ShardCommand::Member(command))) => Err(command),
            _ => Ok(()),
        }
    }

    /// Sends a member's command. Waits while its sender has too much in flight: this is the backpressure on publishers.
    pub async fn send(&self, mut command: MemberCommand, window: &mut ClientWindow) {
        let (shard, room_hash) = self.shard_of(&command.room);
        if command.permit.is_none() {
            command.permit = Some(shard.window.enter(window, room_hash, &command.act).await);
        }
        shard.mailbox.send(ShardCommand::Member(command)).await;
    }

    /// A client's turn to hold what it has missed in several rooms. Others of the worker wait meanwhile: thousands that come
    /// back at once would else hold a replay each, before their writer could count it.
    pub fn collecting(&self) -> impl Future<Output = OwnedSemaphorePermit> + use<> {
        let collecting = Arc::clone(&self.collecting);
        async move { collecting.acquire_owned().await.expect("it is never closed") }
    }

    /// The most bytes of publications that one client gets at once.
    pub fn replay_bytes_max(&self) -> usize {
        self.shards.replay_bytes_max
    }

    /// The most publications that any room sends to one client that asks for its history or resumes.
    pub fn replay_messages_max(&self) -> usize {
        let Shards { recovery_messages_max, history_messages_max, .. } = &*self.shards;
        history_messages_max.load(Ordering::Relaxed).min(*recovery_messages_max)
    }

    /// Lists the rooms of all shards that have members and that the viewer may know of. The listing is at most
    /// `LIST_AGE_MAX` old.
    pub(super) async fn own_rooms(&self, viewer: Viewer) -> Arc<Listing<RoomName>> {
        let parts = self.shards.request_all(|answer| ShardCommand::Rooms(Instant::now(), viewer, answer)).await;
        if let [only] = &parts[..] {
            return Arc::clone(only);
        }
        self.merged.borrow_mut()[viewer as usize].of(parts)
    }

    fn shard_of(&self, room: &RoomName) -> (&ShardHandle, u64) {
        self.shards.of(room)
    }
}

/// The shard follows from the middle bits of a room's hash: its own map uses the lowest and the highest, in which its rooms
/// must still differ.
fn shard_index(hash: u64, shards: usize) -> usize {
    let middle = (hash >> 32) as u32;
    middle as usize % shards
}

/// A request to a shard, which was sent or waits for room in the shard's mailbox. Small, since thousands of clients that
/// join at once hold one each. The answer is lost if it is dropped; a request that waits for room is lost as well.
#[must_use = "the answer comes through the future"]
pub struct Request<T> {
    sending: Sending,
    answer: oneshot::Receiver<T>,
}

impl<T> Future for Request<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        ready!(Pin::new(&mut self.sending).poll(context));
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.expect("a shard outlives every handle and answers every command"))
    }
}
