//! WebSocket frames and messages (RFC 6455 §5), decoded in place. Never allocates for a message in one frame.
//!
//! The decoder is our own. The sans-I/O crate `websocket-sans-io` returns chunks, so that the connection would have to
//! assemble every frame that a packet cuts, and keeps 48 bytes of state per client. Here an incomplete frame is
//! `Ok(None)`, as with lines, and an idle client keeps 16 bytes (docs/decisions/0005-own-frame-decoder.md).

use thiserror::Error;

use super::compression::{compressed_bytes_max, inflate};
use super::disconnect::Disconnect;

/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A message may have this many fragments in any case.
const FRAGMENTS_MAX: usize = 1_024;

/// If the limit allows longer messages, they may be sent in fragments of this size. Only an attacker sends them byte by
/// byte.
const FRAGMENT_BYTES: usize = 64;

/// Set in the first byte of a compressed message (RSV1, RFC 7692 §6).
const COMPRESSED: u8 = 0x40;

const RESERVED_BITS: FrameError = FrameError::Protocol("reserved bits are zero without an extension");

/// Why a frame was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the text of each error says what its fields are")]
pub enum FrameError {
    /// The frame breaks this rule of RFC 6455.
    #[error("{0}")]
    Protocol(&'static str),
    #[error("message of {bytes} bytes exceeds {bytes_max}")]
    TooLong { bytes: u64, bytes_max: usize },
    #[error("message in more than {fragments_max} fragments")]
    TooManyFragments { fragments_max: usize },
    #[error("text is UTF-8")]
    NotUtf8,
}

impl FrameError {
    /// The reason for which the connection ends.
    pub fn disconnect(&self) -> Disconnect {
        match self {
            Self::Protocol(_) | Self::TooManyFragments { .. } => Disconnect::ProtocolError,
            Self::TooLong { .. } => Disconnect::TooLong,
            Self::NotUtf8 => Disconnect::NotUtf8,
        }
    }
}

/// The kind of a frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// One whole frame, its payload unmasked in place.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'a> {
    is_final: bool,
    /// The frame begins a compressed message.
    is_compressed: bool,
    opcode: Opcode,
    payload: &'a mut [u8],
}

/// One whole message of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping.
    Pong,
    /// The client closes the connection, with a code or without.
    Close(Option<u16>),
}

/// Assembles messages from frames. It takes 16 bytes while no message is incomplete.
#[derive(Debug, Default)]
pub struct MessageDecoder {
    partial: Option<Box<PartialMessage>>,
    /// The message in `partial` is complete; the caller of `next` has borrowed it.
    is_complete: bool,
    /// Messages may be compressed: permessage-deflate was negotiated.
    may_be_compressed: bool,
}

#[derive(Debug)]
struct PartialMessage {
    /// The opcode of the first fragment, which is that of the message.
    opcode: Opcode,
    is_compressed: bool,
    bytes: Vec<u8>,
    valid_up_to: usize,
    fragments: usize,
}

/// One whole frame of the input, and the message that it completes.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// `None` if the message needs more frames.
    pub message: Option<Message<'a>>,
    /// The length of the frame: the next one begins there.
    pub consumed: usize,
}

impl MessageDecoder {
    /// A decoder of messages that may be compressed if permessage-deflate (RFC 7692) was negotiated.
    pub fn new(may_be_compressed: bool) -> Self {
        Self { may_be_compressed, ..Self::default() }
    }

    /// Decodes the first frame of `input`; `None` if it is incomplete. Linear in the frame.
    ///
    /// # Errors
    /// The frame breaks a rule, and the connection is to be closed.
    pub fn next<'a>(&'a mut self, input: &'a mut [u8], bytes_max: usize) -> Result<Option<Received<'a>>, FrameError> {
        if std::mem::take(&mut self.is_complete) {
            self.partial = None;
        }
        let Some((frame, consumed)) = self.next_frame(input, bytes_max)? else { return Ok(None) };
        let message = match frame.opcode {
            Opcode::Ping => Some(Message::Ping(frame.payload)),
            Opcode::Pong => Some(Message::Pong),
            Opcode::Close => Some(Message::Close(close_code(frame.payload)?)),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.data(frame, bytes_max)?,
        };
        Ok(Some(Received { message, consumed }))
    }

    /// Memory of the incomplete message, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes.capacity())
    }

    fn data<'a>(&'a mut self, frame: Frame<'a>, bytes_max: usize) -> Result<Option<Message<'a>>, FrameError> {
        match (&self.partial, frame.opcode) {
            (None, Opcode::Continuation) => return Err(FrameError::Protocol("a continuation of nothing")),
            (Some(_), Opcode::Text | Opcode::Binary) => {
                return Err(FrameError::Protocol("a new message within another"));
            }
            (None, opcode) if frame.is_final && !frame.is_compressed => return whole(opcode, frame.payload).map(Some),
            _ => {}
        }
        let partial = self.partial.get_or_insert_with(|| Box::new(PartialMessage::new(&frame)));
        partial.append(&frame, bytes_max)?;
        if !frame.is_final {
            return Ok(None);
        }
        if partial.is_compressed {
            partial.bytes = inflate(&partial.bytes, bytes_max)?;
        }
        self.is_complete = true;
        whole(partial.opcode, &partial.bytes).map(Some)
    }

    /// The first whole frame and its length.
    fn next_frame<'a>(&self, input: &'a mut [u8], bytes_max: usize) -> Result<Option<(Frame<'a>, usize)>, FrameError> {
        let &[first, second, ..] = &*input else { return Ok(None) };
        let opcode = opcode(first)?;
        let (is_final, is_compressed) = (first & 0x80 != 0, first & COMPRESSED != 0);
        if is_compressed && !(self.may_be_compressed && matches!(opcode, Opcode::Text | Opcode::Binary)) {
            return Err(RESERVED_BITS);
        }
        if second & 0x80 == 0 {
            return Err(FrameError::Protocol("a client's frames are masked"));
        }
        let Some((length, length_end)) = payload_length(input, second & 0x7f)? else { return Ok(None) };
        if matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong) {
            if length > CONTROL_BYTES_MAX as u64 || !is_final {
                return Err(FrameError::Protocol("a control frame is whole and of at most 125 bytes"));
            }
        } else {
            self.check_length(length, opcode, is_compressed, bytes_max)?;
        }
        let start = length_end + 4;
        let end = start + usize::try_from(length).expect("within the limit");
        if input.len() < end {
            return Ok(None);
        }
        let mask: [u8; 4] = input[length_end..start].try_into().expect("four bytes");
        let payload = &mut input[start..end];
        unmask(payload, mask);
        Ok(Some((Frame { is_final, is_compressed, opcode, payload }, end)))
    }

    /// Holds a frame to the limit from its header alone, before a byte of the payload is kept. A continuation extends the
    /// incomplete message.
    fn check_length(
        &self,
        length: u64,
        opcode: Opcode,
        is_compressed: bool,
        bytes_max: usize,
    ) -> Result<(), FrameError> {
        let (received, is_compressed) = match &self.partial {
            Some(partial) if opcode == Opcode::Continuation => (partial.bytes.len(), partial.is_compressed),
            _ => (0, is_compressed),
        };
        let (bytes, bytes_max) =
            (length + received as u64, if is_compressed { compressed_bytes_max(bytes_max) } else { bytes_max });
        if bytes > bytes_max as u64 { Err(FrameError::TooLong { bytes, bytes_max }) } else { Ok(()) }
    }
}

/// A message of which all bytes have been received.
fn whole(opcode: Opcode, bytes: &[u8]) -> Result<Message<'_>, FrameError> {
    if opcode == Opcode::Binary {
        return Ok(Message::Binary(bytes));
    }
    simdutf8::basic::from_utf8(bytes).map(Message::Text).map_err(|_| FrameError::NotUtf8)
}

impl PartialMessage {
    fn new(first: &Frame<'_>) -> Self {
        let Frame { opcode, is_compressed, .. } = *first;
        Self { opcode, is_compressed, bytes: Vec::new(), valid_up_to: 0, fragments: 0 }
    }

    /// Appends a fragment. Fails as early as no continuation could make the text valid.
    fn append(&mut self, frame: &Frame<'_>, bytes_max: usize) -> Result<(), FrameError> {
        self.fragments += 1;
        let fragments_max = FRAGMENTS_MAX.max(bytes_max / FRAGMENT_BYTES);
        if self.fragments > fragments_max {
            return Err(FrameError::TooManyFragments { fragments_max });
        }
        self.bytes.extend_from_slice(frame.payload);
        // Compressed text is validated once it is whole.
        if self.opcode == Opcode::Text && !self.is_compressed { self.validate(frame.is_final) } else { Ok(()) }
    }

    /// Continues where the last fragment ended, so that each byte is validated once.
    fn validate(&mut self, is_final: bool) -> Result<(), FrameError> {
        match simdutf8::compat::from_utf8(&self.bytes[self.valid_up_to..]) {
            Ok(_) => self.valid_up_to = self.bytes.len(),
            Err(error) if error.error_len().is_none() && !is_final => self.valid_up_to += error.valid_up_to(),
            Err(_) => return Err(FrameError::NotUtf8),
        }
        Ok(())
    }
}

fn opcode(first: u8) -> Result<Opcode, FrameError> {
    if first & 0x30 != 0 {
        return Err(RESERVED_BITS);
    }
    Ok(match first & 0x0f {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xA => Opcode::Pong,
        _ => return Err(FrameError::Protocol("a reserved opcode")),
    })
}

/// The length of the payload and the position of the mask.
fn payload_length(input: &[u8], short: u8) -> Result<Option<(u64, usize)>, FrameError> {
    let rest = &input[2..];
    let (length, shortest, end) = match short {
        126 => (rest.first_chunk().map(|bytes| u64::from(u16::from_be_bytes(*bytes))), 126, 4),
        127 => (rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)), 1 << 16, 10),
        short => return Ok(Some((u64::from(short), 2))),
    };
    match length {
        Some(length) if length >> 63 != 0 => Err(FrameError::Protocol("a length has 63 bits")),
        Some(length) if length < shortest => Err(FrameError::Protocol("a length takes no more bytes than it needs")),
        length => Ok(length.map(|length| (length, end))),
    }
}

/// Works on words of eight bytes, which the compiler turns into SIMD.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// The code of a close frame (RFC 6455 §5.5.1, §7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [_] => Err(FrameError::Protocol("a close code has two bytes")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(FrameError::Protocol("a close code that nobody may send"));
            }
            std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
            Ok(Some(code))
        }
    }
}

/// The frames of a server: never masked, never in fragments.
pub mod encode {
    use super::COMPRESSED;
    use crate::protocol::compression::Compression;

    const FINAL_TEXT: u8 = 0x81;
    const FINAL_BINARY: u8 = 0x82;
    const FINAL_CLOSE: u8 = 0x88;
    const FINAL_PING: u8 = 0x89;
    const FINAL_PONG: u8 = 0x8A;

    /// The length of the header of a message: two bytes, and the length if it needs 16 or 64 bits.
    pub const fn header_bytes(length: usize) -> usize {
        match length {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        }
    }

    /// Turns the bytes of `out` from `start` on into a text message, in place.
    #[inline]
    pub fn text(compression: Compression, out: &mut Vec<u8>, start: usize) {
        message(FINAL_TEXT, compression, out, start);
    }

    /// Turns the bytes of `out` from `start` on into a binary message, in place.
    pub fn binary(compression: Compression, out: &mut Vec<u8>, start: usize) {
        message(FINAL_BINARY, compression, out, start);
    }

    #[inline]
    fn message(first: u8, compression: Compression, out: &mut Vec<u8>, start: usize) {
        match compression {
            Compression::None => frame(first, out, start),
            compression => compressed(first, compression, out, start),
        }
    }

    #[inline(never)]
    fn compressed(first: u8, compression: Compression, out: &mut Vec<u8>, start: usize) {
        let Some(compressed) = compression.compress(&out[start..]) else { return frame(first, out, start) };
        out.truncate(start);
        out.extend_from_slice(&compressed);
        frame(first | COMPRESSED, out, start);
        if start == 0 {
            // The outboxes count what is sent, and not what the message was longer by.
            out.shrink_to_fit();
        }
    }

    fn frame(first: u8, out: &mut Vec<u8>, start: usize) {
        let length = out.len() - start;
        let [high, low] = (length as u16).to_be_bytes();
        match length {
            0..=125 => drop(out.splice(start..start, [first, length as u8])),
            126..=0xffff => drop(out.splice(start..start, [first, 126, high, low])),
            _ => drop(out.splice(start..start, [first, 127].into_iter().chain((length as u64).to_be_bytes()))),
        }
    }

    /// A close frame; empty without a code.
    pub fn close(code: Option<u16>, reason: &str) -> Vec<u8> {
        let code = code.map(u16::to_be_bytes);
        let payload = [code.as_ref().map_or(&[][..], |code| &code[..]), reason.as_bytes()].concat();
        control(FINAL_CLOSE, &payload)
    }

    /// An empty ping.
    pub fn ping() -> Vec<u8> {
        control(FINAL_PING, &[])
    }

    /// The answer to a ping.
    pub fn pong(payload: &[u8]) -> Vec<u8> {
        control(FINAL_PONG, payload)
    }

    fn control(first: u8, payload: &[u8]) -> Vec<u8> {
        debug_assert!(payload.len() <= super::CONTROL_BYTES_MAX);
        [&[first, payload.len() as u8], payload].concat()
    }
}
