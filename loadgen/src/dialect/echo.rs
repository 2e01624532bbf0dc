//! A server without rooms that echoes lines, either to the sender or to all clients. A client has joined once a first
//! line has come back.

use super::{Dialect, Incoming, ProtocolError, line};
use crate::target::Target;

/// The dialect of `echo://host:port`.
pub struct Echo;

/// The line that a client sends to find out whether it has joined. The knock of another client proves it as well.
const KNOCK: &[u8] = b"knock";

impl Dialect for Echo {
    fn encode_handshake(&self, _: &Target, _: &mut Vec<u8>) {}

    fn has_handshake(&self) -> bool {
        false
    }

    fn publishing_needs_join(&self) -> bool {
        true
    }

    fn join(&self, _: &str, out: &mut Vec<u8>) {
        self.publish("", KNOCK, out);
    }

    fn leave(&self, _: &str, out: &mut Vec<u8>) {
        // There is no room to leave, but the caller waits for an answer.
        self.publish("", KNOCK, out);
    }

    fn publish(&self, _: &str, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    #[inline]
    fn decode<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        let heard = |line| if line == KNOCK { Incoming::Acknowledged } else { Incoming::Message(line) };
        Ok(line(input).map(|(line, length)| (length, heard(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_a_message_and_a_knock_opens() {
        assert_eq!(Echo.decode(true, b"knock\nhello\n"), Ok(Some((6, Incoming::Acknowledged))));
        assert_eq!(Echo.decode(true, b"hello\n"), Ok(Some((6, Incoming::Message(b"hello")))));
        assert_eq!(Echo.decode(true, b"hel"), Ok(None));
    }
}
