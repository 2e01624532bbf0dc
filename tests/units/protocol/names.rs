//! The rules for room names and nicks.

use roomcast::protocol::names::{Label, RoomName};

#[test]
fn a_room_name_has_1_to_128_bytes_and_a_nick_64() {
    for (name, length, is_room, is_nick) in [
        ("a", 0, false, false),
        ("a", 1, true, true),
        ("a", 64, true, true),
        ("é", 32, true, true),
        ("a", 65, true, false),
        ("a", 128, true, false),
        ("é", 64, true, false),
        ("a", 129, false, false),
        ("é", 65, false, false),
    ] {
        let name = name.repeat(length);
        assert_eq!((RoomName::parse(&name).is_ok(), Label::nick(&name).is_ok()), (is_room, is_nick), "{name}");
    }
}

#[test]
fn spaces_line_breaks_and_control_characters_of_unicode_are_refused() {
    for bad in ["a b", "a\tb", "a\rb", "a\nb", "a\0", "\u{7f}", "\u{85}", "\u{2028}", "\u{a0}", "\u{3000}"] {
        assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        assert!(Label::nick(bad).is_err(), "{bad:?}");
    }
    for good in ["..", "*", ">", "#rust", "שלום", "日本", "\u{202e}x"] {
        assert!(RoomName::parse(good).is_ok(), "{good:?}");
    }
}

#[test]
fn names_that_are_equal_under_nfc_are_one_room() {
    assert_eq!(RoomName::parse("caf\u{e9}"), RoomName::parse("cafe\u{301}"));
}

#[test]
fn an_error_shows_at_most_64_characters_of_the_name() {
    let error = Label::nick(&"x".repeat(70)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("\"{}…\"", "x".repeat(64))), "{error}");
}
