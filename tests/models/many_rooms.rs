//! A protocol of the tests' own over the real session: its client is in many rooms at once. Every message names its room,
//! so that what a client has received tells which room each line is from.

use std::task::{Context, Poll, ready};

use roomcast::protocol::command::CommandError;
use roomcast::protocol::event::Event;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Position, Since};
use roomcast::protocol::publication::Data;
use roomcast::session::{Finished, JoinRequest, Outcome, Session};

/// The protocol handler of one client.
pub struct ManyRooms {
    session: Session,
    leaving: Option<RoomName>,
    /// The reasons why commands were refused.
    pub refused: Vec<CommandError>,
}

impl ManyRooms {
    pub fn new(session: Session) -> Self {
        Self { session, leaving: None, refused: Vec::new() }
    }

    /// The rooms that the client is in.
    pub fn rooms(&self) -> Vec<RoomName> {
        self.session.rooms().cloned().collect()
    }

    /// Joins the room, and is sent what it has missed since the position, if it has one.
    pub fn join(&mut self, room: &RoomName, since: Option<Position>) -> Outcome {
        self.session.join(JoinRequest { since: since.map(Since::from), ..JoinRequest::of(room.clone()) })
    }

    /// Leaves the room; the client then gets `Left <room>`.
    pub fn leave(&mut self, room: &RoomName) -> Outcome {
        self.leaving = Some(room.clone());
        self.session.leave(room)
    }

    pub fn say(&mut self, room: &RoomName, text: String) -> Outcome {
        self.session.publish(room, Data::Text(text.into()), None)
    }

    /// Whether rights may have changed.
    pub fn needs_review(&self) -> bool {
        self.session.needs_review()
    }

    /// Ends the first membership that the client has no right to any more.
    pub fn review(&mut self) -> Outcome {
        self.session.review()
    }

    /// Replies `PONG <room>` behind everything that the client has said in the room.
    pub fn ping(&mut self, room: &RoomName) -> Outcome {
        self.session.reply(Some(room), &Event::Pong(room.as_str()))
    }

    /// Asks for the members of the room. The answer does not name the client.
    pub fn members(&mut self, room: &RoomName) -> Outcome {
        self.session.list_members(room, None)
    }

    /// Asks for the position of the room. The answer does not name the room.
    pub fn position(&mut self, room: &RoomName) -> Outcome {
        self.session.request_position(room, None)
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let finished = ready!(self.session.poll(context));
            let outcome = self.go_on(finished);
            if outcome != Outcome::Pending {
                return Poll::Ready(outcome);
            }
        }
    }

    pub fn into_session(self) -> Session {
        self.session
    }

    fn go_on(&mut self, finished: Finished) -> Outcome {
        match finished {
            Finished::Sent | Finished::Joined => Outcome::Done,
            Finished::Evicted(room, _) => self.session.send(None, format!("Left {}\n", room.as_str()).into()),
            Finished::Left => {
                let room = self.leaving.take().expect("it leaves a room");
                self.session.send(None, format!("Left {}\n", room.as_str()).into())
            }
            Finished::Refused(error) => {
                let outcome = self.session.reply(None, &Event::Error(&error));
                self.refused.push(error);
                outcome
            }
            Finished::Collecting(_)
            | Finished::Reserved(..)
            | Finished::Rooms(_)
            | Finished::Admitted
            | Finished::NotAdmitted(_)
            | Finished::Disconnected(_) => {
                unreachable!("it was not asked for")
            }
        }
    }
}
