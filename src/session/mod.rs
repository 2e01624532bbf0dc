//! One client without a wire format: who it is, the rooms that it is in, and what it does there. A synchronous state
//! machine: each call does what can be done at once, and [`Session::poll`] the rest. A protocol handler, which parses one
//! wire format, makes the calls and writes the replies; [`text`] is one. Never starts a command before the one before it
//! has finished.

pub mod access;
mod asking;
pub mod centrifuge;
pub mod clients;
mod memberships;
pub mod orders;
pub mod outsider;
pub mod pass;
mod rate_limiter;
pub mod reader;
mod requests;
mod rights;
pub mod text;
mod waiting;
pub mod workers;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::access::{Lease, WorkerAccess};
use self::clients::Clients;
pub use self::clients::Pending;
use self::memberships::Membership;
pub use self::memberships::{JoinRequest, NamedBy};
use self::pass::PassExpiry;
use self::rate_limiter::RateLimiter;
pub use self::rate_limiter::SpentDeliveries;
pub use self::rights::Unauthenticated;
use self::waiting::{Answer, Waiting};
pub use self::waiting::{Finished, Outcome};
use self::workers::WorkerSenders;
use crate::auth::tokens::Token;
use crate::broker::{Act, Broker, ClientWindow, Farewell, MemberCommand, ReplyTo};
use crate::config::DeliveryLimits;
use crate::hooks::Hooks;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, RequestId};
use crate::protocol::names::RoomName;
use crate::protocol::publication::Publisher;
use crate::shutdown::Drain;
use crate::writer::handle::WriterHandle;
use crate::writer::{Address, Slot, WriterIndex};

/// What the sessions of one worker share.
pub struct SessionContext {
    /// The way to the rooms.
    pub broker: Broker,
    /// What the clients may do, and for how long.
    pub access: Rc<WorkerAccess>,
    /// Asks the application; `None` where no hook is on.
    pub hooks: Option<Rc<Hooks>>,
    /// The clients by their ids and users, and the orders for them.
    pub clients: Rc<Clients>,
    /// The ways of orders to the clients of all workers.
    pub workers: WorkerSenders,
    /// The worker's own writer.
    pub writer: WriterHandle,
    /// The index of that writer.
    pub writer_index: WriterIndex,
    /// The first line for every client; an empty one is not sent.
    pub greeting: String,
    /// The longest message or list that a client gets, in bytes.
    pub message_bytes_max: usize,
    /// The rooms that one client may be in at once.
    pub rooms_max: usize,
    /// The rate limit of deliveries that one client may cause; `None` is no limit.
    pub deliveries: Option<DeliveryLimits>,
    /// The deliveries that disconnected clients have caused, by address, shared by all workers.
    pub spent: SpentDeliveries,
    /// The time between two pings, which clients of some dialects are told.
    pub ping_interval: Duration,
    /// The phases of the server's stop.
    pub drain: Drain,
}

/// What parses the messages of a wire format and executes them in a session.
pub trait ProtocolHandler {
    /// Greets the client, before its first message.
    fn begin(&mut self) -> Outcome;

    /// Executes a text message.
    fn text(&mut self, text: &str) -> Outcome;

    /// Executes a binary message.
    fn binary(&mut self, bytes: &[u8]) -> Outcome;

    /// Does what the application has ordered, ends the memberships whose rights are lost, and tells the client.
    fn review(&mut self) -> Outcome;

    /// Memory of input that was handed over and is not executed yet, in bytes.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Goes on with what has to wait.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome>;

    /// The session that the handler works for.
    fn session(&mut self) -> &mut Session;

    /// Ends the handler.
    fn into_session(self) -> Session;
}

/// Who a client is when it connects.
#[derive(Debug)]
pub struct Identity {
    /// The client as others see it.
    pub publisher: Publisher,
    /// The valid token that it has presented.
    pub token: Option<Box<Token>>,
}

impl From<Publisher> for Identity {
    fn from(publisher: Publisher) -> Self {
        Self { publisher, token: None }
    }
}

/// The session of one client.
pub struct Session {
    context: Rc<SessionContext>,
    slot: Slot,
    dialect: Dialect,
    /// The client as others see it.
    identity: Arc<Publisher>,
    /// The rooms that the client is a member of.
    memberships: Vec<Membership>,
    /// Only of a client that has a token, or needs one.
    lease: Option<Rc<Lease>>,
    /// Only of a client that is in a room by a token of its own that ends.
    pass_expiry: Option<Rc<PassExpiry>>,
    /// The generation of the rules that all memberships were found to have rights by.
    reviewed: u32,
    /// The client's address, behind trusted proxies.
    address: IpAddr,
    /// Created with the first message, and boxed: most clients only listen, and need little memory.
    rate_limiter: Option<Box<RateLimiter>>,
    /// Limits what is on its way to the rooms.
    window: ClientWindow,
    /// The command that has not finished.
    waiting: Option<Waiting>,
    /// Keeps a stopping server waiting for as long as this session may publish.
    publishing: Option<TaskTrackerToken>,
}

impl Session {
    /// A session that is in no room yet.
    pub fn new(
        context: Rc<SessionContext>,
        slot: Slot,
        dialect: Dialect,
        Identity { publisher, token }: Identity,
        address: IpAddr,
    ) -> Self {
        let publishing = Some(context.drain.publishing());
        let lease = if dialect.connects_by_command() {
            Some(context.access.connect_lease(slot, dialect, token))
        } else {
            context.access.lease(slot, dialect, token)
        };
        if lease.as_ref().is_some_and(|lease| context.access.has_revoked(lease)) {
            // Since the handshake, whose answer the client may take a minute to read.
            context.writer.disconnect(slot, Disconnect::Kicked);
        }
        if !dialect.connects_by_command() {
            context.clients.add(publisher.client, &publisher.user, slot);
        }
        Self {
            slot,
            dialect,
            identity: Arc::new(publisher),
            memberships: Vec::new(),
            lease,
            pass_expiry: None,
            reviewed: context.access.generation(),
            context,
            address,
            rate_limiter: None,
            window: ClientWindow::default(),
            waiting: None,
            publishing,
        }
    }

    /// The client as others see it.
    pub fn identity(&self) -> &Arc<Publisher> {
        &self.identity
    }

    /// Why the connection should end, if it should.
    pub fn disconnect_reason(&self) -> Option<Disconnect> {
        self.context.writer.disconnect_reason(self.slot)
    }

    /// The seconds between two pings, rounded up: a client that counts them is not early.
    pub fn ping_seconds(&self) -> u32 {
        self.context.ping_interval.as_secs_f64().ceil() as u32
    }

    /// Replies to a command that has a name.
    pub fn reply_to(&mut self, request: RequestId, event: &Event<'_>) -> Outcome {
        if let Event::Error(error) = event {
            self.context.writer.metrics.count_error(error);
        }
        let mut bytes = Vec::new();
        self.dialect.write_reply(Some(request), event, &mut bytes);
        self.send(None, bytes.into())
    }

    /// Sends an event behind everything queued for the client, and behind what the client itself has said in that room.
    pub fn reply(&mut self, behind: Option<&RoomName>, event: &Event<'_>) -> Outcome {
        self.reply_all(behind, std::slice::from_ref(event))
    }

    /// Sends several events at once, as [`Self::reply`] does.
    pub fn reply_all(&mut self, behind: Option<&RoomName>, events: &[Event<'_>]) -> Outcome {
        let mut bytes = Vec::new();
        for event in events {
            if let Event::Error(error) = event {
                self.context.writer.metrics.count_error(error);
            }
            self.dialect.write_reply(None, event, &mut bytes);
        }
        self.send(behind, bytes.into())
    }

    /// Sends encoded bytes, as [`Self::reply`] does.
    pub fn send(&mut self, behind: Option<&RoomName>, bytes: Bytes) -> Outcome {
        match behind {
            Some(room) => self.send_to_room(self.command(room, Act::Reply(bytes), None)),
            None if bytes.is_empty() => Outcome::Done,
            None => match self.context.writer.try_reply(self.slot, bytes) {
                Ok(()) => Outcome::Done,
                Err(bytes) => self.wait(Answer::Sending(Box::pin(self.context.writer.reply(self.slot, bytes)))),
            },
        }
    }

    /// Answers a ping frame of the transport, behind everything that is queued for the client.
    pub fn pong(&mut self, bytes: Bytes) -> Outcome {
        match self.context.writer.try_pong(self.slot, bytes) {
            Ok(()) => Outcome::Done,
            Err(bytes) => self.wait(Answer::Sending(Box::pin(self.context.writer.pong(self.slot, bytes)))),
        }
    }

    /// Ends the session, whatever the reason, in the one place for that: leaves every room, sends the transport's final
    /// bytes and closes the output. The command before must have finished, so that no join or leave is on its way. Where a
    /// stop ends all at once, no session leaves before all sessions have stopped publishing, so that a message reaches all
    /// members or none; where it ends them one after another, each leaves by itself and the others are told.
    pub async fn end(mut self, reason: Disconnect, final_bytes: Option<Bytes>) {
        debug_assert!(self.waiting.is_none(), "the command before has not finished");
        let words = (reason == Disconnect::Kicked).then(|| self.context.clients.take_closing(self.slot)).flatten();
        self.context.clients.remove(self.identity.client, &self.identity.user, self.slot);
        if reason == Disconnect::Shutdown {
            self.window.emptied().await;
        }
        let ends_with_all = reason == Disconnect::Shutdown && self.context.drain.is_stopping();
        if ends_with_all {
            self.publishing = None;
            self.context.drain.leaving().await;
        }
        if let Some(rate_limiter) = &self.rate_limiter {
            rate_limiter.end(&self.context.spent, self.address);
        }
        let address = self.address();
        let farewell = if ends_with_all { Farewell::Nobody } else { Farewell::Others };
        let leave = |Membership { joined, .. }| self.context.broker.leave(joined.room, address, farewell);
        // All are sent before the first is waited for.
        let leaves: Vec<_> = self.memberships.drain(..).map(leave).collect();
        for left in leaves {
            left.await;
        }
        if let Some(final_bytes) = final_bytes {
            self.context.writer.reply(self.slot, final_bytes).await;
        }
        let Some(words) = words else { return self.context.writer.close(self.slot, reason).await };
        self.context.writer.reply(self.slot, self.dialect.closing_with(words.code(), words.reason())).await;
        self.context.writer.close(self.slot, Disconnect::Dismissed).await;
    }

    fn command(&self, room: &RoomName, act: Act, request: Option<RequestId>) -> MemberCommand {
        let from = ReplyTo { address: self.address(), dialect: self.dialect, request };
        MemberCommand { room: room.clone(), from, act, permit: None }
    }

    fn address(&self) -> Address {
        Address { writer: self.context.writer_index, slot: self.slot }
    }
}
