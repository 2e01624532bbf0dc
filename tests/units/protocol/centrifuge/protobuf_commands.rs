//! Commands in Protobuf: every method and field, frames of several, and input that is meant to break a reader.

use proptest::prelude::*;
use roomcast::protocol::centrifuge::command::{Command, Connect, History, Parsed, Resume, Subscribe};
use roomcast::protocol::centrifuge::protobuf::next_command;
use roomcast::protocol::command::{CommandError, TokenText};

use super::{id, nick};

/// All that a frame holds, from its beginning to its end.
fn parsed(frame: &[u8]) -> Vec<Parsed<'_>> {
    super::parsed(frame, next_command)
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A field of a number.
fn number(tag: u8, number: u64) -> Vec<u8> {
    [vec![tag << 3], varint(number)].concat()
}

/// A field of text, bytes or a message.
fn bytes(tag: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![tag << 3 | 2], prefixed(value.as_ref())].concat()
}

fn prefixed(message: &[u8]) -> Vec<u8> {
    [&varint(message.len() as u64), message].concat()
}

/// A frame of one command with the name 1.
fn frame(method: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    prefixed(&[number(1, 1), bytes(method, fields.concat())].concat())
}

fn token(text: &str) -> TokenText<'_> {
    TokenText(text.into())
}

/// Each method with all fields that are used, and some that are not, each by itself; and what they mean.
fn commands() -> Vec<(u8, Vec<Vec<u8>>, Command<'static>)> {
    let resume = || [number(3, 1), bytes(6, "e"), number(7, 300)].concat();
    let resumed = || Resume { recover: true, epoch: "e".into(), offset: 300 };
    let room = || bytes(1, "r");
    vec![
        (4, vec![], Command::Connect(Connect::default())),
        (
            4,
            vec![
                bytes(1, "t"),
                bytes(2, "{}"),
                bytes(3, [bytes(1, "a"), bytes(2, resume())].concat()),
                bytes(3, bytes(1, "b")),
                bytes(4, "dart"),
                number(7, 1),
            ],
            Command::Connect(Connect {
                token: Some(token("t")),
                subs: vec![("a".into(), resumed()), ("b".into(), Resume::default())],
            }),
        ),
        (
            5,
            vec![room(), bytes(2, "t"), resume(), bytes(12, "fossil"), bytes(13, []), number(14, 3), number(15, 1)],
            Command::Subscribe(Subscribe {
                channel: "r".into(),
                token: Some(token("t")),
                resume: resumed(),
                is_of_other_type: true,
                has_filter: true,
                must_recover: true,
            }),
        ),
        (6, vec![room()], Command::Unsubscribe("r".into())),
        (
            7,
            vec![room(), bytes(2, " {\"a\" :\n1} ")],
            Command::Publish { channel: "r".into(), data: r#"{"a":1}"#.into() },
        ),
        (8, vec![room()], Command::Presence("r".into())),
        (9, vec![room()], Command::PresenceStats("r".into())),
        (
            10,
            vec![room(), number(7, -1_i64 as u64), bytes(8, [number(1, 9), bytes(2, "e")].concat()), number(9, 1)],
            Command::History(History { channel: "r".into(), limit: -1, since: Some((9, "e".into())), reverse: true }),
        ),
        (
            10,
            vec![room(), bytes(8, [])],
            Command::History(History { channel: "r".into(), since: Some((0, "".into())), ..History::default() }),
        ),
        (11, vec![], Command::Ping),
        (13, vec![bytes(1, "1"), bytes(2, "m")], Command::Rpc),
        (13, vec![bytes(1, r#" {"nick":"ada"} "#), bytes(2, "nick")], Command::Nick(nick("ada"))),
        (14, vec![bytes(1, "t")], Command::Refresh(token("t"))),
        (15, vec![room(), bytes(2, "t")], Command::SubRefresh("r".into(), token("t"))),
        (15, vec![bytes(2, "t")], Command::SubRefresh("".into(), token("t"))),
    ]
}

/// Field 100, which no message has, of each type: a number, 8 bytes, a text, a group, 4 bytes.
const UNKNOWN: &[u8] = b"\xA0\x06\xff\x01\xA1\x0612345678\xA2\x06\x01x\xA3\x06\xA4\x06\xA5\x061234";

#[test]
fn each_method_is_read_with_all_its_fields_and_with_unknown_ones_between_them() {
    for (method, fields, command) in commands() {
        let wanted = [Parsed::Command(id(1), command)];
        assert_eq!(parsed(&frame(method, &fields)), wanted, "method {method}");
        for place in 0..=fields.len() {
            let mut fields = fields.clone();
            fields.insert(place, UNKNOWN.to_vec());
            assert_eq!(parsed(&frame(method, &fields)), wanted, "method {method}, unknown at {place}");
        }
        let (name, request) = (number(1, 1), bytes(method, fields.concat()));
        let around = [UNKNOWN, &name, UNKNOWN, &request, UNKNOWN].concat();
        assert_eq!(parsed(&prefixed(&around)), wanted, "method {method}, unknown around it");
    }
}

#[test]
fn a_command_that_is_cut_anywhere_is_malformed() {
    for (method, fields, _) in commands() {
        let frame = frame(method, &fields);
        for cut in 1..frame.len() {
            assert_eq!(parsed(&frame[..cut]), [Parsed::Malformed], "method {method}, cut at {cut}");
        }
        // The same, where the frame has all of the bytes that it announces. Fields that end with the cut may be a command.
        let message = &frame[1..];
        for cut in 0..message.len() {
            assert_eq!(parsed(&prefixed(&message[..cut])).len(), 1, "method {method}, cut at {cut}");
        }
    }
}

#[test]
fn a_field_of_another_type_or_a_varint_without_end_is_malformed() {
    for frame in [
        frame(5, &[number(1, 1)]),
        frame(5, &[bytes(1, b"\xff")]),
        frame(5, &[bytes(1, "r"), bytes(7, "1")]),
        frame(7, &[bytes(1, "r"), number(2, 1)]),
        frame(10, &[bytes(1, "r"), number(8, 1)]),
        frame(6, &[vec![0x0A, 5, b'r']]),
        prefixed(&[bytes(1, "1"), bytes(11, [])].concat()),
        prefixed(&[number(1, 1), number(5, 1)].concat()),
        prefixed(&[vec![0x08], vec![0xff; 10], vec![1]].concat()),
        prefixed(&[number(1, 1), vec![0x00, 1]].concat()),
        prefixed(&[number(1, 1), [0xA3, 6].repeat(10_000)].concat()),
        prefixed(&number(1, 1)),
        prefixed(&bytes(11, [])),
        prefixed(&[number(1, 0), bytes(11, [])].concat()),
        vec![0xff; 11],
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0x80],
    ] {
        assert_eq!(parsed(&frame), [Parsed::Malformed], "{frame:02x?}");
    }
    assert_eq!(parsed(b""), []);
}

#[test]
fn a_frame_holds_messages_one_behind_the_other_and_an_empty_one_is_a_pong() {
    let ping = || Parsed::Command(id(1), Command::Ping);
    let all = [frame(11, &[]), vec![0], prefixed(&bytes(12, bytes(1, "1"))), frame(11, &[]), vec![1]].concat();
    assert_eq!(parsed(&all), [ping(), Parsed::Pong, Parsed::Send, ping(), Parsed::Malformed]);
    let both = prefixed(&[bytes(13, []), number(1, 1), bytes(8, bytes(1, "r"))].concat());
    assert_eq!(parsed(&both), [Parsed::Command(id(1), Command::Presence("r".into()))]);
}

#[test]
fn what_is_missing_or_no_json_is_refused() {
    let deep = "[".repeat(121) + &"]".repeat(121);
    let deeper = "[".repeat(10_000) + &"]".repeat(10_000);
    let room = bytes(1, "r");
    for (method, fields, rule) in [
        (5, vec![], "channel is missing"),
        (6, vec![], "channel is missing"),
        (7, vec![bytes(2, "1")], "channel is missing"),
        (8, vec![], "channel is missing"),
        (9, vec![], "channel is missing"),
        (10, vec![], "channel is missing"),
        (14, vec![], "token is missing"),
        (15, vec![room.clone()], "token is missing"),
        (7, vec![room.clone()], "data is missing"),
        (7, vec![room.clone(), bytes(2, "no JSON")], "data must be JSON: expected ident at line 1 column 2"),
        (
            7,
            vec![room.clone(), bytes(2, b"\"\xff\"")],
            "data must be JSON: invalid unicode code point at line 1 column 2",
        ),
        (7, vec![room.clone(), bytes(2, "1 2")], "data must be JSON: trailing characters at line 1 column 3"),
        (13, vec![bytes(2, "nick")], r#"data must be {"nick":"…"}"#),
        (13, vec![bytes(1, b"{\"nick\":\"\xff\"}"), bytes(2, "nick")], r#"data must be {"nick":"…"}"#),
        (13, vec![bytes(1, r#"{"nick":"a"}{}"#), bytes(2, "nick")], r#"data must be {"nick":"…"}"#),
        (7, vec![room.clone(), bytes(2, deep)], "data is nested more than 120 levels deep"),
        (7, vec![room.clone(), bytes(2, deeper)], "data is nested more than 120 levels deep"),
    ] {
        let wanted = Parsed::Refused(id(1), CommandError::Parameters(rule.into()));
        assert_eq!(parsed(&frame(method, &fields)), [wanted], "method {method}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        parsed(&frame);
    }

    #[test]
    fn whatever_looks_like_commands_is_read_to_its_end(
        fields in proptest::collection::vec((1..16_u8, 1..16_u8, "[a-z]{0,5}", any::<u64>()), 0..20)
    ) {
        let field = |(method, tag, text, value)| [bytes(method, bytes(tag, text)), bytes(method, number(tag, value))].concat();
        parsed(&prefixed(&fields.into_iter().flat_map(field).collect::<Vec<_>>()));
    }
}
