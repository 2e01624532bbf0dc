//! The parser that turns lines and messages into commands.

use roomcast::protocol::command::{Command, CommandError, parse, parse_message};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::Event;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};

fn say(text: &str) -> Result<Option<Command<'_>>, CommandError> {
    Ok(Some(Command::Say(text)))
}

#[track_caller]
fn expect_error(line: &[u8], reply: &str) {
    let error = parse(line).expect_err(reply);
    assert_eq!(Dialect::TextLines.encode(&Event::Error(&error)), format!("ERR {reply}\n"));
}

#[test]
fn every_command_is_read_by_its_exact_first_word() {
    let room = || RoomName::parse("a").unwrap();
    let position = Position { epoch: Epoch::new(UnixMillis(1_000), 7), offset: Offset(42) };
    let join_since = |blanks: &str| format!("JOIN a{blanks}since={position} ");
    for (line, command) in [
        ("JOIN a", Command::Join(room(), None)),
        (&join_since(" "), Command::Join(room(), Some(position))),
        (&join_since("\t  "), Command::Join(room(), Some(position))),
        ("JOIN since=a", Command::Join(RoomName::parse("since=a").unwrap(), None)),
        ("HISTORY", Command::History(20)),
        ("HISTORY 7 ", Command::History(7)),
        ("HISTORY 99999999999999999999", Command::History(usize::MAX)),
        ("POSITION", Command::Position),
        ("NICK bob", Command::Nick(Label::nick("bob").unwrap())),
        ("NICK bob ", Command::Nick(Label::nick("bob").unwrap())),
        ("LEAVE", Command::Leave),
        ("LIST", Command::List),
        ("LIST  \t", Command::List),
        ("WHO", Command::Who),
        ("HELP", Command::Help),
        ("QUIT", Command::Quit),
        ("PING", Command::Ping("")),
        ("PING 7 \t", Command::Ping("7")),
        ("SAY JOIN a", Command::Say("JOIN a")),
        ("SAY   x", Command::Say("  x")),
        ("SAY \tx \t ", Command::Say("\tx \t ")),
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(Some(command)), "{line:?}");
    }
}

#[test]
fn a_line_that_does_not_fit_a_command_is_chat_with_its_blanks() {
    for line in [
        "LIST of things ",
        "join a",
        "LEAVE now",
        "Hello",
        "PING a b",
        " JOIN a",
        "JOINED a",
        "a\tb\t",
        "  \t ",
        "HISTORY of Rome",
        "HISTORY -1",
        "HISTORY 1 2",
        "POSITION 7",
    ] {
        assert_eq!(parse(line.as_bytes()), say(line));
    }
    assert_eq!(parse(b""), Ok(None));
}

#[test]
fn an_error_begins_with_its_code_and_says_the_value_and_the_rule() {
    expect_error(b"JOIN", "unknown JOIN needs a room: JOIN <room>");
    expect_error(b"NICK ", "unknown NICK needs a name: NICK <name>");
    expect_error(b"SAY  ", "unknown SAY needs a text: SAY <text>");
    expect_error(b"JOIN a b", r#"room-name "a b": 1 to 128 bytes, no spaces or control characters"#);
    expect_error(b"JOIN a since=x", "unknown since=\"x\": a position as POSITION replies with");
    expect_error(b"JOIN a since=", "unknown since=\"\": a position as POSITION replies with");
    expect_error(b"NICK a b", r#"nick "a b": 1 to 64 bytes, no spaces or control characters"#);
    expect_error(b"a\x1b[31m", "control-character U+001B at byte 1: none but tab is allowed");
    expect_error(b"a\rb", "control-character U+000D at byte 1: lines end with a line feed");
    for bad in [&b"ab\xff"[..], b"ab\xc0\xaf", b"ab\xed\xa0\x80", b"ab\xf4\x90\x80\x80", b"ab\xe2\x82"] {
        expect_error(bad, "not-utf8 byte 2 begins no character: lines are UTF-8");
    }
    let error = CommandError::TooManyRooms { room: RoomName::parse("a").unwrap(), rooms_max: 2 };
    let reply = Dialect::TextLines.encode(&Event::Error(&error));
    assert_eq!(reply, "ERR too-many rooms for another, \"a\": at most 2\n");
}

#[test]
fn control_characters_are_refused_except_tab() {
    for bad in ["\0", "x\u{7f}", "x\u{80}y", "\u{9f}"] {
        assert!(matches!(parse(bad.as_bytes()), Err(CommandError::ControlCharacter { .. })), "{bad:?}");
    }
    for good in ["a\tb", "é", "\u{a0}x", "\u{c0}", "日本", "🦀"] {
        assert_eq!(parse(good.as_bytes()), say(good));
    }
}

#[test]
fn a_message_of_several_lines_is_chat_without_its_last_line_end() {
    assert_eq!(parse_message("LIST\r\n"), Ok(Some(Command::List)));
    for (message, text) in
        [("a \n", "a "), ("a\nb \n\n", "a\nb \n"), ("SAY JOIN a\nLIST", "JOIN a\nLIST"), (" \n\t\n", " \n\t")]
    {
        assert_eq!(parse_message(message), say(text));
    }
    assert_eq!(parse_message("\n\r\n\n"), Ok(None));
    assert!(matches!(parse_message("a\nb\x1b"), Err(CommandError::ControlCharacter { .. })));
    let error = parse_message(&"\n".repeat(66)).unwrap_err();
    assert_eq!(error.to_string(), "message of 66 lines: at most 64");
}
