//! One client of an overload: what it makes of what it hears. Never touches the epoll.

use std::collections::VecDeque;
use std::time::Duration;

use super::part::{Group, Part, Role};
use super::skim::Skimmed;
use crate::clock::Nanos;
use crate::dialect::{Dialect, Heard};
use crate::mark::Mark;
use crate::messages::{Reasons, add_reason};
use crate::target::Scheme;
use crate::worker::{Client, Stage};

/// One client.
pub struct Actor {
    /// Its socket.
    pub client: Client,
    /// Its group in this process.
    pub group: usize,
    /// Messages that it was sent.
    pub deliveries: u64,
    /// What it has only skimmed.
    pub skimmed: Skimmed,
    /// Their numbers in order, if it is a watcher.
    pub heard: Vec<u32>,
    /// Messages that are none of this load's, or were changed.
    pub strange: u64,
    /// Messages that did not follow the one before.
    pub disordered: u64,
    /// The number of the next message, if it checks the order.
    next_number: Option<u32>,
    /// When it heard a message last.
    pub last: Nanos,
    /// Its longest time without one.
    pub silence: Duration,
    /// When each `PING` was due that has no answer yet, or when it was to connect.
    pub waiting: VecDeque<Nanos>,
    /// Answers to be sent.
    pub answers: Vec<u8>,
    /// Pings of the server.
    pub pings: u64,
    /// What it was refused.
    pub refused: Reasons,
    /// Why it ended.
    pub cut: Option<String>,
    /// Whether it was in.
    pub was_in: bool,
    /// Whether it counts among those that have heard everything or were cut.
    pub is_settled: bool,
}

/// What came of something heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Nothing that matters outside.
    Nothing,
    /// It may ask to be let in.
    Opened,
    /// It is in.
    In,
    /// An answer or a greeting that it waited for since then.
    Answered(Nanos),
    /// Its end.
    Ended,
}

impl Actor {
    /// Not connected.
    pub fn new(group: usize) -> Self {
        Self {
            client: Client::new(0, 0, None),
            group,
            deliveries: 0,
            skimmed: Skimmed::default(),
            heard: Vec::new(),
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

    /// Whether it is in, or waits as a newcomer does.
    pub fn is_alive(&self) -> bool {
        self.client.stage != Stage::Ended
    }

    /// Whether it understands frames: a WebSocket client does after the handshake.
    pub fn is_opened(&self, group: &Group) -> bool {
        group.target.scheme != Scheme::WebSocket || !matches!(self.client.stage, Stage::Connecting | Stage::Opening)
    }

    /// A client that has all it waits for is not silent.
    pub fn is_complete(&self, part: &Part) -> bool {
        self.heard.len() as u64 >= u64::from(part.expected)
    }

    /// Counts the time since its last message.
    pub fn be_silent_until(&mut self, now: Nanos, part: &Part) {
        if !self.is_complete(part) {
            self.silence = self.silence.max(now.since(self.last));
        }
    }

    /// Hears one thing.
    pub fn hear(&mut self, heard: Heard<'_>, part: &Part, now: Nanos) -> Came {
        let role = part.groups[self.group].role;
        match heard {
            Heard::Message(text) => self.take(text, role, part),
            Heard::Opened => return Came::Opened,
            Heard::Done if self.client.stage == Stage::Joining => return Came::In,
            Heard::Pong(_) if self.client.stage == Stage::Joining => return Came::In,
            Heard::Pong(token) => return self.answered(token),
            Heard::Asked(answer) => {
                self.pings += 1;
                self.answers.extend_from_slice(&answer);
            }
            Heard::Refused(reason) if self.client.stage == Stage::Joining => return self.end(reason, part, now),
            Heard::Refused(reason) => add_reason(&mut self.refused, reason),
            Heard::Ended(reason) => return self.end(reason, part, now),
            Heard::Nothing if role == Role::Newcomer => {
                return self.waiting.pop_front().map_or(Came::Nothing, Came::Answered);
            }
            Heard::Done | Heard::Nothing => {}
        }
        Came::Nothing
    }

    /// Ends, with the reason.
    pub fn end(&mut self, reason: String, part: &Part, now: Nanos) -> Came {
        if self.is_alive() {
            self.be_silent_until(now, part);
            self.client.close();
            self.cut = Some(reason);
        }
        Came::Ended
    }

    fn take(&mut self, text: &[u8], role: Role, part: &Part) {
        self.deliveries += 1;
        if !matches!(role, Role::Watcher | Role::Inside) {
            return;
        }
        let found = Mark::find(text, part.size).filter(|&(_, size)| size == part.size);
        let Some((mark, _)) = found.filter(|(mark, _)| role == Role::Inside || mark.number < part.expected) else {
            self.strange += 1;
            return;
        };
        if role == Role::Watcher {
            self.heard.push(mark.number);
        } else {
            self.disordered += u64::from(self.next_number.is_some_and(|next| next != mark.number));
            self.next_number = Some(mark.number.wrapping_add(1));
        }
    }

    /// The token is the time at which the `PING` was due.
    fn answered(&mut self, token: &[u8]) -> Came {
        let Some(due) = read_token(token) else { return Came::Nothing };
        let Some(place) = self.waiting.iter().position(|&waiting| waiting == due) else { return Came::Nothing };
        self.waiting.remove(place);
        Came::Answered(due)
    }
}

/// A `PING` that tells when it was due.
pub fn ping(due: Nanos, dialect: &dyn Dialect, out: &mut Vec<u8>) {
    dialect.publish("", format!("PING {:x}", due.0).as_bytes(), out);
}

fn read_token(token: &[u8]) -> Option<Nanos> {
    u64::from_str_radix(std::str::from_utf8(token).ok()?, 16).ok().map(Nanos)
}
