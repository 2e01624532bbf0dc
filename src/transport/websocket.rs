//! WebSocket clients behind their handshake: frames in, messages for a protocol handler out. Keeps no buffer per
//! connection, and does not know what a message means.

use std::rc::Rc;

use bytes::Bytes;

use super::connection::{Client, Connection, Executed, InputDecoder, ReadBuffer};
use super::keepalive::{Keepalive, Liveness};
use crate::protocol::compression::Compression;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::publication::Publisher;
use crate::protocol::websocket::{Message, MessageDecoder, encode};
use crate::session::{Outcome, ProtocolHandler, Session, SessionContext};

/// Bytes by which a compressed message is longer than what was read for it that count as one more command in a turn.
const INFLATED_BYTES: usize = 1024;

/// Returns the connection of a WebSocket client, to be run from its first frame to its end.
pub fn open<P: ProtocolHandler, H: FnOnce(Session) -> P>(
    client: Client,
    publisher: Publisher,
    dialect: Dialect,
    handler: H,
    buffer: &Rc<ReadBuffer>,
    context: &Rc<SessionContext>,
    keepalive: &Keepalive,
) -> impl Future<Output = ()> + use<P, H> {
    let message_bytes_max = context.message_bytes_max;
    let decoder = |slot| WebSocketMessages {
        messages: MessageDecoder::new(dialect.compression() != Compression::None),
        message_bytes_max,
        liveness: keepalive.watch(slot, dialect),
        closed_with: None,
    };
    Connection::open(client, publisher, dialect, Rc::clone(buffer), Rc::clone(context), decoder, handler).run()
}

/// Decodes frames, joins them to messages and has these executed.
struct WebSocketMessages {
    messages: MessageDecoder,
    message_bytes_max: usize,
    liveness: Rc<Liveness>,
    /// The client has sent a close frame, with this code if it has one.
    closed_with: Option<Option<u16>>,
}

impl<P: ProtocolHandler> InputDecoder<P> for WebSocketMessages {
    fn execute(&mut self, handler: &mut P, input: &mut [u8]) -> Option<Executed> {
        let received = match self.messages.next(input, self.message_bytes_max) {
            Ok(received) => received?,
            Err(error) => {
                let outcome = Outcome::Ended(error.disconnect());
                return Some(Executed { commands: 1, bytes: 0, is_message_end: false, is_line: false, outcome });
            }
        };
        let bytes = match received.message {
            Some(Message::Text(text)) => text.len(),
            Some(Message::Binary(bytes)) => bytes.len(),
            _ => 0,
        };
        let inflated = bytes.saturating_sub(received.consumed);
        let commands = u8::try_from(1 + inflated / INFLATED_BYTES).unwrap_or(u8::MAX);
        let is_message_end = matches!(received.message, Some(Message::Text(_) | Message::Binary(_)));
        let outcome = match received.message {
            None | Some(Message::Pong) => Outcome::Done,
            Some(Message::Text(text)) => handler.text(text),
            Some(Message::Binary(bytes)) => handler.binary(bytes),
            Some(Message::Ping(payload)) => handler.session().pong(encode::pong(payload).into()),
            Some(Message::Close(code)) => {
                self.closed_with = Some(code);
                Outcome::Ended(Disconnect::ClosedByPeer)
            }
        };
        Some(Executed { commands, bytes: received.consumed, is_message_end, is_line: false, outcome })
    }

    fn turn_ended(&self, is_idle: bool) {
        self.liveness.hear(is_idle);
    }

    fn held_bytes(&self) -> usize {
        self.messages.held_bytes()
    }

    /// The echo of the client's close frame, behind everything, since no frame may follow it (RFC 6455 §5.5.1).
    fn final_bytes(&self) -> Option<Bytes> {
        self.closed_with.map(|code| encode::close(code, "").into())
    }
}
