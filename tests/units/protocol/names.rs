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
    for good in ["..", "*", ">", "#rust", "שלום", "日本", "🎉", "नमस्ते"] {
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

#[test]
fn characters_that_show_nothing_are_refused_alone_and_inside_and_named() {
    for hidden in [
        "\u{ad}",
        "\u{34f}",
        "\u{61c}",
        "\u{115f}",
        "\u{1160}",
        "\u{17b4}",
        "\u{17b5}",
        "\u{180b}",
        "\u{180e}",
        "\u{180f}",
        "\u{200b}",
        "\u{200d}",
        "\u{200e}",
        "\u{202e}",
        "\u{2060}",
        "\u{2065}",
        "\u{2066}",
        "\u{2800}",
        "\u{3164}",
        "\u{fe00}",
        "\u{fe0f}",
        "\u{feff}",
        "\u{ffa0}",
        "\u{fff0}",
        "\u{1d173}",
        "\u{e0001}",
        "\u{e0041}",
        "\u{e0100}",
        "\u{e0fff}",
    ] {
        for name in [hidden.to_owned(), format!("a{hidden}b"), format!("é{hidden}")] {
            let code = format!("U+{:04X} shows nothing", u32::from(hidden.chars().next().unwrap()));
            let errors = [
                RoomName::parse(&name).unwrap_err(),
                Label::nick(&name).unwrap_err(),
                Label::of_user(&name).unwrap_err(),
            ];
            for error in errors.map(|error| error.to_string()) {
                assert!(error.ends_with(&code), "{error}");
            }
        }
    }
}

#[test]
fn a_nick_is_unlike_the_labels_that_the_server_gives() {
    for nick in ["WS-1", "ws-007", "TCP-12", "Tcp-1", "client-9", "CLIENT-99", "127.0.0.1:8080", "[::1]:80", "~ada"] {
        assert!(Label::nick(nick).is_err(), "{nick}");
        assert!(RoomName::parse(nick).is_ok(), "{nick}");
    }
    for nick in ["WS-", "WS-a", "ws1", "TCP", "client-a1", "client", "127.0.0.1", "1:2", "a~b", "[ada]", "é-1"] {
        assert!(Label::nick(nick).is_ok(), "{nick}");
    }
    let error = Label::nick("WS-7").unwrap_err().to_string();
    assert_eq!(error, r#""WS-7": a nick does not look like an address or a number that the server gives"#);
}

#[test]
fn a_user_may_have_spaces_between_words_and_no_mark_of_a_guest() {
    for name in ["Ada Lovelace", "a b c", "é ü", "WS-7", "Ada [x]", "a]b c"] {
        assert_eq!(Label::of_user(name).unwrap().as_str(), name);
    }
    for name in ["", " ", " a", "a ", "a  b", "é  ü", "a\tb", "a\u{a0}b", "~a", "a\u{2028}b", "ada] bob"] {
        assert!(Label::of_user(name).is_err(), "{name:?}");
    }
    let guest = Label::nick(&"x".repeat(64)).unwrap().of_guest();
    assert_eq!(guest.as_str(), format!("~{}", "x".repeat(64)));
}
