//! Unfinished messages and silent clients: how long the server waits for them, how much memory they may have, and which
//! clients it closes first.

use std::io::Write;
use std::time::Duration;

use harness::frame::{CONTINUATION, FINAL, FINAL_PING, FINAL_PONG, FINAL_TEXT, TEXT, frame};
use harness::{Client, Disconnect, Lines, Transport, WELCOME, WebSocket, at_once, metrics, until};
use roomcast::config::{Settings, Size, Span};

use crate::server::{Shape, TestServer};

const KIB: usize = 1024;

/// The memory for unfinished messages of all clients of one worker.
const BUDGET: usize = 512 * KIB;

/// The unfinished message of each client, and the most memory that it takes in a vector that doubles.
const BEGUN: usize = 40 * KIB;
const TAKEN: usize = 2 * (BEGUN + KIB);

/// Clients with more unfinished bytes together than the budget.
const CLIENTS: usize = 32;

fn small_budget(settings: &mut Settings) {
    settings.input_budget = Size(BUDGET);
}

fn line_client(server: &TestServer) -> Lines {
    let mut client = Lines::connect(server.tcp);
    client.expect(WELCOME);
    client
}

fn websocket_client(server: &TestServer) -> WebSocket {
    let mut client = WebSocket::connect(server.http);
    client.expect(WELCOME);
    client
}

/// The number of clients that were closed for this reason.
fn closed(server: &TestServer, transport: &str, reason: &str) -> usize {
    let name = format!("roomcast_connections_closed_total{{transport=\"{transport}\",reason=\"{reason}\"}}");
    metrics(server.http)[&name] as usize
}

/// As many clients are closed as necessary, and no more.
#[track_caller]
fn expect_some_to_have_given_way(cut: usize) {
    let least = (CLIENTS * BEGUN - BUDGET).div_ceil(TAKEN);
    let most = CLIENTS - BUDGET / TAKEN + 1;
    assert!((least..=most).contains(&cut), "{cut} of {CLIENTS} were cut");
}

#[test]
fn lines_that_were_begun_stay_within_the_budget_and_the_largest_give_way() {
    let server = TestServer::start(Shape::ONE, small_budget);
    let mut watcher = Client::member(&server, Transport::Tcp, "a", "watcher");
    let mut small = line_client(&server);
    small.send("PING sm");
    let mut clients: Vec<Lines> = (0..CLIENTS).map(|_| line_client(&server)).collect();
    let token = "x".repeat(BEGUN);
    for client in &clients {
        client.send(format!("PING {token}"));
        assert_eq!(watcher.request("hello"), "[watcher] hello");
    }
    let mut cut = 0;
    for client in &mut clients {
        // The server may have closed it already.
        let _ = std::io::Write::write_all(&mut client.stream(), b"\n");
        let line = client.line();
        if line == "ERR closed input-budget" {
            cut += 1;
        } else {
            assert_eq!(line, format!("PONG {token}"));
        }
    }
    expect_some_to_have_given_way(cut);
    small.send("all\n");
    small.expect("PONG small");
    // The memory is free again.
    assert_eq!(watcher.request(&token), format!("[watcher] {token}"));
}

#[test]
fn messages_that_were_begun_stay_within_the_budget_in_fragments_too() {
    let server = TestServer::start(Shape::ONE, small_budget);
    let mut watcher = Client::member(&server, Transport::WebSocket, "a", "watcher");
    let mut clients: Vec<WebSocket> = (0..CLIENTS).map(|_| websocket_client(&server)).collect();
    let half = "x".repeat(BEGUN / 2);
    for client in &clients {
        let rest = frame(FINAL | CONTINUATION, &half);
        client.send([&frame(TEXT, format!("PING {half}"))[..], &rest[..rest.len() - 1]].concat());
        assert_eq!(watcher.request("hello"), "[watcher] hello");
    }
    // They are counted once they are closed.
    let least = (CLIENTS * BEGUN - BUDGET).div_ceil(TAKEN);
    until(|| closed(&server, "websocket", "input-budget") >= least);
    expect_some_to_have_given_way(closed(&server, "websocket", "input-budget"));
    // Each closed client got the reason; the others finish their message and are answered.
    for client in &mut clients {
        let _ = client.write_half().write_all(b"x");
        match client.frame().expect("an answer or a close, not the end") {
            (FINAL_TEXT, answer) => assert!(answer.starts_with(b"PONG x"), "{answer:?}"),
            (_, close) => assert_eq!(close[..2], 1013_u16.to_be_bytes()),
        }
    }
}

#[test]
fn a_message_that_is_not_finished_in_time_ends_its_connection_and_nobody_elses() {
    at_once(Shape::ALL, |shape| {
        let server = TestServer::start(shape, |settings| settings.message_timeout = Span(Duration::from_millis(200)));
        let mut listener = Client::member(&server, Transport::Tcp, "a", "listener");
        let mut websocket_listener = Client::member(&server, Transport::WebSocket, "a", "other");
        let mut line = line_client(&server);
        line.send("PING x\nhel");
        line.expect("PONG x");
        let mut cut_frame = websocket_client(&server);
        cut_frame.send(&frame(FINAL_TEXT, "hello")[..5]);
        let mut fragment = websocket_client(&server);
        fragment.send(frame(TEXT, "hel"));
        // Pings between the fragments do not finish the message.
        let mut pings = 0;
        let closed = loop {
            fragment.send(frame(FINAL_PING, "beat"));
            match fragment.frame().expect("a frame, not the end") {
                (FINAL_PONG, _) => pings += 1,
                (_, close) => break close,
            }
        };
        assert_eq!(closed, [&4014_u16.to_be_bytes()[..], b"message-timeout"].concat(), "after {pings} pings");
        line.expect("ERR closed message-timeout");
        line.expect_end();
        cut_frame.expect_close(Disconnect::MessageTimeout);
        listener.expect_nothing();
        websocket_listener.expect_nothing();
    });
}

#[test]
fn a_line_client_that_says_nothing_at_all_is_closed_and_leaves_its_place_to_others() {
    const CLIENTS_MAX: usize = 10;
    let server = TestServer::start(Shape::MANY, |settings| {
        settings.idle_timeout = Span(Duration::from_millis(500));
        settings.max_clients = Some(CLIENTS_MAX);
    });
    let mut silent: Vec<Lines> = (0..CLIENTS_MAX).map(|_| line_client(&server)).collect();
    silent[0].send("\n\n");
    silent[1].send("half a line");
    for client in &mut silent {
        client.expect("ERR closed idle-timeout");
        client.expect_end();
    }
    drop(silent);
    // A refused client gets the reason, and an accepted one the greeting.
    until(|| Lines::connect(server.tcp).line() == WELCOME);
}

#[test]
fn who_has_said_something_listens_for_ever_and_so_does_a_websocket_client() {
    let server = TestServer::start(Shape::ONE, |settings| settings.idle_timeout = Span(Duration::from_secs(3)));
    let mut member = Client::member(&server, Transport::Tcp, "a", "member");
    let mut websocket = Client::connect(&server, Transport::WebSocket);
    let mut talker = Client::connect(&server, Transport::Tcp);
    assert_eq!(talker.request("hello"), "Join a room first");
    for _ in 0..2 {
        let mut silent = Lines::connect(server.tcp);
        assert_eq!(silent.rest(), format!("{WELCOME}\nERR closed idle-timeout\n"));
    }
    member.expect_nothing();
    talker.expect_nothing();
    websocket.expect_nothing();
}

#[test]
fn silent_line_clients_are_written_empty_lines_if_that_is_set() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let server = TestServer::start(shape, |settings| settings.line_keepalive = Span(Duration::from_secs(3)));
        let mut members: Vec<Client> =
            (0..4).map(|number| Client::member(&server, Transport::Tcp, "a", &format!("m{number}"))).collect();
        let mut websocket = Client::connect(&server, Transport::WebSocket);
        for _ in 0..3 {
            members.iter_mut().for_each(|member| member.expect(""));
        }
        websocket.expect_nothing();
        let without = TestServer::plain(shape);
        let mut silent = Client::connect(&without, Transport::Tcp);
        members[0].expect("");
        silent.expect_nothing();
    });
}
