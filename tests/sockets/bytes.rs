//! Bytes cut at any point: the lines and their answers stay the same.

use std::io::Write;
use std::thread;

use harness::{Client, Lines, Transport, WELCOME};

use crate::server::{TestServer, contract};

/// Commands with characters of two, three and four bytes, and with every kind of line end.
const SCRIPT: &str = "JOIN räume\r\nhällo ▒ 🦀\n\n \r\nNICK bøb\nSAY JOIN a\nJOIN a b\nPING ü\nLEAVE\nQUIT\n";

/// The answers to the script.
fn answers(label: &str) -> String {
    let lines = [
        WELCOME,
        "Joined räume",
        &format!("[{label}] hällo ▒ 🦀"),
        &format!("[{label}]  "),
        "You are bøb",
        "[bøb] JOIN a",
        r#"ERR room-name "a b": 1 to 128 bytes, no spaces or control characters"#,
        "PONG ü",
        "Left room",
        "Bye",
    ];
    lines.map(|line| format!("{line}\n")).concat()
}

/// Says the script in these pieces. Between two, another client makes a round trip, so that on one worker each piece is
/// read by itself.
fn converse<'a>(server: &TestServer, bystander: &mut Client, pieces: impl Iterator<Item = &'a [u8]>) {
    let mut client = Lines::connect(server.tcp);
    for piece in pieces {
        client.send(piece);
        bystander.expect_nothing();
    }
    let (heard, expected) = (client.rest(), answers(&client.label()));
    assert_eq!(promised_orders(&heard), promised_orders(&expected));
}

/// What waits for no shard, a refusal or a new name, may overtake a message of the room: the order of those two is not
/// compared, but that of all replies is, and that of messages and whatever a shard has answered.
fn promised_orders(text: &str) -> [Vec<&str>; 2] {
    let is_of_no_shard = |line: &&str| line.starts_with("ERR ") || line.starts_with("You are ");
    [
        text.lines().filter(|line| !line.starts_with('[')).collect(),
        text.lines().filter(|line| !is_of_no_shard(line)).collect(),
    ]
}

#[test]
fn a_conversation_cut_at_any_byte_is_the_same() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut bystander = Client::connect(&server, transport);
        let script = SCRIPT.as_bytes();
        for at in 0..=script.len() {
            let (first, second) = script.split_at(at);
            converse(&server, &mut bystander, [first, second].into_iter());
        }
    });
}

#[test]
fn a_conversation_byte_by_byte_is_the_same() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut bystander = Client::connect(&server, transport);
        converse(&server, &mut bystander, SCRIPT.as_bytes().chunks(1));
    });
}

#[test]
fn a_line_cut_thousands_of_times_is_one_line() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut bystander = Client::connect(&server, transport);
        let mut client = Lines::connect(server.tcp);
        client.expect(WELCOME);
        client.send("NICK alice\nJOIN a\n");
        client.expect("You are alice");
        client.expect("Joined a");
        let text = "ab🦀".repeat(300);
        for piece in text.as_bytes().chunks(5) {
            client.send(piece);
            bystander.expect_nothing();
        }
        client.send("\n");
        client.expect(&format!("[alice] {text}"));
    });
}

#[test]
fn another_protocol_is_recognised_however_its_first_line_is_cut() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut bystander = Client::connect(&server, transport);
        let mut client = Lines::connect(server.tcp);
        for byte in b"GET /rooms HTTP/1.1\n" {
            client.send([*byte]);
            bystander.expect_nothing();
        }
        assert_eq!(client.rest(), format!("{WELCOME}\nERR closed protocol-error\n"));
    });
}

#[test]
fn carriage_returns_before_line_feeds_are_dropped() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        let mut client = Lines::connect(server.tcp);
        client.send("\r\n\n\r\nNICK alice\r\nJOIN a\r\nhello \r\nPING x\r\n");
        for line in [WELCOME, "You are alice", "Joined a", "[alice] hello ", "PONG x"] {
            client.expect(line);
        }
        client.send("two\r\r\n");
        client.expect("ERR control-character U+000D at byte 3: lines end with a line feed");
    });
}

#[test]
fn a_carriage_return_is_part_of_its_line_until_a_line_feed_comes() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = Client::member(&server, transport, "a", "watcher");
        let mut client = Lines::connect(server.tcp);
        client.send("NICK alice\nJOIN a\nhello\r");
        [WELCOME, "You are alice", "Joined a"].into_iter().for_each(|line| client.expect(line));
        watcher.expect_nothing();
        client.send("\n");
        watcher.expect("[alice] hello");
        client.expect("[alice] hello");
        // A line without its end is dropped when the input ends.
        client.send("PING x\nnever said\r");
        client.end_input();
        assert_eq!(client.rest(), "PONG x\n");
        watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
        watcher.expect_nothing();
    });
}

#[test]
fn ten_thousand_lines_in_one_write_are_all_heard_while_another_client_is_served() {
    const LINES: usize = 10_000;
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let mut other = Client::member(&server, transport, "b", "other");
        let mut talker = Lines::connect(server.tcp);
        talker.send("NICK talker\nJOIN a\n");
        for line in [WELCOME, "You are talker", "Joined a"] {
            talker.expect(line);
        }
        let mut output = talker.write_half();
        let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
        let write = thread::spawn(move || output.write_all(lines.as_bytes()).unwrap());
        talker.expect("[talker] 0");
        for number in 1..LINES {
            if number % 100 == 0 {
                assert_eq!(other.request("hello"), "[other] hello");
            }
            talker.expect(&format!("[talker] {number}"));
        }
        write.join().unwrap();
        talker.send("PING x\n");
        talker.expect("PONG x");
        other.expect_nothing();
    });
}

#[test]
fn a_client_that_never_stops_talking_does_not_keep_others_from_being_served() {
    contract(|shape, _| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let _talkers = [(); 3].map(|()| harness::Blast::start(server.tcp, "loud"));
        let mut other = Client::member(&server, Transport::Tcp, "b", "other");
        for _ in 0..10 {
            assert_eq!(other.request("hello"), "[other] hello");
            other.expect_nothing();
        }
    });
}
