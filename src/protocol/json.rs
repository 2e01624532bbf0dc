//! JSON as text: to put valid JSON on one line, and to measure how deeply it is nested. Never parses a value, so that
//! numbers and strings stay as they were written.

use std::borrow::Cow;
use std::iter;

use memchr::memchr2;

/// The deepest nesting of JSON that a client may send to others. A member could break the others with more: serde_json
/// refuses a message from 128 levels on, and Python's json from about 1000 (both measured). The rest of the 127 levels
/// is for what the server wraps around the JSON: 7 levels around `conn_info` of a publication in the reply to a connect.
pub const DEPTH_MAX: usize = 120;

/// Removes the white space between the tokens of valid JSON, so that it stands on one line. Linear; copies the text only
/// if there is something to remove.
pub fn on_one_line(json: &str) -> Cow<'_, str> {
    let (mut line, mut copied) = (String::new(), 0);
    for (place, byte) in outside_strings(json) {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            line.push_str(&json[copied..place]);
            copied = place + 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    line.push_str(&json[copied..]);
    Cow::Owned(line)
}

/// The deepest nesting of arrays and objects in valid JSON: 0 for a number, 1 for `[]`. Linear, without recursion.
pub fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for (_, byte) in outside_strings(json) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The bytes that are in no string, with their places. Of a string it has the opening quote alone.
fn outside_strings(json: &str) -> impl Iterator<Item = (usize, u8)> {
    let bytes = json.as_bytes();
    let mut next = 0;
    iter::from_fn(move || {
        let place = next;
        let byte = *bytes.get(place)?;
        next = if byte == b'"' { end_of_string(bytes, place + 1) } else { place + 1 };
        Some((place, byte))
    })
}

/// The place behind the closing quote of a string, or behind the last byte if the string has no end.
fn end_of_string(bytes: &[u8], mut place: usize) -> usize {
    while let Some(rest) = bytes.get(place..)
        && let Some(found) = memchr2(b'"', b'\\', rest)
    {
        match rest[found] {
            b'"' => return place + found + 1,
            // The byte behind a backslash never ends the string.
            _ => place += found + 2,
        }
    }
    bytes.len()
}
