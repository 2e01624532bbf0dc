//! Refused requests and handshakes, as operators see them.

use harness::{Client, HANDSHAKE, Http, Lines, Program, Transport, WELCOME, WebSocket, metrics};
use rustix::process::Signal;

use crate::server::{Shape, TestServer};

#[track_caller]
fn status(program: &Program, request: &str) -> u16 {
    let mut client = Http::connect(program.http);
    client.send(request);
    client.answer().0.status
}

/// Requests with their status and the reason under which each is counted.
fn refusals() -> Vec<(String, u16, &'static str)> {
    let get = |head: &str| format!("GET /health HTTP/1.1\r\n{head}\r\n\r\n");
    vec![
        (HANDSHAKE.replace("localhost", "localhost\r\nOrigin: https://evil.example"), 403, "origin"),
        (HANDSHAKE.replace("/ws", "/websocket"), 404, "path"),
        (HANDSHAKE.replace("GET", "PUT"), 405, "method"),
        (HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"), 400, "http-version"),
        (HANDSHAKE.replace("Upgrade: websocket\r\n", ""), 426, "upgrade"),
        (HANDSHAKE.replace("Version: 13", "Version: 8"), 426, "version"),
        (HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "x"), 400, "key"),
        (HANDSHAKE.replace("\r\n\r\n", "\r\nContent-Length: 20000\r\n\r\n"), 413, "body"),
        (get("Host: a\r\nHost: b"), 400, "host"),
        (get(&format!("Host: a\r\nX: {}", "x".repeat(20_000))), 431, "head-too-long"),
        ("JOIN lobby\r\n\r\n".to_owned(), 400, "malformed"),
    ]
}

#[test]
fn every_refusal_counts_for_its_reason_and_has_one_line_at_debug() {
    let program = Program::start(&["--workers", "1", "--log", "debug"]);
    for (request, expected, reason) in refusals() {
        assert_eq!(status(&program, &request), expected, "{reason}");
        let mut lines = program.log.until(&format!("reason=\"{reason}\""));
        let line = lines.pop().unwrap();
        assert!(lines.iter().all(|line| !line.contains("reason=")), "{lines:?}");
        if reason == "origin" {
            assert!(line.contains(r#"host="localhost" origin="https://evil.example""#), "{line}");
        }
    }
    let found = metrics(program.http);
    for (.., reason) in refusals() {
        assert_eq!(found[&format!("roomcast_http_refused_total{{reason=\"{reason}\"}}")], 1.0, "{reason}");
    }
    assert_eq!(found["roomcast_connections_opened_total{transport=\"websocket\"}"], 0.0);
}

#[test]
fn what_a_refused_client_wrote_is_escaped_and_cut_short_in_the_log() {
    let program = Program::start(&["--workers", "1", "--log", "debug"]);
    let path = "p".repeat(1_000);
    let request = format!("GET /{path} HTTP/1.1\r\nHost: a\"b\tc\r\nOrigin: \u{9b}31m\r\n\r\n");
    assert_eq!(status(&program, &request), 400);
    let line = program.log.until("refused").pop().unwrap();
    assert!(line.contains(r#"host="a\"b\tc" origin="\xc2\x9b31m""#), "{line}");
    assert!(line.contains(&format!("path=\"/{}\"…", &path[..99])) && !line.contains(&path[..101]), "{line}");
}

#[test]
fn a_refused_page_is_warned_of_once_and_the_setting_is_named() {
    let program = Program::start(&["--workers", "1"]);
    let foreign = HANDSHAKE.replace("localhost", "chat.example\r\nOrigin: https://app.example");
    for _ in 0..3 {
        assert_eq!(status(&program, &foreign), 403);
    }
    program.signal(Signal::TERM);
    let warnings: Vec<_> =
        program.log.until("stopped").into_iter().filter(|line| line.contains("allowed-origins")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains(r#"origin="https://app.example""#), "{warnings:?}");
}

#[test]
fn the_handshake_may_be_asked_for_with_a_slash_at_its_end() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = WebSocket::upgrade(server.http, HANDSHAKE.replace("/ws", "/ws/"));
    client.expect(WELCOME);
}

#[test]
fn a_full_server_and_a_busy_address_count_apart() {
    let server = TestServer::start(Shape::ONE, |settings| settings.clients_per_address = 1);
    let _only = Client::connect(&server, Transport::Tcp);
    let mut client = Http::connect(server.http);
    client.send(HANDSHAKE);
    assert_eq!(client.answer().0.status, 429);
    client.expect_end();
    let mut line_client = Lines::connect(server.tcp);
    assert_eq!(line_client.rest(), "ERR closed too-many-connections\n");
    let found = metrics(server.http);
    for transport in ["tcp", "http"] {
        let refused = |reason: &str| found[&format!("roomcast_{transport}_refused_total{{reason=\"{reason}\"}}")];
        assert_eq!((refused("full"), refused("address")), (0.0, 1.0), "{transport}");
    }
}
