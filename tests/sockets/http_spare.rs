//! A full server's answers while slow connections hold its spare places.

use std::io::Write;
use std::time::Duration;

use harness::{Client, Http, Transport, until};
use roomcast::config::{Settings, Span};

use crate::server::{Shape, TestServer};

/// More connections than the spare ones of a full server.
const SLOW: usize = 40;

fn full(settings: &mut Settings) {
    settings.max_clients = Some(1);
    settings.header_timeout = Span(Duration::from_secs(600));
}

#[test]
fn slow_connections_at_a_full_server_do_not_keep_a_monitor_from_its_answer() {
    let server = TestServer::start(Shape::ONE, full);
    let mut only = Client::connect(&server, Transport::Tcp);
    for begun in ["", "GET /health HTTP/1.1\r\nHost: loc"] {
        let slow: Vec<Http> = (0..SLOW).map(|_| Http::connect(server.http)).collect();
        slow.iter().for_each(|slow| slow.send(begun));
        for _ in 0..50 {
            assert_eq!(Http::get(server.http, "/health").1, "OK");
        }
        assert_eq!(Http::get(server.http, "/ready").1, "full");
    }
    only.expect_nothing();
}

#[test]
fn who_drips_at_a_full_server_has_a_second_for_all_of_its_request() {
    let server = TestServer::start(Shape::ONE, full);
    let _only = Client::connect(&server, Transport::Tcp);
    let slow = Http::connect(server.http);
    slow.send("GET /health HTTP/1.1\r\n");
    let mut output = slow.write_half();
    // Writing fails once the server has closed the socket.
    until(|| {
        assert_eq!(Http::get(server.http, "/health").1, "OK");
        output.write_all(b"x").is_err()
    });
    drop(slow);
    let mut silent = Http::connect(server.http);
    silent.expect_end();
    let mut monitor = Http::connect(server.http);
    monitor.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = monitor.answer();
    assert_eq!((body.as_str(), head.header("connection")), ("OK", Some("close")), "one request is all it has");
    monitor.expect_end();
}
