//! Messages in fragments, perhaps without end: how many there may be, and what unfinished ones cost. Never a message
//! that is whole in one frame. What lines without an end cost is measured with them.

use harness::frame::{CONTINUATION, FINAL, FINAL_PING, FINAL_PONG, TEXT, frame};
use harness::{Client, Disconnect, Lines, Program, Transport, WELCOME, WebSocket, until};

use crate::server::{TestServer, contract};
use crate::websocket::member;

/// The most fragments of one message.
const FRAGMENTS_MAX: usize = 1_024;

/// The longest message, by default.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

const MIB: u64 = 1 << 20;

/// A message without its end, in this many fragments of this text.
fn unfinished(fragments: usize, text: &str) -> Vec<u8> {
    [frame(TEXT, text), frame(CONTINUATION, text).repeat(fragments - 1)].concat()
}

#[test]
fn a_message_of_1024_fragments_passes_and_the_next_fragment_closes_though_it_is_empty() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = Client::member(&server, transport, "a", "watcher");
        for text in ["x", ""] {
            let mut client = member(&server, "alice");
            client.send([unfinished(FRAGMENTS_MAX - 1, text), frame(FINAL | CONTINUATION, text)].concat());
            if !text.is_empty() {
                let said = format!("[alice] {}", text.repeat(FRAGMENTS_MAX));
                client.expect(&said);
                watcher.expect(&said);
            }
            client.send([unfinished(FRAGMENTS_MAX, text), frame(FINAL_PING, "beat")].concat());
            client.expect_frame(FINAL_PONG, "beat");
            assert_eq!(watcher.request("WHO"), r#"Members of a: ["alice", "watcher"]"#);
            client.send(frame(CONTINUATION, text));
            client.expect_close(Disconnect::ProtocolError);
            watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
            assert_eq!(watcher.request("served"), "[watcher] served");
            watcher.expect_nothing();
        }
    });
}

#[test]
fn the_last_fragment_is_one_too_many_as_well_and_nothing_of_the_message_is_delivered() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = Client::member(&server, transport, "a", "watcher");
        let mut client = member(&server, "alice");
        client.send([unfinished(FRAGMENTS_MAX, "x"), frame(FINAL | CONTINUATION, "x")].concat());
        client.expect_close(Disconnect::ProtocolError);
        watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
        watcher.expect_nothing();
    });
}

#[test]
fn a_fragment_that_would_be_too_much_is_refused_by_its_header_and_not_kept() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = Client::member(&server, transport, "a", "watcher");
        let half = "x".repeat(MESSAGE_BYTES_MAX / 2);
        for first in [CONTINUATION, FINAL | CONTINUATION] {
            let mut client = member(&server, "alice");
            let too_much = frame(first, half.clone() + "x");
            client.send([frame(TEXT, &half), frame(FINAL_PING, "beat"), too_much[..8].to_vec()].concat());
            client.expect_frame(FINAL_PONG, "beat");
            client.expect_close(Disconnect::TooLong);
            watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
        }
        watcher.expect_nothing();
    });
}

/// A line client that holds back the last byte of a line of the limit.
fn line_one_byte_short(program: &Program) -> Lines {
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client.send("x".repeat(MESSAGE_BYTES_MAX - 1));
    client
}

/// A WebSocket client that holds back the last byte of a message of the limit: half of it is a fragment, half a frame
/// that is cut.
fn message_one_byte_short(program: &Program) -> WebSocket {
    let mut client = WebSocket::connect(program.http);
    client.expect(WELCOME);
    let half = "x".repeat(MESSAGE_BYTES_MAX / 2);
    client.send([frame(TEXT, &half), frame(FINAL_PING, "beat")].concat());
    client.expect_frame(FINAL_PONG, "beat");
    let rest = frame(FINAL | CONTINUATION, half);
    client.send(&rest[..rest.len() - 1]);
    client
}

#[test]
#[ignore = "slow: 400 unfinished messages"]
fn hundreds_of_unfinished_messages_are_held_once_each_and_given_back() {
    const CLIENTS: usize = 400;
    const HELD: u64 = (CLIENTS * MESSAGE_BYTES_MAX) as u64;
    /// Memory that the allocator loses, and that of the clients themselves.
    const SLACK: u64 = HELD / 4 + 4 * MIB;
    let program = Program::start(&["--workers", "2"]);
    let mut watcher = Client::member(&program, Transport::Tcp, "a", "watcher");
    message_one_byte_short(&program).reset();
    let before = program.private_bytes();
    for _ in 0..2 {
        let messages: Vec<_> = (0..CLIENTS / 2).map(|_| message_one_byte_short(&program)).collect();
        let lines: Vec<_> = (0..CLIENTS / 2).map(|_| line_one_byte_short(&program)).collect();
        until(|| program.private_bytes() >= HELD);
        assert_eq!(watcher.request("hello"), "[watcher] hello");
        let most = program.private_bytes();
        assert!(most <= before + HELD + SLACK, "from {before} to {most}");
        messages.into_iter().for_each(WebSocket::reset);
        lines.into_iter().for_each(Lines::reset);
        until(|| program.private_bytes() <= before + HELD / 4);
    }
    watcher.expect_nothing();
}
