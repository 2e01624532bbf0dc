//! WebSocket clients behind their handshake: frames in, calls of a session out. Keeps no buffer per connection, and
//! does not know what a message means: that is its `MessageHandler`.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;

use super::connection::{Client, Connection, Executed, ProtocolHandler, ReadBuffer};
use super::keepalive::{Keepalive, Liveness};
use crate::protocol::command;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::Label;
use crate::protocol::websocket::{Message, MessageDecoder, encode};
use crate::session::{Outcome, Session, SessionContext};

/// Executes whole messages.
pub trait MessageHandler {
    /// Executes a text message.
    fn text(&self, session: &mut Session, text: &str) -> Outcome;

    /// Executes a binary message.
    fn binary(&self, session: &mut Session, bytes: &[u8]) -> Outcome;
}

/// Executes a text as a command or as text to publish, and refuses binary messages.
#[derive(Default)]
pub struct TextCommands {
    /// A text came; only the first may begin with a byte order mark.
    has_begun: Cell<bool>,
}

impl MessageHandler for TextCommands {
    fn text(&self, session: &mut Session, text: &str) -> Outcome {
        let is_first = !self.has_begun.replace(true);
        let text = if is_first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
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

/// Returns the connection of a WebSocket client, to be run from its first frame to its end.
pub fn open<M: MessageHandler>(
    client: Client,
    label: Label,
    message_handler: M,
    buffer: &Rc<ReadBuffer>,
    context: &Rc<SessionContext>,
    keepalive: &Keepalive,
) -> impl Future<Output = ()> + use<M> {
    let handler = |slot| WebSocketHandler {
        message_handler,
        decoder: MessageDecoder::default(),
        message_bytes_max: context.message_bytes_max,
        liveness: keepalive.watch(slot),
        closed_with: None,
    };
    Connection::open(client, label, Rc::clone(buffer), Rc::clone(context), handler).run()
}

/// Decodes frames, joins them to messages and has these executed.
struct WebSocketHandler<M> {
    message_handler: M,
    decoder: MessageDecoder,
    message_bytes_max: usize,
    liveness: Rc<Liveness>,
    /// The client has sent a close frame, with this code if it has one.
    closed_with: Option<Option<u16>>,
}

impl<M: MessageHandler> ProtocolHandler for WebSocketHandler<M> {
    const DIALECT: Dialect = Dialect::WebSocket;

    fn execute(&mut self, session: &mut Session, input: &mut [u8]) -> Option<Executed> {
        let received = match self.decoder.next(input, self.message_bytes_max) {
            Ok(received) => received?,
            Err(error) => {
                let outcome = Outcome::Ended(error.disconnect());
                return Some(Executed { bytes: 0, is_message_end: false, is_line: false, outcome });
            }
        };
        let is_message_end = matches!(received.message, Some(Message::Text(_) | Message::Binary(_)));
        let outcome = match received.message {
            None | Some(Message::Pong) => Outcome::Done,
            Some(Message::Text(text)) => self.message_handler.text(session, text),
            Some(Message::Binary(bytes)) => self.message_handler.binary(session, bytes),
            Some(Message::Ping(payload)) => session.pong(encode::pong(payload).into()),
            Some(Message::Close(code)) => {
                self.closed_with = Some(code);
                Outcome::Ended(Disconnect::ClosedByPeer)
            }
        };
        Some(Executed { bytes: received.consumed, is_message_end, is_line: false, outcome })
    }

    fn turn_ended(&self, is_idle: bool) {
        self.liveness.hear(is_idle);
    }

    fn held_bytes(&self) -> usize {
        self.decoder.held_bytes()
    }

    /// The echo of the client's close frame, behind everything, since no frame may follow it (RFC 6455 §5.5.1).
    fn final_bytes(&self) -> Option<Bytes> {
        self.closed_with.map(|code| encode::close(code, "").into())
    }
}
