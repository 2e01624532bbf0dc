//! Chunks of an HTTP answer that does not end (RFC 9112 §7.1).

/// The most bytes that frame a chunk: `data: `, two line feeds, the length in up to eight digits, two line ends.
pub(super) const FRAME_BYTES_MAX: usize = 20;

/// The end of the answer.
pub(super) const LAST: &[u8] = b"0\r\n\r\n";

/// Turns the bytes of `out` from `start` on into a chunk, in place, with `before` and `behind` around them.
pub(super) fn frame(before: &str, behind: &str, out: &mut Vec<u8>, start: usize) {
    out.extend_from_slice(behind.as_bytes());
    let bytes = out.len() - start + before.len();
    let head = format!("{bytes:x}\r\n{before}");
    out.splice(start..start, head.bytes());
    out.extend_from_slice(b"\r\n");
}
