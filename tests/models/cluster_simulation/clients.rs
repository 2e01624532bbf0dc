//! Clients that send random commands through the real session to one node, and an application that publishes to all.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use roomcast::broker::{PublishError, ServerPublish};
use roomcast::protocol::command::CommandError;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::idempotency_key::IdempotencyKey;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::Position;
use roomcast::protocol::publication::Data;
use roomcast::session::text::TextHandler;
use roomcast::session::{Outcome, ProtocolHandler};
use roomcast::writer::Address;
use roomcast::writer::handle::WriterHandle;

use super::node::Node;
use crate::common::{Random, label, publisher};

/// What a client has sent, as far as the checks need it.
#[derive(Debug)]
pub enum Sent {
    /// A message, the room, and the name that its sender has.
    Message { room: RoomName, text: String, label: String },
    /// A ping in a room, by its token.
    Ping { room: RoomName, token: String },
}

/// Where a client can resume.
#[derive(Clone, Debug)]
pub struct Bookmark {
    pub room: RoomName,
    pub position: Position,
}

/// One client and its connection.
pub struct Client {
    pub node: usize,
    pub address: Address,
    /// The restarts of the node when the client came.
    pub begun: usize,
    restarts: usize,
    /// Where it resumes with its first join of that room.
    pub resume: Option<Bookmark>,
    pub sent: Vec<Sent>,
    number: usize,
    label: String,
    rooms: Rc<[RoomName]>,
    published: BTreeMap<RoomName, usize>,
    resumes: bool,
    handler: Option<TextHandler>,
    outcome: Outcome,
    ending: Option<LocalBoxFuture<'static, ()>>,
    writer: WriterHandle,
    commands: usize,
    stays: bool,
    last_words: Vec<&'static str>,
}

impl Client {
    pub fn new(number: usize, node: &Node, address: Address, rooms: Rc<[RoomName]>, random: &mut Random) -> Self {
        let mut handler = TextHandler::new(node.session(number, address));
        let outcome = handler.begin();
        Self {
            node: node.number,
            address,
            begun: node.following.as_ref().map_or(0, |following| following.begun),
            restarts: node.restarts(),
            resume: None,
            sent: Vec::new(),
            number,
            label: format!("L{number}"),
            rooms,
            published: BTreeMap::new(),
            resumes: false,
            handler: Some(handler),
            outcome,
            ending: None,
            writer: node.writers[usize::from(address.writer.0)].handle.clone(),
            commands: random.below(40),
            stays: number.is_multiple_of(4),
            last_words: vec!["QUIT", "POSITION"],
        }
    }

    pub fn resuming(mut self, bookmark: Option<Bookmark>) -> Self {
        (self.resumes, self.resume) = (bookmark.is_some(), bookmark);
        self
    }

    pub fn is_done(&self) -> bool {
        self.handler.is_none() && self.ending.is_none()
    }

    /// The client has nothing more to do until it is asked to leave.
    pub fn is_at_rest(&self) -> bool {
        let is_through = self.commands == 0 && self.outcome == Outcome::Done && self.stays;
        self.is_done() || self.handler.is_some() && is_through
    }

    /// Whether the client has begun to take its leave.
    pub fn is_leaving(&self) -> bool {
        self.last_words.len() < 2
    }

    /// Asks for the position, then quits, if it is still here.
    pub fn say_last_words(&mut self) {
        if let (Some(handler), Outcome::Done) = (&mut self.handler, self.outcome)
            && let Some(words) = self.last_words.pop()
        {
            self.outcome = handler.line(words.as_bytes());
        }
    }

    pub fn step(&mut self, node: &Node, random: &mut Random) {
        if self.restarts < node.restarts() && self.outcome == Outcome::Done {
            // The node cannot give it what it has missed.
            self.outcome = Outcome::Ended(Disconnect::OutOfStep);
        }
        let context = &mut Context::from_waker(Waker::noop());
        if self.ending.as_mut().is_some_and(|ending| ending.poll_unpin(context).is_ready()) {
            self.ending = None;
        }
        let Some(handler) = &mut self.handler else { return };
        match self.outcome {
            Outcome::Pending => {
                if let Poll::Ready(outcome) = handler.poll(context) {
                    self.outcome = outcome;
                }
            }
            Outcome::Ended(reason) => self.end(reason),
            Outcome::Done => match self.writer.disconnect_reason(self.address.slot) {
                Some(reason) => self.outcome = Outcome::Ended(reason),
                None if self.commands > 0 => {
                    self.commands -= 1;
                    let line = self.line(random);
                    let handler = self.handler.as_mut().expect("it is here");
                    self.outcome = handler.line(line.as_bytes());
                }
                None if self.stays => {}
                None => {
                    let reasons = [Disconnect::Quit, Disconnect::ClosedByPeer];
                    self.outcome = Outcome::Ended(reasons[random.below(reasons.len())]);
                }
            },
        }
    }

    fn end(&mut self, reason: Disconnect) {
        let Some(handler) = self.handler.take() else { return };
        let (session, writer, slot) = (handler.into_session(), self.writer.clone(), self.address.slot);
        let ending = async move {
            session.end(reason, None).await;
            writer.input_ended(slot).await;
        };
        self.ending = Some(ending.boxed_local());
    }

    fn line(&mut self, random: &mut Random) -> String {
        let handler = self.handler.as_mut().expect("it is here");
        let room = handler.session().rooms().next().cloned();
        if std::mem::take(&mut self.resumes)
            && let Some(Bookmark { room, position }) = &self.resume
        {
            return format!("JOIN {} since={position}", room.as_str());
        }
        let Some(room) = room else {
            return format!("JOIN {}", self.rooms[random.below(self.rooms.len())].as_str());
        };
        match random.below(20) {
            0..10 => self.message(room),
            10..12 => {
                let token = format!("p{}", self.sent.len());
                self.sent.push(Sent::Ping { room, token: token.clone() });
                format!("PING {token}")
            }
            12..16 => "POSITION".to_owned(),
            16 => "WHO".to_owned(),
            17 => {
                self.label = format!("N{}-{}", self.number, random.below(3));
                format!("NICK {}", self.label)
            }
            18 => "LEAVE".to_owned(),
            _ => {
                let others: Vec<_> = self.rooms.iter().filter(|other| **other != room).collect();
                format!("JOIN {}", others[random.below(others.len())].as_str())
            }
        }
    }

    /// The next message to the room. It names the room, the client and its place among the client's messages there.
    fn message(&mut self, room: RoomName) -> String {
        let published = self.published.entry(room.clone()).or_default();
        *published += 1;
        let text = format!("{} {}.{published}", room.as_str(), self.number);
        self.sent.push(Sent::Message { room, text: text.clone(), label: self.label.clone() });
        text
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, node, outcome, commands, .. } = self;
        let is_leaving = self.is_leaving();
        write!(out, "client {number} of node {node}: {outcome:?}, {commands} commands, leaving: {is_leaving}")
    }
}

type Published = Result<Option<Position>, PublishError>;

/// An application that publishes on all nodes, some things twice under one key.
#[derive(Default)]
pub struct Backend {
    number: usize,
    waiting: Vec<(RoomName, String, LocalBoxFuture<'static, Published>)>,
    removals: Vec<LocalBoxFuture<'static, Result<(), CommandError>>>,
    /// What came of each publish.
    pub published: Vec<(RoomName, String, Published)>,
}

impl Backend {
    pub fn publish(&mut self, node: &Node, room: RoomName, has_key: bool, random: &mut Random) {
        self.number += 1;
        let number = if has_key { random.below(6) } else { 100 + self.number };
        let text = format!("{} api.{number}", room.as_str());
        let key = has_key.then(|| IdempotencyKey::parse(&number.to_string()).expect("a valid key"));
        let publish = ServerPublish {
            room: room.clone(),
            publisher: publisher(label("api")),
            data: Data::Text(text.as_str().into()),
            read_at: Instant::now(),
            is_retained: true,
            key,
            permit: None,
        };
        let broker = node.broker.clone();
        self.waiting.push((room, text, async move { broker.publish(publish).await }.boxed_local()));
    }

    pub fn remove_history(&mut self, node: &Node, room: RoomName) {
        self.removals.push(node.broker.remove_history(room).boxed_local());
    }

    pub fn poll(&mut self) {
        let context = &mut Context::from_waker(Waker::noop());
        self.removals.retain_mut(|removal| removal.poll_unpin(context).is_pending());
        let (published, mut waiting) = (&mut self.published, Vec::new());
        for (room, text, mut publish) in self.waiting.drain(..) {
            match publish.poll_unpin(context) {
                Poll::Ready(result) => published.push((room, text, result)),
                Poll::Pending => waiting.push((room, text, publish)),
            }
        }
        self.waiting = waiting;
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.removals.is_empty()
    }
}
