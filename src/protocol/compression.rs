//! Compression of WebSocket messages: permessage-deflate (RFC 7692). Each message is compressed for itself, without what
//! came before, so that no state is kept for a client and all clients that have negotiated the same get the same bytes.

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::websocket::FrameError;

/// The end of what a compressor has flushed. Messages are sent without it (RFC 7692 §7.2.1).
const FLUSHED: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What is put behind a compressed message to read it: the end that it was sent without, and a last block without data. A
/// message that is cut short does not end there.
const ENDING: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// The level of compression. On English text in JSON, levels from 3 up save 1 % more of 1 KiB and take 15 to 50 % longer;
/// level 1 takes half as long and saves half as much (`cargo bench --bench frames -- encode` has the times).
const LEVEL: u32 = 2;

/// The least window that zlib compresses with, as a base-2 logarithm.
pub const WINDOW_BITS_MIN: u8 = 9;

/// The largest window of DEFLATE, as a base-2 logarithm.
pub const WINDOW_BITS_MAX: u8 = 15;

const WINDOWS: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN) as usize + 1;

thread_local! {
    /// A compressor for each window. It takes up to 330 KiB, once a message was compressed on the thread.
    static COMPRESSORS: RefCell<[Option<Compress>; WINDOWS]> = const { RefCell::new([const { None }; WINDOWS]) };

    /// The largest window reads messages of every window.
    static DECOMPRESSOR: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Whether the messages to a client are compressed. Part of its dialect, so that a message is compressed once for all
/// clients that have negotiated the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// By DEFLATE, each message for itself, without what came before (`server_no_context_takeover`).
    Deflate {
        /// The shortest message that is compressed, in bytes: shorter ones are sent as they are.
        bytes_min: u16,
        /// The base-2 logarithm of the window, 9 to 15 (`server_max_window_bits`).
        window_bits: u8,
    },
}

impl Compression {
    /// The compressed form of a message; `None` if it is too short to be compressed, or no shorter for it. Takes about
    /// 15 µs and 15 µs for each KiB.
    pub(super) fn compress(self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Deflate { bytes_min, window_bits } if message.len() >= usize::from(bytes_min) => {
                deflate(message, window_bits)
            }
            _ => None,
        }
    }
}

fn deflate(message: &[u8], window_bits: u8) -> Option<Vec<u8>> {
    // Compression ends early where the result is not shorter.
    let mut compressed = Vec::with_capacity(message.len() + FLUSHED.len());
    COMPRESSORS.with_borrow_mut(|compressors| {
        let compressor = compressors[usize::from(window_bits - WINDOW_BITS_MIN)]
            .get_or_insert_with(|| Compress::new_with_window_bits(flate2::Compression::new(LEVEL), false, window_bits));
        compressor.reset();
        compressor.compress_vec(message, &mut compressed, FlushCompress::Sync).ok()
    })?;
    let is_whole = compressed.len() < compressed.capacity() && compressed.ends_with(&FLUSHED);
    compressed.truncate(compressed.len().saturating_sub(FLUSHED.len()));
    (is_whole && compressed.len() < message.len()).then_some(compressed)
}

/// The least memory that an inflated message takes at first, in bytes.
const INFLATED_BYTES_MIN: usize = 64;

/// The longest compressed form of a message, in bytes. Incompressible data is longer by up to an eighth in the codes that
/// DEFLATE fixes, which some compressors always use.
pub(super) const fn compressed_bytes_max(bytes_max: usize) -> usize {
    bytes_max + bytes_max / 8 + 64
}

/// The message whose compressed form this is. Takes up to `bytes_max` + 1 bytes of memory, whatever the message would take.
///
/// # Errors
/// The message is longer than `bytes_max`, or the data is not DEFLATE's (RFC 1951) from its beginning to its end.
pub(super) fn inflate(compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, FrameError> {
    let mut message = Vec::new();
    let is_whole = DECOMPRESSOR.with_borrow_mut(|decompressor| {
        decompressor.reset(false);
        inflate_part(decompressor, compressed, &mut message, bytes_max)?;
        inflate_part(decompressor, &ENDING, &mut message, bytes_max)
    })?;
    if is_whole { Ok(message) } else { Err(NOT_DEFLATE) }
}

const NOT_DEFLATE: FrameError = FrameError::Protocol("a compressed message is whole and DEFLATE");

/// Inflates all of `input`. Returns whether it ended with a last block.
fn inflate_part(
    decompressor: &mut Decompress,
    mut input: &[u8],
    message: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<bool, FrameError> {
    loop {
        if message.len() == message.capacity() {
            let capacity = (2 * message.len()).max(4 * input.len()).max(INFLATED_BYTES_MIN).min(bytes_max + 1);
            message.reserve_exact(capacity - message.len());
        }
        let before = decompressor.total_in();
        let status = decompressor.decompress_vec(input, message, FlushDecompress::None).map_err(|_| NOT_DEFLATE)?;
        input = &input[(decompressor.total_in() - before) as usize..];
        if message.len() > bytes_max {
            return Err(FrameError::TooLong { bytes: message.len() as u64, bytes_max });
        }
        match status {
            Status::StreamEnd if input.is_empty() => return Ok(true),
            // More blocks may follow the last one (RFC 7692 §7.2.3.5).
            Status::StreamEnd => decompressor.reset(false),
            Status::Ok | Status::BufError if input.is_empty() && message.len() < message.capacity() => {
                return Ok(false);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}
