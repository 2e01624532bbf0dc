//! HTTP connections over their life: the last answer, the idle time, slow bodies, and answers that nobody takes.

use std::io::Write;
use std::thread;
use std::time::Duration;

use harness::{Client, HANDSHAKE, Http, Transport, at_once, metrics, until};
use roomcast::config::Span;

use crate::server::{Shape, TestServer};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

const LONG: Span = Span(Duration::from_secs(600));

const SHAPES: [Shape; 2] = [Shape::ONE, Shape::ONE.over_tls()];

/// Bytes of a body that keep it in time.
const PROGRESS_BYTES: usize = 4 * 1024;

fn closed(reason: &str) -> String {
    format!("roomcast_connections_closed_total{{transport=\"http\",reason=\"{reason}\"}}")
}

#[test]
fn the_last_answer_of_a_connection_says_so_whatever_ends_it() {
    at_once(SHAPES, |shape| {
        let server = TestServer::plain(shape);
        let with = |headers: &str| HEALTH.replace("\r\n\r\n", &format!("\r\n{headers}\r\n\r\n"));
        for last in [
            with("Connection: close"),
            with("Connection: keep-alive, Close"),
            with("Connection: close\r\nConnection: keep-alive"),
            with("Upgrade: h2c\r\nConnection: Upgrade"),
            with("Content-Length: 1"),
            with("Transfer-Encoding: chunked"),
            HEALTH.replace("1.1", "1.0"),
            with("Connection: close").replace("1.1", "1.0"),
            HANDSHAKE.replace("/ws", "/nowhere"),
            HEALTH.replace("GET", "PUT").replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n"),
        ] {
            let mut client = Http::connect(server.http);
            client.send([last.as_str(), HEALTH].concat());
            let (head, _) = client.answer();
            assert_eq!(head.header("connection"), Some("close"), "{last}");
            client.expect_end();
        }
        for kept in [with("Content-Length: 0"), with("Connection: keep-alive"), HEALTH.replace("/health", "/nowhere")] {
            let mut client = Http::connect(server.http);
            client.send([kept.as_str(), HEALTH].concat());
            assert_eq!(client.answer().0.header("connection"), None, "{kept}");
            assert_eq!(client.answer().1, "OK", "{kept}");
        }
        let mut client = Http::connect(server.http);
        let old = with("Connection: keep-alive").replace("1.1", "1.0");
        client.send(old.repeat(2));
        for _ in 0..2 {
            assert_eq!(client.answer().0.header("connection"), Some("keep-alive"));
        }
    });
}

#[test]
fn an_answer_of_a_full_server_is_the_last() {
    let server = TestServer::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let _only = Client::connect(&server, Transport::Tcp);
    for path in ["/health", "/ready", "/metrics", "/ws", "/nowhere"] {
        let mut client = Http::connect(server.http);
        client.send(HEALTH.replace("/health", path).repeat(2));
        assert_eq!(client.answer().0.header("connection"), Some("close"), "{path}");
        client.expect_end();
    }
}

#[test]
fn a_connection_without_a_request_for_the_idle_time_ends_and_that_is_no_failure() {
    at_once(SHAPES, |shape| {
        let server = TestServer::start(shape, |settings| {
            settings.http_idle_time = Span(Duration::from_secs(3));
            settings.header_timeout = LONG;
        });
        let mut client = Http::connect(server.http);
        for _ in 0..3 {
            client.send(HEALTH);
            assert_eq!(client.answer().1, "OK");
        }
        client.expect_end();
        until(|| metrics(server.http)[&closed("done")] >= 1.0);
        let found = metrics(server.http);
        assert_eq!(found[&closed("handshake-timeout")], 0.0);
        assert_eq!(found["roomcast_http_refused_total{reason=\"timeout\"}"], 0.0);
    });
}

#[test]
fn a_head_that_has_begun_has_its_own_time_on_a_kept_connection_too() {
    // Its silent clients end after the time that a head has.
    let clock = TestServer::start(Shape::ONE, |settings| settings.header_timeout = Span(Duration::from_millis(3_200)));
    at_once(SHAPES, |shape| {
        let server = TestServer::start(shape, |settings| {
            settings.http_idle_time = Span(Duration::ZERO);
            settings.header_timeout = Span(Duration::from_secs(3));
        });
        let mut client = Http::connect(server.http);
        client.send(HEALTH);
        assert_eq!(client.answer().1, "OK");
        Http::connect(clock.http).expect_end();
        client.send(HEALTH);
        assert_eq!(client.answer().1, "OK");
        client.send("GET /health");
        client.expect_end();
        until(|| metrics(server.http)[&closed("handshake-timeout")] >= 1.0);
    });
}

#[test]
fn probes_and_scrapes_that_just_close_are_no_failures() {
    let server = TestServer::plain(Shape::ONE);
    for path in ["/health", "/ready", "/metrics"] {
        let mut client = Http::connect(server.http);
        client.send(HEALTH.replace("/health", path));
        assert_eq!(client.answer().0.status, 200);
    }
    until(|| metrics(server.http)[&closed("done")] >= 3.0);
    let found = metrics(server.http);
    let failed = found.iter().filter(|(name, _)| name.starts_with("roomcast_connections_closed_total{"));
    let failed: Vec<_> = failed.filter(|(name, count)| **name != closed("done") && **count > 0.0).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn answers_count_by_the_class_of_their_status() {
    let server = TestServer::plain(Shape::ONE);
    let ask = |request: &str, status: u16| {
        let mut client = Http::connect(server.http);
        client.send(request);
        assert_eq!(client.head().status, status);
    };
    ask(HEALTH, 200);
    ask(&HEALTH.replace("/health", "/nowhere"), 404);
    ask(&HEALTH.replace("GET", "PUT"), 405);
    ask("what?\r\n\r\n", 400);
    ask(HANDSHAKE, 101);
    until(|| metrics(server.http)["roomcast_http_responses_total{class=\"4xx\"}"] == 3.0);
    let found = metrics(server.http);
    let class = |class: &str| found[&format!("roomcast_http_responses_total{{class=\"{class}\"}}")];
    assert_eq!((class("1xx"), class("3xx"), class("5xx")), (1.0, 0.0, 0.0));
    assert!(class("2xx") >= 1.0);
}

#[test]
fn a_long_body_that_makes_progress_is_waited_for_beyond_every_time() {
    const PIECES: usize = 8;
    // Its silent clients end after this time, which is the clock of the body.
    let clock = TestServer::start(Shape::ONE, |settings| settings.header_timeout = Span(Duration::from_millis(400)));
    at_once(SHAPES, |shape| {
        let server = TestServer::start(shape, |settings| {
            settings.header_timeout = Span(Duration::from_millis(2_500));
            settings.http_idle_time = Span(Duration::from_millis(100));
            settings.http_connection_time = Span(Duration::from_millis(100));
        });
        let mut client = Http::connect(server.http);
        let length = PIECES * PROGRESS_BYTES;
        let head = format!("POST /emulation HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        client.send(head);
        for _ in 0..PIECES {
            client.send("x".repeat(PROGRESS_BYTES));
            Http::connect(clock.http).expect_end();
        }
        let (head, body) = client.answer();
        assert_eq!(head.status, 400);
        assert!(body.starts_with("the body is {"), "{body}");
    });
}

#[test]
fn a_body_that_drips_is_told_that_it_has_taken_too_long() {
    // Has time for every head, unlike the server that is tested.
    let other = TestServer::plain(Shape::ONE);
    let codings = [("Content-Length: 100000", "x"), ("Transfer-Encoding: chunked", "1\r\nx\r\n")];
    let cases = SHAPES.into_iter().flat_map(|shape| codings.map(|coding| (shape, coding)));
    at_once(cases, |(shape, (coding, drop))| {
        let server = TestServer::start(shape, |settings| settings.header_timeout = Span(Duration::from_secs(3)));
        let mut client = Http::connect(server.http);
        client.send(format!("POST /emulation HTTP/1.1\r\nHost: localhost\r\n{coding}\r\n\r\n"));
        let mut output = client.write_half();
        let (head, body) = thread::scope(|scope| {
            let answered = scope.spawn(|| client.answer());
            while !answered.is_finished() {
                // Fails once the server has closed.
                let _ = output.write_all(drop.as_bytes());
                // Far fewer than 4 KiB come within the time.
                (0..10).for_each(|_| assert_eq!(Http::get(other.http, "/health").1, "OK"));
            }
            answered.join().expect("an answer")
        });
        assert_eq!((head.status, body.as_str()), (408, "the body has taken too long\n"));
        assert_eq!(head.header("connection"), Some("close"));
    });
}

#[test]
fn a_client_that_takes_no_answers_is_cut() {
    let server = TestServer::start(Shape::ONE, |settings| settings.slow_after = Span(Duration::from_millis(300)));
    let client = Http::connect(server.http);
    let mut output = client.write_half();
    let asking = thread::spawn(move || {
        let requests = HEALTH.replace("/health", "/metrics").repeat(100);
        while output.write_all(requests.as_bytes()).is_ok() {}
    });
    until(|| metrics(server.http)[&closed("slow-consumer")] == 1.0);
    asking.join().expect("a client that is cut");
}

#[test]
fn a_body_is_asked_for_where_it_is_wanted_and_not_where_it_is_refused() {
    at_once(SHAPES, |shape| {
        let server = TestServer::plain(shape);
        let head = |path: &str, length: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        let body = r#"{"session":"","node":"","data":"{}"}"#;
        let mut client = Http::connect(server.http);
        client.send(head("/emulation", body.len()));
        assert_eq!(client.head().status, 100);
        client.send(body);
        assert_eq!(client.answer().0.status, 404);
        for (path, length, status) in [("/health", 5, 405), ("/emulation", 100_000_000, 413), ("/nowhere", 5, 404)] {
            let mut client = Http::connect(server.http);
            client.send(head(path, length));
            let (head, _) = client.answer();
            assert_eq!((head.status, head.header("connection")), (status, Some("close")), "{path}");
            client.expect_end();
        }
    });
}
