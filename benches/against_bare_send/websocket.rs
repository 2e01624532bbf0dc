//! As much of WebSocket (RFC 6455) as a member needs. Never reads a frame: a message is known by its first byte, which no text
//! of ours contains.

use crate::load::LINE_BYTES;

/// The first byte of a whole text message.
pub const FINAL_TEXT: u8 = 0x81;

/// One message as a member receives it: two bytes of header and the longest text that needs no more.
pub const FRAME_BYTES: usize = LINE_BYTES - 2;

/// What every member calls itself, so that all messages have one length.
pub const NICK: &str = "n";

/// The key is the example of RFC 6455 §1.3.
pub const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A short text as a server sends it.
pub fn from_server(text: &str) -> Vec<u8> {
    [&[FINAL_TEXT, text.len() as u8], text.as_bytes()].concat()
}

/// A short text as a client sends it: masked, with a key that changes nothing.
pub fn from_client(text: &str) -> Vec<u8> {
    [&[FINAL_TEXT, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// The message that makes a received frame `FRAME_BYTES` long.
pub fn message() -> Vec<u8> {
    from_client(&"x".repeat(FRAME_BYTES - 2 - "[] ".len() - NICK.len()))
}
