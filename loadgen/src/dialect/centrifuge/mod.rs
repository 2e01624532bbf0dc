//! The Centrifuge protocol over WebSocket, as its SDKs speak it. Each kind of command has one constant id, because a
//! client waits for at most one reply of a kind that matters.

mod json;
mod protobuf;

pub use json::Json;
pub use protobuf::Protobuf;

use super::websocket::{decode_frame, decode_handshake, encode_frame, encode_request};
use super::{Closing, Dialect, Incoming, Position, ProtocolError, publication, split_behind_text};
use crate::target::Target;

/// The ids of commands.
const CONNECT: u8 = 1;
const SUBSCRIBE: u8 = 2;
const PUBLISH: u8 = 3;
const UNSUBSCRIBE: u8 = 4;

/// The name that clients give themselves.
const NAME: &str = "loadgen";

/// The dialect of `centrifuge+ws://host:port` in one encoding.
pub struct Centrifuge<E>(pub E);

/// How a subscription begins.
#[derive(Clone, Copy)]
pub enum Beginning<'a> {
    /// With the next publication.
    Now,
    /// With the next publication, and the reply tells the position.
    NowWithPosition,
    /// With what was published behind a position.
    Behind(Position<'a>),
}

/// How objects are written and read. Encoders append to `out` and frame nothing.
pub trait Encoding {
    /// The first byte of a frame.
    const FIRST: u8;
    /// The value of `Sec-WebSocket-Protocol`; `None` if no subprotocol is requested.
    const SUBPROTOCOL: Option<&str>;
    /// An empty object: a ping and its answer.
    const PONG: &[u8];

    /// Encodes the command that opens the session.
    fn connect(token: Option<&str>, out: &mut Vec<u8>);

    fn subscribe(room: &str, beginning: Beginning<'_>, out: &mut Vec<u8>);

    fn unsubscribe(room: &str, out: &mut Vec<u8>);

    /// Encodes a publication of a text that JSON need not escape.
    fn publish(room: &str, text: &[u8], out: &mut Vec<u8>);

    /// Decodes a message, which holds one object or several.
    fn decode(message: &[u8]) -> Result<Incoming<'_>, ProtocolError>;
}

impl<E: Encoding> Centrifuge<E> {
    /// Appends a frame with what an encoder writes.
    fn frame(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut message = Vec::new();
        encode(&mut message);
        encode_frame(E::FIRST, &message, out);
    }
}

impl<E: Encoding> Dialect for Centrifuge<E> {
    fn encode_handshake(&self, target: &Target, out: &mut Vec<u8>) {
        encode_request(target, E::SUBPROTOCOL, out);
    }

    fn has_handshake(&self) -> bool {
        true
    }

    /// The session is opened without waiting for the reply, as the SDKs do. A refused one ends the join.
    fn authenticate(&self, token: Option<&str>, out: &mut Vec<u8>) -> bool {
        Self::frame(out, |out| E::connect(token, out));
        false
    }

    fn publishing_needs_join(&self) -> bool {
        true
    }

    fn join(&self, room: &str, out: &mut Vec<u8>) {
        Self::frame(out, |out| E::subscribe(room, Beginning::Now, out));
    }

    /// Positions need no further requests: each publication has its offset.
    fn join_to_resume(&self, room: &str, since: Option<Position<'_>>, out: &mut Vec<u8>) {
        let beginning = since.map_or(Beginning::NowWithPosition, Beginning::Behind);
        Self::frame(out, |out| E::subscribe(room, beginning, out));
    }

    fn leave(&self, room: &str, out: &mut Vec<u8>) {
        Self::frame(out, |out| E::unsubscribe(room, out));
    }

    fn publish(&self, room: &str, text: &[u8], out: &mut Vec<u8>) {
        Self::frame(out, |out| E::publish(room, text, out));
    }

    #[inline]
    fn decode<'a>(&self, opened: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        if opened {
            return decode_frame(input, E::FIRST, E::decode);
        }
        let decoded = decode_handshake(input)?;
        Ok(decoded.map(|(length, incoming)| match (incoming, E::SUBPROTOCOL) {
            (Incoming::HandshakeDone, Some(name))
                if memchr::memmem::find(&input[..length], name.as_bytes()).is_none() =>
            {
                (length, Incoming::Closed(format!("the server does not speak {name}").into()))
            }
            (incoming, _) => (length, incoming),
        }))
    }
}

/// Encodes the pong of this protocol, which answers its ping.
fn pong<E: Encoding>() -> Incoming<'static> {
    let mut out = Vec::new();
    encode_frame(E::FIRST, E::PONG, &mut out);
    Incoming::ReplyNeeded(out)
}

/// The reply to a subscribe command: what it says in the order in which the text protocol says it. Without an epoch
/// there is nothing to resume from, and no position follows.
fn subscribed<'a>(is_gap: bool, publications: Vec<Incoming<'a>>, epoch: Option<&'a [u8]>, offset: u64) -> Incoming<'a> {
    let last = publications.last().and_then(|last| match last {
        Incoming::Publication(_, offset) => Some(*offset),
        _ => None,
    });
    let position = epoch.map(|text| Position { text, offset: Some(last.unwrap_or(offset)) });
    let gap = is_gap.then_some(Incoming::Gap);
    let all = [Incoming::Acknowledged].into_iter().chain(gap).chain(publications);
    Incoming::Several(all.chain(position.map(Incoming::Position)).collect())
}

#[cfg(test)]
mod tests;
