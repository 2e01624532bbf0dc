//! What is said to a target and heard from it: one small file for each wire form, behind one trait. Never touches a socket,
//! never looks into a message: what a message says is the mark's business.

mod echo;
mod lines;
mod nats;
mod redis;
mod websocket;

pub use echo::Echo;
pub use lines::Lines;
pub use nats::Nats;
pub use redis::Redis;
pub use websocket::WebSocket;

use crate::target::{Scheme, Target};

/// More than this is no message of any load, and no answer.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// One wire form. Everything said is appended to `out`.
pub trait Dialect {
    /// What a client says as soon as it is connected.
    fn greet(&self, target: &Target, out: &mut Vec<u8>);

    /// Whether the client must hear `Heard::Opened` before it goes on.
    fn waits_for_opening(&self) -> bool;

    /// Whether one must be in a room to say something there.
    fn hears_members_only(&self) -> bool;

    /// Asks to join a room; answered with `Heard::Done`.
    fn join(&self, room: &str, out: &mut Vec<u8>);

    /// Asks to leave it; answered with `Heard::Done`.
    fn leave(&self, room: &str, out: &mut Vec<u8>);

    /// Says something to a room.
    fn publish(&self, room: &str, text: &[u8], out: &mut Vec<u8>);

    /// What the input begins with, and its length; `None` if that has not come whole.
    ///
    /// # Errors
    /// The input is nothing that this dialect knows.
    fn hear<'a>(&self, opened: bool, input: &'a [u8]) -> Result<Option<(usize, Heard<'a>)>, Nonsense>;
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// It may join now.
    Opened,
    /// What it asked for, to join or to leave, is done.
    Done,
    /// A message, with whatever label stands before it.
    Message(&'a [u8]),
    /// It must answer this.
    Asked(Vec<u8>),
    /// What it asked for or said was not accepted.
    Refused(String),
    /// The last words, with the reason.
    Ended(String),
    /// The answer to `PING <token>`, with the token.
    Pong(&'a [u8]),
    /// Anything else.
    Nothing,
}

/// The target said something that its dialect does not know.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonsense(pub String);

impl Nonsense {
    fn new(input: &[u8]) -> Self {
        /// What one may want to see of it.
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

/// A length that a target names, in decimal digits.
fn length(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length <= FRAME_BYTES_MAX)
}

/// The first line of the input, without its end, and the length of both.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', input)?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}
