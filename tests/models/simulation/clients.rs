//! Clients that send random commands, each through the real session. A client completes one command before the next, and
//! is served as a connection serves it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::Position;
use roomcast::session::text::TextHandler;
use roomcast::session::{Outcome, ProtocolHandler, Session};
use roomcast::writer::Address;
use roomcast::writer::handle::WriterHandle;

use super::server::Server;
use super::stream_check::Bookmark;
use crate::common::Random;
use crate::many_rooms::ManyRooms;

/// A protocol handler, and what its client sends.
trait Protocol {
    /// Whether its client is in one room at a time.
    fn is_of_one_room(&self) -> bool;

    /// Executes a random command.
    fn command(&mut self, script: &mut Script, random: &mut Random) -> Outcome;

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome>;

    fn into_session(self: Box<Self>) -> Session;
}

/// What a client has sent.
struct Script {
    number: usize,
    rooms: Rc<[RoomName]>,
    /// The number of messages to each room.
    published: BTreeMap<RoomName, usize>,
    /// Where the client resumes, until it does.
    resume: Option<(RoomName, Position)>,
}

/// One client and its connection.
pub struct Client {
    pub address: Address,
    pub is_in_one_room: bool,
    /// What the client has from the connection before this one.
    pub bookmark: Option<Bookmark>,
    script: Script,
    /// `None` once the session ends.
    protocol: Option<Box<dyn Protocol>>,
    /// The outcome of the latest command.
    outcome: Outcome,
    ending: Option<LocalBoxFuture<'static, ()>>,
    writer: WriterHandle,
    /// The number of commands that the client has still to send.
    commands: usize,
}

impl Client {
    /// A client that is in one room at a time.
    pub fn in_one_room(number: usize, address: Address, commands: usize, server: &Server) -> Self {
        let mut handler = TextHandler::new(server.session(number, address));
        let outcome = handler.begin();
        Self { outcome, ..Self::new(number, address, commands, server, Box::new(handler)) }
    }

    /// A client that is in several rooms at once.
    pub fn in_many_rooms(number: usize, address: Address, commands: usize, server: &Server) -> Self {
        let handler = ManyRooms::new(server.session(number, address));
        Self::new(number, address, commands, server, Box::new(handler))
    }

    fn new(number: usize, address: Address, commands: usize, server: &Server, protocol: Box<dyn Protocol>) -> Self {
        Self {
            address,
            is_in_one_room: protocol.is_of_one_room(),
            bookmark: None,
            script: Script { number, rooms: Rc::clone(&server.rooms), published: BTreeMap::new(), resume: None },
            protocol: Some(protocol),
            outcome: Outcome::Done,
            ending: None,
            writer: server.context(address).writer.clone(),
            commands,
        }
    }

    /// Has the client resume where another one was cut.
    pub fn resuming(mut self, bookmark: Option<Bookmark>) -> Self {
        self.script.resume = bookmark.as_ref().map(|bookmark| (bookmark.room.clone(), bookmark.position));
        self.bookmark = bookmark;
        self
    }

    /// The session has ended, and so has its connection.
    pub fn is_done(&self) -> bool {
        self.protocol.is_none() && self.ending.is_none()
    }

    /// Neither the client nor the server has begun to end the connection.
    pub fn is_here(&self) -> bool {
        self.protocol.is_some() && self.writer.disconnect_reason(self.address.slot).is_none()
    }

    /// The server has begun to stop, and it is the client's turn to end.
    pub fn end_by_stop(&self) {
        self.writer.disconnect(self.address.slot, Disconnect::Shutdown);
    }

    /// Goes on with the command, or with the end of the session. Without either, it starts another command or ends.
    pub fn step(&mut self, random: &mut Random) {
        let context = &mut Context::from_waker(Waker::noop());
        if self.ending.as_mut().is_some_and(|ending| ending.poll_unpin(context).is_ready()) {
            self.ending = None;
        }
        let Some(protocol) = &mut self.protocol else { return };
        match self.outcome {
            Outcome::Pending => {
                if let Poll::Ready(outcome) = protocol.poll(context) {
                    self.outcome = outcome;
                }
            }
            Outcome::Ended(reason) => self.end(reason),
            Outcome::Done => {
                if let Some(reason) = self.writer.disconnect_reason(self.address.slot) {
                    self.outcome = Outcome::Ended(reason);
                } else if self.commands > 0 {
                    self.commands -= 1;
                    self.outcome = protocol.command(&mut self.script, random);
                } else {
                    let reasons = [Disconnect::Quit, Disconnect::ClosedByPeer, Disconnect::TooLong];
                    self.outcome = Outcome::Ended(reasons[random.below(reasons.len())]);
                }
            }
        }
    }

    fn end(&mut self, reason: Disconnect) {
        let Some(protocol) = self.protocol.take() else { return };
        let (session, writer, slot) = (protocol.into_session(), self.writer.clone(), self.address.slot);
        let ending = async move {
            session.end(reason, None).await;
            writer.input_ended(slot).await;
        };
        self.ending = Some(ending.boxed_local());
    }
}

impl Script {
    fn any_room(&self, random: &mut Random) -> RoomName {
        self.rooms[random.below(self.rooms.len())].clone()
    }

    /// Whether the client, if it has still to resume, does so with its next command. Mostly it is the first one.
    fn resumes_now(&self, random: &mut Random) -> bool {
        self.resume.is_some() && !random.one_in(4)
    }

    /// The next message to the room. It names the room, the client and its place among the client's messages there.
    fn message(&mut self, room: &RoomName) -> String {
        let published = self.published.entry(room.clone()).or_default();
        *published += 1;
        format!("{} {}.{published}", room.as_str(), self.number)
    }
}

impl Protocol for TextHandler {
    fn is_of_one_room(&self) -> bool {
        true
    }

    fn command(&mut self, script: &mut Script, random: &mut Random) -> Outcome {
        let room = self.session().rooms().next().cloned();
        let room_or_nowhere = room.as_ref().map_or("nowhere", RoomName::as_str);
        let line = match random.below(24) {
            _ if script.resumes_now(random) => {
                let (room, position) = script.resume.take().expect("it resumes");
                format!("JOIN {} since={position}", room.as_str())
            }
            0..11 => room.map_or("said in no room".to_owned(), |room| script.message(&room)),
            11..15 => format!("JOIN {}", script.any_room(random).as_str()),
            15 => "LEAVE".to_owned(),
            16 => "LIST".to_owned(),
            17 => "WHO".to_owned(),
            18 => format!("PING {room_or_nowhere}"),
            19..23 => "POSITION".to_owned(),
            _ => format!("NICK N{}-{}", script.number, random.below(3)),
        };
        self.line(line.as_bytes())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        ProtocolHandler::poll(self, context)
    }

    fn into_session(self: Box<Self>) -> Session {
        ProtocolHandler::into_session(*self)
    }
}

impl Protocol for ManyRooms {
    fn is_of_one_room(&self) -> bool {
        false
    }

    fn command(&mut self, script: &mut Script, random: &mut Random) -> Outcome {
        let rooms = self.rooms();
        if script.resumes_now(random)
            && let Some((room, position)) = script.resume.take_if(|(room, _)| !rooms.contains(room))
        {
            return self.join(&room, Some(position));
        }
        if rooms.is_empty() {
            return self.join(&script.any_room(random), None);
        }
        let room = &rooms[random.below(rooms.len())];
        match random.below(24) {
            0..11 => self.say(room, script.message(room)),
            11..17 => {
                let others = script.rooms.iter().filter(|room| !rooms.contains(room));
                let others: Vec<&RoomName> = others.collect();
                self.join(others[random.below(others.len())], None)
            }
            17 => self.ping(room),
            18..22 => self.position(&rooms[0]),
            _ => self.leave(room),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        self.poll(context)
    }

    fn into_session(self: Box<Self>) -> Session {
        (*self).into_session()
    }
}
