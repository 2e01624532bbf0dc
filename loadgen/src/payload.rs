//! The payload of a message: a marker, the room, the message number and the intended time, then padding. It is found
//! behind any label or framing, and this module never looks at framing.

use crate::clock::Nanos;

/// The marker. No label, room name or framing of `loadgen` contains its first byte.
const SIGN: &[u8; 4] = b"~rc:";

/// Length of the marker, the room, the number and the time.
pub const PAYLOAD_BYTES_MIN: usize = SIGN.len() + DIGITS;

/// Base-16 digits: 8 for the room, 8 for the number, 16 for the time.
const DIGITS: usize = 32;

/// Digit zero. The 16 digits are `@` to `O`, so the low half of each byte is its value.
const ZERO: u8 = b'@';

/// Fills a message up to its size.
const PADDING: u8 = b'.';

/// Different words of [`words`].
const WORDS: usize = 96;

/// Letters of [`words`], the frequent ones more often.
const LETTERS: &[u8] = b"eeeeeetttaaaoooiinnsshhrrddlu";

/// What identifies one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Number of the room within the load.
    pub room: u32,
    /// Number of the message within its room, in the order of publishing.
    pub number: u32,
    /// When the message was due, which may be before it was sent.
    pub intended: Nanos,
}

impl Payload {
    /// Appends a message of `size` bytes, at least `PAYLOAD_BYTES_MIN`.
    pub fn write(self, size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(SIGN);
        write_digits::<8>(u64::from(self.room), out);
        write_digits::<8>(u64::from(self.number), out);
        write_digits::<16>(self.intended.0, out);
        out.resize(start + size.max(PAYLOAD_BYTES_MIN), PADDING);
    }

    /// Finds a payload in this text. Returns it with the length of the message that starts there. Fastest if that
    /// length is `size`.
    pub fn find(text: &[u8], size: usize) -> Option<(Self, usize)> {
        let expected = text.len().checked_sub(size).filter(|&start| text[start..].starts_with(SIGN));
        let start = expected.or_else(|| memchr::memchr(SIGN[0], text))?;
        let (payload, _) = text[start..].split_at_checked(PAYLOAD_BYTES_MIN)?;
        let bytes = read_digits(payload.strip_prefix(SIGN)?.first_chunk()?)?;
        let (room, number, intended) = ((bytes >> 96) as u32, (bytes >> 64) as u32, Nanos(bytes as u64));
        Some((Self { room, number, intended }, text.len() - start))
    }
}

/// Text for messages that are to be compressed, since a repeated byte would shrink to nothing. DEFLATE brings a kibibyte
/// of it to about two fifths, as it does JSON and chat.
pub fn words(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    let letter = |random: &mut fastrand::Rng| LETTERS[random.usize(..LETTERS.len())];
    let vocabulary: Vec<Vec<u8>> =
        (0..WORDS).map(|_| (0..random.usize(2..9)).map(|_| letter(&mut random)).chain([b' ']).collect()).collect();
    std::iter::repeat_with(|| &vocabulary[random.usize(..WORDS)]).flatten().copied().take(bytes).collect()
}

fn write_digits<const COUNT: usize>(value: u64, out: &mut Vec<u8>) {
    out.extend((0..COUNT).rev().map(|digit| ZERO | (value >> (4 * digit)) as u8 & 0xf));
}

/// Decodes eight digits at a time without branches, because every delivery passes here.
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

    const PAYLOAD: Payload = Payload { room: 7, number: 0xdead_beef, intended: Nanos(u64::MAX - 1) };

    #[test]
    fn a_payload_is_found_behind_any_label_with_the_length_of_its_message() {
        let mut text = b"[127.0.0.1:54012] ".to_vec();
        PAYLOAD.write(128, &mut text);
        assert_eq!(text.len(), 18 + 128);
        for size in [0, 100, 128, 146, 1_000] {
            assert_eq!(Payload::find(&text, size), Some((PAYLOAD, 128)), "{size} bytes were expected");
        }
    }

    #[test]
    fn what_is_no_payload_is_not_taken_for_one() {
        let mut text = Vec::new();
        PAYLOAD.write(0, &mut text);
        assert_eq!(text.len(), PAYLOAD_BYTES_MIN);
        assert_eq!(Payload::find(&text[..PAYLOAD_BYTES_MIN - 1], PAYLOAD_BYTES_MIN), None, "cut");
        for no_digit in [b'?', b'P', b'a', b'0', 0xc0] {
            let mut text = text.clone();
            text[10] = no_digit;
            assert_eq!(Payload::find(&text, PAYLOAD_BYTES_MIN), None, "no digit");
        }
        assert_eq!(Payload::find(b"[ada] ~ hello, and more than enough of other text behind it", 128), None);
    }
}
