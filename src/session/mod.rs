//! One client's conversation, the same on every transport: commands become calls of the broker and replies. Knows no
//! socket and no framing; never executes a command before the answer to the one before is on its way.

mod rate_limiter;

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

pub use self::rate_limiter::SpentDeliveries;
use self::rate_limiter::{Decision, RateLimiter};
use crate::broker::{Broker, ClientWindow, Joined, Member, MemberCount, Publish, Reservation};
use crate::config::DeliveryLimits;
use crate::protocol::command::{Command, CommandError};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, Listing, labelled_bytes};
use crate::protocol::names::{Label, Nick, RoomName};
use crate::shutdown::{Drain, PublishToken};
use crate::writer::handle::WriterHandle;
use crate::writer::{Address, Slot, WriterIndex};

/// What the sessions of one worker share.
pub struct SessionContext {
    /// The rooms.
    pub broker: Broker,
    /// The worker's own writer.
    pub writer: WriterHandle,
    /// Which one that is.
    pub writer_index: WriterIndex,
    /// Sent to every client first; nothing if empty.
    pub greeting: String,
    /// The longest line that a client gets of what others say or of a list, in bytes.
    pub message_bytes_max: usize,
    /// What a client may cost the others; as much as it likes if `None`.
    pub deliveries: Option<DeliveryLimits>,
    /// What clients have cost that are gone, by address, over all workers.
    pub spent: SpentDeliveries,
    /// When to stop.
    pub drain: Drain,
}

/// A client's conversation.
pub struct Session {
    context: Rc<SessionContext>,
    slot: Slot,
    dialect: Dialect,
    label: Label,
    room: Option<RoomName>,
    /// Where the client comes from, as far as that is known.
    address: IpAddr,
    /// How many members its room has.
    member_count: Option<MemberCount>,
    /// Made when it says something for the first time, and boxed: most clients only listen, and are to be small.
    rate_limiter: Option<Box<RateLimiter>>,
    /// What it has on the way to its room.
    window: ClientWindow,
    publishing: Option<PublishToken>,
}

/// What became of a command.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// It is on its way.
    Done,
    /// It must be waited for: `Session::finish` it before the next.
    Pending(PendingCommand),
    /// It was the last, and the client is to be told no more than why.
    Ended(Disconnect),
}

/// What must be waited for.
#[derive(Debug)]
pub enum PendingCommand {
    /// Until the client may have one more message on the way. Boxed: every client has room for what it may wait for.
    Publish(Box<Publish>),
    /// Until the client may cause deliveries again, or is refused.
    Pause(Box<Publish>),
    /// Until there is room for the reply on its way.
    Reply(Bytes),
    /// Until there is room for the answer to a ping frame in the writer's mailbox.
    Pong(Bytes),
    /// Until the client is out of its room and in this one.
    Join(RoomName),
    /// Until the client is out of its room.
    Leave,
    /// Until every shard has said what rooms it has.
    List,
    /// Until the room's shard has said who is in it.
    Who,
    /// Until the room's shard has been told the new label.
    Nick(Nick),
}

impl Session {
    /// A conversation in no room yet.
    pub fn new(context: Rc<SessionContext>, slot: Slot, dialect: Dialect, label: Label, address: IpAddr) -> Self {
        let publishing = Some(context.drain.publishing());
        Self {
            context,
            slot,
            dialect,
            label,
            room: None,
            address,
            member_count: None,
            rate_limiter: None,
            window: ClientWindow::default(),
            publishing,
        }
    }

    /// Says hello.
    pub fn greet(&mut self) -> Outcome {
        let context = Rc::clone(&self.context);
        if context.greeting.is_empty() { Outcome::Done } else { self.reply(&Event::Welcome(&context.greeting)) }
    }

    /// Handles a command as far as that goes without waiting.
    pub fn handle(&mut self, command: Command<'_>) -> Outcome {
        match command {
            Command::Say(text) => self.say(text),
            Command::Join(room) => Outcome::Pending(PendingCommand::Join(room)),
            Command::Leave if self.room.is_some() => Outcome::Pending(PendingCommand::Leave),
            Command::Who if self.room.is_some() => Outcome::Pending(PendingCommand::Who),
            Command::Leave | Command::Who => self.reply(&Event::JoinFirst),
            Command::List => Outcome::Pending(PendingCommand::List),
            Command::Nick(nick) => Outcome::Pending(PendingCommand::Nick(nick)),
            Command::Ping(token) => self.reply(&Event::Pong(token)),
            Command::Help => self.reply(&Event::Help),
            Command::Quit => Outcome::Ended(Disconnect::Quit),
        }
    }

    /// Tells the client what was wrong with its line.
    pub fn reply_error(&mut self, error: &CommandError) -> Outcome {
        self.reply(&Event::Error(error))
    }

    /// Answers a ping frame of the transport's own, behind all that is queued for the client.
    pub fn pong(&self, bytes: Bytes) -> Outcome {
        match self.context.writer.try_pong(self.slot, bytes) {
            Ok(()) => Outcome::Done,
            Err(bytes) => Outcome::Pending(PendingCommand::Pong(bytes)),
        }
    }

    /// Sends a reply behind all that is queued for the client and all that it has said itself: through its room, where it
    /// is in one, since that is the way that what it has said goes.
    pub fn send(&mut self, bytes: Bytes) -> Outcome {
        let sent = match &self.room {
            Some(room) => self.context.broker.try_reply(room, self.address(), bytes, &mut self.window),
            None => self.context.writer.try_reply(self.slot, bytes),
        };
        match sent {
            Ok(()) => Outcome::Done,
            Err(bytes) => Outcome::Pending(PendingCommand::Reply(bytes)),
        }
    }

    /// Does the rest of a command, waiting for whom it must.
    pub async fn finish(&mut self, pending: PendingCommand) {
        match pending {
            PendingCommand::Publish(publish) => Box::pin(self.publish(*publish)).await,
            PendingCommand::Pause(publish) => Box::pin(self.pause(*publish)).await,
            PendingCommand::Reply(bytes) => self.send_in_turn(bytes).await,
            PendingCommand::Pong(bytes) => self.context.writer.pong(self.slot, bytes).await,
            PendingCommand::Join(room) => self.join(room).await,
            PendingCommand::Leave => {
                self.leave().await;
                self.answer(&Event::Left).await;
            }
            PendingCommand::List => {
                let rooms = self.context.broker.rooms().await;
                // A list may be a moment old, but never older than what the client itself has done.
                let rooms = self.room.iter().fold(rooms, Listing::including);
                let rooms = rooms.truncated_to(self.context.message_bytes_max.saturating_sub("Rooms: ".len()));
                self.answer(&Event::Rooms(&rooms)).await;
            }
            PendingCommand::Who => self.who().await,
            PendingCommand::Nick(nick) => self.rename(nick).await,
        }
    }

    /// The one place where a conversation ends, whatever ended it: out of the room, then what the
    /// transport has still to say, then the end of the output. At a
    /// shutdown nobody leaves before everybody has stopped talking, so that a message reaches all or none.
    pub async fn end(mut self, reason: Disconnect, final_bytes: Option<Bytes>) {
        if reason == Disconnect::Shutdown {
            self.window.emptied().await;
            self.publishing = None;
            self.context.drain.leaving().await;
        }
        self.rate_limiter.iter().for_each(|rate_limiter| rate_limiter.end(&self.context.spent, self.address));
        self.leave().await;
        if let Some(final_bytes) = final_bytes {
            self.context.writer.reply(self.slot, final_bytes).await;
        }
        self.context.writer.close(self.slot, reason).await;
    }

    fn say(&mut self, text: &str) -> Outcome {
        let Some(room) = &self.room else {
            return self.reply(&Event::JoinFirst);
        };
        let (bytes, bytes_max) = (labelled_bytes(&self.label, text), self.context.message_bytes_max);
        if bytes > bytes_max {
            return self.reply_error(&CommandError::TooLongLabelled { bytes, bytes_max });
        }
        let (room, address) = (room.clone(), self.address());
        let (text, read_at) = (text.into(), Instant::now());
        let publish = Publish { room, address, dialect: self.dialect, text, read_at, permit: None };
        if let Some(Decision::RetryAfter(_)) = self.charge(publish.read_at) {
            return Outcome::Pending(PendingCommand::Pause(publish.into()));
        }
        match self.context.broker.try_publish(publish, &mut self.window) {
            Ok(()) => Outcome::Done,
            Err(publish) => Outcome::Pending(PendingCommand::Publish(publish.into())),
        }
    }

    async fn publish(&mut self, publish: Publish) {
        let published = self.context.broker.publish(publish, &mut self.window);
        unless_cut(&self.context.writer, self.slot, published).await;
    }

    /// Whether a message may be published now; `None` if that costs nothing.
    fn charge(&mut self, now: Instant) -> Option<Decision> {
        let limits = self.context.deliveries?;
        let rate_limiter = self.rate_limiter.get_or_insert_with(|| {
            let mut rate_limiter = RateLimiter::new(limits, &self.context.spent, self.address, now);
            self.member_count.iter().for_each(|member_count| rate_limiter.move_to(member_count.clone()));
            Box::new(rate_limiter)
        });
        Some(rate_limiter.acquire(now))
    }

    /// Waits until the message may be published, which keeps the client's socket from being read; refuses it if that would
    /// take too long, after as long as it may take.
    async fn pause(&mut self, publish: Publish) {
        let (Some(limits), Some(Decision::RetryAfter(due))) = (self.context.deliveries, self.charge(Instant::now()))
        else {
            return self.publish(publish).await;
        };
        match self.ended_within(due.min(limits.pause_max)).await {
            // What was read is said.
            Some(Disconnect::Shutdown) => self.publish(publish).await,
            Some(_) => {}
            None if matches!(self.charge(Instant::now()), Some(Decision::RetryAfter(_))) => {
                let DeliveryLimits { per_second, burst, .. } = limits;
                let error = CommandError::TooManyDeliveries { per_second: per_second.get(), burst };
                self.answer(&Event::Error(&error)).await;
            }
            None => self.publish(publish).await,
        }
    }

    /// Why the conversation is to end, if it is within this time; else `None`, after that time.
    async fn ended_within(&self, time: Duration) -> Option<Disconnect> {
        timeout(time, poll_fn(|context| self.context.writer.poll_disconnect(self.slot, context))).await.ok()
    }

    async fn join(&mut self, room: RoomName) {
        if self.room.as_ref() == Some(&room) {
            return self.answer(&Event::Joined(&room)).await;
        }
        let mut reservation = Reservation::None;
        if self.room.is_some() {
            // Nobody leaves its room for one that does not let it in. Boxed, as is the pause: thousands join at once and hold what
            // this future takes, and few of them come from another room.
            if let Err(error) = Box::pin(self.context.broker.reserve(room.clone())).await {
                return self.answer(&Event::Error(&error)).await;
            }
            reservation = Reservation::Held;
            self.leave().await;
        }
        let member = Member { address: self.address(), dialect: self.dialect, label: self.label.clone() };
        match self.context.broker.join(room, member, reservation).await {
            Ok(Joined { room, member_count }) => {
                self.room = Some(room);
                self.rate_limiter.iter_mut().for_each(|rate_limiter| rate_limiter.move_to(member_count.clone()));
                self.member_count = Some(member_count);
            }
            Err(error) => self.answer(&Event::Error(&error)).await,
        }
    }

    async fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            self.member_count = None;
            self.context.broker.leave(room, self.address()).await;
        }
    }

    async fn who(&mut self) {
        if let Some(room) = self.room.clone() {
            let members = self.context.broker.members(room.clone()).await.including(&self.label);
            let in_front = "Members of : ".len() + room.as_str().len();
            let members = members.truncated_to(self.context.message_bytes_max.saturating_sub(in_front));
            self.answer(&Event::Members(&room, &members)).await;
        }
    }

    async fn rename(&mut self, nick: Nick) {
        self.label = nick.clone().into();
        if let Some(room) = self.room.clone() {
            self.context.broker.rename(room, self.address(), self.label.clone()).await;
        }
        self.answer(&Event::Named(&nick)).await;
    }

    fn reply(&mut self, event: &Event<'_>) -> Outcome {
        self.count(event);
        self.send(self.dialect.encode(event))
    }

    async fn answer(&mut self, event: &Event<'_>) {
        self.count(event);
        self.send_in_turn(self.dialect.encode(event)).await;
    }

    /// Boxed where it must wait, as is all that thousands who join at once do not wait for: what they hold is to be small.
    async fn send_in_turn(&mut self, bytes: Bytes) {
        let address = self.address();
        if let Outcome::Pending(PendingCommand::Reply(bytes)) = self.send(bytes) {
            match &self.room {
                Some(room) => {
                    let replied = self.context.broker.reply(room, address, bytes, &mut self.window);
                    Box::pin(unless_cut(&self.context.writer, self.slot, replied)).await;
                }
                None => self.context.writer.reply(self.slot, bytes).await,
            }
        }
    }

    /// Every answer with an error passes here.
    fn count(&self, event: &Event<'_>) {
        if let Event::Error(error) = event {
            self.context.writer.count_error(error);
        }
    }

    fn address(&self) -> Address {
        Address { writer: self.context.writer_index, slot: self.slot }
    }
}

/// Waits for a message or an answer that finds no room, unless the client is cut meanwhile: then it holds its place for
/// nothing that it has said. At a stop what was read is said.
async fn unless_cut(writer: &WriterHandle, slot: Slot, sent: impl Future<Output = ()>) {
    let mut sent = pin!(sent);
    poll_fn(|context| match writer.poll_disconnect(slot, context) {
        Poll::Ready(reason) if reason != Disconnect::Shutdown => Poll::Ready(()),
        _ => sent.as_mut().poll(context),
    })
    .await;
}
