//! Chunks of an HTTP answer that does not end (RFC 9112 §7.1).

/// The end of the answer.
pub(super) const LAST: &[u8] = b"0\r\n\r\n";

const LINE_END: &[u8] = b"\r\n";

/// The digits of the longest length of a chunk.
const DIGITS_MAX: usize = 16;

/// Turns the bytes of `out` from `start` on into a chunk, in place, with `before` and `behind` around them.
pub(super) fn frame(before: &[u8], behind: &[u8], out: &mut Vec<u8>, start: usize) {
    out.extend_from_slice(behind);
    let mut length = out.len() - start + before.len();
    let (mut hexadecimal, digits) = ([0; DIGITS_MAX], digits(length));
    for place in (0..digits).rev() {
        hexadecimal[place] = b"0123456789abcdef"[length % 16];
        length /= 16;
    }
    let head = hexadecimal[..digits].iter().chain(LINE_END).chain(before).copied();
    let head_bytes = digits + LINE_END.len() + before.len();
    let end = out.len();
    out.resize(end + head_bytes, 0);
    out.copy_within(start..end, start + head_bytes);
    out[start..start + head_bytes].iter_mut().zip(head).for_each(|(place, byte)| *place = byte);
    out.extend_from_slice(LINE_END);
}

/// The bytes that frame an event of that length.
pub(super) const fn bytes(before: &[u8], behind: &[u8], event_bytes: usize) -> usize {
    let around = before.len() + behind.len();
    digits(event_bytes + around) + 2 * LINE_END.len() + around
}

/// The hexadecimal digits of a length, at least one.
const fn digits(length: usize) -> usize {
    match length {
        0 => 1,
        length => length.ilog2() as usize / 4 + 1,
    }
}
