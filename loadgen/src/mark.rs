//! The mark by which a message is known again, whatever stands around it: who it is for, its number in its room, and when it
//! was due. Never looks at framing.

use crate::clock::Nanos;

/// How it begins; no label, room name or framing of ours contains the first byte.
const SIGN: &[u8; 4] = b"~rc:";

/// The sign, and the room, number and time as digits of sixteen.
pub const MARK_BYTES: usize = SIGN.len() + DIGITS;

/// Eight, eight and sixteen.
const DIGITS: usize = 32;

/// The first of the sixteen digits, up to `O`: what a digit stands for is the lower half of its byte.
const ZERO: u8 = b'@';

/// What fills a message up to its size.
const PADDING: u8 = b'.';

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its room, as the load numbers them.
    pub room: u32,
    /// Its place among the messages of the room, as they were published.
    pub number: u32,
    /// When it was due, which may be before it was sent.
    pub intended: Nanos,
}

impl Mark {
    /// Appends a message of `size` bytes, at least `MARK_BYTES`.
    pub fn write(self, size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(SIGN);
        write_digits::<8>(u64::from(self.room), out);
        write_digits::<8>(u64::from(self.number), out);
        write_digits::<16>(self.intended.0, out);
        out.resize(start + size.max(MARK_BYTES), PADDING);
    }

    /// The mark in this text, and how long the message is that it begins; found at once if that is `size`.
    pub fn find(text: &[u8], size: usize) -> Option<(Self, usize)> {
        let expected = text.len().checked_sub(size).filter(|&start| text[start..].starts_with(SIGN));
        let start = expected.or_else(|| memchr::memchr(SIGN[0], text))?;
        let (mark, _) = text[start..].split_at_checked(MARK_BYTES)?;
        let bytes = read_digits(mark.strip_prefix(SIGN)?.first_chunk()?)?;
        let (room, number, intended) = ((bytes >> 96) as u32, (bytes >> 64) as u32, Nanos(bytes as u64));
        Some((Self { room, number, intended }, text.len() - start))
    }
}

fn write_digits<const COUNT: usize>(value: u64, out: &mut Vec<u8>) {
    out.extend((0..COUNT).rev().map(|digit| ZERO | (value >> (4 * digit)) as u8 & 0xf));
}

/// Every delivery passes here: eight digits at once, and nothing branches.
fn read_digits(digits: &[u8; DIGITS]) -> Option<u128> {
    const LOW_HALVES: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    const ZEROS: u64 = u64::from_ne_bytes([ZERO; 8]);
    let (mut value, mut flaws) = (0, 0);
    for eight in digits.as_chunks::<8>().0 {
        let eight = u64::from_be_bytes(*eight);
        flaws |= (eight ^ ZEROS) & !LOW_HALVES;
        let pairs = (eight & LOW_HALVES | (eight & LOW_HALVES) >> 4) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
        value = value << 32 | u128::from((fours | fours >> 16) as u32);
    }
    (flaws == 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { room: 7, number: 0xdead_beef, intended: Nanos(u64::MAX - 1) };

    #[test]
    fn a_mark_is_found_behind_any_label_with_the_length_of_its_message() {
        let mut text = b"[127.0.0.1:54012] ".to_vec();
        MARK.write(128, &mut text);
        assert_eq!(text.len(), 18 + 128);
        for size in [0, 100, 128, 146, 1_000] {
            assert_eq!(Mark::find(&text, size), Some((MARK, 128)), "{size} bytes were expected");
        }
    }

    #[test]
    fn what_is_no_mark_is_not_taken_for_one() {
        let mut text = Vec::new();
        MARK.write(0, &mut text);
        assert_eq!(text.len(), MARK_BYTES);
        assert_eq!(Mark::find(&text[..MARK_BYTES - 1], MARK_BYTES), None, "cut");
        for no_digit in [b'?', b'P', b'a', b'0', 0xc0] {
            let mut text = text.clone();
            text[10] = no_digit;
            assert_eq!(Mark::find(&text, MARK_BYTES), None, "no digit");
        }
        assert_eq!(Mark::find(b"[ada] ~ hello, and more than enough of other text behind it", 128), None);
    }
}
