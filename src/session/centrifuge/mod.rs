//! The Centrifuge protocol: commands of SDKs become calls of a session, and what comes of them becomes replies. A client
//! is in many rooms at once. The rooms themselves reply to most commands; the rest is said here.

mod connecting;
mod opening;

use std::mem;
use std::task::{Context, Poll};

use self::connecting::Connecting;
pub use self::opening::Opening;
use super::pass::PassRefused;
use super::{Finished, JoinRequest, Outcome, ProtocolHandler, Session};
use crate::broker::{JoinReply, Page};
use crate::protocol::centrifuge::command::{Command, History, Parsed, Resume, Subscribe};
use crate::protocol::centrifuge::{json, protobuf};
use crate::protocol::command::{CommandError, TokenText};
use crate::protocol::dialect::Encoding;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, Eviction, RequestId};
use crate::protocol::names::RoomName;
use crate::protocol::position::{Epoch, Offset, Since};
use crate::protocol::publication::Data;

/// Commands of one frame that are executed before other clients have their turn.
const TURN_COMMANDS: usize = 64;

/// The protocol handler of one client of the Centrifuge protocol.
pub struct CentrifugeHandler {
    session: Session,
    phase: Phase,
    opening: Opening,
    /// What has to wait, if anything has. Boxed, so that idle clients stay small.
    waiting: Option<Box<Waiting>>,
    /// The rooms that the server has had the client join.
    server_side: Vec<RoomName>,
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client has to connect.
    Awaited,
    /// The client may do what it has rights for.
    Connected,
    /// The client's wish to connect was refused, and it is to close the connection.
    Refused,
}

/// A command that has not finished, and what stands behind it.
#[derive(Default)]
struct Waiting {
    step: Step,
    /// The commands of the same frame that were not executed yet.
    rest: Vec<u8>,
    /// Other clients have had their turn.
    has_yielded: bool,
}

/// What the client waits for.
#[derive(Default)]
enum Step {
    /// Its next turn.
    #[default]
    Turn,
    /// The end of a command, to be told if it fails.
    Command(RequestId),
    /// To have left a room by its own command.
    Leaving(RequestId),
    /// To have left a room whose token has expired.
    Expiring(RequestId, RoomName),
    /// To be connected, with the rooms that the server has it join.
    Connecting(Box<Connecting>),
    /// A message on its way, which needs no answer.
    Sending,
}

impl CentrifugeHandler {
    /// A handler for a client that has not connected yet.
    pub fn new(session: Session, opening: Opening) -> Self {
        Self { session, phase: Phase::Awaited, opening, waiting: None, server_side: Vec::new() }
    }

    /// Executes the commands of a frame, until one has to wait or the turn is over.
    fn frame(&mut self, frame: &[u8]) -> Outcome {
        let mut executed = 0;
        for _ in 0..TURN_COMMANDS {
            let parsed = match self.session.dialect.encoding() {
                Encoding::Protobuf => protobuf::next_command(&frame[executed..]),
                _ => json::next_command(&frame[executed..]),
            };
            let Some((parsed, bytes)) = parsed else { return Outcome::Done };
            executed += bytes;
            match self.execute(parsed) {
                Outcome::Done if !self.session.needs_review() => {}
                Outcome::Done => break,
                Outcome::Pending => {
                    self.keep(&frame[executed..]);
                    return Outcome::Pending;
                }
                Outcome::Ended(reason) => return Outcome::Ended(reason),
            }
        }
        if executed == frame.len() {
            return Outcome::Done;
        }
        self.wait(Step::Turn);
        self.keep(&frame[executed..]);
        Outcome::Pending
    }

    fn keep(&mut self, rest: &[u8]) {
        self.waiting.get_or_insert_default().rest = rest.to_vec();
    }

    fn execute(&mut self, parsed: Parsed<'_>) -> Outcome {
        match (self.phase, parsed) {
            (_, Parsed::Malformed) => Outcome::Ended(Disconnect::ProtocolError),
            (_, Parsed::Pong) => Outcome::Done,
            (Phase::Awaited, Parsed::Command(request, Command::Connect(connect))) => self.connect(request, connect),
            (Phase::Awaited, Parsed::Refused(request, error)) => self.refuse_connect(request, &error),
            (Phase::Connected, Parsed::Command(request, command)) => self.command(request, command),
            (Phase::Connected, Parsed::Refused(request, error)) => self.reply(request, &Event::Error(&error)),
            (Phase::Connected, Parsed::Send) => Outcome::Ended(Disconnect::NotAvailable),
            _ => Outcome::Ended(Disconnect::ProtocolError),
        }
    }

    fn command(&mut self, request: RequestId, command: Command<'_>) -> Outcome {
        match self.try_command(request, command) {
            Ok(outcome) => outcome,
            Err(error) => self.reply(request, &Event::Error(&error)),
        }
    }

    fn try_command(&mut self, request: RequestId, command: Command<'_>) -> Result<Outcome, CommandError> {
        let named = Some(request);
        let outcome = match command {
            Command::Connect(_) => return Ok(Outcome::Ended(Disconnect::ProtocolError)),
            Command::Subscribe(subscribe) => return self.subscribe(request, subscribe),
            Command::Unsubscribe(channel) => return Ok(self.unsubscribe(request, &channel)),
            Command::Publish { channel, data } => {
                let (room, data) = (room(&channel)?, Data::Json(data.into()));
                match self.session.is_in(&room) {
                    true => self.session.publish(&room, data, named),
                    false => self.session.publish_from_outside(&room, data, named),
                }
            }
            Command::Presence(channel) => self.session.request_presence(&room(&channel)?, named),
            Command::PresenceStats(channel) => self.session.count_presence(&room(&channel)?, named),
            Command::History(history) => {
                let room = room(&history.channel)?;
                self.session.request_page(&room, page(&room, &history)?, named)
            }
            Command::Refresh(token) => return Ok(self.refresh(request, &token)),
            Command::SubRefresh(channel, token) => return self.refresh_pass(request, &channel, &token),
            Command::Ping => return Ok(self.reply(request, &Event::Pong(""))),
            Command::Rpc => return Err(CommandError::NotAvailable("this server has no procedures to call")),
        };
        Ok(self.after(outcome, Step::Command(request)))
    }

    fn subscribe(&mut self, request: RequestId, subscribe: Subscribe<'_>) -> Result<Outcome, CommandError> {
        let Subscribe { channel, token, resume, is_of_other_type, has_filter, must_recover } = subscribe;
        if is_of_other_type {
            return Err(CommandError::NotAvailable("subscriptions are to streams: type is 0"));
        }
        if has_filter {
            return Err(CommandError::Parameters("tf: this server does not filter".into()));
        }
        let room = room(&channel)?;
        if self.session.is_in(&room) {
            return Err(CommandError::AlreadyIn { room });
        }
        let pass = match token.map(|TokenText(token)| self.session.pass(&token)).transpose() {
            Ok(pass) => pass,
            Err(PassRefused::Error(error)) => return Err(error),
            Err(PassRefused::Ended(reason)) => return Ok(Outcome::Ended(reason)),
        };
        if pass.as_ref().is_some_and(|pass| *pass.room() != room) {
            return Ok(Outcome::Ended(Disconnect::TokenInvalid));
        }
        let outcome = self.session.join(JoinRequest {
            since: since(&resume),
            must_recover,
            reply: JoinReply::Requested(Some(request)),
            info: pass.as_ref().and_then(|pass| pass.info().cloned()),
            pass,
            ..JoinRequest::of(room)
        });
        Ok(self.after(outcome, Step::Command(request)))
    }

    /// Leaves a room. A client that is not in it gets the same reply: an SDK takes an error for a broken connection.
    fn unsubscribe(&mut self, request: RequestId, channel: &str) -> Outcome {
        match RoomName::parse(channel) {
            Ok(room) if self.session.is_in(&room) => {
                self.server_side.retain(|joined| *joined != room);
                let outcome = self.session.leave(&room);
                self.after(outcome, Step::Leaving(request))
            }
            _ => self.reply(request, &Event::Left),
        }
    }

    /// Goes on with another token. Other rooms that the server is to have the client join come with another connection.
    fn refresh(&mut self, request: RequestId, TokenText(token): &TokenText<'_>) -> Outcome {
        if let Err(refused) = self.session.authenticate(token) {
            return refused.into();
        }
        let mut rooms: Vec<RoomName> = self.session.server_side().into_iter().map(|joined| joined.room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        self.server_side.sort_unstable();
        if rooms != self.server_side {
            return Outcome::Ended(Disconnect::OutOfStep);
        }
        let (client, expires_in) = (self.session.identity().client, self.session.expires_in());
        self.reply(request, &Event::Refreshed { client, expires_in })
    }

    /// Goes on in a room with another token. One that has expired ends the membership, as if none had come in time.
    fn refresh_pass(
        &mut self,
        request: RequestId,
        channel: &str,
        TokenText(token): &TokenText<'_>,
    ) -> Result<Outcome, CommandError> {
        let named = (!channel.is_empty()).then(|| room(channel)).transpose()?;
        let is_in = named.filter(|room| self.session.is_in(room));
        match (self.session.pass(token), is_in) {
            (Err(PassRefused::Ended(reason)), _) => Ok(Outcome::Ended(reason)),
            (Err(PassRefused::Error(CommandError::TokenExpired(_))), Some(room)) => {
                let outcome = self.session.leave(&room);
                Ok(self.after(outcome, Step::Expiring(request, room)))
            }
            (Err(PassRefused::Error(error)), _) => Err(error),
            // An old SDK leaves out the room, which its token names.
            (Ok(pass), is_in) if is_in.as_ref().is_some_and(|room| room != pass.room()) => {
                drop(pass);
                Ok(Outcome::Ended(Disconnect::TokenInvalid))
            }
            (Ok(pass), _) if !self.session.is_in(pass.room()) => {
                let room = pass.room().as_str();
                Err(CommandError::Forbidden(format!("{room:?}: you are not in it").into()))
            }
            (Ok(pass), _) => {
                let expires_in = pass.expires_in();
                self.session.renew_pass(pass);
                Ok(self.reply(request, &Event::MembershipRefreshed(expires_in)))
            }
        }
    }

    fn reply(&mut self, request: RequestId, event: &Event<'_>) -> Outcome {
        let outcome = self.session.reply_to(request, event);
        self.after(outcome, Step::Sending)
    }

    fn push(&mut self, event: &Event<'_>) -> Outcome {
        let outcome = self.session.reply(None, event);
        self.after(outcome, Step::Sending)
    }

    /// Remembers what comes behind a call that has to wait.
    fn after(&mut self, outcome: Outcome, step: Step) -> Outcome {
        if outcome == Outcome::Pending {
            self.wait(step);
        }
        outcome
    }

    fn wait(&mut self, step: Step) {
        self.waiting.get_or_insert_default().step = step;
    }

    fn go_on(&mut self, step: Step, finished: Finished) -> Outcome {
        match (step, finished) {
            (Step::Connecting(connecting), finished) => self.go_on_connecting(connecting, finished),
            (Step::Command(request), Finished::Refused(error)) => self.reply(request, &Event::Error(&error)),
            (Step::Leaving(request), _) => self.reply(request, &Event::Left),
            (Step::Expiring(request, room), _) => {
                let expired = CommandError::TokenExpired("the token of the membership".into());
                let mut bytes = Vec::new();
                self.session.dialect.write(&Event::Evicted(&room, Eviction::Expired), &mut bytes);
                self.session.dialect.write_reply(Some(request), &Event::Error(&expired), &mut bytes);
                let outcome = self.session.send(None, bytes.into());
                self.after(outcome, Step::Sending)
            }
            (_, Finished::Evicted(room, error)) => {
                let eviction = match error {
                    CommandError::TokenExpired(_) => Eviction::Expired,
                    _ => Eviction::Unsubscribed,
                };
                if self.server_side.contains(&room) {
                    return Outcome::Ended(Disconnect::OutOfStep);
                }
                self.push(&Event::Evicted(&room, eviction))
            }
            _ => Outcome::Done,
        }
    }

    /// Executes what stands behind a command that has finished.
    fn go_on_with_rest(&mut self, rest: &[u8]) -> Outcome {
        if let Some(reason) = self.session.disconnect_reason() {
            return Outcome::Ended(reason);
        }
        if self.session.needs_review() {
            let outcome = self.review();
            if outcome != Outcome::Done {
                self.keep(rest);
                return outcome;
            }
        }
        if rest.is_empty() { Outcome::Done } else { self.frame(rest) }
    }
}

impl ProtocolHandler for CentrifugeHandler {
    fn begin(&mut self) -> Outcome {
        Outcome::Done
    }

    fn text(&mut self, text: &str) -> Outcome {
        match self.session.dialect.encoding() {
            Encoding::Protobuf => Outcome::Ended(Disconnect::Unsupported),
            _ => self.frame(text.as_bytes()),
        }
    }

    fn binary(&mut self, bytes: &[u8]) -> Outcome {
        match self.session.dialect.encoding() {
            Encoding::Protobuf => self.frame(bytes),
            _ => Outcome::Ended(Disconnect::Unsupported),
        }
    }

    fn review(&mut self) -> Outcome {
        let outcome = self.session.review();
        self.after(outcome, Step::Sending)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        while let Some(waiting) = &mut self.waiting {
            let outcome = match mem::take(&mut waiting.step) {
                Step::Turn if !waiting.has_yielded => {
                    waiting.has_yielded = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Turn => Outcome::Done,
                step => {
                    let Poll::Ready(finished) = self.session.poll(context) else {
                        waiting.step = step;
                        return Poll::Pending;
                    };
                    self.go_on(step, finished)
                }
            };
            if let Outcome::Ended(_) = outcome {
                return Poll::Ready(outcome);
            }
            if outcome == Outcome::Pending {
                continue;
            }
            let rest = self.waiting.take().map(|waiting| waiting.rest).unwrap_or_default();
            if let outcome @ Outcome::Ended(_) = self.go_on_with_rest(&rest) {
                return Poll::Ready(outcome);
            }
        }
        Poll::Ready(Outcome::Done)
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    fn into_session(self) -> Session {
        self.session
    }
}

/// The room that a channel names, under its very name: an SDK would not find it under another one.
fn room(channel: &str) -> Result<RoomName, CommandError> {
    let room = RoomName::parse(channel).map_err(CommandError::RoomName)?;
    if room.as_str() != channel {
        let rule = format!("{:?}: a name in Unicode NFC, as in {:?}", channel, room.as_str());
        return Err(CommandError::Parameters(rule.into()));
    }
    Ok(room)
}

/// Up to where a client has a room, if it wishes to resume. No room has an epoch that is none.
fn since(resume: &Resume<'_>) -> Option<Since> {
    resume.recover.then(|| Since {
        epoch: (!resume.epoch.is_empty()).then(|| Epoch::parse(&resume.epoch)).flatten(),
        offset: Offset(resume.offset),
    })
}

fn page(room: &RoomName, history: &History<'_>) -> Result<Page, CommandError> {
    let since = match &history.since {
        Some((0, _)) if history.reverse => {
            return Err(CommandError::Parameters("since: nothing is in front of offset 0".into()));
        }
        Some((offset, epoch)) => {
            let known = (!epoch.is_empty()).then(|| Epoch::parse(epoch));
            if known == Some(None) {
                return Err(CommandError::Unrecoverable { room: room.clone() });
            }
            Some(Since { epoch: known.flatten(), offset: Offset(*offset) })
        }
        None => None,
    };
    let messages_max = if history.limit < 0 { usize::MAX } else { history.limit as usize };
    Ok(Page { since, messages_max, is_reverse: history.reverse })
}
