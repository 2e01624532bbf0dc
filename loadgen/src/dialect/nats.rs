//! The parts of the NATS client protocol that a load needs. A `PING` sent behind a subscription serves as its
//! acknowledgement.

use super::{Dialect, Incoming, ProtocolError, length, line};
use crate::target::Target;

/// The id of a client's only subscription.
const SUBSCRIPTION: &str = "1";

/// The dialect of `nats://host:port`.
pub struct Nats;

impl Dialect for Nats {
    fn encode_handshake(&self, _: &Target, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"0\"}\r\n",
        );
    }

    fn has_handshake(&self) -> bool {
        false
    }

    fn publishing_needs_join(&self) -> bool {
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
    fn decode<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        let Some((line, end)) = line(input) else { return Ok(None) };
        if line.starts_with(b"MSG ") {
            return decode_message(line, end, input);
        }
        let heard = match line {
            b"PONG" => Incoming::Acknowledged,
            b"PING" => Incoming::ReplyNeeded(b"PONG\r\n".to_vec()),
            _ if line.starts_with(b"INFO ") || line == b"+OK" => Incoming::Other,
            _ => match line.strip_prefix(b"-ERR ") {
                Some(reason) => Incoming::Closed(String::from_utf8_lossy(reason).into_owned().into()),
                None => return Err(ProtocolError::new(input)),
            },
        };
        Ok(Some((end, heard)))
    }
}

/// Decodes `MSG <subject> <subscription> [reply-to] <bytes>`, a line ending, the message and a line ending.
fn decode_message<'a>(
    line: &[u8],
    start: usize,
    input: &'a [u8],
) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
    let bytes = line.rsplit(|&byte| byte == b' ').next().and_then(length).ok_or_else(|| ProtocolError::new(input))?;
    let end = start + bytes + b"\r\n".len();
    Ok((input.len() >= end).then(|| (end, Incoming::Message(&input[start..start + bytes]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8]) -> Option<(usize, Incoming<'_>)> {
        Nats.decode(true, input).unwrap()
    }

    #[test]
    fn a_message_is_heard_once_its_end_has_come() {
        let input = b"MSG room 1 5\r\nhe\nlo\r\nPING\r\n";
        assert_eq!(decode(input), Some((21, Incoming::Message(b"he\nlo"))));
        assert_eq!(decode(&input[..20]), None);
        assert_eq!(decode(&input[21..]), Some((6, Incoming::ReplyNeeded(b"PONG\r\n".to_vec()))));
    }

    #[test]
    fn everything_else_is_told_apart() {
        assert_eq!(decode(b"INFO {}\r\n"), Some((9, Incoming::Other)));
        assert_eq!(decode(b"PONG\r\n"), Some((6, Incoming::Acknowledged)));
        assert_eq!(
            decode(b"-ERR 'Slow Consumer'\r\n"),
            Some((22, Incoming::Closed("'Slow Consumer'".to_owned().into())))
        );
        assert!(Nats.decode(true, b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(Nats.decode(true, b"MSG room 1 many\r\n").is_err());
        assert!(Nats.decode(true, b"MSG room 1 18446744073709551615\r\n").is_err());
    }
}
