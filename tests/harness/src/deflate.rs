//! Compressed messages of a WebSocket client (RFC 7692).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::frame::{FINAL_TEXT, frame};
use super::{Endpoint, HANDSHAKE, WebSocket};

/// The bit of a compressed message, beside the opcode in the first byte.
pub const COMPRESSED: u8 = 0x40;

/// The end of what was flushed, without which a message is sent.
const FLUSHED: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Longer than any message of a test.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The handshake with these extensions offered.
pub fn handshake_with(extensions: &str) -> String {
    HANDSHAKE.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n"))
}

/// The compressed form of a message.
pub fn deflated(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let mut payload = Vec::with_capacity(message.len() + 1024);
    let mut compress = Compress::new(Compression::default(), false);
    compress.compress_vec(message, &mut payload, FlushCompress::Sync).expect("room for it");
    payload.truncate(payload.len() - FLUSHED.len());
    payload
}

/// The message whose compressed form this is.
pub fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(MESSAGE_BYTES_MAX);
    let mut decompress = Decompress::new(false);
    for part in [payload, &FLUSHED] {
        decompress.decompress_vec(part, &mut message, FlushDecompress::Sync).expect("deflate data");
    }
    message
}

/// A text in one compressed frame.
pub fn compressed_text(text: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FINAL_TEXT | COMPRESSED, deflated(text))
}

impl WebSocket {
    /// Connects with an offer of permessage-deflate, which the server accepts.
    #[track_caller]
    pub fn connect_deflating(server: impl Into<Endpoint>, offer: &str) -> Self {
        let client = Self::upgrade(server, handshake_with(offer));
        assert!(client.may_be_compressed, "{offer} was declined");
        client
    }

    /// The next frame is this text, compressed. Returns the length of its payload.
    #[track_caller]
    pub fn expect_compressed(&mut self, text: &str) -> usize {
        let (first, payload) = self.frame().expect("a frame, not the end");
        assert_eq!(first, FINAL_TEXT | COMPRESSED, "{:?}", String::from_utf8_lossy(&payload));
        assert_eq!(String::from_utf8(inflated(&payload)).expect("text"), text);
        payload.len()
    }
}
