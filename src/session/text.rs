//! The text protocol: lines and text messages become calls of a session, and what comes of them becomes words. A text
//! client is in one room at a time; that rule is this file's alone.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::orders::{Duty, NotObeyed, ObeyedAnswer};
use super::{Finished, JoinRequest, Outcome, Pending, ProtocolHandler, Session};
use crate::broker::Reservation;
use crate::protocol::command::{self, Command, CommandError, TokenText};
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;
use crate::protocol::publication::Data;

/// The protocol handler of one text client.
pub struct TextHandler {
    session: Session,
    /// The room that the client is moving to: it has a place reserved there, or asks for one, and leaves the one it is in.
    next_room: Option<Box<JoinRequest>>,
    /// Told once the client has done what the application has ordered.
    obeying: Option<Box<ObeyedAnswer>>,
    /// A text message came; only the first may begin with a byte order mark.
    has_begun: bool,
    /// The session ends once the reply before has been sent.
    ending: Option<Disconnect>,
}

impl TextHandler {
    /// A handler for a client that is in no room yet.
    pub fn new(session: Session) -> Self {
        Self { session, next_room: None, obeying: None, has_begun: false, ending: None }
    }

    /// Executes a line, without its end.
    pub fn line(&mut self, line: &[u8]) -> Outcome {
        match command::parse(line) {
            Ok(Some(command)) => self.execute(command),
            Ok(None) => Outcome::Done,
            Err(error) => {
                // The same error as for a line that has not ended.
                let lone_return = line.iter().position(|byte| *byte == b'\r');
                self.refuse(&lone_return.map_or(error, |at| CommandError::LoneReturn { at }))
            }
        }
    }

    /// Replies that input was refused.
    pub fn refuse(&mut self, error: &CommandError) -> Outcome {
        self.reply(&Event::Error(error))
    }

    /// Sends bytes of the transport itself, behind everything that the client has said.
    pub fn send(&mut self, bytes: Bytes) -> Outcome {
        let room = self.room();
        self.session.send(room.as_ref(), bytes)
    }

    /// Executes a command as far as that needs no waiting.
    fn execute(&mut self, command: Command<'_>) -> Outcome {
        match command {
            Command::Say(text) => self.in_room(|handler, room| handler.say(room, text)),
            Command::Join(room, since) => {
                self.join(JoinRequest { since: since.map(Since::from), ..JoinRequest::of(room) })
            }
            Command::Leave => self.in_room(|handler, room| handler.session.leave(room)),
            Command::List => self.session.list_rooms(),
            Command::Nick(nick) => self.session.rename(&nick, None),
            Command::Auth(TokenText(token)) => self.authenticate(&token),
            Command::Who => self.in_room(|handler, room| handler.session.list_members(room, None)),
            Command::History(messages) => {
                self.in_room(|handler, room| handler.session.request_history(room, messages, None))
            }
            Command::Position => self.in_room(|handler, room| handler.session.request_position(room, None)),
            Command::Ping(token) => self.reply(&Event::Pong(token)),
            Command::Help => self.reply(&Event::Help),
            Command::Quit => Outcome::Ended(Disconnect::Quit),
        }
    }

    /// The room that the client is in.
    fn room(&self) -> Option<RoomName> {
        self.session.rooms().next().cloned()
    }

    fn in_room(&mut self, act: impl FnOnce(&mut Self, &RoomName) -> Outcome) -> Outcome {
        match self.room() {
            Some(room) => act(self, &room),
            None => self.reply(&Event::JoinFirst),
        }
    }

    fn say(&mut self, room: &RoomName, text: &str) -> Outcome {
        self.session.publish(room, Data::Text(text.into()), None)
    }

    /// A client stays in its room until the next one has a place for it. One that is in the room has missed nothing.
    fn join(&mut self, request: JoinRequest) -> Outcome {
        if self.session.is_in(&request.room) {
            return self.reply(&Event::Joined(&request.room));
        }
        if self.room().is_none() {
            return self.session.join(request);
        }
        let outcome = self.session.reserve(&request);
        self.next_room = Some(Box::new(request));
        outcome
    }

    fn authenticate(&mut self, token: &str) -> Outcome {
        let Err(refused) = self.session.authenticate(token) else {
            let room = self.room();
            return self.session.introduce(room.as_ref());
        };
        self.end_with(&refused.error(), refused.reason())
    }

    fn end_with(&mut self, error: &CommandError, reason: Disconnect) -> Outcome {
        match self.refuse(error) {
            Outcome::Done => Outcome::Ended(reason),
            outcome => {
                self.ending = Some(reason);
                outcome
            }
        }
    }

    fn greet(&mut self) -> Outcome {
        let context = self.session.context.clone();
        if context.greeting.is_empty() { Outcome::Done } else { self.reply(&Event::Welcome(&context.greeting)) }
    }

    fn list(&mut self, rooms: Arc<Listing<RoomName>>) -> Outcome {
        // A cached list may lack the room that the client has just joined.
        let rooms = self.session.rooms().fold(rooms, |rooms, room| rooms.including(room));
        let bytes_max = self.session.context.message_bytes_max.saturating_sub("Rooms: ".len());
        self.reply(&Event::Rooms(&rooms.truncated_to(bytes_max)))
    }

    fn reply(&mut self, event: &Event<'_>) -> Outcome {
        let room = self.room();
        self.session.reply(room.as_ref(), event)
    }

    /// Tells the application, if it has ordered what has finished. Returns what the client is to be told.
    fn answer_order(&mut self, finished: Finished) -> Finished {
        if self.next_room.is_some() && !matches!(finished, Finished::Refused(_)) {
            return finished;
        }
        match (self.obeying.take(), finished) {
            (Some(answer), Finished::Refused(error)) => {
                self.next_room = None;
                let _ = answer.send(Err(NotObeyed::Refused(error)));
                Finished::Sent
            }
            (Some(answer), finished) => {
                let _ = answer.send(Ok(()));
                finished
            }
            (None, finished) => finished,
        }
    }

    fn go_on(&mut self, finished: Finished) -> Outcome {
        match self.answer_order(finished) {
            Finished::Sent | Finished::Joined => self.ending.map_or(Outcome::Done, Outcome::Ended),
            Finished::Evicted(_, error) => self.session.reply_all(None, &[Event::Error(&error), Event::Left]),
            Finished::Reserved(_, pass) => {
                if let (Some(next_room), Some(pass)) = (&mut self.next_room, pass) {
                    next_room.pass = Some(pass);
                }
                self.in_room(|handler, room| handler.session.leave(room))
            }
            Finished::Left => match self.next_room.take() {
                Some(request) => self.session.join(JoinRequest { reservation: Reservation::Held, ..*request }),
                None => self.reply(&Event::Left),
            },
            Finished::Rooms(rooms) => self.list(rooms),
            Finished::Collecting(_) => unreachable!("text clients do not begin with rooms"),
            Finished::Refused(error) => {
                self.next_room = None;
                self.refuse(&error)
            }
            Finished::Admitted => self.greet(),
            Finished::NotAdmitted(error) => self.end_with(&error, Disconnect::Refused),
            Finished::Disconnected(reason) => Outcome::Ended(reason),
        }
    }

    /// Begins to do what the application has ordered, and answers once it is done.
    fn obey(&mut self, Pending { duty, answer }: Pending) -> Outcome {
        let outcome = match duty {
            Duty::Join(order) if !self.session.is_in(&order.room) => {
                let request = self.session.ordered_join(*order);
                self.join(request)
            }
            Duty::Leave(room) if self.session.is_in(&room) => self.session.leave(&room),
            Duty::Refresh { expires_at, info } => {
                self.session.refresh(expires_at, info);
                Outcome::Done
            }
            Duty::Join(_) | Duty::Leave(_) => Outcome::Done,
        };
        match outcome {
            Outcome::Pending => self.obeying = Some(Box::new(answer)),
            _ => drop(answer.send(Ok(()))),
        }
        outcome
    }
}

impl ProtocolHandler for TextHandler {
    fn begin(&mut self) -> Outcome {
        match self.session.ask_to_connect() {
            Outcome::Done => self.greet(),
            outcome => outcome,
        }
    }

    fn text(&mut self, text: &str) -> Outcome {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let text = if is_first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        match command::parse_message(text) {
            Ok(Some(command)) => self.execute(command),
            Ok(None) => Outcome::Done,
            Err(error) => self.refuse(&error),
        }
    }

    fn binary(&mut self, _: &[u8]) -> Outcome {
        Outcome::Ended(Disconnect::Unsupported)
    }

    fn review(&mut self) -> Outcome {
        if let Some(pending) = self.session.next_order() {
            return self.obey(pending);
        }
        match self.session.unmarked_nick() {
            Some(nick) => self.session.rename(&nick, None),
            None => self.session.review(),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let finished = ready!(self.session.poll(context));
            match self.go_on(finished) {
                Outcome::Pending => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    fn into_session(self) -> Session {
        self.session
    }
}
