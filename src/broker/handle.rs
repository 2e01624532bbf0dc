//! How the shards are told: the broker as the sessions of one worker know it.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::ShardIndex;
use super::command::{Joined, Publish, Reservation, ShardCommand};
use super::in_flight::{ClientWindow, ShardWindow};
use super::room::Member;
use super::room_limiter::RoomLimiter;
use crate::mailbox::{Full, Mailbox};
use crate::protocol::command::CommandError;
use crate::protocol::event::Listing;
use crate::protocol::names::{Label, RoomName};
use crate::writer::Address;

/// Commands that wait in a shard's mailbox at most, 3 MiB of them; their texts are bounded in bytes by their permits. So many
/// that a crowd that joins at once waits here and not in futures, whose memory would stay in holes.
const MAILBOX_COMMANDS: usize = 16 * 1_024;

/// What each worker makes its `Broker` from. The shards end when every seed and every broker is gone.
#[derive(Clone, Debug)]
pub struct ShardSenders {
    shards: Vec<(mpsc::Sender<ShardCommand>, ShardWindow)>,
    keys: RandomState,
}

/// The receiving end of one shard.
#[derive(Debug)]
pub struct ShardMailbox {
    /// Which shard.
    pub index: ShardIndex,
    commands: mpsc::Receiver<ShardCommand>,
    keys: RandomState,
    room_limiter: RoomLimiter,
}

impl ShardMailbox {
    /// The next command; `None` when nobody can send one any more.
    pub async fn next(&mut self) -> Option<ShardCommand> {
        self.commands.recv().await
    }

    /// The next command, if one waits.
    pub fn try_next(&mut self) -> Option<ShardCommand> {
        self.commands.try_recv().ok()
    }

    /// How many commands wait.
    pub fn waiting(&self) -> usize {
        self.commands.len()
    }

    /// What all shards share of rooms.
    pub fn room_limiter(&self) -> RoomLimiter {
        self.room_limiter.clone()
    }

    /// The keys of all maps of rooms.
    pub fn keys(&self) -> RandomState {
        self.keys.clone()
    }
}

impl ShardSenders {
    /// The mailboxes of so many shards, and the seed for those who tell them.
    pub fn new(shards: u16, room_limiter: &RoomLimiter) -> (Self, Vec<ShardMailbox>) {
        let keys = RandomState::new();
        let mailbox = |index| {
            let (sender, commands) = mpsc::channel(MAILBOX_COMMANDS);
            (
                (sender, ShardWindow::new()),
                ShardMailbox {
                    index: ShardIndex(index),
                    commands,
                    keys: keys.clone(),
                    room_limiter: room_limiter.clone(),
                },
            )
        };
        let (shards, mailboxes) = (0..shards).map(mailbox).unzip();
        (Self { shards, keys }, mailboxes)
    }

    /// The broker of the worker that calls this.
    pub fn broker(self) -> Broker {
        let shards =
            self.shards.into_iter().map(|(sender, window)| ShardHandle { mailbox: Mailbox::new(sender), window });
        let shards = shards.collect();
        Broker { shards, keys: self.keys, merged: Rc::default() }
    }
}

/// All rooms, as the sessions of one worker know them. Every call goes to the room's shard as a message; those that are
/// answered return when the shard has handed everything before it to the writers.
#[derive(Clone)]
pub struct Broker {
    shards: Rc<[ShardHandle]>,
    keys: RandomState,
    merged: Rc<RefCell<Merged>>,
}

/// The way to a shard.
struct ShardHandle {
    mailbox: Mailbox<ShardCommand>,
    window: ShardWindow,
}

/// The lists of all shards and what they make together, which stays so as long as they do.
#[derive(Default)]
struct Merged {
    parts: Vec<Arc<Listing<RoomName>>>,
    whole: Arc<Listing<RoomName>>,
}

impl Merged {
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
    /// Holds a seat in a room for one who leaves another first. Whoever has it must join.
    pub fn reserve(&self, room: RoomName) -> impl Future<Output = Result<(), CommandError>> {
        let (ack, reserved) = oneshot::channel();
        self.request(self.shard_of(&room).0, ShardCommand::Reserve { room, ack }, reserved)
    }

    /// Enters a room; the client hears `Joined` ahead of everything from it. Returns the room as it is known, or why
    /// there was no seat, which the client was not told.
    pub fn join(
        &self,
        room: RoomName,
        member: Member,
        reservation: Reservation,
    ) -> impl Future<Output = Result<Joined, CommandError>> {
        let (ack, joined) = oneshot::channel();
        self.request(self.shard_of(&room).0, ShardCommand::Join { room, member, reservation, ack }, joined)
    }

    /// Leaves a room; nothing from it follows.
    pub fn leave(&self, room: RoomName, address: Address) -> impl Future<Output = ()> {
        let (ack, left) = oneshot::channel();
        self.request(self.shard_of(&room).0, ShardCommand::Leave { room, address, ack }, left)
    }

    /// Says something to a room, without waiting.
    ///
    /// # Errors
    /// The message, when its sender or all senders together have too much on the way, or the shard's mailbox is full.
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

    /// Says something to a room. Waits while its sender has too much on the way: this is where a publisher feels
    /// backpressure.
    pub async fn publish(&self, mut publish: Publish, window: &mut ClientWindow) {
        let (shard, room_hash) = self.shard_of(&publish.room);
        if publish.permit.is_none() {
            publish.permit = Some(shard.window.enter(window, room_hash, publish.text.len()).await);
        }
        shard.mailbox.send(ShardCommand::Publish(publish)).await;
    }

    /// Answers a member of a room behind everything that it has said there, without waiting.
    ///
    /// # Errors
    /// The answer, when the client has too much on the way or the shard's mailbox is full.
    pub fn try_reply(
        &self,
        room: &RoomName,
        address: Address,
        bytes: Bytes,
        window: &mut ClientWindow,
    ) -> Result<(), Bytes> {
        let (shard, _) = self.shard_of(room);
        let permit = window.try_enter(bytes.len());
        if permit.is_none() {
            return Err(bytes);
        }
        match shard.mailbox.try_send(ShardCommand::Reply { room: room.clone(), address, bytes, permit }) {
            Err(Full(ShardCommand::Reply { bytes, .. })) => Err(bytes),
            _ => Ok(()),
        }
    }

    /// Answers a member of a room behind everything that it has said there.
    pub async fn reply(&self, room: &RoomName, address: Address, bytes: Bytes, window: &mut ClientWindow) {
        let (shard, _) = self.shard_of(room);
        let permit = Some(window.enter(bytes.len()).await);
        shard.mailbox.send(ShardCommand::Reply { room: room.clone(), address, bytes, permit }).await;
    }

    /// Gives a member a new label, from its next message on.
    pub fn rename(&self, room: RoomName, address: Address, label: Label) -> impl Future<Output = ()> {
        self.shard_of(&room).0.mailbox.send(ShardCommand::Rename { room, address, label })
    }

    /// The labels of a room's members, at most `LIST_AGE_MAX` old.
    pub fn members(&self, room: RoomName) -> impl Future<Output = Arc<Listing<Label>>> {
        let (ack, members) = oneshot::channel();
        let asked_at = Instant::now();
        self.request(self.shard_of(&room).0, ShardCommand::Who { room, asked_at, ack }, members)
    }

    /// All rooms with members, over every shard, at most `LIST_AGE_MAX` old.
    pub async fn rooms(&self) -> Arc<Listing<RoomName>> {
        let mut parts = Vec::with_capacity(self.shards.len());
        for shard in self.shards.iter() {
            let (ack, rooms) = oneshot::channel();
            let asked_at = Instant::now();
            parts.push(self.request(shard, ShardCommand::Rooms { asked_at, ack }, rooms).await);
        }
        if let [only] = &parts[..] {
            return Arc::clone(only);
        }
        self.merged.borrow_mut().of(parts)
    }

    /// Not an `async fn`, nor are its callers, so that the future holds the answer to come and no copy of the command.
    fn request<T>(
        &self,
        shard: &ShardHandle,
        command: ShardCommand,
        answer: oneshot::Receiver<T>,
    ) -> impl Future<Output = T> {
        let sent = shard.mailbox.send(command);
        async move {
            sent.await;
            answer.await.expect("a shard outlives every handle and answers every command")
        }
    }

    /// By the middle bits of the hash: the rooms of a shard share what it is chosen by, and its map goes by the lowest and
    /// the highest. Also what else of the hash may be chosen by.
    fn shard_of(&self, room: &RoomName) -> (&ShardHandle, u64) {
        let hash = self.keys.hash_one(room);
        let middle = (hash >> 32) as u32;
        (&self.shards[middle as usize % self.shards.len()], hash >> 8)
    }
}
