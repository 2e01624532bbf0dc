//! WebSocket clients behind their handshake: frames in, calls of a session out. Keeps no buffer per connection, and does not
//! know what is said in a message: that is its `MessageHandler`.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::{Client, Connection, Executed, ProtocolHandler, ReadBuffer, Turn};
use crate::config::KeepaliveRules;
use crate::protocol::command;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::websocket::{Message, MessageDecoder, encode};
use crate::session::{Outcome, Session, SessionContext};
use crate::writer::handle::WriterHandle;
use crate::writer::{EntryNumber, Slot};

/// The sweep comes this many times within the shorter of the two keepalive times.
const SWEEPS_PER_TIME: u32 = 4;

/// The sweep comes at least this often, so that a long time is kept to the second.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What whole messages mean.
pub trait MessageHandler {
    /// A text.
    fn text(&self, session: &mut Session, text: &str) -> Outcome;

    /// A binary message.
    fn binary(&self, session: &mut Session, bytes: &[u8]) -> Outcome;
}

/// A text is a command of the text dialect, or chat; binary is not understood.
#[derive(Default)]
pub struct TextCommands {
    /// Something was said; only in front of that may stand a byte order mark.
    has_begun: Cell<bool>,
}

impl MessageHandler for TextCommands {
    fn text(&self, session: &mut Session, text: &str) -> Outcome {
        let begins = !self.has_begun.replace(true);
        let text = if begins { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        match command::parse_message(text) {
            Ok(Some(command)) => session.handle(command),
            Ok(None) => Outcome::Done,
            Err(error) => session.reply_error(&error),
        }
    }

    fn binary(&self, _: &mut Session, _: &[u8]) -> Outcome {
        Outcome::Ended(Disconnect::Unsupported)
    }
}

/// Lets a client in: the conversation to be run, from its first frame to its end.
pub fn open<M: MessageHandler>(
    client: Client,
    message_bytes_max: usize,
    message_handler: M,
    buffer: &ReadBuffer,
    sessions: &Rc<SessionContext>,
    keepalive: &Keepalive,
) -> impl Future<Output = ()> + use<M> {
    let handler = |slot| WebSocketHandler {
        message_handler,
        decoder: MessageDecoder::default(),
        message_bytes_max,
        liveness: keepalive.watch(slot),
        closed_with: None,
    };
    Connection::open(client, buffer.clone(), Rc::clone(sessions), handler).run()
}

/// Cuts frames, puts messages together and has them executed.
struct WebSocketHandler<M> {
    message_handler: M,
    decoder: MessageDecoder,
    message_bytes_max: usize,
    liveness: Rc<Liveness>,
    /// The client has closed, with this code if it gave one.
    closed_with: Option<Option<u16>>,
}

impl<M: MessageHandler> ProtocolHandler for WebSocketHandler<M> {
    fn execute(&mut self, session: &mut Session, input: &mut [u8], commands_max: usize) -> (Turn, Executed) {
        self.liveness.hear(Instant::now());
        let (turn, executed) = self.execute_frames(session, input, commands_max);
        self.liveness.is_reading.set(matches!(turn, Turn::Idle));
        (turn, executed)
    }

    fn held_bytes(&self) -> usize {
        self.decoder.held_bytes()
    }

    /// The echo of the client's close frame: behind everything, since no frame may follow it (RFC 6455 §5.5.1).
    fn final_bytes(&self) -> Option<Bytes> {
        self.closed_with.map(|code| encode::close(code, "").into())
    }
}

impl<M: MessageHandler> WebSocketHandler<M> {
    fn execute_frames(&mut self, session: &mut Session, input: &mut [u8], commands_max: usize) -> (Turn, Executed) {
        let mut executed = Executed::default();
        while executed.commands < commands_max {
            let received = match self.decoder.next(&mut input[executed.bytes..], self.message_bytes_max) {
                Ok(None) => return (Turn::Idle, executed),
                Ok(Some(received)) => received,
                Err(error) => return (Turn::Last(Outcome::Done, error.disconnect()), executed),
            };
            executed.bytes += received.consumed;
            executed.commands += 1;
            executed.has_finished |= matches!(received.message, Some(Message::Text(_) | Message::Binary(_)));
            let outcome = match received.message {
                None | Some(Message::Pong) => Outcome::Done,
                Some(Message::Text(text)) => self.message_handler.text(session, text),
                Some(Message::Binary(bytes)) => self.message_handler.binary(session, bytes),
                Some(Message::Ping(payload)) => session.pong(encode::pong(payload).into()),
                Some(Message::Close(code)) => {
                    self.closed_with = Some(code);
                    return (Turn::Last(Outcome::Done, Disconnect::ClosedByPeer), executed);
                }
            };
            if let Some(turn) = Turn::after(outcome) {
                return (turn, executed);
            }
        }
        (Turn::Yield, executed)
    }
}

/// Whether a client is there: when it was last heard of, and what it was asked since. A client is mute only if its socket
/// has taken a ping, all that it has sent since was read, and it has had the time to answer.
struct Liveness {
    slot: Slot,
    heard_at: Cell<Instant>,
    /// The connection has executed everything that it has read, and waits for more.
    is_reading: Cell<bool>,
    pinged_at: Cell<Instant>,
    /// The latest ping, until the client's socket has taken it.
    unsent: Cell<Option<EntryNumber>>,
    /// When the client had the first ping since it was last heard of.
    asked_at: Cell<Option<Instant>>,
}

/// The keepalive of a worker's WebSocket clients: one coarse sweep, no timer per client.
#[derive(Default)]
pub struct Keepalive {
    clients: RefCell<Vec<Weak<Liveness>>>,
}

impl Keepalive {
    fn watch(&self, slot: Slot) -> Rc<Liveness> {
        let now = Instant::now();
        let liveness = Rc::new(Liveness {
            slot,
            heard_at: Cell::new(now),
            is_reading: Cell::new(true),
            pinged_at: Cell::new(now),
            unsent: Cell::new(None),
            asked_at: Cell::new(None),
        });
        self.clients.borrow_mut().push(Rc::downgrade(&liveness));
        liveness
    }

    /// Pings and cuts until the server stops, which ends all clients anyway.
    pub fn run_until_stop(
        self: Rc<Self>,
        rules: KeepaliveRules,
        sessions: &SessionContext,
    ) -> impl Future<Output = ()> + use<> {
        let (drain, writer) = (sessions.drain.clone(), sessions.writer.clone());
        async move {
            tokio::select! {
                () = drain.stopping() => {}
                () = self.run(rules, writer) => {}
            }
        }
    }

    async fn run(&self, rules: KeepaliveRules, writer: WriterHandle) {
        let shorter = rules.ping_interval.min(rules.pong_timeout);
        let mut sweeps = interval((shorter / SWEEPS_PER_TIME).min(SWEEP_INTERVAL_MAX));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ping = Bytes::from(encode::ping());
        loop {
            let due_at = sweeps.tick().await.into_std();
            let now = Instant::now();
            let late = now.saturating_duration_since(due_at);
            let mut due = Vec::new();
            self.clients.borrow_mut().retain(|client| {
                let Some(client) = client.upgrade() else { return false };
                client.give_time(late);
                match client.verdict(now, rules, &writer) {
                    Verdict::Alive => {}
                    Verdict::PingDue => due.push(client),
                    Verdict::Dead => writer.disconnect(client.slot, Disconnect::PingTimeout),
                }
                true
            });
            if !due.is_empty() {
                let slots: Vec<Slot> = due.iter().map(|client| client.slot).collect();
                let number = writer.ping(&slots, ping.clone());
                due.iter().for_each(|client| client.pinged(now, number));
            }
        }
    }
}

/// What the sweep finds.
enum Verdict {
    Alive,
    PingDue,
    Dead,
}

impl Liveness {
    fn hear(&self, now: Instant) {
        self.heard_at.set(now);
        self.asked_at.set(None);
    }

    fn pinged(&self, now: Instant, number: EntryNumber) {
        self.pinged_at.set(now);
        self.unsent.set(Some(number));
    }

    /// The server itself did not run for this long: it has neither pinged nor read what was answered.
    fn give_time(&self, time: Duration) {
        self.heard_at.set(self.heard_at.get() + time);
        self.asked_at.set(self.asked_at.get().map(|asked_at| asked_at + time));
    }

    fn verdict(&self, now: Instant, rules: KeepaliveRules, writer: &WriterHandle) -> Verdict {
        if let Some(number) = self.unsent.get() {
            // A client that takes nothing is a slow consumer's case.
            if !writer.has_sent(self.slot, number) {
                return Verdict::Alive;
            }
            self.unsent.set(None);
            self.asked_at.set(self.asked_at.get().or(Some(now)));
        }
        if self.is_silent(now, rules) && self.is_reading.get() && !writer.has_unread_input(self.slot) {
            Verdict::Dead
        } else if now.saturating_duration_since(self.pinged_at.get()) >= rules.ping_interval {
            Verdict::PingDue
        } else {
            Verdict::Alive
        }
    }

    /// Nothing was read for too long, though the client has had a ping for as long as it may take to answer.
    fn is_silent(&self, now: Instant, rules: KeepaliveRules) -> bool {
        let answer_within = rules.pong_timeout.saturating_sub(rules.ping_interval);
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        is_over(self.heard_at.get(), rules.pong_timeout)
            && self.asked_at.get().is_some_and(|asked_at| is_over(asked_at, answer_within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: KeepaliveRules =
        KeepaliveRules { ping_interval: Duration::from_secs(30), pong_timeout: Duration::from_secs(60) };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_a_client_that_had_a_ping_and_the_time_to_answer_it_is_silent() {
        let now = Instant::now();
        let keepalive = Keepalive::default();
        let liveness = keepalive.watch(Slot { index: 0, generation: 0 });
        assert!(!liveness.is_silent(now + 3_600 * SECOND, RULES), "it was never asked");
        liveness.asked_at.set(Some(now + 3_600 * SECOND));
        assert!(!liveness.is_silent(now + 3_629 * SECOND, RULES));
        assert!(liveness.is_silent(now + 3_631 * SECOND, RULES));
        liveness.hear(now + 3_631 * SECOND);
        assert!(!liveness.is_silent(now + 7_200 * SECOND, RULES), "it was not asked since it was heard");
    }

    #[test]
    fn a_client_that_answers_late_is_heard_and_time_in_which_the_server_stood_still_is_given_back() {
        let now = Instant::now();
        let liveness = Keepalive::default().watch(Slot { index: 0, generation: 0 });
        liveness.hear(now);
        liveness.asked_at.set(Some(now + 30 * SECOND));
        assert!(!liveness.is_silent(now + 59 * SECOND, RULES));
        liveness.give_time(10 * SECOND);
        assert!(!liveness.is_silent(now + 69 * SECOND, RULES));
        assert!(liveness.is_silent(now + 70 * SECOND, RULES));
    }
}
