//! Lines cut out of a byte stream, in place. Never copies, never keeps anything between calls.

use memchr::memchr;
use thiserror::Error;

/// The first byte of a TLS handshake record (RFC 8446 §5.1, `ContentType.handshake`).
const TLS_HANDSHAKE: u8 = 0x16;

/// A line longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line of {at_least}{} bytes exceeds {bytes_max}", if *.whole { "" } else { " or more" })]
pub struct LineTooLong {
    at_least: usize,
    whole: bool,
    bytes_max: usize,
}

/// A line, without its end, and how many bytes of the input it took with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without `\n` and without one `\r` before it.
    pub bytes: &'a [u8],
    /// The bytes to skip before the next line.
    pub consumed: usize,
}

/// The first whole line of `input`, the first `searched` bytes of which are known to hold no end; `None` when more bytes are
/// needed. Linear in what was not searched.
///
/// # Errors
/// The line, whole or not, is longer than `bytes_max`.
pub fn next_line(input: &[u8], searched: usize, bytes_max: usize) -> Result<Option<Line<'_>>, LineTooLong> {
    let end = memchr(b'\n', &input[searched..]).map(|end| searched + end);
    let bytes = &input[..end.unwrap_or(input.len())];
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.len() > bytes_max {
        return Err(LineTooLong { at_least: bytes.len(), whole: end.is_some(), bytes_max });
    }
    Ok(end.map(|end| Line { bytes, consumed: end + 1 }))
}

/// Cuts the lines of one conversation, and keeps in mind what was found of the one that has no end yet.
#[derive(Debug)]
pub struct LineDecoder {
    bytes_max: u32,
    /// Bytes of the unfinished line that hold no end.
    searched: u32,
    /// The unfinished line was given out as refused, and is not given out again.
    is_refused: bool,
}

/// What a cutter finds.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodedLine<'a> {
    /// A line.
    Line(Line<'a>),
    /// The end of a line that was given out as refused before, and the bytes to skip with it.
    Refused(usize),
    /// An unfinished line with a carriage return here, which can be no part of its end. Who ends lines with carriage returns alone
    /// would wait for ever, unless told.
    LoneReturn(usize),
    /// More bytes are needed.
    More,
}

impl LineDecoder {
    /// For lines of at most so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        let bytes_max = u32::try_from(bytes_max).expect("a line is shorter than 4 GiB");
        Self { bytes_max, searched: 0, is_refused: false }
    }

    /// Looks at the first line of `input`, which begins with what was left of it the last time. Linear in what is new.
    ///
    /// # Errors
    /// The line, whole or not, is too long.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<DecodedLine<'a>, LineTooLong> {
        let searched = self.searched as usize;
        if let Some(line) = next_line(input, searched, self.bytes_max as usize)? {
            self.searched = 0;
            let is_refused = std::mem::take(&mut self.is_refused);
            return Ok(if is_refused { DecodedLine::Refused(line.consumed) } else { DecodedLine::Line(line) });
        }
        // A carriage return at the end may be half of a line's end.
        let looked_at = input.len() - usize::from(input.ends_with(b"\r"));
        self.searched = u32::try_from(looked_at).expect("no more than the limit");
        match memchr(b'\r', &input[searched.min(looked_at)..looked_at]) {
            Some(at) if !self.is_refused => {
                self.is_refused = true;
                Ok(DecodedLine::LoneReturn(searched + at))
            }
            _ => Ok(DecodedLine::More),
        }
    }

    /// Only so many bytes are left of the unfinished line.
    pub fn shorten(&mut self, left: usize) {
        self.searched = self.searched.min(u32::try_from(left).unwrap_or(u32::MAX));
    }
}

/// Whether a conversation that begins with `input` is TLS, which was meant for another port.
pub fn is_tls(input: &[u8]) -> bool {
    input.first() == Some(&TLS_HANDSHAKE)
}

/// Whether a conversation whose first line this is, is HTTP: `<METHOD> … HTTP/1.x`.
pub fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    let version = words.next_back().unwrap_or_default();
    // No registered method is shorter, and "I like HTTP/1.1" is chat.
    method.len() >= 3 && method.iter().all(u8::is_ascii_uppercase) && matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8]) -> Vec<&[u8]> {
        let mut found = Vec::new();
        while let Some(line) = next_line(input, 0, 8).unwrap() {
            found.push(line.bytes);
            input = &input[line.consumed..];
        }
        found.push(input);
        found
    }

    #[test]
    fn lines_end_at_a_line_feed_and_lose_one_carriage_return() {
        assert_eq!(lines(b"a\nbc\r\n\n\r\r\nrest"), [&b"a"[..], b"bc", b"", b"\r", b"rest"]);
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_more_byte_does_not() {
        assert!(next_line(b"12345678\n", 0, 8).unwrap().is_some());
        assert!(next_line(b"12345678\r\n", 0, 8).unwrap().is_some());
        assert_eq!(next_line(b"12345678", 0, 8), Ok(None));
        let error = next_line(b"123456789\n", 0, 8).unwrap_err();
        assert_eq!(error.to_string(), "line of 9 bytes exceeds 8");
        let error = next_line(b"1234567890", 0, 8).unwrap_err();
        assert_eq!(error.to_string(), "line of 10 or more bytes exceeds 8");
    }

    #[test]
    fn a_line_is_searched_for_its_end_only_behind_what_was_searched() {
        assert_eq!(next_line(b"ab\ncd\n", 3, 8).unwrap().unwrap().bytes, b"ab\ncd");
        assert_eq!(next_line(b"ab\ncd", 3, 8), Ok(None));
    }

    #[test]
    fn a_mebibyte_in_single_bytes_is_searched_once() {
        const BYTES: usize = 1 << 20;
        let mut cutter = LineDecoder::new(16 << 20);
        let input = vec![b'x'; BYTES];
        let mut searched = 0;
        for length in 1..=BYTES {
            searched += length - cutter.searched as usize;
            assert_eq!(cutter.next(&input[..length]), Ok(DecodedLine::More));
        }
        assert_eq!(searched, BYTES);
    }

    #[test]
    fn a_line_with_a_lone_carriage_return_is_refused_once_before_its_end_comes() {
        let mut cutter = LineDecoder::new(16);
        let refused = [
            DecodedLine::More,
            DecodedLine::More,
            DecodedLine::LoneReturn(1),
            DecodedLine::More,
            DecodedLine::More,
            DecodedLine::Refused(6),
        ];
        for (at, cut) in refused.into_iter().enumerate() {
            assert_eq!(cutter.next(&b"a\rb\rc\n"[..=at]), Ok(cut));
        }
        assert_eq!(cutter.next(b"ab\r"), Ok(DecodedLine::More), "it may be half of an end");
        assert_eq!(cutter.next(b"ab\r\n"), Ok(DecodedLine::Line(Line { bytes: b"ab", consumed: 4 })));
        assert_eq!(cutter.next(b"ab\r\r"), Ok(DecodedLine::LoneReturn(2)));
        assert_eq!(cutter.next(b"ab\r\r\n"), Ok(DecodedLine::Refused(5)));
        // A whole line is refused by who reads it.
        assert_eq!(cutter.next(b"a\rb\n"), Ok(DecodedLine::Line(Line { bytes: b"a\rb", consumed: 4 })));
    }

    #[test]
    fn tls_and_http_are_foreign_and_chat_is_not() {
        assert!(is_tls(b"\x16\x03\x01"));
        assert!(!is_tls(b"") && !is_tls(b"a\x16"));
        assert!(is_http(b"GET / HTTP/1.1"));
        assert!(is_http(b"POST /a HTTP/1.0"));
        assert!(!is_http(b"I like HTTP/1.1"), "the first word is no method");
    }
}
