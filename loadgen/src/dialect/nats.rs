//! NATS's client protocol, as much as carries the load. A `PING` behind a subscription is its acknowledgement.

use super::{Dialect, Heard, Nonsense, length, line};
use crate::target::Target;

/// The one subscription of a client.
const SUBSCRIPTION: &str = "1";

/// `nats://host:port`.
pub struct Nats;

impl Dialect for Nats {
    fn greet(&self, _: &Target, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"0\"}\r\n",
        );
    }

    fn waits_for_opening(&self) -> bool {
        false
    }

    fn hears_members_only(&self) -> bool {
        false
    }

    fn join(&self, room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("SUB {room} {SUBSCRIPTION}\r\nPING\r\n").as_bytes());
    }

    fn leave(&self, _: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("UNSUB {SUBSCRIPTION}\r\nPING\r\n").as_bytes());
    }

    fn publish(&self, room: &str, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("PUB {room} {}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn hear<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Heard<'a>)>, Nonsense> {
        let Some((line, end)) = line(input) else { return Ok(None) };
        if line.starts_with(b"MSG ") {
            return hear_message(line, end, input);
        }
        let heard = match line {
            b"PONG" => Heard::Done,
            b"PING" => Heard::Asked(b"PONG\r\n".to_vec()),
            _ if line.starts_with(b"INFO ") || line == b"+OK" => Heard::Nothing,
            _ => match line.strip_prefix(b"-ERR ") {
                Some(reason) => Heard::Ended(String::from_utf8_lossy(reason).into_owned()),
                None => return Err(Nonsense::new(input)),
            },
        };
        Ok(Some((end, heard)))
    }
}

/// `MSG <subject> <subscription> [reply-to] <bytes>`, a line end, the message, a line end.
fn hear_message<'a>(line: &[u8], start: usize, input: &'a [u8]) -> Result<Option<(usize, Heard<'a>)>, Nonsense> {
    let bytes = line.rsplit(|&byte| byte == b' ').next().and_then(length).ok_or_else(|| Nonsense::new(input))?;
    let end = start + bytes + b"\r\n".len();
    Ok((input.len() >= end).then(|| (end, Heard::Message(&input[start..start + bytes]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(input: &[u8]) -> Option<(usize, Heard<'_>)> {
        Nats.hear(true, input).unwrap()
    }

    #[test]
    fn a_message_is_heard_once_its_end_has_come() {
        let input = b"MSG room 1 5\r\nhe\nlo\r\nPING\r\n";
        assert_eq!(hear(input), Some((21, Heard::Message(b"he\nlo"))));
        assert_eq!(hear(&input[..20]), None);
        assert_eq!(hear(&input[21..]), Some((6, Heard::Asked(b"PONG\r\n".to_vec()))));
    }

    #[test]
    fn everything_else_is_told_apart() {
        assert_eq!(hear(b"INFO {}\r\n"), Some((9, Heard::Nothing)));
        assert_eq!(hear(b"PONG\r\n"), Some((6, Heard::Done)));
        assert_eq!(hear(b"-ERR 'Slow Consumer'\r\n"), Some((22, Heard::Ended("'Slow Consumer'".into()))));
        assert!(Nats.hear(true, b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(Nats.hear(true, b"MSG room 1 many\r\n").is_err());
        assert!(Nats.hear(true, b"MSG room 1 18446744073709551615\r\n").is_err());
    }
}
