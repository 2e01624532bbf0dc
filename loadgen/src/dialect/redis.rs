//! The parts of the Redis protocol RESP3 that a load needs. In RESP3 a subscriber may publish too, and pushed messages
//! differ from answers.

use super::{Dialect, Incoming, ProtocolError, length, line};
use crate::target::Target;

/// The dialect of `redis://host:port`.
pub struct Redis;

impl Dialect for Redis {
    fn encode_handshake(&self, _: &Target, out: &mut Vec<u8>) {
        command(&[b"HELLO", b"3"], out);
    }

    fn has_handshake(&self) -> bool {
        false
    }

    fn publishing_needs_join(&self) -> bool {
        false
    }

    fn join(&self, room: &str, out: &mut Vec<u8>) {
        command(&[b"SUBSCRIBE", room.as_bytes()], out);
    }

    fn leave(&self, room: &str, out: &mut Vec<u8>) {
        command(&[b"UNSUBSCRIBE", room.as_bytes()], out);
    }

    fn publish(&self, room: &str, text: &[u8], out: &mut Vec<u8>) {
        command(&[b"PUBLISH", room.as_bytes(), text], out);
    }

    #[inline]
    fn decode<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        let mut cursor = Cursor { input, at: 0 };
        let Some(kind) = cursor.line()? else { return Ok(None) };
        let heard = match kind.split_first() {
            Some((b'>', count)) => match cursor.words(count)? {
                Some(words) => pushed(&words),
                None => return Ok(None),
            },
            Some((b'%', pairs)) => match cursor.skip(2 * number(pairs)?)? {
                Some(()) => Incoming::Other,
                None => return Ok(None),
            },
            Some((b'-', reason)) => Incoming::Closed(String::from_utf8_lossy(reason).into_owned().into()),
            Some((b':' | b'+', _)) => Incoming::Other,
            _ => return Err(ProtocolError::new(input)),
        };
        Ok(Some((cursor.at, heard)))
    }
}

fn pushed<'a>(words: &[&'a [u8]]) -> Incoming<'a> {
    match *words {
        [b"message", _, text] => Incoming::Message(text),
        [b"subscribe" | b"unsubscribe", ..] => Incoming::Acknowledged,
        _ => Incoming::Other,
    }
}

/// A read position within the input.
struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        let Some((line, length)) = line(&self.input[self.at..]) else { return Ok(None) };
        self.at += length;
        if line.is_empty() { Err(ProtocolError::new(self.input)) } else { Ok(Some(line)) }
    }

    /// Reads `count` strings or numbers.
    fn words(&mut self, count: &[u8]) -> Result<Option<Vec<&'a [u8]>>, ProtocolError> {
        (0..number(count)?).map(|_| self.word().transpose()).collect::<Option<Result<_, _>>>().transpose()
    }

    fn word(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        let Some(line) = self.line()? else { return Ok(None) };
        if line[0] != b'$' {
            return Ok(Some(&line[1..]));
        }
        let length = number(&line[1..])?;
        let word = self.input.get(self.at..self.at + length);
        self.at += length + b"\r\n".len();
        Ok(word.filter(|_| self.at <= self.input.len()))
    }

    /// Skips `count` values of any type, nested ones included.
    fn skip(&mut self, count: usize) -> Result<Option<()>, ProtocolError> {
        let mut left = count;
        while left > 0 {
            let before = self.at;
            let Some(line) = self.line()? else { return Ok(None) };
            left -= 1;
            match line[0] {
                b'$' => {
                    self.at = before;
                    if self.word()?.is_none() {
                        return Ok(None);
                    }
                }
                b'*' | b'~' => left += number(&line[1..])?,
                b'%' => left += 2 * number(&line[1..])?,
                _ => {}
            }
        }
        Ok(Some(()))
    }
}

fn number(digits: &[u8]) -> Result<usize, ProtocolError> {
    length(digits).ok_or_else(|| ProtocolError::new(digits))
}

fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8]) -> Option<(usize, Incoming<'_>)> {
        Redis.decode(true, input).unwrap()
    }

    #[test]
    fn what_is_pushed_is_heard_once_it_is_whole() {
        let message = b">3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$5\r\nhe\nlo\r\n";
        assert_eq!(decode(message), Some((message.len(), Incoming::Message(b"he\nlo"))));
        for cut in 0..message.len() {
            assert_eq!(decode(&message[..cut]), None, "cut at {cut}");
        }
        let subscribed = b">3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n";
        assert_eq!(decode(subscribed), Some((subscribed.len(), Incoming::Acknowledged)));
    }

    #[test]
    fn answers_are_passed_over() {
        let hello = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*1\r\n%1\r\n$1\r\na\r\n:7\r\n";
        assert_eq!(decode(hello), Some((hello.len(), Incoming::Other)));
        for cut in 0..hello.len() {
            assert_eq!(decode(&hello[..cut]), None, "cut at {cut}");
        }
        assert_eq!(decode(b":3\r\n"), Some((4, Incoming::Other)));
        assert_eq!(decode(b"-ERR no\r\n"), Some((9, Incoming::Closed("ERR no".to_owned().into()))));
        assert!(Redis.decode(true, b"HTTP/1.1 400\r\n").is_err());
        for huge in [&b"%9223372036854775808\r\n"[..], b">1\r\n$99999999999999\r\n", b">9999999999\r\n"] {
            assert!(Redis.decode(true, huge).is_err());
        }
    }
}
