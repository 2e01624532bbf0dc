//! The Centrifuge protocol: commands of SDKs become calls of a session, and what comes of them becomes replies. A client
//! is in many rooms at once. The rooms themselves reply to most commands; the rest is said here.

pub mod commands;
mod connecting;
mod opening;

use std::mem;
use std::task::{Context, Poll};

use self::connecting::{Connecting, NamedRoom};
pub use self::opening::{Opening, StreamName};
use super::orders::{Duty, NotObeyed, ObeyedAnswer};
use super::{Finished, Outcome, Pending, ProtocolHandler, Session};
use crate::protocol::centrifuge::command::{Command, Parsed};
use crate::protocol::centrifuge::{json, protobuf};
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Encoding;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Event, Eviction, RequestId};
use crate::protocol::names::RoomName;

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
    rest: Rest,
    /// Other clients have had their turn.
    has_yielded: bool,
}

/// The end of a frame, whose bytes are moved only once however many of its commands wait.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    /// The length of what was executed meanwhile.
    executed: usize,
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
    /// To be let in by the application, with the rooms that the client names.
    Admitting(RequestId, Box<[NamedRoom<'static>]>),
    /// To be connected, with the rooms that the server has it join.
    Connecting(Box<Connecting>),
    /// To have done what the application has ordered. Where the client leaves a room, that room, to be told.
    Obeying(Box<ObeyedAnswer>, Option<RoomName>),
    /// A message on its way, which needs no answer.
    Sending,
}

impl CentrifugeHandler {
    /// A handler for a client that has not connected yet.
    pub fn new(session: Session, opening: Opening) -> Self {
        Self { session, phase: Phase::Awaited, opening, waiting: None, server_side: Vec::new() }
    }

    /// Executes a frame. An empty one is none.
    fn frame(&mut self, frame: &[u8]) -> Outcome {
        if frame.is_empty() {
            return Outcome::Ended(Disconnect::ProtocolError);
        }
        let (executed, outcome) = self.commands(frame);
        if outcome == Outcome::Pending && executed < frame.len() {
            self.keep(Rest { bytes: frame[executed..].to_vec(), executed: 0 });
        }
        outcome
    }

    /// Executes commands until one has to wait or the turn is over. Returns the length of those that were executed.
    fn commands(&mut self, frame: &[u8]) -> (usize, Outcome) {
        let mut executed = 0;
        for _ in 0..TURN_COMMANDS {
            let parsed = match self.session.dialect.encoding() {
                Encoding::Protobuf => protobuf::next_command(&frame[executed..]),
                _ => json::next_command(&frame[executed..]),
            };
            let Some((parsed, bytes)) = parsed else { return (executed, Outcome::Done) };
            executed += bytes;
            let has_token = matches!(&parsed, Parsed::Command(_, command) if command.has_token());
            match self.execute(parsed) {
                // Verifying a token takes as long as many commands, also if it is refused.
                Outcome::Done if has_token => {
                    self.wait(Step::Turn);
                    return (executed, Outcome::Pending);
                }
                Outcome::Done if !self.session.needs_review() => {}
                Outcome::Done => break,
                outcome => return (executed, outcome),
            }
        }
        if executed == frame.len() {
            return (executed, Outcome::Done);
        }
        self.wait(Step::Turn);
        (executed, Outcome::Pending)
    }

    fn keep(&mut self, rest: Rest) {
        self.waiting.get_or_insert_default().rest = rest;
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
            (Step::Admitting(request, rooms), Finished::Admitted) => self.admit(request, &rooms),
            (Step::Admitting(request, _), Finished::NotAdmitted(error)) => self.not_admitted(request, &error),
            (Step::Connecting(connecting), Finished::Disconnected(_)) => {
                // Places that are reserved are given back.
                let error = CommandError::NotAvailable("the connection ends");
                self.go_on_connecting(connecting, Finished::Refused(error))
            }
            (Step::Connecting(connecting), finished) => self.go_on_connecting(connecting, finished),
            (_, Finished::Disconnected(reason)) => Outcome::Ended(reason),
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
            (Step::Obeying(answer, room), finished) => {
                let _ = answer.send(match finished {
                    Finished::Refused(error) => Err(NotObeyed::Refused(error)),
                    _ => Ok(()),
                });
                room.map_or(Outcome::Done, |room| self.push(&Event::Evicted(&room, Eviction::Unsubscribed)))
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
    fn go_on_with_rest(&mut self, mut rest: Rest) -> Outcome {
        if let Some(reason) = self.session.disconnect_reason() {
            return Outcome::Ended(reason);
        }
        let outcome = if self.session.needs_review() { self.review() } else { Outcome::Done };
        let outcome = match outcome {
            Outcome::Done if rest.executed < rest.bytes.len() => {
                let (executed, outcome) = self.commands(&rest.bytes[rest.executed..]);
                rest.executed += executed;
                outcome
            }
            outcome => outcome,
        };
        if outcome == Outcome::Pending {
            self.keep(rest);
        }
        outcome
    }

    /// Begins to do what the application has ordered, and answers once it is done.
    fn obey(&mut self, Pending { duty, answer }: Pending) -> Outcome {
        let (outcome, left) = match duty {
            Duty::Join(order) if !self.session.is_in(&order.room) => {
                let request = self.session.ordered_join(*order);
                (self.session.join(request), None)
            }
            Duty::Leave(room) if self.session.is_in(&room) => {
                self.server_side.retain(|joined| *joined != room);
                (self.session.leave(&room), Some(room))
            }
            Duty::Refresh { expires_at, info } => {
                self.session.refresh(expires_at, info);
                let (client, expires_in) = (self.session.identity().client, self.session.expires_in());
                (self.session.reply(None, &Event::Refreshed { client, expires_in }), None)
            }
            Duty::Join(_) | Duty::Leave(_) => (Outcome::Done, None),
        };
        match outcome {
            Outcome::Pending => self.wait(Step::Obeying(Box::new(answer), left)),
            _ => drop(answer.send(Ok(()))),
        }
        outcome
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
        if let Some(pending) = self.session.next_order() {
            return self.obey(pending);
        }
        let outcome = match self.session.unmarked_nick() {
            Some(nick) => self.session.rename(&nick, None),
            None => self.session.review(),
        };
        self.after(outcome, Step::Sending)
    }

    fn held_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.rest.bytes.capacity())
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
            if let outcome @ Outcome::Ended(_) = self.go_on_with_rest(rest) {
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
