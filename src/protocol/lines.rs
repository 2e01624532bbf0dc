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

/// The first whole line of `input`; `None` when more bytes are needed. Linear in the line.
///
/// # Errors
/// The line, whole or not, is longer than `bytes_max`.
pub fn next_line(input: &[u8], bytes_max: usize) -> Result<Option<Line<'_>>, LineTooLong> {
    let end = memchr(b'\n', input);
    let bytes = &input[..end.unwrap_or(input.len())];
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.len() > bytes_max {
        return Err(LineTooLong { at_least: bytes.len(), whole: end.is_some(), bytes_max });
    }
    Ok(end.map(|end| Line { bytes, consumed: end + 1 }))
}

/// Whether a conversation that begins with `input` is TLS or HTTP, which were meant for another port. HTTP shows at the
/// end of its first line: `<METHOD> … HTTP/1.x`.
pub fn is_foreign(input: &[u8]) -> bool {
    input.first() == Some(&TLS_HANDSHAKE) || memchr(b'\n', input).is_some_and(|end| is_http_request_line(&input[..end]))
}

fn is_http_request_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
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
        while let Some(line) = next_line(input, 8).unwrap() {
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
        assert!(next_line(b"12345678\n", 8).unwrap().is_some());
        assert!(next_line(b"12345678\r\n", 8).unwrap().is_some());
        assert_eq!(next_line(b"12345678", 8), Ok(None));
        let error = next_line(b"123456789\n", 8).unwrap_err();
        assert_eq!(error.to_string(), "line of 9 bytes exceeds 8");
        let error = next_line(b"1234567890", 8).unwrap_err();
        assert_eq!(error.to_string(), "line of 10 or more bytes exceeds 8");
    }

    #[test]
    fn tls_and_http_are_foreign_and_chat_is_not() {
        assert!(is_foreign(b"\x16\x03\x01"));
        assert!(is_foreign(b"GET / HTTP/1.1\r\n"));
        assert!(is_foreign(b"POST /a HTTP/1.0\nx"));
        assert!(!is_foreign(b"GET / HTTP/1.1"), "the line has not ended");
        assert!(!is_foreign(b"I like HTTP/1.1\n"), "the first word is no method");
        assert!(!is_foreign(b"JOIN a\nGET / HTTP/1.1\n"), "only the first line counts");
    }
}
