//! Line clients: lines in, commands of a session out.

use std::rc::Rc;

use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;

use super::connection::{Client, Connection, Executed, ProtocolHandler, ReadBuffer, Turn};
use crate::config::Labels;
use crate::net::accept::Accepted;
use crate::protocol::command::{self, CommandError};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::lines::{DecodedLine, LineDecoder, is_http, is_tls};
use crate::protocol::names::Label;
use crate::protocol::telnet::Telnet;
use crate::session::{Outcome, Session, SessionContext};

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
    sessions: &Rc<SessionContext>,
) -> Option<impl Future<Output = ()> + use<>> {
    let Accepted { stream, peer, permit } = accepted;
    let Ok(permit) = permit else {
        refuse(&stream, Disconnect::TooManyConnections, buffer, sessions);
        return None;
    };
    let label = match rules.labels {
        Labels::Address => Label::generated(peer),
        Labels::Auto if peer.ip().is_loopback() => Label::generated(peer),
        Labels::Auto | Labels::Id => Label::generated(format_args!("TCP-{id}")),
    };
    let client =
        Client { stream, permit, dialect: Dialect::Lines, label, address: peer.ip(), already_read: Vec::new() };
    let handler = |slot| {
        buffer.input_guard().line_client_came(slot);
        LineHandler {
            telnet: Telnet::default(),
            decoder: LineDecoder::new(rules.line_bytes_max),
            beginning: Beginning::First,
        }
    };
    Some(Connection::open(client, buffer.clone(), Rc::clone(sessions), handler).run())
}

/// A client that is not let in. Says so if the socket takes it, which a new one does, and does not linger: the descriptor is
/// needed.
pub fn refuse(stream: &TcpStream, reason: Disconnect, buffer: &ReadBuffer, sessions: &SessionContext) {
    sessions.writer.count_refused(Dialect::Lines, reason);
    let last = Dialect::Lines.encode(&Event::Closed(reason));
    let _ = stream.try_write(&last);
    let _ = shutdown(stream, Shutdown::Write);
    // What has come already: closed with unread input, the socket would answer with a reset in place of the end.
    let _ = buffer.discard(stream);
}

/// What editors put in front of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Cuts lines and executes them.
struct LineHandler {
    telnet: Telnet,
    decoder: LineDecoder,
    beginning: Beginning,
}

/// How far a conversation has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// Nothing has come; a byte order mark or another protocol may.
    First,
    /// Behind the byte order mark; another protocol may still come.
    Marked,
    /// It is a conversation.
    Past,
}

impl ProtocolHandler for LineHandler {
    fn strip(&mut self, kept: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        let left = self.telnet.strip(kept, fresh);
        self.decoder.shorten(kept.len());
        left
    }

    fn execute(&mut self, session: &mut Session, input: &mut [u8], commands_max: usize) -> (Turn, Executed) {
        let mut executed = Executed::default();
        let turn = self.execute_lines(session, input, commands_max, &mut executed);
        (turn, executed)
    }
}

impl LineHandler {
    fn execute_lines(
        &mut self,
        session: &mut Session,
        input: &[u8],
        commands_max: usize,
        executed: &mut Executed,
    ) -> Turn {
        if let Some(answers) = self.telnet.take_answers()
            && let Some(turn) = Turn::after(session.send(answers.into()))
        {
            return turn;
        }
        executed.bytes = self.byte_order_mark(input);
        if self.beginning != Beginning::Past && is_tls(&input[executed.bytes..]) {
            return Turn::Last(Outcome::Done, Disconnect::ProtocolError);
        }
        while executed.commands < commands_max {
            let (outcome, consumed) = match self.decoder.next(&input[executed.bytes..]) {
                Ok(DecodedLine::More) => return Turn::Idle,
                Ok(DecodedLine::LoneReturn(at)) => {
                    let told = session.reply_error(&CommandError::LoneReturn { at });
                    return Turn::after(told).unwrap_or(Turn::Idle);
                }
                Ok(DecodedLine::Refused(consumed)) => {
                    executed.has_spoken = true;
                    (Outcome::Done, consumed)
                }
                Ok(DecodedLine::Line(line)) if self.beginning != Beginning::Past && is_http(line.bytes) => {
                    return Turn::Last(Outcome::Done, Disconnect::ProtocolError);
                }
                Ok(DecodedLine::Line(line)) => {
                    executed.has_spoken |= !line.bytes.is_empty();
                    (handle(session, line.bytes), line.consumed)
                }
                Err(too_long) => {
                    let told = session.reply_error(&CommandError::from(too_long));
                    return Turn::Last(told, Disconnect::TooLong);
                }
            };
            self.beginning = Beginning::Past;
            executed.bytes += consumed;
            executed.commands += 1;
            executed.has_finished = true;
            if let Some(turn) = Turn::after(outcome) {
                return turn;
            }
        }
        Turn::Yield
    }

    /// The length of the byte order mark that a conversation may begin with.
    fn byte_order_mark(&mut self, input: &[u8]) -> usize {
        if self.beginning != Beginning::First || !input.starts_with(BYTE_ORDER_MARK) {
            return 0;
        }
        self.beginning = Beginning::Marked;
        self.decoder.shorten(0);
        BYTE_ORDER_MARK.len()
    }
}

fn handle(session: &mut Session, line: &[u8]) -> Outcome {
    match command::parse(line) {
        Ok(Some(command)) => session.handle(command),
        Ok(None) => Outcome::Done,
        Err(error) => {
            // The same answer as to a line that was looked at before its end came.
            let lone_return = line.iter().position(|byte| *byte == b'\r');
            session.reply_error(&lone_return.map_or(error, |at| CommandError::LoneReturn { at }))
        }
    }
}
