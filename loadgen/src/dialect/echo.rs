//! A server without rooms, which sends each line back as it came: to its sender alone, or to everybody who is there. A client
//! is in once a first line has come back.

use super::{Dialect, Heard, Nonsense, line};
use crate::target::Target;

/// `echo://host:port`.
pub struct Echo;

/// What a client says to find out whether it is in. That of another client tells it just as well.
const KNOCK: &[u8] = b"knock";

impl Dialect for Echo {
    fn greet(&self, _: &Target, _: &mut Vec<u8>) {}

    fn waits_for_opening(&self) -> bool {
        false
    }

    fn hears_members_only(&self) -> bool {
        true
    }

    fn join(&self, _: &str, out: &mut Vec<u8>) {
        self.publish("", KNOCK, out);
    }

    fn leave(&self, _: &str, out: &mut Vec<u8>) {
        // There is nothing to leave; the answer comes all the same.
        self.publish("", KNOCK, out);
    }

    fn publish(&self, _: &str, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    #[inline]
    fn hear<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Heard<'a>)>, Nonsense> {
        let heard = |line| if line == KNOCK { Heard::Done } else { Heard::Message(line) };
        Ok(line(input).map(|(line, length)| (length, heard(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_a_message_and_a_knock_opens() {
        assert_eq!(Echo.hear(true, b"knock\nhello\n"), Ok(Some((6, Heard::Done))));
        assert_eq!(Echo.hear(true, b"hello\n"), Ok(Some((6, Heard::Message(b"hello")))));
        assert_eq!(Echo.hear(true, b"hel"), Ok(None));
    }
}
