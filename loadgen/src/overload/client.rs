//! One client of an overload and how it handles what it receives. Never touches epoll.

use std::collections::VecDeque;
use std::time::Duration;

use super::line_counter::LineCounter;
use super::messages::{Assignment, ClientGroup, Role};
use crate::clock::Nanos;
use crate::dialect::{Dialect, Incoming};
use crate::payload::Payload;
use crate::reasons::{Reasons, add_reason};
use crate::target::Scheme;
use crate::worker::{Client, Stage};

pub struct OverloadClient {
    pub socket: Client,
    /// Index of its group in this process.
    pub group: usize,
    /// Messages that it received.
    pub deliveries: u64,
    /// Counts its lines while they are not decoded.
    pub line_counter: LineCounter,
    /// Numbers of the received messages in order, for a watcher.
    pub received: Vec<u32>,
    /// Messages that are damaged or not of this load.
    pub strange: u64,
    /// Messages that do not follow the one before.
    pub disordered: u64,
    /// Number of the next message, if the client checks the order.
    next_number: Option<u32>,
    /// When it last received a message.
    pub last: Nanos,
    /// Longest time without a message.
    pub silence: Duration,
    /// Intended times of the `PING`s without an answer, or of the connect of a newcomer.
    pub waiting: VecDeque<Nanos>,
    /// Replies that are not sent yet.
    pub answers: Vec<u8>,
    /// Pings that the server sent.
    pub pings: u64,
    /// Refused commands by reason.
    pub refused: Reasons,
    /// Why the client ended.
    pub cut: Option<String>,
    /// Whether it has joined.
    pub was_in: bool,
    /// Whether it counts as finished: it has received everything or was disconnected.
    pub is_settled: bool,
}

/// What a received item means for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// Nothing that concerns the worker.
    Nothing,
    /// It may join now.
    HandshakeDone,
    /// It has joined.
    Joined,
    /// It received the answer or the greeting that was due at this time.
    Answered(Nanos),
    /// It has ended.
    Closed,
}

impl OverloadClient {
    /// A client that is not connected.
    pub fn new(group: usize) -> Self {
        Self {
            socket: Client::new(0, 0, None),
            group,
            deliveries: 0,
            line_counter: LineCounter::default(),
            received: Vec::new(),
            strange: 0,
            disordered: 0,
            next_number: None,
            last: Nanos(0),
            silence: Duration::ZERO,
            waiting: VecDeque::new(),
            answers: Vec::new(),
            pings: 0,
            refused: Reasons::new(),
            cut: None,
            was_in: false,
            is_settled: false,
        }
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.socket.stage != Stage::Ended
    }

    /// Whether its input consists of frames: that of a WebSocket client does after the handshake.
    pub fn is_handshake_done(&self, group: &ClientGroup) -> bool {
        group.target.scheme != Scheme::WebSocket
            || !matches!(self.socket.stage, Stage::Connecting | Stage::TlsHandshake | Stage::Handshake)
    }

    /// Whether a watcher has received everything. It is not silent after that.
    pub fn is_complete(&self, assignment: &Assignment) -> bool {
        self.received.len() as u64 >= u64::from(assignment.expected)
    }

    /// Records the time since its last message as silence, unless it has received everything.
    pub fn record_silence_until(&mut self, now: Nanos, assignment: &Assignment) {
        if !self.is_complete(assignment) {
            self.silence = self.silence.max(now.since(self.last));
        }
    }

    /// Handles one received item.
    pub fn handle(&mut self, incoming: Incoming<'_>, assignment: &Assignment, now: Nanos) -> ClientEvent {
        let role = assignment.groups[self.group].role;
        match incoming {
            Incoming::Message(text) => self.receive(text, role, assignment),
            Incoming::HandshakeDone => return ClientEvent::HandshakeDone,
            Incoming::Acknowledged if self.socket.stage == Stage::Joining => return ClientEvent::Joined,
            Incoming::Pong(_) if self.socket.stage == Stage::Joining => return ClientEvent::Joined,
            Incoming::Pong(token) => return self.answered(token),
            Incoming::ReplyNeeded(answer) => {
                self.pings += 1;
                self.answers.extend_from_slice(&answer);
            }
            Incoming::Refused(reason) if self.socket.stage == Stage::Joining => {
                return self.end(reason, assignment, now);
            }
            Incoming::Refused(reason) => add_reason(&mut self.refused, reason),
            Incoming::Closed(closing) => return self.end(closing.reason, assignment, now),
            Incoming::Other if role == Role::Newcomer => {
                return self.waiting.pop_front().map_or(ClientEvent::Nothing, ClientEvent::Answered);
            }
            Incoming::Authenticated
            | Incoming::Acknowledged
            | Incoming::Publication(..)
            | Incoming::Published
            | Incoming::Several(_)
            | Incoming::Position(_)
            | Incoming::Gap
            | Incoming::Other => {}
        }
        ClientEvent::Nothing
    }

    /// Ends the client with this reason.
    pub fn end(&mut self, reason: String, assignment: &Assignment, now: Nanos) -> ClientEvent {
        if self.is_alive() {
            self.record_silence_until(now, assignment);
            self.socket.close();
            self.cut = Some(reason);
        }
        ClientEvent::Closed
    }

    fn receive(&mut self, text: &[u8], role: Role, assignment: &Assignment) {
        self.deliveries += 1;
        if !matches!(role, Role::Watcher | Role::Inside) {
            return;
        }
        let found = Payload::find(text, assignment.size).filter(|&(_, size)| size == assignment.size);
        let Some((payload, _)) =
            found.filter(|(payload, _)| role == Role::Inside || payload.number < assignment.expected)
        else {
            self.strange += 1;
            return;
        };
        if role == Role::Watcher {
            self.received.push(payload.number);
        } else {
            self.disordered += u64::from(self.next_number.is_some_and(|next| next != payload.number));
            self.next_number = Some(payload.number.wrapping_add(1));
        }
    }

    /// Matches an answer to its `PING`. The token is the intended time.
    fn answered(&mut self, token: &[u8]) -> ClientEvent {
        let Some(due) = read_token(token) else { return ClientEvent::Nothing };
        let Some(place) = self.waiting.iter().position(|&waiting| waiting == due) else { return ClientEvent::Nothing };
        self.waiting.remove(place);
        ClientEvent::Answered(due)
    }
}

/// Encodes a `PING` with its intended time as the token.
pub fn ping(due: Nanos, dialect: &dyn Dialect, out: &mut Vec<u8>) {
    dialect.publish("", format!("PING {:x}", due.0).as_bytes(), out);
}

fn read_token(token: &[u8]) -> Option<Nanos> {
    u64::from_str_radix(std::str::from_utf8(token).ok()?, 16).ok().map(Nanos)
}
