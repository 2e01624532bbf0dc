//! WebSocket frames and messages (RFC 6455 §5), decoded in place. Never allocates for a message that came whole.
//!
//! Our own decoder and not the sans-I/O crate `websocket-sans-io`: that one hands out chunks, so that every frame cut by a
//! packet would have to be put together by the connection, and it keeps 48 bytes of state for each. Here a frame that is
//! not whole is `Ok(None)`, as with lines, and an idle client keeps sixteen (docs/decisions/0005-own-frame-decoder.md).

use thiserror::Error;

use super::disconnect::Disconnect;

/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A message may always come in this many fragments.
const FRAGMENTS_MAX: usize = 1_024;

/// Where longer messages are allowed than so many of these, it may come in fragments of this size. A client that sends it
/// byte by byte is up to something.
const FRAGMENT_BYTES: usize = 64;

/// What a client did wrong; it decides the code of the close frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Something that RFC 6455 forbids.
    #[error("{0}")]
    Protocol(&'static str),
    /// A message over the limit.
    #[error("message of {bytes} bytes exceeds {bytes_max}")]
    TooLong {
        /// How long it is, or is already.
        bytes: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// A message in too many pieces.
    #[error("message in more than {fragments_max} fragments")]
    TooManyFragments {
        /// The limit.
        fragments_max: usize,
    },
    /// A text that is no UTF-8.
    #[error("text is UTF-8")]
    NotUtf8,
}

impl FrameError {
    /// Why the connection ends.
    pub fn disconnect(&self) -> Disconnect {
        match self {
            Self::Protocol(_) | Self::TooManyFragments { .. } => Disconnect::ProtocolError,
            Self::TooLong { .. } => Disconnect::TooLong,
            Self::NotUtf8 => Disconnect::NotUtf8,
        }
    }
}

/// What a frame carries (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// One whole frame, its payload unmasked where it lies.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'a> {
    is_final: bool,
    opcode: Opcode,
    payload: &'a mut [u8],
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text, whole.
    Text(&'a str),
    /// Bytes, whole.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping.
    Pong,
    /// The client closes, with this code if it gave one.
    Close(Option<u16>),
}

/// Puts messages together. Sixteen bytes while none is in the making.
#[derive(Debug, Default)]
pub struct MessageDecoder {
    partial: Option<Box<PartialMessage>>,
    /// The last message handed out, which `partial` still holds.
    is_done: bool,
}

#[derive(Debug)]
struct PartialMessage {
    /// Of the first fragment: what the message is.
    opcode: Opcode,
    bytes: Vec<u8>,
    valid_up_to: usize,
    fragments: usize,
}

/// What one step found.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// `None` for a fragment of a message still in the making.
    pub message: Option<Message<'a>>,
    /// The bytes to skip before the next frame.
    pub consumed: usize,
}

impl MessageDecoder {
    /// Takes the first whole frame of `input`; `None` when more bytes are needed. Linear in the frame.
    ///
    /// # Errors
    /// What the client did wrong; the connection is to be closed.
    pub fn next<'a>(&'a mut self, input: &'a mut [u8], bytes_max: usize) -> Result<Option<Received<'a>>, FrameError> {
        if std::mem::take(&mut self.is_done) {
            self.partial = None;
        }
        let begun = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let Some((frame, consumed)) = next_frame(input, begun, bytes_max)? else { return Ok(None) };
        let message = match frame.opcode {
            Opcode::Ping => Some(Message::Ping(frame.payload)),
            Opcode::Pong => Some(Message::Pong),
            Opcode::Close => Some(Message::Close(close_code(frame.payload)?)),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.data(frame, bytes_max)?,
        };
        Ok(Some(Received { message, consumed }))
    }

    /// Memory that a message in the making takes, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes.capacity())
    }

    fn data<'a>(&'a mut self, frame: Frame<'a>, bytes_max: usize) -> Result<Option<Message<'a>>, FrameError> {
        match (&self.partial, frame.opcode) {
            (None, Opcode::Continuation) => return Err(FrameError::Protocol("a continuation of nothing")),
            (Some(_), Opcode::Text | Opcode::Binary) => {
                return Err(FrameError::Protocol("a new message within another"));
            }
            (None, opcode) if frame.is_final => return whole(opcode, frame.payload).map(Some),
            _ => {}
        }
        let partial = self.partial.get_or_insert_with(|| Box::new(PartialMessage::new(frame.opcode)));
        partial.append(&frame, bytes_max)?;
        if !frame.is_final {
            return Ok(None);
        }
        self.is_done = true;
        whole(partial.opcode, &partial.bytes).map(Some)
    }
}

/// The message of all these bytes.
fn whole(opcode: Opcode, bytes: &[u8]) -> Result<Message<'_>, FrameError> {
    if opcode == Opcode::Binary {
        return Ok(Message::Binary(bytes));
    }
    simdutf8::basic::from_utf8(bytes).map(Message::Text).map_err(|_| FrameError::NotUtf8)
}

impl PartialMessage {
    fn new(opcode: Opcode) -> Self {
        Self { opcode, bytes: Vec::new(), valid_up_to: 0, fragments: 0 }
    }

    /// A fragment within the limit. Fails at the first byte of a text that no continuation could make right.
    fn append(&mut self, frame: &Frame<'_>, bytes_max: usize) -> Result<(), FrameError> {
        self.fragments += 1;
        let fragments_max = FRAGMENTS_MAX.max(bytes_max / FRAGMENT_BYTES);
        if self.fragments > fragments_max {
            return Err(FrameError::TooManyFragments { fragments_max });
        }
        self.bytes.extend_from_slice(frame.payload);
        if self.opcode == Opcode::Text { self.validate(frame.is_final) } else { Ok(()) }
    }

    /// Goes on where the last fragment ended, so that a message is looked at once however it is cut.
    fn validate(&mut self, is_final: bool) -> Result<(), FrameError> {
        match simdutf8::compat::from_utf8(&self.bytes[self.valid_up_to..]) {
            Ok(_) => self.valid_up_to = self.bytes.len(),
            Err(error) if error.error_len().is_none() && !is_final => self.valid_up_to += error.valid_up_to(),
            Err(_) => return Err(FrameError::NotUtf8),
        }
        Ok(())
    }
}

/// The first whole frame, and how many bytes it took. `begun` bytes have come of the message that a continuation continues.
fn next_frame(input: &mut [u8], begun: usize, bytes_max: usize) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let &[first, second, ..] = &*input else { return Ok(None) };
    let opcode = opcode(first)?;
    let is_final = first & 0x80 != 0;
    if second & 0x80 == 0 {
        return Err(FrameError::Protocol("a client's frames are masked"));
    }
    let Some((length, length_end)) = payload_length(input, second & 0x7f)? else { return Ok(None) };
    if matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong) {
        if length > CONTROL_BYTES_MAX as u64 || !is_final {
            return Err(FrameError::Protocol("a control frame is whole and of at most 125 bytes"));
        }
    } else {
        // Before a byte of it is kept.
        let begun = if opcode == Opcode::Continuation { begun as u64 } else { 0 };
        refuse_too_long(begun + length, bytes_max)?;
    }
    let start = length_end + 4;
    let end = start + usize::try_from(length).expect("within the limit");
    if input.len() < end {
        return Ok(None);
    }
    let mask: [u8; 4] = input[length_end..start].try_into().expect("four bytes");
    let payload = &mut input[start..end];
    unmask(payload, mask);
    Ok(Some((Frame { is_final, opcode, payload }, end)))
}

fn refuse_too_long(bytes: u64, bytes_max: usize) -> Result<(), FrameError> {
    if bytes > bytes_max as u64 { Err(FrameError::TooLong { bytes, bytes_max }) } else { Ok(()) }
}

fn opcode(first: u8) -> Result<Opcode, FrameError> {
    if first & 0x70 != 0 {
        return Err(FrameError::Protocol("reserved bits are zero without an extension"));
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

/// The length of the payload, and where the mask begins.
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

/// Eight bytes at a time, which the compiler widens.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes((&*chunk).try_into().expect("eight bytes")) ^ wide;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.into_iter().cycle()) {
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

/// How a server frames its messages: never masked, never in fragments.
pub mod encode {
    /// The longest header of a server's frame: two bytes and the 64-bit length.
    const HEADER_BYTES_MAX: usize = 10;

    const FINAL_TEXT: u8 = 0x81;
    const FINAL_BINARY: u8 = 0x82;
    const FINAL_CLOSE: u8 = 0x88;
    const FINAL_PING: u8 = 0x89;
    const FINAL_PONG: u8 = 0x8A;

    /// The length of the header of a message of so many bytes.
    pub const fn header_bytes(length: usize) -> usize {
        match length {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => HEADER_BYTES_MAX,
        }
    }

    /// Turns what stands in `out` from `start` on into a text message, in place.
    pub fn text(out: &mut Vec<u8>, start: usize) {
        message(FINAL_TEXT, out, start);
    }

    /// Turns what stands in `out` from `start` on into a binary message, in place.
    pub fn binary(out: &mut Vec<u8>, start: usize) {
        message(FINAL_BINARY, out, start);
    }

    fn message(first: u8, out: &mut Vec<u8>, start: usize) {
        let length = out.len() - start;
        let mut header = [0; HEADER_BYTES_MAX];
        header[0] = first;
        let header = match length {
            0..=125 => {
                header[1] = length as u8;
                &header[..2]
            }
            126..=0xffff => {
                header[1] = 126;
                header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                &header[..4]
            }
            _ => {
                header[1] = 127;
                header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
                &header[..10]
            }
        };
        out.splice(start..start, header.iter().copied());
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
