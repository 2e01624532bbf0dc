//! Encoding and decoding for each protocol behind one trait. Never touches a socket and never looks into a message,
//! which is the business of `payload`.

mod echo;
mod lines;
mod nats;
mod redis;
mod websocket;

pub use echo::Echo;
pub use lines::{Lines, POSITION, auth, join_since};
pub use nats::Nats;
pub use redis::Redis;
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

    /// Whether a client can publish only to a room that it has joined.
    fn publishing_needs_join(&self) -> bool;

    /// Encodes a join, which is answered with `Incoming::Acknowledged`.
    fn join(&self, room: &str, out: &mut Vec<u8>);

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
    /// The client must send these bytes back.
    ReplyNeeded(Vec<u8>),
    /// A join or publish was refused, with the reason.
    Refused(String),
    /// The server closes the connection, with the reason.
    Closed(String),
    /// The answer to `PING <token>`.
    Pong(&'a [u8]),
    /// The answer to `POSITION`.
    Position(&'a [u8]),
    /// Messages of the room are missing at this place.
    Gap,
    /// Anything that needs no reaction.
    Other,
}

/// The server sent bytes that do not follow the protocol. Holds their beginning.
#[derive(Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

impl ProtocolError {
    fn new(input: &[u8]) -> Self {
        /// Bytes shown in the error.
        const SHOWN_BYTES: usize = 60;
        Self(String::from_utf8_lossy(&input[..input.len().min(SHOWN_BYTES)]).into_owned())
    }
}

/// The dialect of a scheme.
pub fn of(scheme: Scheme) -> &'static dyn Dialect {
    match scheme {
        Scheme::Tcp | Scheme::Limit => &Lines,
        Scheme::WebSocket => &WebSocket,
        Scheme::Nats => &Nats,
        Scheme::Redis => &Redis,
        Scheme::Echo => &Echo,
    }
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
