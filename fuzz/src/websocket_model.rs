//! WebSocket frames as RFC 6455 §5 describes them, read plainly: for comparison with the server's decoder, without
//! extensions. Knows nothing of the server's code.

use crate::websocket::{Owned, Stream};

/// A frame with its payload unmasked, and the length of it all.
struct Frame {
    is_final: bool,
    opcode: u8,
    payload: Vec<u8>,
    length: usize,
}

/// A frame that is not there yet, or one that must be refused.
enum NoFrame {
    Incomplete,
    Refused,
}

/// A message that lacks fragments.
struct Unfinished {
    is_text: bool,
    bytes: Vec<u8>,
}

/// The messages of a stream, each of at most `bytes_max` bytes.
pub fn decoded(mut input: &[u8], bytes_max: usize) -> Stream {
    let (mut stream, mut unfinished) = (Stream::default(), None);
    loop {
        let held = unfinished.as_ref().map_or(0, |unfinished: &Unfinished| unfinished.bytes.len());
        let message = next_frame(input, bytes_max, held).and_then(|frame| {
            input = &input[frame.length..];
            message(frame, &mut unfinished).ok_or(NoFrame::Refused)
        });
        match message {
            Ok(message) => stream.messages.extend(message),
            Err(NoFrame::Incomplete) => return stream,
            Err(NoFrame::Refused) => return Stream { is_refused: true, ..stream },
        }
        if matches!(stream.messages.last(), Some(Owned::Close(_))) {
            return stream;
        }
    }
}

/// The first frame. `held` are the bytes of the fragments before it.
fn next_frame(input: &[u8], bytes_max: usize, held: usize) -> Result<Frame, NoFrame> {
    let (Some(&first), Some(&second)) = (input.first(), input.get(1)) else { return Err(NoFrame::Incomplete) };
    let (is_final, reserved, opcode) = (first >> 7 == 1, (first >> 4) & 7, first & 15);
    let (is_masked, short) = (second >> 7 == 1, usize::from(second & 127));
    if reserved != 0 || !is_masked || matches!(opcode, 3..=7 | 11..=15) {
        return Err(NoFrame::Refused);
    }
    let digits = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let digits = input.get(2..2 + digits).ok_or(NoFrame::Incomplete)?;
    let long = digits.iter().fold(0_u128, |length, &byte| length << 8 | u128::from(byte));
    let length = if digits.is_empty() { short } else { usize::try_from(long).map_err(|_| NoFrame::Refused)? };
    let is_shortest = match digits.len() {
        0 => true,
        2 => length > 125,
        _ => length > 0xffff && length >> 63 == 0,
    };
    let is_control = opcode >= 8;
    let may_be = if is_control {
        is_final && length <= 125
    } else {
        let before = if opcode == 0 { held } else { 0 };
        length.saturating_add(before) <= bytes_max
    };
    if !is_shortest || !may_be {
        return Err(NoFrame::Refused);
    }
    let mask_at = 2 + digits.len();
    let bytes = input.get(mask_at..mask_at + 4 + length).ok_or(NoFrame::Incomplete)?;
    let (mask, payload) = bytes.split_at(4);
    let payload = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
    Ok(Frame { is_final, opcode, payload, length: mask_at + bytes.len() })
}

/// The message that a frame completes, `Some(None)` if it completes none; `None` if the frame must be refused.
fn message(frame: Frame, unfinished: &mut Option<Unfinished>) -> Option<Option<Owned>> {
    let Frame { is_final, opcode, payload, .. } = frame;
    match opcode {
        8 => return close_code(&payload).map(|code| Some(Owned::Close(code))),
        9 => return Some(Some(Owned::Ping(payload))),
        10 => return Some(Some(Owned::Pong)),
        0 => unfinished.as_mut()?.bytes.extend(payload),
        _ if unfinished.is_some() => return None,
        _ => *unfinished = Some(Unfinished { is_text: opcode == 1, bytes: payload }),
    }
    let Unfinished { is_text, bytes } = unfinished.as_ref()?;
    if *is_text {
        match str::from_utf8(bytes) {
            Err(error) if is_final || error.error_len().is_some() => return None,
            _ => {}
        }
    }
    if !is_final {
        return Some(None);
    }
    let message = match is_text {
        true => Owned::Text(str::from_utf8(bytes).ok()?.to_owned()),
        false => Owned::Binary(bytes.clone()),
    };
    *unfinished = None;
    Some(Some(message))
}

/// The code of a close frame: one that may be sent (RFC 6455 §7.4, and the registry of it), with a reason in UTF-8.
fn close_code(payload: &[u8]) -> Option<Option<u16>> {
    let Some((code, reason)) = payload.split_first_chunk() else { return payload.is_empty().then_some(None) };
    let code = u16::from_be_bytes(*code);
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    (may_be_sent && str::from_utf8(reason).is_ok()).then_some(Some(code))
}
