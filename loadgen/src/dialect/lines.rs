//! Roomcast's line dialect: `JOIN <room>`, and whatever is said arrives as `[<label>] <text>`.

use super::{Dialect, Heard, Nonsense, line};
use crate::target::Target;

/// Lines over TCP.
pub struct Lines;

impl Dialect for Lines {
    fn greet(&self, _: &Target, _: &mut Vec<u8>) {}

    fn waits_for_opening(&self) -> bool {
        // The greeting is a setting, and may be empty.
        false
    }

    fn hears_members_only(&self) -> bool {
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
    fn hear<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Heard<'a>)>, Nonsense> {
        Ok(line(input).map(|(line, length)| (length, understand(line))))
    }
}

/// How a client leaves its room.
pub const LEAVE: &str = "LEAVE";

/// How a client joins a room.
pub fn join(room: &str) -> String {
    format!("JOIN {room}")
}

/// What the server says, a line at a time; the same words come over WebSocket.
pub fn understand(line: &[u8]) -> Heard<'_> {
    if line.starts_with(b"[") {
        return Heard::Message(line);
    }
    if line.starts_with(b"HTTP/1.") {
        let answer = String::from_utf8_lossy(line);
        return Heard::Ended(format!("{answer}: is this the HTTP port? ws://host:port/ws speaks to it"));
    }
    if line.starts_with(b"Joined ") || line == b"Left room" {
        return Heard::Done;
    }
    if let Some(token) = line.strip_prefix(b"PONG ") {
        return Heard::Pong(token);
    }
    match line.strip_prefix(b"ERR ") {
        Some(error) => match error.strip_prefix(b"closed ") {
            Some(reason) => Heard::Ended(String::from_utf8_lossy(reason).into_owned()),
            None => Heard::Refused(String::from_utf8_lossy(error).into_owned()),
        },
        None => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(input: &[u8]) -> Option<(usize, Heard<'_>)> {
        Lines.hear(true, input).unwrap()
    }

    #[test]
    fn each_line_is_understood_once_it_is_whole() {
        assert_eq!(hear(b"[ada] hello"), None);
        assert_eq!(hear(b"[ada] hello\n[bob"), Some((12, Heard::Message(b"[ada] hello"))));
        assert_eq!(hear(b"Joined lobby\r\n"), Some((14, Heard::Done)));
        assert_eq!(hear(b"Left room\n"), Some((10, Heard::Done)));
        assert_eq!(hear(b"PONG 7\n"), Some((7, Heard::Pong(b"7"))));
        assert_eq!(hear(b"Welcome!\n"), Some((9, Heard::Nothing)));
    }

    #[test]
    fn an_answer_of_the_http_port_is_known() {
        let Some((_, Heard::Ended(reason))) = hear(b"HTTP/1.1 400 Bad Request\r\n") else { panic!("it goes on") };
        assert!(reason.starts_with("HTTP/1.1 400 Bad Request: is this the HTTP port?"), "{reason}");
    }

    #[test]
    fn an_error_is_the_end_only_if_it_says_so() {
        assert_eq!(hear(b"ERR closed slow-consumer\n"), Some((25, Heard::Ended("slow-consumer".into()))));
        assert_eq!(hear(b"ERR too-many rooms\n"), Some((19, Heard::Refused("too-many rooms".into()))));
    }
}
