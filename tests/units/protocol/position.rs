//! Positions as text.

use proptest::prelude::*;
use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};

/// The largest offset that is written with 16 digits.
const OFFSET_MAX: u64 = 9_999_999_999_999_999;

/// The largest time that an epoch holds: in the year 2527.
const MILLIS_MAX: u64 = (1 << 44) - 1;

fn position(millis: u64, random: u64, offset: u64) -> Position {
    Position { epoch: Epoch::new(UnixMillis(millis), random), offset: Offset(offset) }
}

fn positions() -> impl Strategy<Value = Position> {
    // Small ranges as well, so that some epochs are equal.
    let millis = prop_oneof![0..3u64, 0..=MILLIS_MAX];
    let random = prop_oneof![0..3u64, any::<u64>()];
    let offset = prop_oneof![0..3u64, 0..=OFFSET_MAX];
    (millis, random, offset).prop_map(|(millis, random, offset)| position(millis, random, offset))
}

proptest! {
    #[test]
    fn a_position_is_read_back_from_its_30_characters(position in positions()) {
        let text = position.to_string();
        prop_assert_eq!(text.len(), 30);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-'));
        prop_assert_eq!(Position::parse(&text), Some(position));
    }

    #[test]
    fn positions_sort_as_text_as_they_do_by_epoch_and_offset(one in positions(), other in positions()) {
        prop_assert_eq!(one.to_string().cmp(&other.to_string()), one.cmp(&other));
        prop_assert_eq!(one.cmp(&other), (one.epoch, one.offset).cmp(&(other.epoch, other.offset)));
    }

    #[test]
    fn a_text_is_refused_or_is_what_its_position_is_written_as(text in "[0-9a-vA-V+-]{13}[-+][0-9+]{16}|\\PC{0,40}") {
        prop_assert!(Position::parse(&text).is_none_or(|position| position.to_string() == text));
    }
}

#[test]
fn the_first_and_the_last_position_are_written_in_full() {
    assert_eq!(position(0, 0, 0).to_string(), "0000000000000-0000000000000000");
    assert_eq!(position(MILLIS_MAX, u64::MAX, OFFSET_MAX).to_string(), "fvvvvvvvvvvvv-9999999999999999");
}

#[test]
fn every_other_text_is_refused() {
    const VALID: &str = "01m3q8ab0c1d2-0000000000000042";
    assert!(Position::parse(VALID).is_some());
    let refused = [
        "",
        "-",
        "01m3q8ab0c1d2",
        "01m3q8ab0c1d2-",
        "-0000000000000042",
        "01m3q8ab0c1d2-000000000000042",
        "01m3q8ab0c1d2-00000000000000042",
        "1m3q8ab0c1d2-0000000000000042",
        "001m3q8ab0c1d2-0000000000000042",
        "01M3Q8AB0C1D2-0000000000000042",
        "01m3q8ab0c1dw-0000000000000042",
        "01m3q8ab0c1d2-+000000000000042",
        "01m3q8ab0c1d2--000000000000042",
        "+1m3q8ab0c1d2-0000000000000042",
        "01m3q8ab0c1d2 0000000000000042",
        " 01m3q8ab0c1d2-0000000000000042",
        "01m3q8ab0c1d2-0000000000000042\n",
        "01m3q8ab0c1d2-000000000000004a",
        // The first of the epochs that do not fit into 64 bits, and the last.
        "g000000000000-0000000000000042",
        "vvvvvvvvvvvvv-0000000000000042",
        // Two bytes each, so that the length in bytes is right; the other digit is Arabic.
        "01m3q8ab0c1é-0000000000000042",
        "01m3q8ab0c1d2-00000000000000٤",
    ];
    for text in refused {
        assert_eq!(Position::parse(text), None, "{text:?}");
    }
}
