//! Bytes that line clients send beside their text: telnet's negotiation, a byte order mark, line ends of other kinds.
//! The text stays the same at whatever point the bytes are cut.

use std::io::Read;

use harness::{Client, Lines, Transport, WELCOME};

use crate::server::{Shape, TestServer, contract};

/// The first bytes of PuTTY in telnet mode, and the refusals.
const PUTTY: &[u8] = b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";
const REFUSALS: &[u8] = b"\xff\xfe\x1f\xff\xfe\x20\xff\xfe\x18\xff\xfe\x27\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03";

/// The bytes of telnet when Ctrl-C is pressed, and the refusal that it waits for.
const INTERRUPT: &[u8] = b"\xff\xf4\xff\xfd\x06";
const NO_TIMING_MARK: &[u8] = b"\xff\xfc\x06";

/// The size of a window with a line feed as its height.
const WINDOW: &[u8] = b"\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0";

/// All that a client hears that says this in two pieces, cut anywhere, is the same. Between the two another client
/// makes a round trip, so that on one worker each is read by itself.
#[track_caller]
fn expect(shape: Shape, said: &[u8], heard: &[u8]) {
    let server = TestServer::plain(shape);
    let mut bystander = Client::connect(&server, Transport::Tcp);
    for at in 0..=said.len() {
        let client = Lines::connect(server.tcp);
        for piece in [&said[..at], &said[at..]] {
            client.send(piece);
            bystander.expect_nothing();
        }
        let mut all = Vec::new();
        client.stream().read_to_end(&mut all).expect("bytes and the end");
        let expected = [WELCOME.as_bytes(), b"\n", heard].concat();
        assert!(all == expected, "{} for {}, cut at {at}", all.escape_ascii(), expected.escape_ascii());
    }
}

#[test]
fn puttys_negotiation_is_refused_once_and_the_first_command_is_heard() {
    for shape in Shape::ALL {
        let said = [PUTTY, b"NICK ada\r\n", PUTTY, b"QUIT\r\n"].concat();
        expect(shape, &said, &[REFUSALS, b"You are ada\nBye\n"].concat());
    }
}

#[test]
fn an_interrupt_within_a_line_is_skipped_and_its_timing_mark_refused_each_time() {
    let said = [b"PING a", INTERRUPT, b"b\n", INTERRUPT, b"\xff\xf1QUIT\n"].concat();
    let server = TestServer::plain(Shape::ONE);
    let mut bystander = Client::connect(&server, Transport::Tcp);
    for at in 0..=said.len() {
        let client = Lines::connect(server.tcp);
        for piece in [&said[..at], &said[at..]] {
            client.send(piece);
            bystander.expect_nothing();
        }
        let mut all = Vec::new();
        client.stream().read_to_end(&mut all).expect("bytes and the end");
        // The refusals stand wherever they were due.
        let marks = all.windows(NO_TIMING_MARK.len()).filter(|bytes| *bytes == NO_TIMING_MARK).count();
        let text: Vec<u8> = all.iter().copied().filter(|byte| !matches!(byte, 0xff | 0xfc | 6)).collect();
        assert_eq!((marks, text), (2, format!("{WELCOME}\nPONG ab\nBye\n").into_bytes()), "cut at {at}");
    }
}

#[test]
fn a_subnegotiation_is_skipped_though_it_holds_a_line_feed() {
    expect(Shape::ONE, &[b"PING a", WINDOW, b"b\nQUIT\n"].concat(), b"PONG ab\nBye\n");
}

#[test]
fn a_line_may_end_with_a_carriage_return_and_a_nul() {
    expect(Shape::ONE, b"PING a\r\0\r\0PING b\r\0QUIT\r\0", b"PONG a\nPONG b\nBye\n");
}

#[test]
fn an_escaped_byte_and_one_that_begins_no_command_are_no_text_and_refused_as_such() {
    let refused = b"ERR not-utf8 byte 2 begins no character: lines are UTF-8\n";
    expect(Shape::ONE, b"ab\xff\xffc\nab\xff\nQUIT\n", &[&refused[..], refused, b"Bye\n"].concat());
}

#[test]
fn a_byte_order_mark_at_the_very_beginning_is_skipped_and_nowhere_else() {
    const MARK: &str = "\u{feff}";
    let said = format!("{MARK}PING a\n{MARK}PING b\nQUIT\n");
    expect(Shape::ONE, said.as_bytes(), b"PONG a\nJoin a room first\nBye\n");
    expect(Shape::ONE, &[PUTTY, said.as_bytes()].concat(), &[REFUSALS, b"PONG a\nJoin a room first\nBye\n"].concat());
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        assert_eq!(client.request(&format!("{MARK}JOIN a")), "Joined a");
        client.name("ada");
        assert_eq!(client.request(&format!("{MARK}JOIN b")), format!("[ada] {MARK}JOIN b"));
    });
}

#[test]
fn who_ends_lines_with_carriage_returns_alone_is_told_once_and_says_nothing() {
    let told = b"ERR control-character U+000D at byte 6: lines end with a line feed\n";
    expect(Shape::ONE, b"JOIN a\rhello\rbye\r\nQUIT\n", &[&told[..], b"Bye\n"].concat());
    let server = TestServer::plain(Shape::ONE);
    let mut client = Lines::connect(server.tcp);
    client.expect(WELCOME);
    // A line feed never comes.
    client.send("JOIN a\r");
    client.send("hello\r");
    client.expect("ERR control-character U+000D at byte 6: lines end with a line feed");
    assert_eq!(Client::connect(&server, Transport::Tcp).request("LIST"), "Rooms: []");
}
