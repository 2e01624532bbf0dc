//! Encoding and decoding for each protocol behind one trait. Never touches a socket and never looks into a message,
//! which is the business of `payload`.

mod api;
mod centrifuge;
mod closing;
mod echo;
mod lines;
mod nats;
mod redis;
mod sse;
pub mod websocket;

pub use api::Api;
pub use centrifuge::{Centrifuge, Json, Protobuf};
pub use closing::Closing;
pub use echo::Echo;
pub use lines::Lines;
pub use nats::Nats;
pub use redis::Redis;
pub use sse::Sse;
pub use websocket::WebSocket;

use crate::target::{Scheme, Target};

/// Maximum bytes of one frame or answer; more is a protocol error.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// One protocol. All encoders append to `out`.
pub trait Dialect {
    /// Encodes what a client sends right after connecting.
    fn encode_handshake(&self, target: &Target, out: &mut Vec<u8>);

    /// Whether a client must wait for `Incoming::HandshakeDone` before it joins.
    fn has_handshake(&self) -> bool;

    /// Encodes what opens the session and presents the client's token, if it has one. Returns whether the client must wait
    /// for `Incoming::Authenticated` before it joins.
    fn authenticate(&self, token: Option<&str>, out: &mut Vec<u8>) -> bool {
        let Some(token) = token else { return false };
        self.publish("", lines::auth(token).as_bytes(), out);
        true
    }

    /// Whether a client can publish only to a room that it has joined.
    fn publishing_needs_join(&self) -> bool;

    /// Encodes a join, which is answered with `Incoming::Acknowledged`.
    fn join(&self, room: &str, out: &mut Vec<u8>);

    /// Encodes the join of a client that comes back later, or that comes back with its position. It is answered with
    /// `Incoming::Acknowledged`, then with what was missed or `Incoming::Gap`, then with `Incoming::Position`.
    fn join_to_resume(&self, room: &str, since: Option<Position<'_>>, out: &mut Vec<u8>) {
        match since {
            Some(position) => self.publish(room, &lines::join_since(room, position.text), out),
            None => self.join(room, out),
        }
        self.request_position(room, out);
    }

    /// Encodes the request for a position, which is answered with `Incoming::Position`.
    fn request_position(&self, room: &str, out: &mut Vec<u8>) {
        self.publish(room, lines::POSITION.as_bytes(), out);
    }

    /// Encodes a leave, which is answered with `Incoming::Acknowledged`.
    fn leave(&self, room: &str, out: &mut Vec<u8>);

    /// Encodes the publishing of `text` to a room.
    fn publish(&self, room: &str, text: &[u8], out: &mut Vec<u8>);

    /// Decodes the first item of the input and returns it with its length; `None` if it is incomplete.
    ///
    /// # Errors
    /// The input does not follow the protocol.
    fn decode<'a>(&self, opened: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError>;
}

/// One decoded item from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The handshake is done; the client may join.
    HandshakeDone,
    /// The token was accepted.
    Authenticated,
    /// The join or leave is done.
    Acknowledged,
    /// A message, with the label before it.
    Message(&'a [u8]),
    /// A message, with whatever comes before it, and its offset in the room.
    Publication(&'a [u8], u64),
    /// Several items at once, in this order.
    Several(Vec<Incoming<'a>>),
    /// The publish of the first request that was not answered yet is done.
    Published,
    /// The client must send these bytes back.
    ReplyNeeded(Vec<u8>),
    /// A join or publish was refused, with the reason.
    Refused(String),
    /// The server closes the connection.
    Closed(Closing),
    /// The answer to `PING <token>`.
    Pong(&'a [u8]),
    /// The place in the room up to which the client has everything.
    Position(Position<'a>),
    /// Messages of the room are missing at this place.
    Gap,
    /// Anything that needs no reaction.
    Other,
}

/// A place in a room from which a client can resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// The words of the server: its position, or the epoch of the offset.
    pub text: &'a [u8],
    /// The offset, if each message has its own.
    pub offset: Option<u64>,
}

/// The server sent bytes that do not follow the protocol. Holds their beginning.
#[derive(Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

impl ProtocolError {
    pub fn new(input: &[u8]) -> Self {
        /// Bytes shown in the error.
        const SHOWN_BYTES: usize = 60;
        Self(String::from_utf8_lossy(&input[..input.len().min(SHOWN_BYTES)]).into_owned())
    }
}

/// The server API without a key.
static API: Api = Api::new(String::new());

/// The dialect of a scheme. That of the server API has no key.
pub fn of(scheme: Scheme) -> &'static dyn Dialect {
    match scheme {
        Scheme::Tcp | Scheme::Limit => &Lines,
        Scheme::WebSocket => &WebSocket,
        Scheme::Centrifuge => &Centrifuge(Json),
        Scheme::CentrifugeProtobuf => &Centrifuge(Protobuf),
        Scheme::Sse => &Sse,
        Scheme::Api => &API,
        Scheme::Nats => &Nats,
        Scheme::Redis => &Redis,
        Scheme::Echo => &Echo,
    }
}

/// Whether a refusal says that the server cannot publish at the moment: `ERR unavailable` of the text protocol, or the
/// temporary error 100 of the Centrifuge protocol and of the server API.
pub fn is_unavailable(reason: &str) -> bool {
    reason.starts_with("unavailable") || reason.ends_with(", error 100") || reason.contains("\"code\":100,")
}

/// The beginning of some JSON up to the end of the first text that `loadgen` published, and what comes behind it. Other
/// programs' publications have none, and what the server adds before a text never has its first byte.
#[inline]
fn split_behind_text(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = memchr::memchr(b'~', json)?;
    let length = memchr::memchr(b'"', &json[start..])?;
    Some(json.split_at(start + length))
}

/// A publication with its offset, if it has one.
#[inline]
fn publication(text: &[u8], offset: Option<u64>) -> Incoming<'_> {
    offset.map_or(Incoming::Message(text), |offset| Incoming::Publication(text, offset))
}

/// Parses a length in decimal digits, up to [`FRAME_BYTES_MAX`].
fn length(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length <= FRAME_BYTES_MAX)
}

/// The first line of the input without its line ending, and the length of both.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', input)?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}
