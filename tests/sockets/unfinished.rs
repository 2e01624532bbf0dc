//! Unfinished lines, frames and requests of many clients at once: their memory stays within the limits and goes back.

use std::net::SocketAddr;

use harness::frame::{FINAL_TEXT, frame};
use harness::{Client, Disconnect, Http, Lines, Program, Transport, Turn, WELCOME, WebSocket, until, until_at_most};

const MIB: u64 = 1 << 20;

/// The longest line and the longest message, by default.
const LIMIT: usize = 64 * 1024;

/// The most bytes of one read.
const READ: usize = 64 * 1024;

/// Memory that the allocator keeps, and that of the server beside its clients.
const SLACK: u64 = 4 * MIB;

/// Clients with an unfinished line each.
const LINES: usize = 100;

/// Clients with an unfinished frame each.
const FRAMES: usize = 200;

#[track_caller]
fn expect_served(watcher: &mut Client) {
    assert_eq!(watcher.request("hello"), "[watcher] hello");
}

fn line_client(server: SocketAddr) -> Lines {
    let mut client = Lines::connect(server);
    client.expect(WELCOME);
    client
}

fn websocket_client(server: SocketAddr) -> WebSocket {
    let mut client = WebSocket::connect(server);
    client.expect(WELCOME);
    client
}

#[test]
#[ignore = "slow: hundreds of unfinished lines"]
fn lines_without_an_end_take_no_more_than_the_limit_and_a_read_each_and_give_it_back() {
    let _turn = Turn::take();
    let program = Program::start(&["--workers", "1"]);
    let mut watcher = Client::member(&program, Transport::Tcp, "a", "watcher");
    let mut clients: Vec<Lines> = (0..LINES).map(|_| line_client(program.tcp)).collect();
    let (before, peak_before) = (program.private_bytes(), program.peak_bytes());
    for client in &clients {
        client.send("x".repeat(LIMIT - 1));
        expect_served(&mut watcher);
    }
    // The server has read all of it.
    until(|| program.private_bytes() >= before + (LINES * (LIMIT - 1)) as u64);
    for client in &clients {
        client.send("x".repeat(1 << 20));
        expect_served(&mut watcher);
    }
    for client in &mut clients {
        let refusal = client.line();
        assert!(refusal.starts_with("ERR too-long line of ") && refusal.ends_with(" exceeds 65536"), "{refusal}");
        client.expect("ERR closed too-long");
        client.expect_end();
        expect_served(&mut watcher);
    }
    let grown = program.peak_bytes() - peak_before;
    println!("{grown} bytes");
    assert!(grown <= (LINES * (LIMIT + READ)) as u64 + SLACK, "{grown} bytes");
    until(|| program.private_bytes() <= before + SLACK);
    expect_served(&mut watcher);
    assert_eq!(watcher.request("WHO"), r#"Members of a: ["watcher"]"#);
}

#[test]
fn frames_that_were_announced_take_nothing_before_they_come() {
    let _turn = Turn::take();
    let program = Program::start(&["--workers", "1"]);
    let mut watcher = Client::member(&program, Transport::WebSocket, "a", "watcher");
    let mut clients: Vec<WebSocket> = (0..FRAMES).map(|_| websocket_client(program.http)).collect();
    let before = program.reserved_bytes();
    let message = format!("PING {}", "x".repeat(LIMIT - "PING ".len()));
    let announced = frame(FINAL_TEXT, &message);
    let (first, rest) = announced.split_at(announced.len() - message.len() + 1);
    for client in &clients {
        client.send(first);
        expect_served(&mut watcher);
    }
    let grown = program.reserved_bytes().saturating_sub(before);
    println!("{grown} bytes");
    assert!(grown <= SLACK, "{grown} bytes");
    // The server still waits for the rest of the frame.
    clients[0].send(rest);
    clients[0].expect(message.replace("PING", "PONG"));
    expect_served(&mut watcher);
}

#[test]
fn frames_that_are_announced_with_the_longest_length_are_refused_before_anything_is_allocated() {
    let _turn = Turn::take();
    let program = Program::start(&["--workers", "1"]);
    let mut watcher = Client::member(&program, Transport::WebSocket, "a", "watcher");
    let mut clients: Vec<WebSocket> = (0..FRAMES).map(|_| websocket_client(program.http)).collect();
    let before = program.reserved_bytes();
    for client in &clients {
        client.send([&[FINAL_TEXT, 0xff][..], &i64::MAX.to_be_bytes(), b"mask", b"x"].concat());
    }
    for client in &mut clients {
        client.expect_close(Disconnect::TooLong);
        expect_served(&mut watcher);
    }
    let grown = program.reserved_bytes().saturating_sub(before);
    println!("{grown} bytes");
    assert!(grown <= SLACK, "{grown} bytes");
}

#[test]
#[ignore = "slow: 2 000 connections"]
fn http_connections_that_come_and_go_give_back_what_they_took() {
    const CONNECTIONS: usize = 2_000;
    let _turn = Turn::take();
    let program = Program::start(&["--workers", "1", "--header-timeout", "60s"]);
    let mut watcher = Client::member(&program, Transport::Tcp, "a", "watcher");
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    let before = program.private_bytes();
    let head = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Http::connect(program.http);
        // One whole request, and another without its end.
        client.send(format!("{head}\r\n{head}X-Filler: {}", "x".repeat(8 * 1024)));
        assert_eq!(client.answer().1, "OK");
        clients.push(client);
    }
    // Much more than may remain.
    let most = program.private_bytes();
    assert!(most >= before + 4 * SLACK, "from {before} to {most} bytes");
    // These clients come later and stay, so their memory lies behind it.
    let _later: Vec<Lines> = (0..100).map(|_| line_client(program.tcp)).collect();
    drop(clients);
    until_at_most(before + SLACK, || program.private_bytes());
    expect_served(&mut watcher);
}
