//! Positions. A text is a position or it is none: each position has one text, and texts sort as positions do.

use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};

use crate::input::choices;

/// The first offset that no position can be written with: it has more than 16 digits.
const OFFSET_END: u64 = 10_000_000_000_000_000;

/// Any text as a position, and any numbers as two of them.
pub fn positions(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        check_text(text);
    }
    let (one, rest) = position(input);
    let (other, rest) = position(rest);
    // A second position that differs only a little from the first.
    let ([epoch, offset], _) = choices::<2>(rest);
    let near = Position {
        epoch: if epoch & 1 == 1 { other.epoch } else { one.epoch },
        offset: Offset((one.offset.0 ^ u64::from(offset)) % OFFSET_END),
    };
    for (one, other) in [(one, other), (one, near)] {
        assert_eq!(Position::parse(&one.to_string()), Some(one));
        assert_eq!(one.to_string().cmp(&other.to_string()), one.cmp(&other), "{one:?} and {other:?}");
    }
}

fn check_text(text: &str) {
    if let Some(position) = Position::parse(text) {
        assert_eq!((position.to_string().as_str(), text.len()), (text, Position::BYTES));
        assert_eq!(str::from_utf8(&position.text()), Ok(text));
        assert_eq!(Epoch::parse(&text[..13]), Some(position.epoch));
    }
}

fn position(input: &[u8]) -> (Position, &[u8]) {
    let (numbers, rest) = choices::<24>(input);
    let [time, random, offset] =
        [0, 8, 16].map(|at| numbers[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte)));
    (Position { epoch: Epoch::new(UnixMillis(time), random), offset: Offset(offset % OFFSET_END) }, rest)
}
