//! Splits a byte stream into lines, in place. Never copies a byte.

use memchr::memchr;
use thiserror::Error;

/// The first byte of a TLS handshake record (RFC 8446 §5.1, `ContentType.handshake`).
const TLS_HANDSHAKE: u8 = 0x16;

/// A line is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line of {at_least}{} bytes exceeds {bytes_max}", if *.whole { "" } else { " or more" })]
pub struct LineTooLong {
    at_least: usize,
    whole: bool,
    bytes_max: usize,
}

/// One line of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line without its end: `\n`, or `\r\n`.
    pub bytes: &'a [u8],
    /// The length of the line and its end: the next line begins there.
    pub consumed: usize,
}

/// The first line of `input`; `None` if its end is not there yet. The first `searched` bytes are known to hold no end.
/// Linear in the other bytes.
///
/// # Errors
/// The line, complete or not, is longer than `bytes_max`.
pub fn next_line(input: &[u8], searched: usize, bytes_max: usize) -> Result<Option<Line<'_>>, LineTooLong> {
    let end = memchr(b'\n', &input[searched..]).map(|end| searched + end);
    let bytes = &input[..end.unwrap_or(input.len())];
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.len() > bytes_max {
        return Err(LineTooLong { at_least: bytes.len(), whole: end.is_some(), bytes_max });
    }
    Ok(end.map(|end| Line { bytes, consumed: end + 1 }))
}

/// Splits the input of one connection, and remembers how far the incomplete line was searched.
#[derive(Debug)]
pub struct LineDecoder {
    bytes_max: u32,
    /// The first bytes of the incomplete line, which are known to hold no end.
    searched: u32,
    /// The incomplete line was reported as a `LoneReturn`, which happens once.
    is_refused: bool,
}

/// A step of the decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodedLine<'a> {
    /// A complete line.
    Line(Line<'a>),
    /// The end of a line that was reported as a `LoneReturn`; holds the bytes to skip.
    Refused(usize),
    /// The incomplete line has a carriage return at this byte that is not part of a line end. Reported before the line
    /// is complete, since a client that ends its lines with carriage returns alone would wait for ever.
    LoneReturn(usize),
    /// The line is incomplete.
    More,
}

impl LineDecoder {
    /// A decoder for lines of at most `bytes_max` bytes, without their ends.
    pub fn new(bytes_max: usize) -> Self {
        let bytes_max = u32::try_from(bytes_max).expect("a line is shorter than 4 GiB");
        Self { bytes_max, searched: 0, is_refused: false }
    }

    /// Finds the first line of `input`, which begins with the incomplete line of the last call. Linear in the new
    /// bytes.
    ///
    /// # Errors
    /// The line, complete or not, is too long.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<DecodedLine<'a>, LineTooLong> {
        let searched = self.searched as usize;
        if let Some(line) = next_line(input, searched, self.bytes_max as usize)? {
            self.searched = 0;
            let is_refused = std::mem::take(&mut self.is_refused);
            return Ok(if is_refused { DecodedLine::Refused(line.consumed) } else { DecodedLine::Line(line) });
        }
        // A carriage return at the end may be the first half of a line end.
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

    /// To be called when only the first `left` bytes of the incomplete line are kept.
    pub fn shorten(&mut self, left: usize) {
        self.searched = self.searched.min(u32::try_from(left).unwrap_or(u32::MAX));
    }
}

/// Whether a connection whose input begins like that speaks TLS.
pub fn is_tls(input: &[u8]) -> bool {
    input.first() == Some(&TLS_HANDSHAKE)
}

/// Whether a connection with that first line is HTTP: `<METHOD> … HTTP/1.x`.
pub fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    let version = words.next_back().unwrap_or_default();
    // No registered method has fewer letters, and "I like HTTP/1.1" is chat.
    method.len() >= 3 && method.iter().all(u8::is_ascii_uppercase) && matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
}
