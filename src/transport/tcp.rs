//! Line clients: lines in, commands of a session out.

use std::rc::Rc;

use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;

use super::accept::Accepted;
use super::conversation::{Client, Conversation, ReadBuffer, Reader, TURN_COMMANDS, Turn};
use crate::config::Labels;
use crate::protocol::command::{self, Refusal};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::lines::{is_foreign, next_line};
use crate::protocol::names::Label;
use crate::session::{Handled, Session, SessionHost};

/// What applies to the line clients of a worker.
#[derive(Clone, Copy, Debug)]
pub struct LineRules {
    /// The longest line.
    pub line_bytes_max: usize,
    /// What stands in front of messages.
    pub labels: Labels,
}

/// Lets a client in: the conversation to be run, from its first byte to its end. `id` is the client's number in this
/// server. `None` if there was no place; the client has been told.
pub fn open(
    accepted: Accepted,
    id: u64,
    rules: LineRules,
    buffer: &ReadBuffer,
    sessions: &Rc<SessionHost>,
) -> Option<impl Future<Output = ()> + use<>> {
    let Accepted { stream, peer, place } = accepted;
    let Ok(place) = place else {
        refuse(&stream, Disconnect::TooManyConnections, buffer, sessions);
        return None;
    };
    let label = match rules.labels {
        Labels::Address => Label::of_server(peer),
        Labels::Auto if peer.ip().is_loopback() => Label::of_server(peer),
        Labels::Auto | Labels::Id => Label::of_server(format_args!("TCP-{id}")),
    };
    let client = Client { stream, place, dialect: Dialect::Lines, label, already_read: Vec::new() };
    let reader = |_| LineReader { line_bytes_max: rules.line_bytes_max, is_new: true };
    Some(Conversation::open(client, buffer.clone(), Rc::clone(sessions), reader).run())
}

/// A client that is not let in. Says so if the socket takes it, which a new one does, and does not linger: the descriptor is
/// needed.
pub fn refuse(stream: &TcpStream, reason: Disconnect, buffer: &ReadBuffer, sessions: &SessionHost) {
    sessions.writer.count_refused(Dialect::Lines, reason);
    let last = Dialect::Lines.encode(&Event::Closed(reason));
    let _ = stream.try_write(&last);
    let _ = shutdown(stream, Shutdown::Write);
    // What has come already: closed with unread input, the socket would answer with a reset in place of the end.
    let _ = buffer.discard(stream);
}

/// Cuts lines and executes them.
struct LineReader {
    line_bytes_max: usize,
    /// Nothing was executed yet, so what comes may turn out to be another protocol.
    is_new: bool,
}

impl Reader for LineReader {
    fn execute(&mut self, session: &mut Session, input: &mut [u8]) -> (Turn, usize) {
        if self.is_new && is_foreign(input) {
            return (Turn::Last(Handled::Done, Disconnect::ProtocolError), 0);
        }
        let mut executed = 0;
        for _ in 0..TURN_COMMANDS {
            let line = match next_line(&input[executed..], self.line_bytes_max) {
                Ok(None) => return (Turn::Idle, executed),
                Ok(Some(line)) => line,
                Err(too_long) => {
                    let told = session.refuse(&Refusal::from(too_long));
                    return (Turn::Last(told, Disconnect::TooLong), executed);
                }
            };
            self.is_new = false;
            executed += line.consumed;
            if let Some(turn) = Turn::after(handle(session, line.bytes)) {
                return (turn, executed);
            }
        }
        (Turn::Yield, executed)
    }
}

fn handle(session: &mut Session, line: &[u8]) -> Handled {
    match command::parse(line) {
        Ok(Some(command)) => session.handle(command),
        Ok(None) => Handled::Done,
        Err(refusal) => session.refuse(&refusal),
    }
}
