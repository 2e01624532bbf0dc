//! Roomcast's words in WebSocket text messages (RFC 6455). The key of the handshake and the mask are fixed: nothing here is a
//! secret, and no proxy stands between. Extensions and fragments are never asked for, and not understood.

use super::{Dialect, FRAME_BYTES_MAX, Heard, Nonsense, line, lines};
use crate::target::Target;

/// The example of RFC 6455 §1.3, and what a server must answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How every answer to the handshake begins.
const HTTP: &[u8] = b"HTTP/";

/// Not zero, so that the server has its work.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const FINAL_TEXT: u8 = 0x81;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PING: u8 = 0x89;
const FINAL_PONG: u8 = 0x8a;

/// Text messages at `ws://host:port/ws`.
pub struct WebSocket;

impl Dialect for WebSocket {
    fn greet(&self, target: &Target, out: &mut Vec<u8>) {
        let Target { host, path, .. } = target;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        out.extend_from_slice(request.as_bytes());
    }

    fn waits_for_opening(&self) -> bool {
        true
    }

    fn hears_members_only(&self) -> bool {
        true
    }

    fn join(&self, room: &str, out: &mut Vec<u8>) {
        frame(FINAL_TEXT, lines::join(room).as_bytes(), out);
    }

    fn leave(&self, _: &str, out: &mut Vec<u8>) {
        frame(FINAL_TEXT, lines::LEAVE.as_bytes(), out);
    }

    fn publish(&self, _: &str, text: &[u8], out: &mut Vec<u8>) {
        frame(FINAL_TEXT, text, out);
    }

    #[inline]
    fn hear<'a>(&self, opened: bool, input: &'a [u8]) -> Result<Option<(usize, Heard<'a>)>, Nonsense> {
        if opened { hear_frame(input) } else { hear_answer(input) }
    }
}

/// The answer to the handshake.
fn hear_answer(input: &[u8]) -> Result<Option<(usize, Heard<'_>)>, Nonsense> {
    let shared = input.len().min(HTTP.len());
    if input[..shared] != HTTP[..shared] {
        let Some((line, _)) = line(input) else { return Ok(None) };
        let words = Nonsense::new(line).0;
        let reason = format!("is this the port for lines? tcp:// speaks to it; it says {words:?}");
        return Ok(Some((input.len(), Heard::Ended(reason))));
    }
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&input[..end]);
    if !head.starts_with("HTTP/1.1 101 ") {
        let status = line(input).map_or(Vec::new(), |(line, _)| line.to_vec());
        return Ok(Some((end + 4, Heard::Ended(String::from_utf8_lossy(&status).into_owned()))));
    }
    if head.contains(ACCEPT) { Ok(Some((end + 4, Heard::Opened))) } else { Err(Nonsense::new(input)) }
}

fn hear_frame(input: &[u8]) -> Result<Option<(usize, Heard<'_>)>, Nonsense> {
    let Some((header, length)) = frame_header(input)? else { return Ok(None) };
    let Some(payload) = input.get(header..header + length) else { return Ok(None) };
    let heard = match input[0] {
        FINAL_TEXT => lines::understand(payload),
        FINAL_PING => Heard::Asked(pong(payload)),
        FINAL_PONG => Heard::Nothing,
        FINAL_CLOSE => Heard::Ended(reason(payload)),
        _ => return Err(Nonsense::new(input)),
    };
    Ok(Some((header + length, heard)))
}

/// The length of the header and of the payload (RFC 6455 §5.2); a server never masks.
fn frame_header(input: &[u8]) -> Result<Option<(usize, usize)>, Nonsense> {
    let sizes = match *input {
        [_, length @ ..=125, ..] => (2, usize::from(length)),
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize),
        [_, 126 | 127, ..] | [] | [_] => return Ok(None),
        _ => return Err(Nonsense::new(input)),
    };
    if sizes.1 > FRAME_BYTES_MAX {
        return Err(Nonsense::new(input));
    }
    Ok(Some(sizes))
}

fn reason(payload: &[u8]) -> String {
    match *payload {
        [high, low] => format!("close code {}", u16::from_be_bytes([high, low])),
        [high, low, ref reason @ ..] => {
            format!("{}, close code {}", String::from_utf8_lossy(reason), u16::from_be_bytes([high, low]))
        }
        _ => "close without a code".to_owned(),
    }
}

fn pong(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame(FINAL_PONG, payload, &mut out);
    out
}

/// A frame of a client: masked.
fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    const MASKED: u8 = 0x80;
    out.push(kind);
    match payload.len() {
        length @ ..=125 => out.push(MASKED | length as u8),
        length @ ..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(input: &[u8]) -> Option<(usize, Heard<'_>)> {
        WebSocket.hear(true, input).unwrap()
    }

    #[test]
    fn a_frame_is_heard_whole_at_every_cut() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let text = [b"[".as_slice(), &vec![b'x'; length]].concat();
            let mut masked = Vec::new();
            frame(FINAL_TEXT, &text, &mut masked);
            // As a server would say it: neither the bit nor the mask.
            let header = masked.len() - text.len() - MASK.len();
            let mut input = masked[..header].to_vec();
            input[1] &= 0x7f;
            input.extend_from_slice(&text);
            assert_eq!(hear(&input), Some((input.len(), Heard::Message(&text))));
            for cut in [0, 1, header - 1, input.len() - 1] {
                assert_eq!(hear(&input[..cut]), None, "cut at {cut} of {}", input.len());
            }
        }
    }

    #[test]
    fn only_the_right_answer_opens() {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        assert_eq!(WebSocket.hear(false, answer.as_bytes()), Ok(Some((answer.len(), Heard::Opened))));
        assert!(WebSocket.hear(false, b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
        let full = b"HTTP/1.1 503 Service Unavailable\r\n\r\n";
        let reason = "HTTP/1.1 503 Service Unavailable".to_owned();
        assert_eq!(WebSocket.hear(false, full), Ok(Some((full.len(), Heard::Ended(reason)))));
    }

    #[test]
    fn an_answer_of_the_port_for_lines_is_known() {
        assert_eq!(WebSocket.hear(false, b"HT"), Ok(None));
        let Ok(Some((_, Heard::Ended(reason)))) = WebSocket.hear(false, b"Welcome!\nERR") else { panic!("it goes on") };
        assert!(reason.starts_with("is this the port for lines?") && reason.ends_with("\"Welcome!\""), "{reason}");
    }

    #[test]
    fn pings_are_answered_and_closes_have_reasons() {
        let mut pong = Vec::new();
        frame(FINAL_PONG, b"hi", &mut pong);
        assert_eq!(hear(b"\x89\x02hi"), Some((4, Heard::Asked(pong))));
        assert_eq!(hear(b"\x88\x02\x0f\xa8"), Some((4, Heard::Ended("close code 4008".into()))));
        assert_eq!(hear(b"\x88\x06\x0f\xa8slow"), Some((8, Heard::Ended("slow, close code 4008".into()))));
    }

    #[test]
    fn masked_frames_and_fragments_are_nonsense() {
        assert!(WebSocket.hear(true, b"\x81\x82\0\0\0\0hi").is_err());
        assert!(WebSocket.hear(true, b"\x01\x02hi").is_err());
        assert!(WebSocket.hear(true, b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff").is_err(), "2^64 - 1 bytes");
    }
}
