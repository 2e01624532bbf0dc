//! Refused commands: the answer has a code, the value and the rule, and the connection stays open.

use harness::{Client, Lines, WELCOME};

use crate::server::{TestServer, contract};

/// Lines of a client and the whole answers.
const REFUSED: [(&str, &str); 11] = [
    ("JOIN a b", r#"ERR room-name "a b": 1 to 128 bytes, no spaces or control characters"#),
    ("JOIN a\tb", r#"ERR room-name "a\tb": 1 to 128 bytes, no spaces or control characters"#),
    ("JOIN \u{2028}", r#"ERR room-name "\u{2028}": 1 to 128 bytes, no spaces or control characters"#),
    ("NICK two words", r#"ERR nick "two words": 1 to 64 bytes, no spaces or control characters"#),
    (
        "JOIN \u{202e}x",
        r#"ERR room-name "\u{202e}x": 1 to 128 bytes, no spaces or control characters, and U+202E shows nothing"#,
    ),
    (
        "NICK a\u{2800}",
        "ERR nick \"a\u{2800}\": 1 to 64 bytes, no spaces or control characters, and U+2800 shows nothing",
    ),
    ("NICK ws-7", r#"ERR nick "ws-7": a nick does not look like an address or a number that the server gives"#),
    ("JOIN", "ERR unknown JOIN needs a room: JOIN <room>"),
    ("JOIN ", "ERR unknown JOIN needs a room: JOIN <room>"),
    ("NICK", "ERR unknown NICK needs a name: NICK <name>"),
    ("SAY", "ERR unknown SAY needs a text: SAY <text>"),
];

/// Bytes that no member may ever get, and the whole answers.
const UNCLEAN: [(&[u8], &str); 16] = [
    (b"ab\xff", "ERR not-utf8 byte 2 begins no character: lines are UTF-8"),
    (b"\xc0\xaf", "ERR not-utf8 byte 0 begins no character: lines are UTF-8"),
    (b"a\xed\xa0\x80", "ERR not-utf8 byte 1 begins no character: lines are UTF-8"),
    (b"\xe0\x80\xaf", "ERR not-utf8 byte 0 begins no character: lines are UTF-8"),
    (b"a\xf0\x80\x80\xaf", "ERR not-utf8 byte 1 begins no character: lines are UTF-8"),
    (b"\xf0\x8f\xbf\xbf", "ERR not-utf8 byte 0 begins no character: lines are UTF-8"),
    (b"\xf4\x90\x80\x80", "ERR not-utf8 byte 0 begins no character: lines are UTF-8"),
    (b"ab\xf5\x80\x80\x80", "ERR not-utf8 byte 2 begins no character: lines are UTF-8"),
    (b"\xf8\x88\x80\x80\x80", "ERR not-utf8 byte 0 begins no character: lines are UTF-8"),
    (b"\xed\xa0\xbd\xed\xb8\x80", "ERR not-utf8 byte 0 begins no character: lines are UTF-8"),
    (b"SAY caf\xc3", "ERR not-utf8 byte 7 begins no character: lines are UTF-8"),
    (b"nul\0", "ERR control-character U+0000 at byte 3: none but tab is allowed"),
    (b"\x1b[31mred", "ERR control-character U+001B at byte 0: none but tab is allowed"),
    (b"a\rb", "ERR control-character U+000D at byte 1: lines end with a line feed"),
    (b"del\x7f", "ERR control-character U+007F at byte 3: none but tab is allowed"),
    (b"next\xc2\x85line", "ERR control-character U+0085 at byte 4: none but tab is allowed"),
];

#[test]
fn a_misused_command_is_refused_with_its_rule_and_changes_nothing() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let mut bob = Client::member(&server, transport, "a", "bob");
        for (line, answer) in REFUSED {
            assert_eq!(alice.request(line), answer, "{line:?}");
        }
        assert_eq!(alice.request("WHO"), r#"Members of a: ["alice", "bob"]"#);
        alice.expect_nothing();
        bob.expect_nothing();
    });
}

#[test]
fn names_reach_exactly_up_to_their_length_in_bytes() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        client.join(&"é".repeat(64));
        client.name(&"é".repeat(32));
        let rule = "no spaces or control characters";
        let room = client.request(&format!("JOIN {}", "r".repeat(129)));
        assert_eq!(room, format!("ERR room-name \"{}…\": 1 to 128 bytes, {rule}", "r".repeat(64)));
        let nick = client.request(&format!("NICK {}", "n".repeat(65)));
        assert_eq!(nick, format!("ERR nick \"{}…\": 1 to 64 bytes, {rule}", "n".repeat(64)));
        let who = format!("Members of {}: [\"{}\"]", "é".repeat(64), "é".repeat(32));
        assert_eq!(client.request("WHO"), who);
    });
}

#[test]
fn any_name_within_the_rule_is_a_room_and_twins_under_nfc_are_one() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        for room in ["..", "*", ">", "#rust", "שלום", "日本", "नमस्ते", "JOIN"] {
            client.join(room);
            assert_eq!(client.request("LIST"), format!("Rooms: [\"{room}\"]"));
        }
        assert_eq!(client.request("JOIN cafe\u{301}"), "Joined caf\u{e9}");
        let mut twin = Client::member(&server, transport, "caf\u{e9}", "twin");
        twin.send("hello");
        client.expect("[twin] hello");
    });
}

#[test]
fn bytes_that_are_no_clean_text_are_refused_and_never_delivered() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut bob = Client::member(&server, transport, "a", "bob");
        let mut sender = Lines::connect(server.tcp);
        sender.expect(WELCOME);
        sender.send("NICK alice\nJOIN a\n");
        sender.expect("You are alice");
        sender.expect("Joined a");
        for (line, answer) in UNCLEAN {
            sender.send([line, b"\n"].concat());
            sender.expect(answer);
        }
        sender.send("still here\n");
        sender.expect("[alice] still here");
        assert_eq!(bob.fence(), ["[alice] still here"]);
    });
}

/// The control characters that no text may contain: all but tab, and but the line feed, which ends a line.
fn controls() -> impl Iterator<Item = char> {
    (char::MIN..=char::MAX).filter(|character| character.is_control() && !matches!(character, '\t' | '\n'))
}

#[test]
fn every_control_character_is_refused_wherever_it_stands_and_nothing_is_delivered() {
    assert_eq!(controls().count(), 63);
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let mut bob = Client::member(&server, transport, "a", "bob");
        for control in controls() {
            let refusal = |at: usize| {
                let code = u32::from(control);
                let rule = if control == '\r' { "lines end with a line feed" } else { "none but tab is allowed" };
                format!("ERR control-character U+{code:04X} at byte {at}: {rule}")
            };
            for before in ["", "x", "SAY ", "SAY x", "NICK x", "JOIN x", "PING x", "LIST "] {
                assert_eq!(alice.request(&format!("{before}{control}y")), refusal(before.len()));
            }
            // A carriage return at the end of a line belongs to that end.
            if control != '\r' {
                assert_eq!(alice.request(&format!("x{control}")), refusal(1));
            }
        }
        assert_eq!(alice.request("x\r"), "[alice] x");
        assert_eq!(bob.fence(), ["[alice] x"]);
        assert_eq!(bob.request("WHO"), r#"Members of a: ["alice", "bob"]"#);
        alice.expect_nothing();
    });
}

#[test]
fn a_message_of_the_limit_with_its_label_passes_and_a_line_over_the_limit_ends_the_connection() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut bob = Client::member(&server, transport, "a", "bob");
        let mut alice = Client::member(&server, transport, "a", "alice");
        let longest = "x".repeat(64 * 1024 - "[alice] ".len());
        alice.send(&longest);
        assert!(alice.line() == format!("[alice] {longest}") && bob.line() == format!("[alice] {longest}"));
        // Too long only with its label: nobody gets it, and the connection stays open.
        for said in [longest.clone() + "x", "x".repeat(64 * 1024)] {
            let bytes = "[alice] ".len() + said.len();
            let answer = format!("ERR too-long message of {bytes} bytes with its label exceeds 65536");
            assert_eq!(alice.request(&said), answer);
        }
        let longest = "x".repeat(64 * 1024);
        let mut sender = Lines::connect(server.tcp);
        sender.send(format!("JOIN a\n{longest}y\nnever executed\n"));
        sender.expect(WELCOME);
        sender.expect("Joined a");
        sender.expect("ERR too-long line of 65537 bytes exceeds 65536");
        sender.expect("ERR closed too-long");
        sender.expect_end();
        bob.request_until("WHO", r#"Members of a: ["alice", "bob"]"#);
        bob.expect_nothing();
    });
}
