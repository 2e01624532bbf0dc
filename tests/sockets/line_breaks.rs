//! Line breaks where they do not belong, said by a WebSocket client: what a TCP member reads is what a WebSocket member
//! reads, line by line and each with its label. Never a line that nobody sent.

use std::cell::{Cell, RefCell};

use harness::{Client, Transport};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use roomcast::config::{Settings, Size, SlowPolicy};

use crate::server::{Shape, TestServer, contract};

/// The longest nick.
const NICK: &str = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";

/// The longest message, by default.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Pieces of the texts: line breaks of every kind, and the beginnings of forged lines.
const PIECES: [&str; 10] = ["a", "\n", "\r", "\r\n", "[bob] ", "JOIN b", "NICK x", "\u{2028}", "\t", " "];

/// A talker over WebSocket and a watcher over each transport, in one room.
struct Room {
    talker: Client,
    lines: Client,
    messages: Client,
}

impl Room {
    fn open(server: &TestServer) -> Self {
        let [lines, messages] =
            Transport::ALL.map(|transport| Client::member(server, transport, "a", &format!("{transport:?}")));
        Self { talker: Client::member(server, Transport::WebSocket, "a", NICK), lines, messages }
    }

    /// Publishes the text and returns what both watchers get. The talker then has its nick and its room again.
    fn publish(&mut self, said: &str) -> (Vec<String>, Vec<String>) {
        for line in [said, &format!("NICK {NICK}"), "JOIN a"] {
            self.talker.send(line);
        }
        self.talker.fence();
        (self.lines.fence(), self.messages.fence())
    }
}

/// A text as lines, each with the label.
fn labelled(text: &str) -> Vec<String> {
    text.split('\n').map(|line| format!("[{NICK}] {}", line.strip_suffix('\r').unwrap_or(line))).collect()
}

/// Fails unless the watchers of both transports got the same text, all of it, and each line with its label.
fn agree(said: &str, lines: &[String], messages: &[String]) -> Result<(), TestCaseError> {
    let heard: Vec<&str> = messages.iter().flat_map(|message| message.split('\n')).collect();
    prop_assert_eq!(lines, heard);
    prop_assert!(lines.iter().all(|line| !line.contains('\r')), "{lines:?}");
    let text = said.strip_suffix('\n').unwrap_or(said);
    let text = text.strip_suffix('\r').unwrap_or(text);
    prop_assert!(messages.is_empty() || lines == labelled(text), "{messages:?}");
    Ok(())
}

#[test]
fn whatever_a_websocket_member_says_a_line_member_reads_the_same_line_by_line() {
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::plain(shape);
        let room = RefCell::new(Room::open(&server));
        let (heard, of_several_lines) = (Cell::new(0), Cell::new(0));
        let texts = prop::collection::vec(select(&PIECES[..]), 0..12).prop_map(|pieces| pieces.concat());
        let cases = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        let outcome = TestRunner::new(cases).run(&texts, |said| {
            let (lines, messages) = room.borrow_mut().publish(&said);
            heard.set(heard.get() + messages.len());
            of_several_lines.set(of_several_lines.get() + usize::from(lines.len() > 1));
            agree(&said, &lines, &messages)
        });
        outcome.unwrap_or_else(|failure| panic!("{shape:?}: {failure}"));
        assert!(
            heard.get() > 50 && of_several_lines.get() > 20,
            "{heard:?} heard, {of_several_lines:?} of several lines"
        );
    }
}

#[test]
fn a_name_with_a_line_break_is_refused_or_is_chat_and_changes_nothing() {
    let rule = "no spaces or control characters";
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let mut room = Room::open(&server);
        for (said, answer) in [
            ("NICK x\ry", "ERR control-character U+000D at byte 6: lines end with a line feed".into()),
            ("JOIN x\ry\r\n", "ERR control-character U+000D at byte 6: lines end with a line feed".into()),
            ("NICK x\u{85}y", "ERR control-character U+0085 at byte 6: none but tab is allowed".into()),
            ("JOIN x\u{b}y", "ERR control-character U+000B at byte 6: none but tab is allowed".into()),
            ("NICK x\u{2028}y", format!(r#"ERR nick "x\u{{2028}}y": 1 to 64 bytes, {rule}"#)),
            ("JOIN x\u{2029}y", format!(r#"ERR room-name "x\u{{2029}}y": 1 to 128 bytes, {rule}"#)),
        ] {
            assert_eq!(room.talker.request(said), answer, "{said:?}");
        }
        for (said, lines) in
            [("NICK x\n[bob] forged", ["NICK x", "[bob] forged"]), ("JOIN x\r\nJOIN y\r\n", ["JOIN x", "JOIN y"])]
        {
            let labelled = lines.map(|line| format!("[{NICK}] {line}"));
            let (lines, messages) = room.publish(said);
            assert_eq!((&lines[..], &messages[..]), (&labelled[..], &[labelled.join("\n")][..]), "{said:?}");
        }
        let who = format!(r#"Members of a: ["Tcp", "WebSocket", "{NICK}"]"#);
        assert_eq!(room.talker.request("WHO"), who);
        assert_eq!(room.lines.request("LIST"), r#"Rooms: ["a"]"#);
        room.lines.expect_nothing();
        room.messages.expect_nothing();
    }
}

/// The smallest bounds of an outbox.
fn least_outboxes(settings: &mut Settings) {
    settings.outbox_bytes = Size(MESSAGE_BYTES_MAX);
    settings.outbox_messages = 1;
}

#[test]
fn a_message_of_nothing_but_line_breaks_is_refused_however_they_are_written() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, least_outboxes);
        let mut talker = Client::member(&server, Transport::WebSocket, "a", NICK);
        let mut watcher = Client::member(&server, transport, "a", "watcher");
        for (line_break, answer) in [
            ("\n", "ERR too-many message of 65536 lines: at most 64"),
            ("\r\n", "ERR too-many message of 32768 lines: at most 64"),
            ("\r", "ERR control-character U+000D at byte 0: lines end with a line feed"),
        ] {
            let said = line_break.repeat(MESSAGE_BYTES_MAX / line_break.len());
            assert_eq!(talker.request(&said), answer, "{line_break:?}");
        }
        assert_eq!(watcher.request("WHO"), format!(r#"Members of a: ["{NICK}", "watcher"]"#));
        watcher.expect_nothing();
        talker.expect_nothing();
    });
}

#[test]
fn no_line_of_a_message_looks_like_one_of_the_server_or_of_another_member() {
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let mut room = Room::open(&server);
        let (lines, messages) = room.publish("hi\n[ada] forged\nGAP 17\nERR closed shutdown\nPONG 1");
        let labelled =
            ["hi", "[ada] forged", "GAP 17", "ERR closed shutdown", "PONG 1"].map(|line| format!("[{NICK}] {line}"));
        assert_eq!((&lines[..], &messages[..]), (&labelled[..], &[labelled.join("\n")][..]), "{shape:?}");
    }
}

#[test]
fn the_longest_message_of_the_most_lines_under_the_longest_nick_costs_no_member_its_place() {
    const BREAKS: usize = 63;
    for policy in [SlowPolicy::Disconnect, SlowPolicy::DropOldest] {
        for shape in Shape::ALL {
            let server = TestServer::start(shape, |settings| {
                least_outboxes(settings);
                settings.slow = policy;
            });
            let mut room = Room::open(&server);
            let labels = (BREAKS + 1) * format!("[{NICK}] ").len();
            let said = "\n".repeat(BREAKS) + &"x".repeat(MESSAGE_BYTES_MAX - BREAKS - labels);
            let labelled = labelled(&said);
            for _ in 0..3 {
                let (lines, messages) = room.publish(&said);
                assert!(messages == [labelled.join("\n")], "{policy:?}, {shape:?}");
                assert!(messages[0].len() == MESSAGE_BYTES_MAX && lines == labelled, "{policy:?}, {shape:?}");
            }
            let answer = room.talker.request(&(said + "x"));
            assert_eq!(answer, "ERR too-long message of 65537 bytes with its label exceeds 65536");
            let who = format!(r#"Members of a: ["Tcp", "WebSocket", "{NICK}"]"#);
            assert_eq!(room.lines.request("WHO"), who, "{policy:?}, {shape:?}");
        }
    }
}
