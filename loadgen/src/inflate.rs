//! permessage-deflate (RFC 7692) without context takeover, for what a server sends: compressed frames become plain ones
//! before a dialect sees them. Never compresses anything.

use flate2::{Decompress, FlushDecompress, Status};

use crate::dialect::websocket::{encode_header, frame_header};
use crate::dialect::{FRAME_BYTES_MAX, ProtocolError};

/// The bit of a compressed message in the first byte of its frame (RFC 7692 §6).
const RSV1: u8 = 0x40;

/// The end that a sender takes off every message (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bytes of output that are reserved at a time.
const STEP_BYTES: usize = 4 * 1024;

/// Whether the answer to a handshake accepts the offer.
pub fn is_accepted(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer).to_ascii_lowercase();
    answer.lines().any(|line| {
        let extensions = line.strip_prefix("sec-websocket-extensions:");
        extensions
            .is_some_and(|value| value.contains("permessage-deflate") && value.contains("server_no_context_takeover"))
    })
}

/// Inflates frames. A server that compresses a message once for all members sends all of them the same bytes, so the
/// last message is remembered and inflated only once.
pub struct Inflater {
    decompress: Decompress,
    /// The last compressed payload, and what it was.
    last: (Vec<u8>, Vec<u8>),
    /// The plain frames of the last call.
    plain: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { decompress: Decompress::new(false), last: (Vec::new(), Vec::new()), plain: Vec::new() }
    }
}

impl Inflater {
    /// Inflates all frames of the input that are complete. Returns their length and the plain frames.
    ///
    /// # Errors
    /// A frame is too long, masked, or no DEFLATE.
    pub fn inflate_all(&mut self, input: &[u8]) -> Result<(usize, &[u8]), ProtocolError> {
        self.plain.clear();
        let mut used = 0;
        while let Some((header, length)) = frame_header(&input[used..])? {
            let Some(frame) = input[used..].get(..header + length) else { break };
            used += frame.len();
            if frame[0] & RSV1 == 0 {
                self.plain.extend_from_slice(frame);
                continue;
            }
            self.inflate(&frame[header..])?;
            encode_header(frame[0] & !RSV1, 0, self.last.1.len(), &mut self.plain);
            self.plain.extend_from_slice(&self.last.1);
        }
        Ok((used, &self.plain))
    }

    /// Inflates one message, unless it is the last one again.
    fn inflate(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        let Self { decompress, last: (compressed, text), .. } = self;
        let length = payload.len();
        if compressed.strip_suffix(&TAIL) == Some(payload) {
            return Ok(());
        }
        compressed.clear();
        compressed.extend_from_slice(payload);
        compressed.extend_from_slice(&TAIL);
        text.clear();
        decompress.reset(false);
        loop {
            text.reserve(STEP_BYTES);
            let rest = &compressed[decompress.total_in() as usize..];
            let status = decompress.decompress_vec(rest, text, FlushDecompress::Sync);
            let is_complete = decompress.total_in() as usize >= length && text.len() < text.capacity();
            match status {
                Ok(Status::StreamEnd) => return Ok(()),
                Ok(_) if is_complete => return Ok(()),
                Ok(Status::Ok) if text.len() <= FRAME_BYTES_MAX => {}
                _ => {
                    let error = ProtocolError::new(payload);
                    compressed.clear();
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// A compressed message as a server sends it.
    fn compressed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 64);
        let mut compress = Compress::new(Compression::default(), false);
        compress.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        frame(0xc1, &out)
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_header(first, 0, payload.len(), &mut out);
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn compressed_and_plain_frames_come_out_plain_in_their_order_at_every_cut() {
        let long = "[ada] never gonna give you up ".repeat(1_000);
        let frames = [compressed(long.as_bytes()), compressed(long.as_bytes()), frame(0x81, b"hi"), compressed(b"")];
        let plain = [frame(0x81, long.as_bytes()), frame(0x81, long.as_bytes()), frame(0x81, b"hi"), frame(0x81, b"")];
        let (input, expected) = (frames.concat(), plain.concat());
        for cut in 0..=input.len() {
            let mut inflater = Inflater::default();
            let (used, first) = inflater.inflate_all(&input[..cut]).unwrap();
            let first = first.to_vec();
            let (rest, second) = inflater.inflate_all(&input[used..]).unwrap();
            assert_eq!(used + rest, input.len());
            assert!([&first, second].concat() == expected, "cut at {cut}");
        }
    }

    #[test]
    fn words_shrink_as_chat_does() {
        let ratio = compressed(&crate::payload::words(1_024)).len() as f64 / 1_024.0;
        assert!((0.38..0.6).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_window_of_an_earlier_message_is_not_needed() {
        let mut inflater = Inflater::default();
        for text in ["a room", "a room of one's own", "a room"] {
            let input = compressed(text.as_bytes());
            assert_eq!(inflater.inflate_all(&input), Ok((input.len(), &frame(0x81, text.as_bytes())[..])));
        }
    }

    #[test]
    fn nonsense_and_bombs_are_refused() {
        assert!(Inflater::default().inflate_all(&frame(0xc1, &[0xff; 20])).is_err());
        let bomb = compressed(&vec![0; 4 * FRAME_BYTES_MAX]);
        assert!(Inflater::default().inflate_all(&bomb).is_err());
    }

    #[test]
    fn only_an_answer_without_context_takeover_accepts() {
        let answer = |value: &str| format!("HTTP/1.1 101 Switching\r\nSec-WebSocket-Extensions: {value}\r\n\r\n");
        assert!(is_accepted(answer("permessage-deflate; server_no_context_takeover").as_bytes()));
        assert!(!is_accepted(answer("permessage-deflate").as_bytes()));
        assert!(!is_accepted(b"HTTP/1.1 101 Switching\r\n\r\n"));
    }
}
