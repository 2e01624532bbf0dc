//! One client's session, the same on every transport: turns commands into calls of the broker and replies. Knows
//! neither sockets nor framing. Never executes a command before the reply to the previous one is on its way.

mod rate_limiter;

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::rate_limiter::RateLimiter;
pub use self::rate_limiter::SpentDeliveries;
use crate::broker::{Broker, ClientWindow, Joined, Member, Publish, Reservation};
use crate::config::DeliveryLimits;
use crate::protocol::command::{Command, CommandError};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, labelled_bytes};
use crate::protocol::names::{Label, RoomName};
use crate::shutdown::Drain;
use crate::writer::handle::WriterHandle;
use crate::writer::{Address, Slot, WriterIndex};

/// What the sessions of one worker share.
pub struct SessionContext {
    /// The way to the rooms.
    pub broker: Broker,
    /// The worker's own writer.
    pub writer: WriterHandle,
    /// The index of that writer.
    pub writer_index: WriterIndex,
    /// The first line for every client; an empty one is not sent.
    pub greeting: String,
    /// The longest message or list that a client gets, in bytes.
    pub message_bytes_max: usize,
    /// The rate limit of deliveries that one client may cause; `None` is no limit.
    pub deliveries: Option<DeliveryLimits>,
    /// The deliveries that disconnected clients have caused, by address, shared by all workers.
    pub spent: SpentDeliveries,
    /// The phases of the server's stop.
    pub drain: Drain,
}

/// The session of one client.
pub struct Session {
    context: Rc<SessionContext>,
    slot: Slot,
    dialect: Dialect,
    label: Label,
    /// The room that the client is a member of.
    joined: Option<Joined>,
    /// The client's address, behind trusted proxies.
    address: IpAddr,
    /// Created with the first message, and boxed: most clients only listen, and need little memory.
    rate_limiter: Option<Box<RateLimiter>>,
    /// Limits the messages that are on their way to the room.
    window: ClientWindow,
    /// Keeps a stopping server waiting for as long as this session may publish.
    publishing: Option<TaskTrackerToken>,
}

/// The outcome of a command.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// The command and its reply are on their way.
    Done,
    /// The command has to wait: call `Session::finish` before the next command.
    Pending(PendingCommand),
    /// The session ends, for this reason.
    Ended(Disconnect),
}

/// A command that has to wait.
#[derive(Debug)]
pub enum PendingCommand {
    /// Waits until the client may have one more message on its way. Boxed, because every client has space for this
    /// enum.
    Publish(Box<Publish>),
    /// Waits until the rate limiter allows the message, or refuses it.
    Pause(Box<Publish>),
    /// Waits for space for the reply in a mailbox.
    Reply(Bytes),
    /// Waits for space for the answer to a ping frame in the writer's mailbox.
    Pong(Bytes),
    /// Waits until the client has left its room and joined this one.
    Join(RoomName),
    /// Waits until the client has left its room.
    Leave,
    /// Waits for the rooms of every shard.
    List,
    /// Waits for the members of the client's room.
    Who,
    /// Waits until the room's shard knows the new label.
    Nick(Label),
}

impl Session {
    /// A session that is in no room yet.
    pub fn new(context: Rc<SessionContext>, slot: Slot, dialect: Dialect, label: Label, address: IpAddr) -> Self {
        let publishing = Some(context.drain.publishing());
        Self {
            context,
            slot,
            dialect,
            label,
            joined: None,
            address,
            rate_limiter: None,
            window: ClientWindow::default(),
            publishing,
        }
    }

    /// Sends the greeting.
    pub fn greet(&mut self) -> Outcome {
        let context = Rc::clone(&self.context);
        if context.greeting.is_empty() { Outcome::Done } else { self.reply(&Event::Welcome(&context.greeting)) }
    }

    /// Executes a command as far as that needs no waiting.
    pub fn handle(&mut self, command: Command<'_>) -> Outcome {
        match command {
            Command::Say(text) => self.say(text),
            Command::Join(room) => Outcome::Pending(PendingCommand::Join(room)),
            Command::Leave if self.joined.is_some() => Outcome::Pending(PendingCommand::Leave),
            Command::Who if self.joined.is_some() => Outcome::Pending(PendingCommand::Who),
            Command::Leave | Command::Who => self.reply(&Event::JoinFirst),
            Command::List => Outcome::Pending(PendingCommand::List),
            Command::Nick(nick) => Outcome::Pending(PendingCommand::Nick(nick)),
            Command::Ping(token) => self.reply(&Event::Pong(token)),
            Command::Help => self.reply(&Event::Help),
            Command::Quit => Outcome::Ended(Disconnect::Quit),
        }
    }

    /// Replies that a command was refused.
    pub fn reply_error(&mut self, error: &CommandError) -> Outcome {
        self.reply(&Event::Error(error))
    }

    /// Answers a ping frame of the transport, behind everything that is queued for the client.
    pub fn pong(&self, bytes: Bytes) -> Outcome {
        match self.context.writer.try_pong(self.slot, bytes) {
            Ok(()) => Outcome::Done,
            Err(bytes) => Outcome::Pending(PendingCommand::Pong(bytes)),
        }
    }

    /// Sends a reply behind everything that is queued for the client and behind the client's own messages. So a
    /// member's reply goes the way of its messages, through the room.
    pub fn send(&mut self, bytes: Bytes) -> Outcome {
        let sent = match &self.joined {
            Some(joined) => self.context.broker.try_reply(&joined.room, self.address(), bytes, &mut self.window),
            None => self.context.writer.try_reply(self.slot, bytes),
        };
        match sent {
            Ok(()) => Outcome::Done,
            Err(bytes) => Outcome::Pending(PendingCommand::Reply(bytes)),
        }
    }

    /// Completes a command that has to wait.
    pub async fn finish(&mut self, pending: PendingCommand) {
        match pending {
            PendingCommand::Publish(publish) => Box::pin(self.publish(*publish)).await,
            PendingCommand::Pause(publish) => Box::pin(self.pause(*publish)).await,
            PendingCommand::Reply(bytes) => self.send_and_wait(bytes).await,
            PendingCommand::Pong(bytes) => self.context.writer.pong(self.slot, bytes).await,
            PendingCommand::Join(room) => self.join(room).await,
            PendingCommand::Leave => {
                self.leave().await;
                self.reply_and_wait(&Event::Left).await;
            }
            PendingCommand::List => self.list().await,
            PendingCommand::Who => self.who().await,
            PendingCommand::Nick(nick) => self.rename(nick).await,
        }
    }

    /// Ends the session, whatever the reason, in the one place for that: leaves the room, sends the transport's final
    /// bytes and closes the output. At a shutdown no session leaves before all sessions have stopped publishing, so
    /// that a message reaches all members or none.
    pub async fn end(mut self, reason: Disconnect, final_bytes: Option<Bytes>) {
        if reason == Disconnect::Shutdown {
            self.window.emptied().await;
            self.publishing = None;
            self.context.drain.leaving().await;
        }
        if let Some(rate_limiter) = &self.rate_limiter {
            rate_limiter.end(&self.context.spent, self.address);
        }
        self.leave().await;
        if let Some(final_bytes) = final_bytes {
            self.context.writer.reply(self.slot, final_bytes).await;
        }
        self.context.writer.close(self.slot, reason).await;
    }

    fn say(&mut self, text: &str) -> Outcome {
        let Some(Joined { room, .. }) = &self.joined else {
            return self.reply(&Event::JoinFirst);
        };
        let (bytes, bytes_max) = (labelled_bytes(&self.label, text), self.context.message_bytes_max);
        if bytes > bytes_max {
            return self.reply_error(&CommandError::MessageTooLong { bytes, bytes_max });
        }
        let (room, address) = (room.clone(), self.address());
        let (text, read_at) = (text.into(), Instant::now());
        let publish = Publish { room, address, dialect: self.dialect, text, read_at, permit: None };
        if self.charge(publish.read_at).is_err() {
            return Outcome::Pending(PendingCommand::Pause(publish.into()));
        }
        match self.context.broker.try_publish(publish, &mut self.window) {
            Ok(()) => Outcome::Done,
            Err(publish) => Outcome::Pending(PendingCommand::Publish(publish.into())),
        }
    }

    async fn publish(&mut self, publish: Publish) {
        let published = self.context.broker.publish(publish, &mut self.window);
        unless_disconnected(&self.context.writer, self.slot, published).await;
    }

    /// Charges the deliveries of one message to the rate limiter. An error is the time to wait first.
    fn charge(&mut self, now: Instant) -> Result<(), Duration> {
        let (Some(limits), Some(joined)) = (self.context.deliveries, &self.joined) else { return Ok(()) };
        let rate_limiter = self
            .rate_limiter
            .get_or_insert_with(|| RateLimiter::new(limits, &self.context.spent, self.address, now).into());
        rate_limiter.acquire(joined.member_count.members(), now)
    }

    /// Waits until the message may be published, for `pause_max` at most, and then refuses it. Meanwhile the client's
    /// socket is not read.
    async fn pause(&mut self, publish: Publish) {
        let (Some(limits), Err(wait)) = (self.context.deliveries, self.charge(Instant::now())) else {
            return self.publish(publish).await;
        };
        let disconnected = poll_fn(|context| self.context.writer.poll_disconnect(self.slot, context));
        match timeout(wait.min(limits.pause_max), disconnected).await {
            // A server that stops still publishes what it has read.
            Ok(Disconnect::Shutdown) => self.publish(publish).await,
            Ok(_) => {}
            Err(_) if self.charge(Instant::now()).is_err() => {
                let DeliveryLimits { per_second, burst, .. } = limits;
                let error = CommandError::TooManyDeliveries { per_second: per_second.get(), burst };
                self.reply_and_wait(&Event::Error(&error)).await;
            }
            Err(_) => self.publish(publish).await,
        }
    }

    async fn join(&mut self, room: RoomName) {
        if self.joined.as_ref().is_some_and(|joined| joined.room == room) {
            return self.reply_and_wait(&Event::Joined(&room)).await;
        }
        let mut reservation = Reservation::None;
        if self.joined.is_some() {
            // A client stays in its room until the next one has a reservation for it. Boxed, as is the pause: thousands
            // of clients join at once and hold the memory of this future, and few of them change rooms.
            if let Err(error) = Box::pin(self.context.broker.reserve(room.clone())).await {
                return self.reply_and_wait(&Event::Error(&error)).await;
            }
            reservation = Reservation::Held;
            self.leave().await;
        }
        let member = Member { address: self.address(), dialect: self.dialect, label: self.label.clone() };
        match self.context.broker.join(room, member, reservation).await {
            Ok(joined) => self.joined = Some(joined),
            Err(error) => self.reply_and_wait(&Event::Error(&error)).await,
        }
    }

    async fn leave(&mut self) {
        if let Some(Joined { room, .. }) = self.joined.take() {
            self.context.broker.leave(room, self.address()).await;
        }
    }

    async fn list(&mut self) {
        let rooms = self.context.broker.rooms().await;
        // A cached list may lack the room that the client has just joined.
        let rooms = self.joined.iter().fold(rooms, |rooms, joined| rooms.including(&joined.room));
        let rooms = rooms.truncated_to(self.context.message_bytes_max.saturating_sub("Rooms: ".len()));
        self.reply_and_wait(&Event::Rooms(&rooms)).await;
    }

    async fn who(&mut self) {
        if let Some(Joined { room, .. }) = &self.joined {
            let room = room.clone();
            let members = self.context.broker.members(room.clone()).await.including(&self.label);
            let prefix_bytes = "Members of : ".len() + room.as_str().len();
            let members = members.truncated_to(self.context.message_bytes_max.saturating_sub(prefix_bytes));
            self.reply_and_wait(&Event::Members(&room, &members)).await;
        }
    }

    async fn rename(&mut self, label: Label) {
        self.label = label.clone();
        if let Some(Joined { room, .. }) = &self.joined {
            self.context.broker.rename(room.clone(), self.address(), label.clone()).await;
        }
        self.reply_and_wait(&Event::Named(&label)).await;
    }

    fn reply(&mut self, event: &Event<'_>) -> Outcome {
        self.count_error(event);
        self.send(self.dialect.encode(event))
    }

    async fn reply_and_wait(&mut self, event: &Event<'_>) {
        self.count_error(event);
        self.send_and_wait(self.dialect.encode(event)).await;
    }

    /// Boxed where it waits, because thousands of clients that join at once hold the memory of this future without
    /// waiting.
    async fn send_and_wait(&mut self, bytes: Bytes) {
        let address = self.address();
        if let Outcome::Pending(PendingCommand::Reply(bytes)) = self.send(bytes) {
            match &self.joined {
                Some(joined) => {
                    let replied = self.context.broker.reply(&joined.room, address, bytes, &mut self.window);
                    Box::pin(unless_disconnected(&self.context.writer, self.slot, replied)).await;
                }
                None => self.context.writer.reply(self.slot, bytes).await,
            }
        }
    }

    /// Counts an error reply; every one passes here.
    fn count_error(&self, event: &Event<'_>) {
        if let Event::Error(error) = event {
            self.context.writer.metrics.count_error(error);
        }
    }

    fn address(&self) -> Address {
        Address { writer: self.context.writer_index, slot: self.slot }
    }
}

/// Waits for `sending`, and gives up if the client is disconnected meanwhile: a dead client is not to keep its
/// connection permit. A server that stops does not give up, since it still sends what it has read.
async fn unless_disconnected(writer: &WriterHandle, slot: Slot, sending: impl Future<Output = ()>) {
    let mut sending = pin!(sending);
    poll_fn(|context| match writer.poll_disconnect(slot, context) {
        Poll::Ready(reason) if reason != Disconnect::Shutdown => Poll::Ready(()),
        _ => sending.as_mut().poll(context),
    })
    .await;
}
