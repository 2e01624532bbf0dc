//! Line clients: bytes in, lines for the text protocol out.

use std::rc::Rc;

use super::connection::{Client, Connection, Executed, InputDecoder, ReadBuffer};
use crate::net::stream::Stream;
use crate::protocol::client_lines::ClientLines;
use crate::protocol::command::CommandError;
use crate::protocol::dialect::{Dialect, Transport};
use crate::protocol::disconnect::{Disconnect, RetrySeconds};
use crate::protocol::event::Event;
use crate::protocol::lines::{DecodedLine, Line, is_http, is_tls};
use crate::protocol::publication::Publisher;
use crate::session::text::TextHandler;
use crate::session::{Outcome, SessionContext};

/// Returns the connection of a line client, to be run from its first byte to its end.
pub fn open(
    client: Client,
    publisher: Publisher,
    buffer: &Rc<ReadBuffer>,
    context: &Rc<SessionContext>,
) -> impl Future<Output = ()> + use<> {
    let lines = ClientLines::new(context.message_bytes_max);
    let decoder = |slot| {
        buffer.input_guard.add_line_client(slot);
        TextLines { lines, phase: Phase::Start }
    };
    let (buffer, context) = (Rc::clone(buffer), Rc::clone(context));
    Connection::open(client, publisher, Dialect::TextLines, buffer, context, decoder, TextHandler::new).run()
}

/// Refuses a client. Sends the reason if the socket takes it, which a new one does, and does not linger: the descriptor
/// is needed. A client that waits for a handshake could not read the reason.
pub fn refuse(
    stream: &Stream,
    reason: Disconnect,
    awaits_handshake: bool,
    buffer: &ReadBuffer,
    context: &SessionContext,
) {
    context.writer.metrics.count_refused(Transport::Tcp, reason);
    if !awaits_handshake {
        let retry = RetrySeconds(context.drain.retry_seconds());
        let _ = stream.try_write(&Dialect::TextLines.encode(&Event::Closed(reason, retry)));
    }
    let _ = stream.try_finish();
    // Closed with unread input, the socket would send a reset in place of the end of the stream.
    let _ = buffer.discard(stream);
}

/// Some editors put this in front of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Decodes lines and has them executed.
struct TextLines {
    lines: ClientLines,
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

impl InputDecoder<TextHandler> for TextLines {
    fn strip(&mut self, kept: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        self.lines.strip(kept, fresh)
    }

    fn execute(&mut self, handler: &mut TextHandler, input: &mut [u8]) -> Option<Executed> {
        if let Some(answers) = self.lines.take_answers() {
            return Some(no_line(0, handler.send(answers.into())));
        }
        match self.phase {
            Phase::Start if input.starts_with(BYTE_ORDER_MARK) => {
                self.phase = Phase::AfterMark;
                self.lines.begin_anew();
                return Some(no_line(BYTE_ORDER_MARK.len(), Outcome::Done));
            }
            Phase::Start | Phase::AfterMark if is_tls(input) => {
                return Some(no_line(0, Outcome::Ended(Disconnect::ProtocolError)));
            }
            Phase::TooLong => return Some(no_line(0, Outcome::Ended(Disconnect::TooLong))),
            _ => {}
        }
        match self.lines.next(input) {
            Ok(DecodedLine::More) => None,
            Ok(DecodedLine::LoneReturn(at)) => Some(no_line(0, handler.refuse(&CommandError::LoneReturn { at }))),
            Ok(DecodedLine::Refused(bytes)) => {
                self.phase = Phase::Lines;
                Some(Executed { commands: 1, bytes, is_message_end: true, is_line: true, outcome: Outcome::Done })
            }
            Ok(DecodedLine::Line(line)) => Some(self.execute_line(handler, line)),
            Err(too_long) => {
                self.phase = Phase::TooLong;
                Some(no_line(0, handler.refuse(&CommandError::from(too_long))))
            }
        }
    }
}

impl TextLines {
    fn execute_line(&mut self, handler: &mut TextHandler, line: Line<'_>) -> Executed {
        let is_first = self.phase != Phase::Lines;
        self.phase = Phase::Lines;
        let outcome = match is_first && is_http(line.bytes) {
            true => Outcome::Ended(Disconnect::ProtocolError),
            false => handler.line(line.bytes),
        };
        Executed { commands: 1, bytes: line.consumed, is_message_end: true, is_line: !line.bytes.is_empty(), outcome }
    }
}

/// Executed bytes that end no line.
fn no_line(bytes: usize, outcome: Outcome) -> Executed {
    Executed { commands: 1, bytes, is_message_end: false, is_line: false, outcome }
}
