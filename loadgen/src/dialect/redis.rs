//! Redis's protocol in its third version (RESP3), as much as carries the load: there a subscriber may publish too, and what it
//! is pushed is told apart from answers.

use super::{Dialect, Heard, Nonsense, length, line};
use crate::target::Target;

/// `redis://host:port`.
pub struct Redis;

impl Dialect for Redis {
    fn greet(&self, _: &Target, out: &mut Vec<u8>) {
        command(&[b"HELLO", b"3"], out);
    }

    fn waits_for_opening(&self) -> bool {
        false
    }

    fn hears_members_only(&self) -> bool {
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
    fn hear<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Heard<'a>)>, Nonsense> {
        let mut rest = Rest { input, at: 0 };
        let Some(kind) = rest.line()? else { return Ok(None) };
        let heard = match kind.split_first() {
            Some((b'>', count)) => match rest.words(count)? {
                Some(words) => pushed(&words),
                None => return Ok(None),
            },
            Some((b'%', pairs)) => match rest.skip(2 * number(pairs)?)? {
                Some(()) => Heard::Nothing,
                None => return Ok(None),
            },
            Some((b'-', reason)) => Heard::Ended(String::from_utf8_lossy(reason).into_owned()),
            Some((b':' | b'+', _)) => Heard::Nothing,
            _ => return Err(Nonsense::new(input)),
        };
        Ok(Some((rest.at, heard)))
    }
}

fn pushed<'a>(words: &[&'a [u8]]) -> Heard<'a> {
    match *words {
        [b"message", _, text] => Heard::Message(text),
        [b"subscribe" | b"unsubscribe", ..] => Heard::Done,
        _ => Heard::Nothing,
    }
}

/// What is left of the input.
struct Rest<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn line(&mut self) -> Result<Option<&'a [u8]>, Nonsense> {
        let Some((line, length)) = line(&self.input[self.at..]) else { return Ok(None) };
        self.at += length;
        if line.is_empty() { Err(Nonsense::new(self.input)) } else { Ok(Some(line)) }
    }

    /// So many strings or numbers.
    fn words(&mut self, count: &[u8]) -> Result<Option<Vec<&'a [u8]>>, Nonsense> {
        (0..number(count)?).map(|_| self.word().transpose()).collect::<Option<Result<_, _>>>().transpose()
    }

    fn word(&mut self) -> Result<Option<&'a [u8]>, Nonsense> {
        let Some(line) = self.line()? else { return Ok(None) };
        if line[0] != b'$' {
            return Ok(Some(&line[1..]));
        }
        let length = number(&line[1..])?;
        let word = self.input.get(self.at..self.at + length);
        self.at += length + b"\r\n".len();
        Ok(word.filter(|_| self.at <= self.input.len()))
    }

    /// So many values of any kind; lists may stand in lists.
    fn skip(&mut self, count: usize) -> Result<Option<()>, Nonsense> {
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

fn number(digits: &[u8]) -> Result<usize, Nonsense> {
    length(digits).ok_or_else(|| Nonsense::new(digits))
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

    fn hear(input: &[u8]) -> Option<(usize, Heard<'_>)> {
        Redis.hear(true, input).unwrap()
    }

    #[test]
    fn what_is_pushed_is_heard_once_it_is_whole() {
        let message = b">3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$5\r\nhe\nlo\r\n";
        assert_eq!(hear(message), Some((message.len(), Heard::Message(b"he\nlo"))));
        for cut in 0..message.len() {
            assert_eq!(hear(&message[..cut]), None, "cut at {cut}");
        }
        let subscribed = b">3\r\n$9\r\nsubscribe\r\n$4\r\nroom\r\n:1\r\n";
        assert_eq!(hear(subscribed), Some((subscribed.len(), Heard::Done)));
    }

    #[test]
    fn answers_are_passed_over() {
        let hello = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nmodules\r\n*1\r\n%1\r\n$1\r\na\r\n:7\r\n";
        assert_eq!(hear(hello), Some((hello.len(), Heard::Nothing)));
        for cut in 0..hello.len() {
            assert_eq!(hear(&hello[..cut]), None, "cut at {cut}");
        }
        assert_eq!(hear(b":3\r\n"), Some((4, Heard::Nothing)));
        assert_eq!(hear(b"-ERR no\r\n"), Some((9, Heard::Ended("ERR no".into()))));
        assert!(Redis.hear(true, b"HTTP/1.1 400\r\n").is_err());
        for huge in [&b"%9223372036854775808\r\n"[..], b">1\r\n$99999999999999\r\n", b">9999999999\r\n"] {
            assert!(Redis.hear(true, huge).is_err());
        }
    }
}
