//! Roomcast's lines in WebSocket text messages (RFC 6455). The handshake key and the mask are constants: nothing here
//! is secret, and there is no proxy in between. Fragments are not understood, and compressed frames only once `Inflater`
//! has inflated them.

use super::{Closing, Dialect, FRAME_BYTES_MAX, Incoming, ProtocolError, line, lines};
use crate::target::Target;

/// The example of RFC 6455 §1.3, and the accept key that a server must answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The header by which a client offers compression. Neither side keeps its window, so each message stands for itself.
const OFFER: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n";

/// The start of every handshake answer.
const HTTP: &[u8] = b"HTTP/";

/// Not zero, so that unmasking costs the server its usual work.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The bit of a frame with a mask, beside its length.
const MASKED: u8 = 0x80;

const FINAL_TEXT: u8 = 0x81;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PING: u8 = 0x89;
const FINAL_PONG: u8 = 0x8a;

/// The dialect of `ws://host:port/ws`.
pub struct WebSocket;

impl Dialect for WebSocket {
    fn encode_handshake(&self, target: &Target, out: &mut Vec<u8>) {
        encode_request(target, None, out);
    }

    fn has_handshake(&self) -> bool {
        true
    }

    fn publishing_needs_join(&self) -> bool {
        true
    }

    fn join(&self, room: &str, out: &mut Vec<u8>) {
        encode_frame(FINAL_TEXT, lines::join(room).as_bytes(), out);
    }

    fn leave(&self, _: &str, out: &mut Vec<u8>) {
        encode_frame(FINAL_TEXT, lines::LEAVE.as_bytes(), out);
    }

    fn publish(&self, _: &str, text: &[u8], out: &mut Vec<u8>) {
        encode_frame(FINAL_TEXT, text, out);
    }

    #[inline]
    fn decode<'a>(&self, opened: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        if opened {
            decode_frame(input, FINAL_TEXT, |text| Ok(lines::decode_line(text)))
        } else {
            decode_handshake(input)
        }
    }
}

/// Encodes the request for the handshake, with this subprotocol if there is one.
pub fn encode_request(target: &Target, subprotocol: Option<&str>, out: &mut Vec<u8>) {
    let Target { host, path, .. } = target;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    out.extend_from_slice(request.as_bytes());
    if let Some(name) = subprotocol {
        out.extend_from_slice(format!("Sec-WebSocket-Protocol: {name}\r\n").as_bytes());
    }
    if target.is_deflated {
        out.extend_from_slice(OFFER.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Decodes the answer to the handshake.
pub fn decode_handshake(input: &[u8]) -> Result<Option<(usize, Incoming<'_>)>, ProtocolError> {
    let shared = input.len().min(HTTP.len());
    if input[..shared] != HTTP[..shared] {
        let Some((line, _)) = line(input) else { return Ok(None) };
        let words = ProtocolError::new(line).0;
        let reason = format!("is this the port for lines? tcp:// speaks to it; it says {words:?}");
        return Ok(Some((input.len(), Incoming::Closed(reason.into()))));
    }
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&input[..end]);
    if !head.starts_with("HTTP/1.1 101 ") {
        return Ok(Some((end + 4, Incoming::Closed(Closing::by_answer(&head)))));
    }
    if head.contains(ACCEPT) { Ok(Some((end + 4, Incoming::HandshakeDone))) } else { Err(ProtocolError::new(input)) }
}

/// Decodes a frame, with `decode` for messages, which begin with the byte `first`.
#[inline]
pub fn decode_frame<'a>(
    input: &'a [u8],
    first: u8,
    decode: impl FnOnce(&'a [u8]) -> Result<Incoming<'a>, ProtocolError>,
) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
    let Some((header, length)) = frame_header(input)? else { return Ok(None) };
    let Some(payload) = input.get(header..header + length) else { return Ok(None) };
    let heard = match input[0] {
        kind if kind == first => decode(payload)?,
        FINAL_PING => Incoming::ReplyNeeded(pong(payload)),
        FINAL_PONG => Incoming::Other,
        FINAL_CLOSE => Incoming::Closed(closing(payload)),
        _ => return Err(ProtocolError::new(input)),
    };
    Ok(Some((header + length, heard)))
}

/// Lengths of the header and of the payload (RFC 6455 §5.2). A server never masks.
#[inline]
pub fn frame_header(input: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
    let sizes = match *input {
        [_, length @ ..=125, ..] => (2, usize::from(length)),
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize),
        [_, 126 | 127, ..] | [] | [_] => return Ok(None),
        _ => return Err(ProtocolError::new(input)),
    };
    if sizes.1 > FRAME_BYTES_MAX {
        return Err(ProtocolError::new(input));
    }
    Ok(Some(sizes))
}

fn closing(payload: &[u8]) -> Closing {
    match *payload {
        [high, low] => format!("close code {}", u16::from_be_bytes([high, low])).into(),
        [high, low, ref words @ ..] => {
            let Closing { reason, retry_after } = Closing::in_words(words);
            Closing { reason: format!("{reason}, close code {}", u16::from_be_bytes([high, low])), retry_after }
        }
        _ => "close without a code".to_owned().into(),
    }
}

fn pong(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(FINAL_PONG, payload, &mut out);
    out
}

/// Encodes the first two bytes of a frame and its length. `mask_bit` is 0 or [`MASKED`].
pub fn encode_header(kind: u8, mask_bit: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    match length {
        ..=125 => out.push(mask_bit | length as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Encodes a masked client frame.
pub fn encode_frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    encode_header(kind, MASKED, payload.len(), out);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn decode(input: &[u8]) -> Option<(usize, Incoming<'_>)> {
        WebSocket.decode(true, input).unwrap()
    }

    #[test]
    fn a_frame_is_heard_whole_at_every_cut() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let text = [b"[".as_slice(), &vec![b'x'; length]].concat();
            let mut masked = Vec::new();
            encode_frame(FINAL_TEXT, &text, &mut masked);
            // A server's frame has neither the mask bit nor the mask.
            let header = masked.len() - text.len() - MASK.len();
            let mut input = masked[..header].to_vec();
            input[1] &= 0x7f;
            input.extend_from_slice(&text);
            assert_eq!(decode(&input), Some((input.len(), Incoming::Message(&text))));
            for cut in [0, 1, header - 1, input.len() - 1] {
                assert_eq!(decode(&input[..cut]), None, "cut at {cut} of {}", input.len());
            }
        }
    }

    #[test]
    fn only_the_right_answer_opens() {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        assert_eq!(WebSocket.decode(false, answer.as_bytes()), Ok(Some((answer.len(), Incoming::HandshakeDone))));
        assert!(WebSocket.decode(false, b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
        let full = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 11\r\n\r\n";
        let retry_after = Some(Duration::from_secs(11));
        let closing = Closing { reason: "HTTP/1.1 503 Service Unavailable".to_owned(), retry_after };
        assert_eq!(WebSocket.decode(false, full), Ok(Some((full.len(), Incoming::Closed(closing)))));
    }

    #[test]
    fn an_answer_of_the_port_for_lines_is_known() {
        assert_eq!(WebSocket.decode(false, b"HT"), Ok(None));
        let Ok(Some((_, Incoming::Closed(Closing { reason, .. })))) = WebSocket.decode(false, b"Welcome!\nERR") else {
            panic!("it goes on")
        };
        assert!(reason.starts_with("is this the port for lines?") && reason.ends_with("\"Welcome!\""), "{reason}");
    }

    #[test]
    fn pings_are_answered_and_closes_have_reasons() {
        let mut pong = Vec::new();
        encode_frame(FINAL_PONG, b"hi", &mut pong);
        assert_eq!(decode(b"\x89\x02hi"), Some((4, Incoming::ReplyNeeded(pong))));
        let closed = |reason: &str, retry_after| Incoming::Closed(Closing { reason: reason.to_owned(), retry_after });
        assert_eq!(decode(b"\x88\x02\x0f\xa8"), Some((4, closed("close code 4008", None))));
        assert_eq!(decode(b"\x88\x06\x0f\xa8slow"), Some((8, closed("slow, close code 4008", None))));
        let hinted = closed("shutdown, close code 1001", Some(Duration::from_secs(11)));
        assert_eq!(decode(b"\x88\x13\x03\xe9shutdown retry=11"), Some((21, hinted)));
    }

    #[test]
    fn masked_frames_and_fragments_are_nonsense() {
        assert!(WebSocket.decode(true, b"\x81\x82\0\0\0\0hi").is_err());
        assert!(WebSocket.decode(true, b"\x01\x02hi").is_err());
        assert!(WebSocket.decode(true, b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff").is_err(), "2^64 - 1 bytes");
    }
}
