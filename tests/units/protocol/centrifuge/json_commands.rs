//! Commands in JSON: every method and parameter, frames of several, and input that is meant to break a reader.

use proptest::prelude::*;
use roomcast::protocol::centrifuge::command::{Command, Connect, History, Parsed, Resume, Subscribe};
use roomcast::protocol::centrifuge::json::next_command;
use roomcast::protocol::command::{CommandError, TokenText};

use super::{id, nick};

/// All that a frame holds, from its beginning to its end.
fn parsed(frame: &[u8]) -> Vec<Parsed<'_>> {
    super::parsed(frame, next_command)
}

#[track_caller]
fn one(frame: &str) -> Parsed<'_> {
    let mut parsed = parsed(frame.as_bytes());
    assert_eq!(parsed.len(), 1, "{frame}: {parsed:?}");
    parsed.remove(0)
}

#[track_caller]
fn accepted(frame: &str) -> Command<'_> {
    match one(frame) {
        Parsed::Command(request, command) if request == id(1) => command,
        other => panic!("{frame}: {other:?}"),
    }
}

/// The rule that the parameters of the only command break.
#[track_caller]
fn refused(frame: &str) -> String {
    match one(frame) {
        Parsed::Refused(request, CommandError::Parameters(rule)) if request == id(1) => rule.into(),
        other => panic!("{frame}: {other:?}"),
    }
}

const NICK_RULE: &str = r#"data must be {"nick":"…"}"#;

fn token(text: &str) -> TokenText<'_> {
    TokenText(text.into())
}

#[test]
fn each_method_is_read_with_all_its_parameters() {
    let resume = |offset| Resume { recover: true, epoch: "e".into(), offset };
    let subscribe = r#"{"id":1,"subscribe":{"channel":"r","token":"t","recover":true,"epoch":"e","offset":7,"flag":3,
        "type":1,"tf":{"op":"eq"},"positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil"}}"#;
    for (frame, command) in [
        (r#"{"id":1,"connect":{}}"#, Command::Connect(Connect::default())),
        (
            r#"{"id":1,"connect":{"token":"t","name":"js","version":"1","data":{},"flag":1,"headers":{"a":"b"},
                "subs":{"r":{"recover":true,"epoch":"e","offset":5},"s":{}}}}"#,
            Command::Connect(Connect {
                token: Some(token("t")),
                subs: vec![("r".into(), resume(5)), ("s".into(), Resume::default())],
            }),
        ),
        (
            subscribe,
            Command::Subscribe(Subscribe {
                channel: "r".into(),
                token: Some(token("t")),
                resume: resume(7),
                is_of_other_type: true,
                has_filter: true,
                must_recover: true,
            }),
        ),
        (
            r#"{"id":1,"subscribe":{"channel":"r","flag":1}}"#,
            Command::Subscribe(Subscribe {
                channel: "r".into(),
                token: None,
                resume: Resume::default(),
                is_of_other_type: false,
                has_filter: false,
                must_recover: false,
            }),
        ),
        (r#"{"id":1,"unsubscribe":{"channel":"r"}}"#, Command::Unsubscribe("r".into())),
        (
            r#"{"id":1,"publish":{"channel":"r","data":{"a":1}}}"#,
            Command::Publish { channel: "r".into(), data: r#"{"a":1}"#.into() },
        ),
        (r#"{"id":1,"presence":{"channel":"r"}}"#, Command::Presence("r".into())),
        (r#"{"id":1,"presence_stats":{"channel":"r"}}"#, Command::PresenceStats("r".into())),
        (
            r#"{"id":1,"history":{"channel":"r","limit":-1,"since":{"offset":9,"epoch":"e"},"reverse":true}}"#,
            Command::History(History { channel: "r".into(), limit: -1, since: Some((9, "e".into())), reverse: true }),
        ),
        (
            r#"{"id":1,"history":{"channel":"r","since":{}}}"#,
            Command::History(History { channel: "r".into(), since: Some((0, "".into())), ..History::default() }),
        ),
        (r#"{"id":1,"refresh":{"token":"t"}}"#, Command::Refresh(token("t"))),
        (r#"{"id":1,"sub_refresh":{"channel":"r","token":"t"}}"#, Command::SubRefresh("r".into(), token("t"))),
        (r#"{"id":1,"sub_refresh":{"token":"t"}}"#, Command::SubRefresh("".into(), token("t"))),
        (r#"{"id":1,"ping":{}}"#, Command::Ping),
        (r#"{"id":1,"rpc":{"method":"m","data":1}}"#, Command::Rpc),
        (r#"{"id":1,"rpc":{"data":{"a":[],"nick":"\u0061da"},"method":"nick"}}"#, Command::Nick(nick("ada"))),
        (
            r#"{"channel":1,"id":1,"x":[{}],"rpc":null,"unsubscribe":{"y":{"channel":2},"channel":"\u0072"}}"#,
            Command::Unsubscribe("r".into()),
        ),
        (r#"{"id":1,"rpc":{},"presence":{"channel":"r"},"connect":null}"#, Command::Presence("r".into())),
    ] {
        assert_eq!(accepted(frame), command, "{frame}");
    }
}

#[test]
fn a_parameter_that_is_missing_or_null_is_refused_where_it_is_needed_and_else_left_out() {
    for (method, needed) in [
        ("subscribe", "channel"),
        ("unsubscribe", "channel"),
        ("publish", "channel"),
        ("presence", "channel"),
        ("presence_stats", "channel"),
        ("history", "channel"),
        ("refresh", "token"),
        ("sub_refresh", "token"),
    ] {
        for parameters in ["{}".to_owned(), format!(r#"{{"{needed}":null}}"#), format!(r#"{{"{needed}":""}}"#)] {
            let frame = format!(r#"{{"id":1,"{method}":{parameters}}}"#);
            assert_eq!(refused(&frame), format!("{needed} is missing"), "{frame}");
        }
    }
    assert_eq!(refused(r#"{"id":1,"publish":{"channel":"r"}}"#), "data is missing");
    let null = Command::Publish { channel: "r".into(), data: "null".into() };
    assert_eq!(accepted(r#"{"id":1,"publish":{"channel":"r","data":null}}"#), null);
    let nulls = r#"{"id":1,"connect":{"token":null,"subs":null,"data":null,"name":null,"flag":null}}"#;
    assert_eq!(accepted(nulls), Command::Connect(Connect::default()));
    let nulls = r#"{"id":1,"history":{"channel":"r","limit":null,"since":null,"reverse":null}}"#;
    assert_eq!(accepted(nulls), Command::History(History { channel: "r".into(), ..History::default() }));
    let nulls = r#"{"id":1,"subscribe":{"channel":"r","token":null,"recover":null,"epoch":null,"offset":null,
        "flag":null,"type":null,"tf":null}}"#;
    assert_eq!(accepted(nulls), accepted(r#"{"id":1,"subscribe":{"channel":"r"}}"#));
}

#[test]
fn a_parameter_of_the_wrong_type_is_refused_with_what_it_must_be() {
    for (method, parameters, rule) in [
        ("subscribe", r#""channel":5"#, "channel must be a string"),
        ("subscribe", r#""channel":["r"]"#, "channel must be a string"),
        ("publish", r#""channel":{},"data":1"#, "channel must be a string"),
        ("unsubscribe", r#""channel":true"#, "channel must be a string"),
        ("presence", r#""channel":1"#, "channel must be a string"),
        ("presence_stats", r#""channel":1"#, "channel must be a string"),
        ("history", r#""channel":1"#, "channel must be a string"),
        ("sub_refresh", r#""channel":1,"token":"t""#, "channel must be a string"),
        ("subscribe", r#""channel":"\ud800""#, "channel must be a string of Unicode: a surrogate in it is alone"),
        ("connect", r#""token":1"#, "token must be a string"),
        ("refresh", r#""token":{}"#, "token must be a string"),
        ("sub_refresh", r#""token":0"#, "token must be a string"),
        ("connect", r#""subs":[]"#, "subs must be an object"),
        ("connect", r#""subs":{"r":[]}"#, "subs must be an object"),
        ("connect", r#""subs":{"r":{"offset":"1"}}"#, "offset must be an integer from 0 on"),
        ("subscribe", r#""channel":"r","recover":1"#, "recover must be true or false"),
        ("subscribe", r#""channel":"r","epoch":1"#, "epoch must be a string"),
        ("subscribe", r#""channel":"r","offset":1.0"#, "offset must be an integer from 0 on"),
        ("subscribe", r#""channel":"r","offset":-1"#, "offset must be an integer from 0 on"),
        ("subscribe", r#""channel":"r","offset":18446744073709551616"#, "offset must be an integer from 0 on"),
        ("subscribe", r#""channel":"r","offset":1e400"#, "offset must be an integer from 0 on"),
        ("subscribe", r#""channel":"r","flag":"2""#, "flag must be an integer"),
        ("subscribe", r#""channel":"r","type":"map""#, "type must be an integer"),
        ("history", r#""channel":"r","limit":"10""#, "limit must be an integer"),
        ("history", r#""channel":"r","limit":2147483648"#, "limit must be an integer"),
        ("history", r#""channel":"r","since":3"#, "since must be an object"),
        ("history", r#""channel":"r","since":{"offset":"3"}"#, "offset must be an integer from 0 on"),
        ("history", r#""channel":"r","reverse":"yes""#, "reverse must be true or false"),
        ("rpc", r#""method":1"#, "method must be a string"),
        ("rpc", r#""method":"nick""#, NICK_RULE),
        ("rpc", r#""method":"nick","data":null"#, NICK_RULE),
        ("rpc", r#""method":"nick","data":{}"#, NICK_RULE),
        ("rpc", r#""method":"nick","data":["ada"]"#, NICK_RULE),
        ("rpc", r#""method":"nick","data":"ada""#, NICK_RULE),
        ("rpc", r#""method":"nick","data":{"nick":1}"#, NICK_RULE),
        ("rpc", r#""method":"nick","data":{"nick":"\ud800"}"#, NICK_RULE),
        ("rpc", r#""method":"nick","data":{"nick":"a","nick":"b"}"#, NICK_RULE),
    ] {
        let frame = format!(r#"{{"id":1,"{method}":{{{parameters}}}}}"#);
        assert_eq!(refused(&frame), rule, "{frame}");
    }
    for method in ["connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "rpc"] {
        for parameters in ["5", "\"r\"", "[]", "[\"r\"]", "true"] {
            let frame = format!(r#"{{"id":1,"{method}":{parameters}}}"#);
            assert_eq!(refused(&frame), format!("{method} must be an object"));
        }
    }
    let twice = refused(r#"{"id":1,"subscribe":{"channel":"a","channel":"b"}}"#);
    assert!(twice.starts_with("subscribe: duplicate field `channel`"), "{twice}");
}

#[test]
fn a_nick_that_breaks_its_rule_is_refused_with_it() {
    for nick in ["", "a b", "~ada", "client-7", "a\u{2800}"] {
        let frame = format!(r#"{{"id":1,"rpc":{{"method":"nick","data":{{"nick":"{nick}"}}}}}}"#);
        let refused = one(&frame);
        assert!(
            matches!(&refused, Parsed::Refused(request, CommandError::Nick(_)) if *request == id(1)),
            "{refused:?}"
        );
    }
}

#[test]
fn what_has_no_name_or_no_method_or_is_no_json_is_malformed() {
    for frame in [
        " ",
        "\n",
        "x",
        "null",
        "5",
        "\"a\"",
        "[]",
        "[1,{}]",
        "{",
        "{\"id\":1",
        "{}}",
        "{},",
        "{'id':1}",
        "\u{feff}{}",
        r#"{"id":1}"#,
        r#"{"id":1,"connect":null}"#,
        r#"{"id":1,"unknown":{}}"#,
        r#"{"connect":{}}"#,
        r#"{"id":null,"connect":{}}"#,
        r#"{"id":0,"connect":{}}"#,
        r#"{"id":-1,"connect":{}}"#,
        r#"{"id":1.0,"connect":{}}"#,
        r#"{"id":1e0,"connect":{}}"#,
        r#"{"id":"1","connect":{}}"#,
        r#"{"id":4294967296,"connect":{}}"#,
        r#"{"id":1,"id":1,"connect":{}}"#,
        r#"{"id":1,"connect":{},"connect":{}}"#,
        r#"{"id":1,"connect":{},"connect":null}"#,
        r#"{"id":1,"publish":{"channel":"r","data":01}}"#,
        r#"{"id":1,"publish":{"channel":"r","data":"a}}"#,
        "{\"id\":1,\"publish\":{\"channel\":\"r\",\"data\":\"a\nb\"}}",
        r#"{"id":1,"publish":{"channel":"r","data":"\x"}}"#,
    ] {
        assert_eq!(parsed(frame.as_bytes()).last(), Some(&Parsed::Malformed), "{frame:?}");
    }
    assert_eq!(parsed(b"{\"id\":1,\"presence\":{\"channel\":\"\xff\"}}"), [Parsed::Malformed]);
    assert_eq!(parsed(b""), []);
}

#[test]
fn an_object_without_a_method_is_a_pong_and_a_message_to_the_server_needs_no_name() {
    for frame in ["{}", " { } ", "{}\n", "{}\r\n", r#"{"id":null}"#, r#"{"id":0}"#, r#"{"unknown":{}}"#] {
        assert_eq!(one(frame), Parsed::Pong, "{frame:?}");
    }
    for frame in [r#"{"send":{"data":1}}"#, r#"{"id":3,"send":{}}"#, r#"{"send":5,"rpc":{}}"#] {
        assert_eq!(one(frame), Parsed::Send, "{frame:?}");
    }
}

#[test]
fn the_largest_name_is_kept() {
    assert_eq!(one(r#"{"id":4294967295,"ping":{}}"#), Parsed::Command(id(u32::MAX), Command::Ping));
}

#[test]
fn a_frame_holds_objects_joined_by_line_ends_or_nothing() {
    for joint in ["\n", "\r\n", "", " ", "\n\n"] {
        for end in ["", "\n", "\r\n"] {
            let frame = [r#"{"id":1,"ping":{}}"#, "{}", r#"{"id":2,"rpc":{}}"#].join(joint) + end;
            let ping = Parsed::Command(id(1), Command::Ping);
            let rpc = Parsed::Command(id(2), Command::Rpc);
            assert_eq!(parsed(frame.as_bytes()), [ping, Parsed::Pong, rpc], "{frame:?}");
        }
    }
    let broken = "{}\n{\"id\":1}\n{}\nx\n{}";
    assert_eq!(parsed(broken.as_bytes()), [Parsed::Pong, Parsed::Malformed, Parsed::Pong, Parsed::Malformed]);
}

#[test]
fn data_is_kept_as_it_is_but_for_white_space_between_its_tokens() {
    for (data, kept) in [
        ("{ \"a\" :\n [1 ,\r\n\t2] }", r#"{"a":[1,2]}"#),
        ("1e400", "1e400"),
        ("-0.00", "-0.00"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        (r#""\ud800""#, r#""\ud800""#),
        (r#""\u0041 \n""#, r#""\u0041 \n""#),
        (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        ("false", "false"),
    ] {
        let frame = format!("{{\"id\":1,\"publish\":{{\"channel\":\"r\",\n\"data\": {data} }}}}");
        assert_eq!(accepted(&frame), Command::Publish { channel: "r".into(), data: kept.into() });
    }
}

#[test]
fn json_of_any_depth_is_read_without_recursion_and_not_passed_on() {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let objects = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let publish = |data: &str| format!(r#"{{"id":1,"publish":{{"channel":"r","data":{data}}}}}"#);
    let rule = "data is nested more than 120 levels deep";
    for data in [deep(121), deep(10_000), objects] {
        assert_eq!(refused(&publish(&data)), rule);
    }
    assert!(matches!(accepted(&publish(&deep(120))), Command::Publish { .. }));
    let deep = deep(10_000);
    assert_eq!(accepted(&format!(r#"{{"x":{deep},"id":1,"ping":{deep}}}"#)), Command::Ping);
    assert_eq!(
        accepted(&format!(r#"{{"id":1,"presence":{{"x":{deep},"channel":"r"}}}}"#)),
        Command::Presence("r".into())
    );
    assert_eq!(refused(&format!(r#"{{"id":1,"presence":{{"channel":{deep}}}}}"#)), "channel must be a string");
    assert_eq!(one(&"[".repeat(10_000)), Parsed::Malformed);
    assert_eq!(one(&"{\"a\":".repeat(10_000)), Parsed::Malformed);
}

#[test]
fn a_token_is_not_in_what_is_printed_of_a_command() {
    let printed = format!("{:?}", one(r#"{"id":1,"connect":{"token":"secret"}}"#));
    assert!(!printed.contains("secret"), "{printed}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        parsed(&frame);
    }

    #[test]
    fn whatever_looks_like_commands_is_read_to_its_end(frame in r#"([{}\[\]:,\n]|"id"|"connect"|"data"|"subs"|1|null){0,60}"#) {
        parsed(frame.as_bytes());
    }

    #[test]
    fn a_command_that_is_cut_anywhere_is_malformed(cut in 1_usize..60) {
        let frame = br#"{"id":1,"publish":{"channel":"r","data":{"a":[1,2,"\u0041"]}}}"#;
        prop_assert_eq!(parsed(&frame[..cut]), [Parsed::Malformed]);
    }
}
