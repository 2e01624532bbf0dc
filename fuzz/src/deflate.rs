//! Compressed messages (RFC 7692). What the server inflates is what another implementation of DEFLATE makes of the same
//! bytes, and never longer than the limit; what either side compresses, the other one reads.

use flate2::{Compress, FlushCompress};
use harness::frame::{FINAL_BINARY, frame};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use roomcast::protocol::compression::{Compression, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use roomcast::protocol::websocket::{FrameError, Message, MessageDecoder, Received, encode};

use crate::input::choices;

/// RSV1, in the first byte of a compressed message (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;

/// The end of what a compressor has flushed, without which a message is sent (RFC 7692 §7.2.1).
const FLUSHED: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A last block without data, behind which a stream has ended.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// The longest message of a round trip, whatever the limit of the other.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The bytes as a compressed message, and as a message to compress.
pub fn deflate(input: &[u8]) {
    let ([limit, window, level, flush], bytes) = choices::<4>(input);
    let bytes_max = 1 + usize::from(limit) * 64;
    if let Ok(message) = inflated_by_server(bytes, bytes_max) {
        assert!(message.len() <= bytes_max);
        assert_eq!(inflated_by_model(bytes, bytes_max), Some(message), "another implementation reads the same");
    }
    let window_bits = WINDOW_BITS_MIN + window % (WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1);
    check_server_compresses(bytes, window_bits);
    let compressed = compressed_by_client(bytes, window_bits, level % 10, flush);
    assert_eq!(inflated_by_server(&compressed, MESSAGE_BYTES_MAX).as_deref(), Ok(bytes), "what a client compresses");
}

fn inflated_by_server(compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, FrameError> {
    let (mut decoder, mut framed) = (MessageDecoder::new(true), frame(FINAL_BINARY | COMPRESSED, compressed));
    match decoder.next(&mut framed, bytes_max)? {
        Some(Received { message: Some(Message::Binary(message)), .. }) => Ok(message.to_vec()),
        other => panic!("a whole frame is a message: {other:?}"),
    }
}

/// The message whose compressed form this is. `None` if it is longer than the limit, or no DEFLATE.
fn inflated_by_model(compressed: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let stream = [compressed, &FLUSHED, &LAST_BLOCK].concat();
    let (mut rest, mut message, mut written) = (&stream[..], vec![0; bytes_max + 1], 0);
    let mut decompressor = DecompressorOxide::new();
    loop {
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, wrote) = decompress(&mut decompressor, rest, &mut message, written, flags);
        (rest, written) = (&rest[read..], written + wrote);
        if status != TINFLStatus::Done {
            return None;
        }
        if rest.is_empty() {
            message.truncate(written);
            return Some(message);
        }
        // More blocks may follow the last one (RFC 7692 §7.2.3.5).
        decompressor.init();
    }
}

/// What the server compresses is shorter and is read as it was; what it does not, it sends as it is.
fn check_server_compresses(message: &[u8], window_bits: u8) {
    let mut framed = message.to_vec();
    encode::binary(Compression::Deflate { bytes_min: 0, window_bits }, &mut framed, 0);
    let is_compressed = framed[0] & COMPRESSED != 0;
    let length = match framed[1] {
        126 => usize::from(u16::from_be_bytes([framed[2], framed[3]])),
        short => usize::from(short),
    };
    let payload = &framed[encode::header_bytes(length)..];
    assert_eq!(payload.len(), length, "no message here needs more than 16 bits");
    if is_compressed {
        assert!(length < message.len(), "it is shorter for it");
        assert_eq!(inflated_by_model(payload, message.len()).as_deref(), Some(message));
    } else {
        assert_eq!(payload, message);
    }
}

/// The message as a client may compress it: in two pieces with a flush between them.
fn compressed_by_client(message: &[u8], window_bits: u8, level: u8, flush: u8) -> Vec<u8> {
    use FlushCompress::{Full, None, Partial, Sync};
    let flush = [None, Partial, Sync, Full][usize::from(flush % 4)];
    let level = flate2::Compression::new(level.into());
    let mut compressor = Compress::new_with_window_bits(level, false, window_bits);
    let mut out = Vec::with_capacity(2 * message.len() + 1024);
    let (first, second) = message.split_at(message.len() / 2);
    for (piece, flush) in [(first, flush), (second, Sync)] {
        compressor.compress_vec(piece, &mut out, flush).expect("there is room for it");
    }
    if out.ends_with(&FLUSHED) {
        out.truncate(out.len() - FLUSHED.len());
    }
    out
}
