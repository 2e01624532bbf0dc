//! Roomcast's line protocol: `JOIN <room>`, and messages that arrive as `[<label>] <text>`.

use super::{Closing, Dialect, Incoming, Position, ProtocolError, line};
use crate::target::Target;

/// The dialect of `tcp://host:port`.
pub struct Lines;

impl Dialect for Lines {
    fn encode_handshake(&self, _: &Target, _: &mut Vec<u8>) {}

    fn has_handshake(&self) -> bool {
        // The server's greeting is configurable and may be empty.
        false
    }

    fn publishing_needs_join(&self) -> bool {
        true
    }

    fn join(&self, room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(join(room).as_bytes());
        out.push(b'\n');
    }

    fn leave(&self, _: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(LEAVE.as_bytes());
        out.push(b'\n');
    }

    fn publish(&self, _: &str, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    #[inline]
    fn decode<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        Ok(line(input).map(|(line, length)| (length, decode_line(line))))
    }
}

/// The command that leaves the room.
pub const LEAVE: &str = "LEAVE";

/// The command that joins a room.
pub fn join(room: &str) -> String {
    format!("JOIN {room}")
}

/// The command that asks for the position from which a client can resume.
pub const POSITION: &str = "POSITION";

/// The command that joins a room and requests everything that was said after a position.
pub fn join_since(room: &str, position: &[u8]) -> Vec<u8> {
    [b"JOIN ", room.as_bytes(), b" since=", position].concat()
}

/// The command that presents a token.
pub fn auth(token: &str) -> String {
    format!("AUTH {token}")
}

/// Decodes one line of the server. The same text arrives over WebSocket.
pub fn decode_line(line: &[u8]) -> Incoming<'_> {
    if line.starts_with(b"[") {
        return Incoming::Message(line);
    }
    if line.starts_with(b"HTTP/1.") {
        let answer = String::from_utf8_lossy(line);
        return Incoming::Closed(format!("{answer}: is this the HTTP port? ws://host:port/ws speaks to it").into());
    }
    if line.starts_with(b"Joined ") || line == b"Left room" {
        return Incoming::Acknowledged;
    }
    if line.starts_with(b"Authenticated as ") {
        return Incoming::Authenticated;
    }
    if let Some(token) = line.strip_prefix(b"PONG ") {
        return Incoming::Pong(token);
    }
    if let Some(text) = line.strip_prefix(b"Position ") {
        return Incoming::Position(Position { text, offset: None });
    }
    if line.starts_with(b"GAP ") {
        return Incoming::Gap;
    }
    match line.strip_prefix(b"ERR ") {
        Some(error) => match error.strip_prefix(b"closed ") {
            Some(reason) => Incoming::Closed(Closing::in_words(reason)),
            None => Incoming::Refused(String::from_utf8_lossy(error).into_owned()),
        },
        None => Incoming::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8]) -> Option<(usize, Incoming<'_>)> {
        Lines.decode(true, input).unwrap()
    }

    #[test]
    fn each_line_is_understood_once_it_is_whole() {
        assert_eq!(decode(b"[ada] hello"), None);
        assert_eq!(decode(b"[ada] hello\n[bob"), Some((12, Incoming::Message(b"[ada] hello"))));
        assert_eq!(decode(b"Joined lobby\r\n"), Some((14, Incoming::Acknowledged)));
        assert_eq!(decode(b"Authenticated as ada\n"), Some((21, Incoming::Authenticated)));
        assert_eq!(decode(b"Left room\n"), Some((10, Incoming::Acknowledged)));
        assert_eq!(decode(b"PONG 7\n"), Some((7, Incoming::Pong(b"7"))));
        assert_eq!(decode(b"Position e-1\n"), Some((13, Incoming::Position(Position { text: b"e-1", offset: None }))));
        assert_eq!(decode(b"GAP unknown\n"), Some((12, Incoming::Gap)));
        assert_eq!(decode(b"Welcome!\n"), Some((9, Incoming::Other)));
    }

    #[test]
    fn an_answer_of_the_http_port_is_known() {
        let Some((_, Incoming::Closed(closing))) = decode(b"HTTP/1.1 400 Bad Request\r\n") else {
            panic!("it goes on")
        };
        assert!(closing.reason.starts_with("HTTP/1.1 400 Bad Request: is this the HTTP port?"), "{closing:?}");
    }

    #[test]
    fn an_error_is_the_end_only_if_it_says_so() {
        assert_eq!(
            decode(b"ERR closed slow-consumer\n"),
            Some((25, Incoming::Closed("slow-consumer".to_owned().into())))
        );
        assert_eq!(decode(b"ERR too-many rooms\n"), Some((19, Incoming::Refused("too-many rooms".into()))));
    }
}
