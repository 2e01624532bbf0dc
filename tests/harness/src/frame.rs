//! A client's WebSocket frames (RFC 6455 §5.2), right or wrong.

// Opcodes.
#![expect(missing_docs, reason = "each opcode is named as in RFC 6455 §5.2")]

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// The bit of a message's last frame, beside the opcode in the first byte.
pub const FINAL: u8 = 0x80;

pub const FINAL_TEXT: u8 = FINAL | TEXT;
pub const FINAL_BINARY: u8 = FINAL | BINARY;
pub const FINAL_CLOSE: u8 = FINAL | CLOSE;
pub const FINAL_PING: u8 = FINAL | PING;
pub const FINAL_PONG: u8 = FINAL | PONG;

/// The bit of a frame with a mask, beside the length in the second byte.
const MASKED: u8 = 0x80;

/// Any mask will do.
const MASK: [u8; 4] = [0x9e, 0x01, 0xf7, 0x5a];

/// How many bytes of a length follow the second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthForm {
    None,
    Two,
    Eight,
}

impl LengthForm {
    /// The form that a length must have.
    pub fn shortest(length: usize) -> Self {
        match length {
            ..=125 => Self::None,
            126..=0xffff => Self::Two,
            _ => Self::Eight,
        }
    }
}

/// The bytes of a frame before its payload.
pub fn header(first: u8, length: u64, form: LengthForm) -> Vec<u8> {
    let mut bytes = vec![first];
    match form {
        LengthForm::None => bytes.push(MASKED | u8::try_from(length).expect("a short length")),
        LengthForm::Two => {
            bytes.push(MASKED | 126);
            bytes.extend(u16::try_from(length).expect("a length of two bytes").to_be_bytes());
        }
        LengthForm::Eight => {
            bytes.push(MASKED | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A frame as a client must send it.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    frame_with_length(LengthForm::shortest(payload.len()), first, payload)
}

/// A frame whose length is written in this form.
pub fn frame_with_length(form: LengthForm, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64, form);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    bytes[start..].iter_mut().enumerate().for_each(|(at, byte)| *byte ^= MASK[at % MASK.len()]);
    bytes
}

/// A message in frames of this size. The last one may be shorter.
pub fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let count = payload.len().div_ceil(size).max(1);
    let mut pieces = payload.chunks(size);
    let mut bytes = Vec::with_capacity(payload.len());
    for number in 0..count {
        let opcode = if number == 0 { opcode } else { CONTINUATION };
        let first = if number + 1 == count { FINAL | opcode } else { opcode };
        bytes.extend_from_slice(&frame(first, pieces.next().unwrap_or_default()));
    }
    bytes
}

/// A close frame.
pub fn close_frame(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FINAL | CLOSE, [&code.to_be_bytes()[..], reason.as_ref()].concat())
}
