//! Line clients: lines in, commands of a session out.

use std::rc::Rc;

use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;

use super::connection::{Client, Connection, Executed, ProtocolHandler, ReadBuffer};
use crate::protocol::command::{self, CommandError};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::lines::{DecodedLine, Line, LineDecoder, is_http, is_tls};
use crate::protocol::names::Label;
use crate::protocol::telnet::Telnet;
use crate::session::{Outcome, Session, SessionContext};

/// Returns the connection of a line client, to be run from its first byte to its end.
pub fn open(
    client: Client,
    label: Label,
    buffer: &Rc<ReadBuffer>,
    context: &Rc<SessionContext>,
) -> impl Future<Output = ()> + use<> {
    let decoder = LineDecoder::new(context.message_bytes_max);
    let handler = |slot| {
        buffer.input_guard.add_line_client(slot);
        LineHandler { telnet: Telnet::default(), decoder, phase: Phase::Start }
    };
    Connection::open(client, label, Rc::clone(buffer), Rc::clone(context), handler).run()
}

/// Refuses a client. Sends the reason if the socket takes it, which a new one does, and does not linger: the descriptor
/// is needed.
pub fn refuse(stream: &TcpStream, reason: Disconnect, buffer: &ReadBuffer, context: &SessionContext) {
    context.writer.metrics.count_refused(Dialect::Lines, reason);
    let _ = stream.try_write(&Dialect::Lines.encode(&Event::Closed(reason)));
    let _ = shutdown(stream, Shutdown::Write);
    // Closed with unread input, the socket would send a reset in place of the end of the stream.
    let _ = buffer.discard(stream);
}

/// Some editors put this in front of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Decodes lines and executes them.
struct LineHandler {
    telnet: Telnet,
    decoder: LineDecoder,
    phase: Phase,
}

/// How far the connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was executed: a byte order mark or another protocol may come.
    Start,
    /// The byte order mark was executed: another protocol may still come.
    AfterMark,
    /// A line was executed.
    Lines,
    /// A line was too long: the connection ends behind the error.
    TooLong,
}

impl ProtocolHandler for LineHandler {
    const DIALECT: Dialect = Dialect::Lines;

    fn strip(&mut self, kept: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        let left = self.telnet.strip(kept, fresh);
        self.decoder.shorten(kept.len());
        left
    }

    fn execute(&mut self, session: &mut Session, input: &mut [u8]) -> Option<Executed> {
        if let Some(answers) = self.telnet.take_answers() {
            return Some(no_line(0, session.send(answers.into())));
        }
        match self.phase {
            Phase::Start if input.starts_with(BYTE_ORDER_MARK) => {
                self.phase = Phase::AfterMark;
                self.decoder.shorten(0);
                return Some(no_line(BYTE_ORDER_MARK.len(), Outcome::Done));
            }
            Phase::Start | Phase::AfterMark if is_tls(input) => {
                return Some(no_line(0, Outcome::Ended(Disconnect::ProtocolError)));
            }
            Phase::TooLong => return Some(no_line(0, Outcome::Ended(Disconnect::TooLong))),
            _ => {}
        }
        match self.decoder.next(input) {
            Ok(DecodedLine::More) => None,
            Ok(DecodedLine::LoneReturn(at)) => Some(no_line(0, session.reply_error(&CommandError::LoneReturn { at }))),
            Ok(DecodedLine::Refused(bytes)) => {
                self.phase = Phase::Lines;
                Some(Executed { bytes, is_message_end: true, is_line: true, outcome: Outcome::Done })
            }
            Ok(DecodedLine::Line(line)) => Some(self.execute_line(session, line)),
            Err(too_long) => {
                self.phase = Phase::TooLong;
                Some(no_line(0, session.reply_error(&CommandError::from(too_long))))
            }
        }
    }
}

impl LineHandler {
    fn execute_line(&mut self, session: &mut Session, line: Line<'_>) -> Executed {
        let is_first = self.phase != Phase::Lines;
        self.phase = Phase::Lines;
        let outcome = match is_first && is_http(line.bytes) {
            true => Outcome::Ended(Disconnect::ProtocolError),
            false => handle(session, line.bytes),
        };
        Executed { bytes: line.consumed, is_message_end: true, is_line: !line.bytes.is_empty(), outcome }
    }
}

fn handle(session: &mut Session, line: &[u8]) -> Outcome {
    match command::parse(line) {
        Ok(Some(command)) => session.handle(command),
        Ok(None) => Outcome::Done,
        Err(error) => {
            // The same error as for a line that has not ended.
            let lone_return = line.iter().position(|byte| *byte == b'\r');
            session.reply_error(&lone_return.map_or(error, |at| CommandError::LoneReturn { at }))
        }
    }
}

/// Executed bytes that end no line.
fn no_line(bytes: usize, outcome: Outcome) -> Executed {
    Executed { bytes, is_message_end: false, is_line: false, outcome }
}
