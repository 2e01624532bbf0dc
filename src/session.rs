//! One client's conversation, the same on every transport: commands become calls of the broker and replies. Knows no
//! socket and no framing; never executes a command before the answer to the one before is on its way.

mod allowance;

use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use self::allowance::{Allowance, Charge};
use crate::broker::{Broker, Joined, Member, Publish, Seat};
use crate::config::DeliveryLimits;
use crate::protocol::command::{Command, Refusal};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, Listing};
use crate::protocol::names::{Label, Nick, RoomName};
use crate::shutdown::{Drain, Talking};
use crate::writer::handle::WriterHandle;
use crate::writer::{Address, Slot, WriterIndex};

/// What the sessions of one worker share.
pub struct SessionHost {
    /// The rooms.
    pub broker: Broker,
    /// The worker's own writer.
    pub writer: WriterHandle,
    /// Which one that is.
    pub writer_index: WriterIndex,
    /// Sent to every client first; nothing if empty.
    pub greeting: String,
    /// What a client may cost the others; as much as it likes if `None`.
    pub deliveries: Option<DeliveryLimits>,
    /// When to stop.
    pub drain: Drain,
}

/// A client's conversation.
pub struct Session {
    host: Rc<SessionHost>,
    slot: Slot,
    dialect: Dialect,
    label: Label,
    room: Option<RoomName>,
    /// Boxed: mostly there is none, and a client is to be small.
    allowance: Option<Box<Allowance>>,
    talking: Option<Talking>,
}

/// What became of a command.
#[derive(Debug)]
#[must_use]
pub enum Handled {
    /// It is on its way.
    Done,
    /// It must be waited for: `Session::finish` it before the next.
    Later(Unfinished),
    /// It was the last, and the client is to be told no more than why.
    Ended(Disconnect),
}

/// What must be waited for.
#[derive(Debug)]
pub enum Unfinished {
    /// Until there is room for the message in the shard's mailbox.
    Publish(Publish),
    /// Until the client may cause deliveries again, or is refused. Boxed: every client has room for what it may wait for.
    Pause(Box<Publish>),
    /// Until there is room for the reply in the writer's mailbox.
    Reply(Bytes),
    /// Until there is room for the answer to a ping frame there.
    Pong(Bytes),
    /// Until the client is out of its room and in this one.
    Join(RoomName),
    /// Until the client is out of its room.
    Leave,
    /// Until every shard has said what rooms it has.
    List,
    /// Until the room's shard has said who is in it.
    Who,
    /// Until everything on its way to the client is ahead of the answer.
    Ping(Box<str>),
    /// Until the room's shard has been told the new label.
    Nick(Nick),
}

impl Session {
    /// A conversation in no room yet.
    pub fn new(host: Rc<SessionHost>, slot: Slot, dialect: Dialect, label: Label) -> Self {
        let talking = Some(host.drain.talking());
        let allowance = host.deliveries.map(|limits| Box::new(Allowance::new(limits, Instant::now())));
        Self { host, slot, dialect, label, room: None, allowance, talking }
    }

    /// Says hello.
    pub fn greet(&self) -> Handled {
        if self.host.greeting.is_empty() { Handled::Done } else { self.reply(&Event::Welcome(&self.host.greeting)) }
    }

    /// Handles a command as far as that goes without waiting.
    pub fn handle(&mut self, command: Command<'_>) -> Handled {
        match command {
            Command::Say(text) => self.say(text),
            Command::Join(room) => Handled::Later(Unfinished::Join(room)),
            Command::Leave if self.room.is_some() => Handled::Later(Unfinished::Leave),
            Command::Who if self.room.is_some() => Handled::Later(Unfinished::Who),
            Command::Leave | Command::Who => self.reply(&Event::JoinFirst),
            Command::List => Handled::Later(Unfinished::List),
            Command::Nick(nick) => Handled::Later(Unfinished::Nick(nick)),
            Command::Ping(token) if self.room.is_some() => Handled::Later(Unfinished::Ping(token.into())),
            Command::Ping(token) => self.reply(&Event::Pong(token)),
            Command::Help => self.reply(&Event::Help),
            Command::Quit => Handled::Ended(Disconnect::Quit),
        }
    }

    /// Tells the client what was wrong with its line.
    pub fn refuse(&self, refusal: &Refusal) -> Handled {
        self.reply(&Event::Refused(refusal))
    }

    /// Answers a ping frame of the transport's own, behind all that is queued for the client.
    pub fn pong(&self, bytes: Bytes) -> Handled {
        match self.host.writer.try_pong(self.slot, bytes) {
            Ok(()) => Handled::Done,
            Err(bytes) => Handled::Later(Unfinished::Pong(bytes)),
        }
    }

    /// Sends bytes of the transport's own, behind all that is queued for the client.
    pub fn send(&self, bytes: Bytes) -> Handled {
        match self.host.writer.try_reply(self.slot, bytes) {
            Ok(()) => Handled::Done,
            Err(bytes) => Handled::Later(Unfinished::Reply(bytes)),
        }
    }

    /// Does the rest of a command, waiting for whom it must.
    pub async fn finish(&mut self, unfinished: Unfinished) {
        match unfinished {
            Unfinished::Publish(publish) => self.host.broker.publish(publish).await,
            Unfinished::Pause(publish) => Box::pin(self.pause(*publish)).await,
            Unfinished::Reply(bytes) => self.host.writer.reply(self.slot, bytes).await,
            Unfinished::Pong(bytes) => self.host.writer.pong(self.slot, bytes).await,
            Unfinished::Join(room) => self.join(room).await,
            Unfinished::Leave => {
                self.leave().await;
                self.answer(&Event::Left).await;
            }
            Unfinished::List => {
                let rooms = self.host.broker.rooms().await;
                // A list may be a moment old, but never older than what the client itself has done.
                let rooms = self.room.iter().fold(rooms, Listing::showing);
                self.answer(&Event::Rooms(&rooms)).await;
            }
            Unfinished::Who => self.who().await,
            Unfinished::Ping(token) => self.ping(&token).await,
            Unfinished::Nick(nick) => self.rename(nick).await,
        }
    }

    /// The one place where a conversation ends, whatever ended it: out of the room, then what the
    /// transport has still to say, then the end of the output. At a
    /// shutdown nobody leaves before everybody has stopped talking, so that a message reaches all or none.
    pub async fn end(mut self, reason: Disconnect, last_words: Option<Bytes>) {
        if reason == Disconnect::Shutdown {
            self.talking = None;
            self.host.drain.leaving().await;
        }
        self.leave().await;
        if let Some(last_words) = last_words {
            self.host.writer.reply(self.slot, last_words).await;
        }
        self.host.writer.close(self.slot, reason).await;
    }

    fn say(&mut self, text: &str) -> Handled {
        let Some(room) = &self.room else {
            return self.reply(&Event::JoinFirst);
        };
        let (room, address) = (room.clone(), self.address());
        let publish = Publish { room, address, dialect: self.dialect, text: text.into(), read_at: Instant::now() };
        if let Some(Charge::DueIn(_)) = self.charge(publish.read_at) {
            return Handled::Later(Unfinished::Pause(publish.into()));
        }
        match self.host.broker.try_publish(publish) {
            Ok(()) => Handled::Done,
            Err(publish) => Handled::Later(Unfinished::Publish(publish)),
        }
    }

    /// Whether a message may be published now; `None` if that costs nothing.
    fn charge(&mut self, now: Instant) -> Option<Charge> {
        self.allowance.as_mut().map(|allowance| allowance.charge(now))
    }

    /// Waits until the message may be published, which keeps the client's socket from being read; refuses it if that would
    /// take too long, after as long as it may take.
    async fn pause(&mut self, publish: Publish) {
        let (Some(limits), Some(Charge::DueIn(due))) = (self.host.deliveries, self.charge(Instant::now())) else {
            return self.host.broker.publish(publish).await;
        };
        match self.ended_within(due.min(limits.pause_max)).await {
            // What was read is said.
            Some(Disconnect::Shutdown) => self.host.broker.publish(publish).await,
            Some(_) => {}
            None if matches!(self.charge(Instant::now()), Some(Charge::DueIn(_))) => {
                let DeliveryLimits { per_second, burst, .. } = limits;
                let refusal = Refusal::TooManyDeliveries { per_second: per_second.get(), burst };
                self.answer(&Event::Refused(&refusal)).await;
            }
            None => self.host.broker.publish(publish).await,
        }
    }

    /// Why the conversation is to end, if it is within this time; else `None`, after that time.
    async fn ended_within(&self, time: Duration) -> Option<Disconnect> {
        timeout(time, poll_fn(|context| self.host.writer.poll_hang_up(self.slot, context))).await.ok()
    }

    async fn join(&mut self, room: RoomName) {
        if self.room.as_ref() == Some(&room) {
            return self.answer(&Event::Joined(&room)).await;
        }
        let mut seat = Seat::Free;
        if self.room.is_some() {
            // Nobody leaves its room for one that does not let it in. Boxed, as is the pause: thousands join at once and hold what
            // this future takes, and few of them come from another room.
            if let Err(refusal) = Box::pin(self.host.broker.hold(room.clone())).await {
                return self.answer(&Event::Refused(&refusal)).await;
            }
            seat = Seat::Held;
            self.leave().await;
        }
        let member = Member { address: self.address(), dialect: self.dialect, label: self.label.clone() };
        match self.host.broker.join(room, member, seat).await {
            Ok(Joined { room, population }) => {
                self.room = Some(room);
                self.allowance.iter_mut().for_each(|allowance| allowance.move_to(population.clone()));
            }
            Err(refusal) => self.answer(&Event::Refused(&refusal)).await,
        }
    }

    async fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            self.host.broker.leave(room, self.address()).await;
        }
    }

    async fn who(&self) {
        if let Some(room) = self.room.clone() {
            let members = self.host.broker.members(room.clone()).await.showing(&self.label);
            self.answer(&Event::Members(&room, &members)).await;
        }
    }

    async fn ping(&self, token: &str) {
        if let Some(room) = &self.room {
            self.host.broker.fence(room).await;
        }
        self.answer(&Event::Pong(token)).await;
    }

    async fn rename(&mut self, nick: Nick) {
        self.label = nick.clone().into();
        if let Some(room) = self.room.clone() {
            self.host.broker.rename(room, self.address(), self.label.clone()).await;
        }
        self.answer(&Event::Named(&nick)).await;
    }

    fn reply(&self, event: &Event<'_>) -> Handled {
        self.count(event);
        self.send(self.dialect.encode(event))
    }

    async fn answer(&self, event: &Event<'_>) {
        self.count(event);
        self.host.writer.reply(self.slot, self.dialect.encode(event)).await;
    }

    /// Every answer with an error passes here.
    fn count(&self, event: &Event<'_>) {
        if let Event::Refused(refusal) = event {
            self.host.writer.count_error(refusal);
        }
    }

    fn address(&self) -> Address {
        Address { writer: self.host.writer_index, slot: self.slot }
    }
}
