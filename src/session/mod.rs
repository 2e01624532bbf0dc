//! One client without a wire format: who it is, the rooms that it is in, and what it does there. A synchronous state
//! machine: each call does what can be done at once, and [`Session::poll`] the rest. A protocol handler, which parses one
//! wire format, makes the calls and writes the replies; [`text`] is one. Never starts a command before the one before it
//! has finished.

pub mod access;
pub mod centrifuge;
mod memberships;
pub mod pass;
mod rate_limiter;
mod rights;
pub mod text;
mod waiting;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::access::{Lease, WorkerAccess};
pub use self::memberships::JoinRequest;
use self::memberships::Membership;
use self::pass::PassExpiry;
use self::rate_limiter::RateLimiter;
pub use self::rate_limiter::SpentDeliveries;
pub use self::rights::Unauthenticated;
use self::waiting::{Answer, Waiting};
pub use self::waiting::{Finished, Outcome};
use crate::auth::rights::Action;
use crate::auth::tokens::Token;
use crate::broker::{Act, Broker, ClientWindow, Farewell, MemberCommand, Page, ReplyTo, Viewer};
use crate::config::DeliveryLimits;
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, RequestId};
use crate::protocol::names::{Label, RoomName};
use crate::protocol::publication::{Data, Publisher};
use crate::shutdown::Drain;
use crate::writer::handle::WriterHandle;
use crate::writer::{Address, Slot, WriterIndex};

/// What the sessions of one worker share.
pub struct SessionContext {
    /// The way to the rooms.
    pub broker: Broker,
    /// What the clients may do, and for how long.
    pub access: Rc<WorkerAccess>,
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

    /// Ends the memberships whose rights are lost, and tells the client.
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

    /// Publishes to a room that the client is in, as far as the client may cause the deliveries.
    pub fn publish(&mut self, room: &RoomName, data: Data, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit(Action::Publish, room) {
            return self.wait(Waiting::Refused(error));
        }
        let now = Instant::now();
        let command = self.command(room, Act::Publish(data, now), request);
        self.send_charged(command, self.members_of(room), now)
    }

    /// Publishes to a room that the client is not in.
    pub fn publish_from_outside(&mut self, room: &RoomName, data: Data, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit_publish_from_outside(room) {
            return self.wait(Waiting::Refused(error));
        }
        let now = Instant::now();
        let publish = Box::new((Arc::clone(&self.identity), data, now));
        let act = Act::PublishFromOutside(publish, self.window.uncharged());
        self.send_charged(self.command(room, act, request), 1, now)
    }

    /// Asks a room for a part of its history, as far as the client may cause the deliveries. The room replies.
    pub fn request_page(&mut self, room: &RoomName, page: Page, request: Option<RequestId>) -> Outcome {
        let permitted = self.permit(Action::History, room).and_then(|()| self.require_history(room));
        if let Err(error) = permitted {
            return self.wait(Waiting::Refused(error));
        }
        let messages = page.messages_max.min(self.context.broker.replay_messages_max());
        self.send_charged(self.command(room, Act::Page(page.into(), None), request), messages.max(1), Instant::now())
    }

    /// Refuses to read from a room that retains nothing by its rule, so that nobody takes it for one that is empty.
    fn require_history(&self, room: &RoomName) -> Result<(), CommandError> {
        match self.context.access.rules().rooms.limits_of(room).history_messages_max {
            0 => Err(CommandError::NotAvailable("the room retains no messages")),
            _ => Ok(()),
        }
    }

    /// Asks a room for its members as others see them, as far as the client may cause as many deliveries. The room replies.
    pub fn request_presence(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        let act = Act::Presence(None, self.window.uncharged());
        self.request_members(room, act, request)
    }

    /// Asks a room for the number of its members, as [`Self::request_presence`] does.
    pub fn count_presence(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        let act = Act::PresenceCount(self.window.uncharged());
        self.request_members(room, act, request)
    }

    fn request_members(&mut self, room: &RoomName, act: Act, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit(Action::Presence, room) {
            return self.wait(Waiting::Refused(error));
        }
        self.send_charged(self.command(room, act, request), self.members_of(room), Instant::now())
    }

    /// The members of a room that the client is in; 1 for any other.
    fn members_of(&self, room: &RoomName) -> usize {
        self.membership(room).map_or(1, |membership| membership.joined.member_count.members())
    }

    /// Asks a room that the client is in for its newest publications, as far as the client may cause the deliveries. The
    /// room replies.
    pub fn request_history(&mut self, room: &RoomName, messages: usize, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit(Action::History, room) {
            return self.wait(Waiting::Refused(error));
        }
        let messages = messages.min(self.context.broker.replay_messages_max());
        let command = self.command(room, Act::History(messages, None), request);
        self.send_charged(command, messages, Instant::now())
    }

    /// Asks a room that the client is in for the position up to which the client has everything. The room replies.
    pub fn request_position(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        self.send_to_room(self.command(room, Act::Position, request))
    }

    /// Asks a room that the client is in for the labels of its members. The room replies.
    pub fn list_members(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit(Action::Presence, room) {
            return self.wait(Waiting::Refused(error));
        }
        self.send_to_room(self.command(room, Act::Members(Instant::now(), None), request))
    }

    /// Gives the client another label, which a room that it is in replies with. A name that comes from a token stays.
    pub fn rename(&mut self, room: Option<&RoomName>, nick: &Label) -> Outcome {
        if self.lease.as_ref().is_some_and(|lease| lease.names_client()) {
            let error = format!("{:?}: your name comes from your token", nick.as_str());
            return self.wait(Waiting::Refused(CommandError::Forbidden(error.into())));
        }
        let label = if self.context.access.has_users() { nick.of_guest() } else { nick.clone() };
        Arc::make_mut(&mut self.identity).label = label;
        let identity = Arc::clone(&self.identity);
        match room {
            Some(room) => self.send_to_room(self.command(room, Act::Rename(identity), None)),
            None => self.reply(None, &Event::Named(&identity.label)),
        }
    }

    /// The nick that a guest has chosen before there were users, and which may be the name of one.
    pub fn unmarked_nick(&self) -> Option<Label> {
        let is_trusted = self.lease.as_ref().is_some_and(|lease| lease.names_client());
        if is_trusted || !self.context.access.has_users() {
            return None;
        }
        // Labels that the server gives, and nicks that are marked, are no nicks that a client could choose.
        Label::nick(self.identity.label.as_str()).ok()
    }

    /// Lists the rooms with members that the client may know of, of all shards, as [`Finished::Rooms`].
    pub fn list_rooms(&mut self) -> Outcome {
        if let Err(error) = self.permit_anything() {
            return self.wait(Waiting::Refused(error));
        }
        let broker = self.context.broker.clone();
        let viewer = if self.identity.user.as_str().is_empty() { Viewer::Guest } else { Viewer::User };
        self.wait(Answer::Listing(Box::pin(async move { broker.rooms(viewer).await })))
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
    /// bytes and closes the output. The command before must have finished, so that no join or leave is on its way. At a
    /// shutdown no session leaves before all sessions have stopped publishing, so that a message reaches all members or
    /// none.
    pub async fn end(mut self, reason: Disconnect, final_bytes: Option<Bytes>) {
        debug_assert!(self.waiting.is_none(), "the command before has not finished");
        if reason == Disconnect::Shutdown {
            self.window.emptied().await;
            self.publishing = None;
            self.context.drain.leaving().await;
        }
        if let Some(rate_limiter) = &self.rate_limiter {
            rate_limiter.end(&self.context.spent, self.address);
        }
        let address = self.address();
        let farewell = if reason == Disconnect::Shutdown { Farewell::Nobody } else { Farewell::Others };
        let leave = |Membership { joined, .. }| self.context.broker.leave(joined.room, address, farewell);
        // All are sent before the first is waited for.
        let leaves: Vec<_> = self.memberships.drain(..).map(leave).collect();
        for left in leaves {
            left.await;
        }
        if let Some(final_bytes) = final_bytes {
            self.context.writer.reply(self.slot, final_bytes).await;
        }
        self.context.writer.close(self.slot, reason).await;
    }

    fn command(&self, room: &RoomName, act: Act, request: Option<RequestId>) -> MemberCommand {
        let from = ReplyTo { address: self.address(), dialect: self.dialect, request };
        MemberCommand { room: room.clone(), from, act, permit: None }
    }

    fn address(&self) -> Address {
        Address { writer: self.context.writer_index, slot: self.slot }
    }
}
