//! The handle of the shards: the broker as the sessions of one worker see it. Holds no room.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::command::{Joined, Publish, Reservation, ShardCommand};
use super::in_flight::{ClientWindow, ShardWindow};
use super::room::Member;
use super::room_limiter::RoomLimiter;
use super::{Shard, ShardIndex};
use crate::mailbox::{Full, Mailbox};
use crate::protocol::command::CommandError;
use crate::protocol::listing::Listing;
use crate::protocol::names::{Label, RoomName};
use crate::writer::Address;

/// The most commands in a shard's mailbox, 3 MiB of them; permits bound the bytes of their texts. Large enough that a crowd
/// which joins at once waits here and not in futures, which would leave holes in the heap.
const MAILBOX_COMMANDS: usize = 16 * 1_024;

/// The way to all shards, from which each worker makes its [`Broker`]. The shards end when every clone is gone.
#[derive(Clone)]
pub struct ShardSenders {
    shards: Arc<[ShardHandle]>,
    keys: RandomState,
}

struct ShardHandle {
    mailbox: Mailbox<ShardCommand>,
    window: ShardWindow,
}

/// The receiving end of one shard.
#[derive(Debug)]
pub struct ShardMailbox {
    /// The shard's index.
    pub index: ShardIndex,
    commands: mpsc::Receiver<ShardCommand>,
    keys: RandomState,
    room_limiter: RoomLimiter,
}

impl ShardMailbox {
    /// The shard that the mailbox is for, without rooms.
    pub fn shard(&self) -> Shard {
        Shard::new(self.keys.clone(), self.room_limiter.clone())
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
    pub(super) fn waiting(&self) -> usize {
        self.commands.len()
    }
}

impl ShardSenders {
    /// Mailboxes for this many shards, and what sends to them.
    pub fn new(shards: u16, room_limiter: &RoomLimiter) -> (Self, Vec<ShardMailbox>) {
        let keys = RandomState::new();
        let (mut handles, mut mailboxes) = (Vec::new(), Vec::new());
        for index in (0..shards).map(ShardIndex) {
            let (sender, commands) = mpsc::channel(MAILBOX_COMMANDS);
            handles.push(ShardHandle { mailbox: Mailbox::new(sender), window: ShardWindow::new() });
            mailboxes.push(ShardMailbox { index, commands, keys: keys.clone(), room_limiter: room_limiter.clone() });
        }
        (Self { shards: handles.into(), keys }, mailboxes)
    }

    /// The broker of the worker that calls this.
    pub fn broker(self) -> Broker {
        Broker { shards: self.shards, keys: self.keys, merged: Rc::default() }
    }
}

/// All rooms, as the sessions of one worker see them. Every call becomes a message to the room's shard; a call with an answer
/// returns once the shard has handed all earlier output to the writers.
#[derive(Clone)]
pub struct Broker {
    shards: Arc<[ShardHandle]>,
    keys: RandomState,
    merged: Rc<RefCell<MergedListing>>,
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
    /// Reserves a place in a room for a client that leaves another room first. The client must then join.
    pub fn reserve(&self, room: RoomName) -> impl Future<Output = Result<(), CommandError>> {
        self.request(self.shard_of(&room).0, move |answer| ShardCommand::Reserve(room, answer))
    }

    /// Joins a room; the client gets `Joined` ahead of everything from it. A client that is refused is sent nothing.
    pub fn join(
        &self,
        room: RoomName,
        member: Member,
        reservation: Reservation,
    ) -> impl Future<Output = Result<Joined, CommandError>> {
        self.request(self.shard_of(&room).0, move |answer| ShardCommand::Join(room, member, reservation, answer))
    }

    /// Leaves a room; nothing from it follows.
    pub fn leave(&self, room: RoomName, address: Address) -> impl Future<Output = ()> {
        self.request(self.shard_of(&room).0, move |answer| ShardCommand::Leave(room, address, answer))
    }

    /// Publishes a message without waiting.
    ///
    /// # Errors
    /// The message, when its sender or all senders together have too much in flight, or the shard's mailbox is full.
    pub fn try_publish(&self, mut publish: Publish, window: &mut ClientWindow) -> Result<(), Publish> {
        let (shard, room_hash) = self.shard_of(&publish.room);
        publish.permit = shard.window.try_enter(window, room_hash, publish.text.len());
        if publish.permit.is_none() {
            return Err(publish);
        }
        match shard.mailbox.try_send(ShardCommand::Publish(publish)) {
            Err(Full(ShardCommand::Publish(publish))) => Err(publish),
            _ => Ok(()),
        }
    }

    /// Publishes a message. Waits while its sender has too much in flight: this is the backpressure on publishers.
    pub async fn publish(&self, mut publish: Publish, window: &mut ClientWindow) {
        let (shard, room_hash) = self.shard_of(&publish.room);
        if publish.permit.is_none() {
            publish.permit = Some(shard.window.enter(window, room_hash, publish.text.len()).await);
        }
        shard.mailbox.send(ShardCommand::Publish(publish)).await;
    }

    /// Replies to a member of a room behind everything that it has published there, without waiting.
    ///
    /// # Errors
    /// The reply, when the client has too much in flight or the shard's mailbox is full.
    pub fn try_reply(
        &self,
        room: &RoomName,
        address: Address,
        bytes: Bytes,
        window: &mut ClientWindow,
    ) -> Result<(), Bytes> {
        let Some(permit) = window.try_enter(bytes.len()) else { return Err(bytes) };
        let reply = ShardCommand::Reply(room.clone(), address, bytes, Some(permit));
        match self.shard_of(room).0.mailbox.try_send(reply) {
            Err(Full(ShardCommand::Reply(_, _, bytes, _))) => Err(bytes),
            _ => Ok(()),
        }
    }

    /// Replies to a member of a room behind everything that it has published there.
    pub async fn reply(&self, room: &RoomName, address: Address, bytes: Bytes, window: &mut ClientWindow) {
        let permit = Some(window.enter(bytes.len()).await);
        self.shard_of(room).0.mailbox.send(ShardCommand::Reply(room.clone(), address, bytes, permit)).await;
    }

    /// Gives a member a new label, from its next message on.
    pub fn rename(&self, room: RoomName, address: Address, label: Label) -> impl Future<Output = ()> {
        self.shard_of(&room).0.mailbox.send(ShardCommand::Rename(room, address, label))
    }

    /// Lists the labels of a room's members. The listing is at most `LIST_AGE_MAX` old.
    pub fn members(&self, room: RoomName) -> impl Future<Output = Arc<Listing<Label>>> {
        self.request(self.shard_of(&room).0, move |answer| ShardCommand::Who(room, Instant::now(), answer))
    }

    /// Lists the rooms of all shards that have members. The listing is at most `LIST_AGE_MAX` old.
    pub async fn rooms(&self) -> Arc<Listing<RoomName>> {
        let mut parts = Vec::with_capacity(self.shards.len());
        for shard in self.shards.iter() {
            parts.push(self.request(shard, move |answer| ShardCommand::Rooms(Instant::now(), answer)).await);
        }
        if let [only] = &parts[..] {
            return Arc::clone(only);
        }
        self.merged.borrow_mut().of(parts)
    }

    /// Not an `async fn`, nor are its callers, so that the future holds only the answer's receiver and no copy of the
    /// command.
    fn request<T>(
        &self,
        shard: &ShardHandle,
        command: impl FnOnce(oneshot::Sender<T>) -> ShardCommand,
    ) -> impl Future<Output = T> {
        let (sender, answer) = oneshot::channel();
        let sent = shard.mailbox.send(command(sender));
        async move {
            sent.await;
            answer.await.expect("a shard outlives every handle and answers every command")
        }
    }

    /// The shard of a room, and other bits of the room's hash. The shard follows from the middle bits: its own map uses the
    /// lowest and the highest, in which its rooms must still differ.
    fn shard_of(&self, room: &RoomName) -> (&ShardHandle, u64) {
        let hash = self.keys.hash_one(room);
        let middle = (hash >> 32) as u32;
        (&self.shards[middle as usize % self.shards.len()], hash >> 8)
    }
}
