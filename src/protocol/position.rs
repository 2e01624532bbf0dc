//! Places in the order of a room: an offset within an epoch. Clients get a position as text, keep it, and give it back
//! to resume.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// The place of a publication in its room: the first of an epoch has 1, each one more than the one before, the same for
/// every member. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub u64);

/// One life of a room. A room that vanished and came back has a later epoch, so that nobody resumes there with an offset
/// that means another publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(u64);

/// The place in the order of a room up to which a client has everything. Written as `<epoch>-<offset>`, 30 characters
/// that need no escape in a URL and sort as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The life of the room.
    pub epoch: Epoch,
    /// The last publication that the client has.
    pub offset: Offset,
}

/// Up to where a client that resumes has a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The life of the room; `None` if the client knows none, and takes any.
    pub epoch: Option<Epoch>,
    /// The last publication that the client has.
    pub offset: Offset,
}

impl Since {
    /// Beyond every room: a client that resumes from here cannot.
    pub const UNREACHABLE: Self = Self { epoch: None, offset: Offset(u64::MAX) };
}

impl From<Position> for Since {
    fn from(Position { epoch, offset }: Position) -> Self {
        Self { epoch: Some(epoch), offset }
    }
}

impl Offset {
    /// The offset of the next publication.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Epoch {
    /// The low bits that are drawn at random; the others are the time, until the year 2527.
    const RANDOM_BITS: u32 = 20;

    /// The digits of an epoch: 9 of the time and 4 of the random number.
    const DIGITS: usize = 13;

    /// RFC 4648's alphabet that sorts like the numbers, in lower case.
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

    /// The epoch of a room that was created at this time. Takes the low 20 bits of `random`.
    pub const fn new(created_at: UnixMillis, random: u64) -> Self {
        Self((created_at.0 << Self::RANDOM_BITS) | (random & ((1 << Self::RANDOM_BITS) - 1)))
    }

    /// Parses an epoch as it is written; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte| Self::ALPHABET.iter().position(|&digit| digit == byte);
        let value =
            text.bytes().try_fold(0, |value: u64, byte| value.checked_mul(32)?.checked_add(digit(byte)? as u64));
        value.filter(|_| text.len() == Self::DIGITS).map(Self)
    }

    fn text(self) -> [u8; Self::DIGITS] {
        std::array::from_fn(|place| Self::ALPHABET[(self.0 >> (5 * (Self::DIGITS - 1 - place))) as usize % 32])
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().iter().try_for_each(|&digit| fmt::Write::write_char(out, digit.into()))
    }
}

impl Position {
    /// The digits of an offset. No room has so many publications.
    const OFFSET_DIGITS: usize = 16;

    /// The length of a position as it is written.
    pub const BYTES: usize = Epoch::DIGITS + 1 + Self::OFFSET_DIGITS;

    /// The position as it is written, without formatting.
    pub fn text(self) -> [u8; Self::BYTES] {
        let mut text = [b'-'; Self::BYTES];
        text[..Epoch::DIGITS].copy_from_slice(&self.epoch.text());
        let mut left = self.offset.0;
        for digit in text[Epoch::DIGITS + 1..].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        text
    }

    /// Parses a position as it is written; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once('-')?;
        let is_offset = offset.len() == Self::OFFSET_DIGITS && offset.bytes().all(|byte| byte.is_ascii_digit());
        let offset = offset.parse().ok().filter(|_| is_offset)?;
        Some(Self { epoch: Epoch::parse(epoch)?, offset: Offset(offset) })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().iter().try_for_each(|&digit| fmt::Write::write_char(out, digit.into()))
    }
}
