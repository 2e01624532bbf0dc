//! HTTP: health, readiness, refused requests, and invalid handshakes.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use harness::frame::{FINAL_TEXT, frame};
use harness::{Client, HANDSHAKE, Head, Http, Transport, WELCOME, at_once, until};
use roomcast::config::Span;

use crate::drain::{SlowReader, large_outboxes};
use crate::server::{Shape, TestServer, contract};

/// Bytes behind a refused handshake. They are never answered: the sender did not mean them as a request.
const PIPELINED: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[track_caller]
fn expect(server: &TestServer, path: &str, status: u16, body: &str) {
    let (head, found) = Http::get(server.http, path);
    assert_eq!((head.status, found.as_str()), (status, body), "{path}");
}

#[test]
fn health_and_readiness_are_told() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let _client = Client::connect(&server, transport);
        expect(&server, "/health", 200, "OK");
        expect(&server, "/ready", 200, "ready");
        expect(&server, "/ready?verbose", 200, "ready");
    });
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    client.send(PIPELINED.repeat(3));
    for _ in 0..3 {
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (200, "OK"));
    }
    client.send("HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut rest = String::new();
    client.into_stream().read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\n"), "{rest}");
}

#[test]
fn what_does_not_exist_is_not_found() {
    let server = TestServer::plain(Shape::ONE);
    for path in ["/index.html", "/healthy", "/health/", "/ws/x", "/HEALTH", "/%2e%2e/etc/passwd"] {
        let (head, body) = Http::get(server.http, path);
        assert_eq!(head.status, 404, "{path}");
        let paths = "/health, /ready, /metrics, /ws, /connection/websocket, /rooms/ and /api/<method>";
        assert_eq!(body, format!("not found: there are {paths}\n"), "{path}");
    }
}

#[test]
fn the_path_of_the_server_api_alone_says_how_it_is_used() {
    let server = TestServer::plain(Shape::ONE);
    for path in ["/api", "/api/"] {
        let (head, body) = Http::get(server.http, path);
        assert_eq!(head.status, 404, "{path}");
        assert_eq!(body, "post to /api/<method>: /api/openapi.json describes the methods\n", "{path}");
    }
}

#[test]
fn another_method_is_told_which_ones_there_are() {
    let server = TestServer::plain(Shape::ONE);
    for (path, allowed) in [("/health", "GET,HEAD,OPTIONS"), ("/ready", "GET,HEAD,OPTIONS"), ("/ws", "GET,OPTIONS")] {
        for method in ["POST", "PUT", "DELETE"] {
            let mut client = Http::connect(server.http);
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"));
            let (head, _) = client.answer();
            assert_eq!((head.status, head.header("allow")), (405, Some(allowed)), "{method} {path}");
        }
    }
}

#[test]
fn every_path_tells_its_methods_and_a_load_balancer_that_somebody_is_there() {
    let server = TestServer::plain(Shape::ONE);
    for (path, version, allowed) in [
        ("/health", "1.1", "GET,HEAD,OPTIONS"),
        ("/", "1.0", "GET,HEAD,OPTIONS"),
        ("*", "1.1", "GET,HEAD,OPTIONS"),
        ("/ws", "1.1", "GET,OPTIONS"),
    ] {
        let mut client = Http::connect(server.http);
        client.send(format!("OPTIONS {path} HTTP/{version}\r\nHost: localhost\r\n\r\n"));
        let (head, body) = client.answer();
        assert_eq!((head.status, head.header("allow"), body.as_str()), (204, Some(allowed), ""), "{path}");
    }
}

#[test]
fn answers_are_not_to_be_kept_by_proxies() {
    let server = TestServer::plain(Shape::ONE);
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(Http::get(server.http, path).0.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn a_request_names_one_host() {
    let server = TestServer::plain(Shape::ONE);
    for (hosts, version, status) in [
        ("", "1.1", 400),
        ("Host: a\r\nHost: a\r\n", "1.1", 400),
        ("Host: a\r\nHost: b\r\n", "1.0", 400),
        ("", "1.0", 200),
        ("Host: a\r\n", "1.1", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let client = Http::connect(server.http);
            client.send(format!("{method} /health HTTP/{version}\r\n{hosts}\r\n"));
            assert_eq!(Head::read(&mut client.into_stream()).status, status, "{hosts:?} {version}");
        }
    }
}

#[test]
fn the_last_answer_of_a_connection_whose_time_is_over_says_so() {
    let server = TestServer::start(Shape::ONE, |settings| {
        settings.http_connection_time = Span(Duration::from_millis(50));
    });
    let mut client = Http::connect(server.http);
    let mut answers = 0;
    until(|| {
        client.send(PIPELINED);
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (200, "OK"));
        answers += 1;
        head.header("connection") == Some("close")
    });
    client.expect_end();
    println!("{answers} answers");
}

#[test]
fn without_a_limit_a_connection_is_kept() {
    let server = TestServer::start(Shape::ONE, |settings| settings.http_connection_time = Span(Duration::ZERO));
    let mut client = Http::connect(server.http);
    for _ in 0..100 {
        client.send(PIPELINED);
        assert_eq!(client.answer().0.header("connection"), None);
    }
}

/// An invalid handshake: a replacement in a valid one, the status, and a header that says what would be right.
const NO_HANDSHAKES: [(&str, &str, u16, &str); 12] = [
    ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400, ""),
    ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 400, ""),
    ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZXM=", 400, ""),
    ("dGhlIHNhbXBsZSBub25jZQ==", "the sample nonce", 400, ""),
    ("dGhlIHNhbXBsZSBub25jZQ==", "", 400, ""),
    ("Version: 13", "Version: 12", 426, "sec-websocket-version: 13"),
    ("Sec-WebSocket-Version: 13\r\n", "", 426, "sec-websocket-version: 13"),
    ("GET", "POST", 405, "allow: GET,OPTIONS"),
    ("HTTP/1.1", "HTTP/1.0", 400, ""),
    ("Upgrade: websocket\r\n", "", 426, "upgrade: websocket"),
    ("Upgrade: websocket", "Upgrade: h2c", 426, "upgrade: websocket"),
    ("Connection: Upgrade", "Connection: keep-alive", 426, "upgrade: websocket"),
];

#[test]
fn a_handshake_that_is_none_is_refused_and_what_is_behind_it_is_no_request() {
    let server = TestServer::plain(Shape::ONE);
    for (right, wrong, status, hint) in NO_HANDSHAKES {
        for behind in [PIPELINED.as_bytes(), &frame(FINAL_TEXT, "JOIN a"), b""] {
            let handshake = HANDSHAKE.replace(right, wrong);
            assert_ne!(handshake, HANDSHAKE);
            let mut client = Http::connect(server.http);
            client.send([handshake.as_bytes(), behind].concat());
            let (head, body) = client.answer();
            assert_eq!(head.status, status, "{handshake}");
            assert_eq!(head.header("connection"), Some("close"), "{handshake}");
            assert!(body.ends_with('\n'), "{body:?} says what would be right");
            if let Some((name, value)) = hint.split_once(": ") {
                assert_eq!(head.header(name), Some(value), "{handshake}");
            }
            client.expect_end();
        }
    }
    let mut last = Client::connect(&server, Transport::Tcp);
    assert_eq!(last.request("LIST"), "Rooms: []");
}

#[test]
fn a_handshake_may_follow_another_request() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    client.send([PIPELINED.as_bytes(), HANDSHAKE.as_bytes(), &frame(FINAL_TEXT, "PING x")].concat());
    assert_eq!(client.answer().0.status, 200);
    assert_eq!(client.answer().0.status, 101);
    let mut stream = client.into_stream();
    let mut heard = vec![0; 2 + WELCOME.len() + 2 + "PONG x".len()];
    stream.read_exact(&mut heard).unwrap();
    assert!(heard.ends_with(b"\x81\x06PONG x"));
}

#[test]
fn a_head_has_64_headers_and_no_more() {
    let server = TestServer::plain(Shape::ONE);
    let head = |headers: usize| {
        format!("GET /health HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Header: value\r\n".repeat(headers - 1))
    };
    for (headers, status) in [(64, 200), (65, 431), (200, 431)] {
        let mut client = Http::connect(server.http);
        client.send(head(headers));
        assert_eq!(client.answer().0.status, status, "{headers} headers");
    }
}

#[test]
fn a_head_has_16_kib_and_no_more() {
    let server = TestServer::plain(Shape::ONE);
    let head = |bytes: usize| format!("GET /health HTTP/1.1\r\nHost: a\r\nX-Header: {}\r\n\r\n", "x".repeat(bytes));
    for (bytes, status) in [(15 * 1024, 200), (20 * 1024, 431), (200 * 1024, 431)] {
        let mut client = Http::connect(server.http);
        client.send(head(bytes));
        assert_eq!(client.answer().0.status, status, "a header of {bytes} bytes");
    }
}

#[test]
fn who_does_not_finish_a_head_is_closed_in_time() {
    let with_time = |milliseconds: u64| {
        TestServer::start(Shape::ONE, |settings| settings.header_timeout = Span(Duration::from_millis(milliseconds)))
    };
    let server = with_time(200);
    for said in ["", "GET /health HTTP/1.1\r\nHo", "G", "\r\n"] {
        let client = Http::connect(server.http);
        client.send(said);
        let mut answer = String::new();
        client.into_stream().read_to_string(&mut answer).expect("the end");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    // Behind an answer nothing but the idle time counts, until the next head begins.
    let server = with_time(3_000);
    let mut kept = Http::connect(server.http);
    kept.send([PIPELINED, "GET"].concat());
    assert_eq!(kept.answer().1, "OK");
    kept.send(" /health");
    kept.expect_end();
}

#[test]
fn a_full_server_says_so_and_is_still_healthy() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.max_clients = Some(1));
        let only = Client::connect(&server, transport);
        expect(&server, "/ready", 503, "full");
        expect(&server, "/health", 200, "OK");
        let mut client = Http::connect(server.http);
        client.send(HANDSHAKE);
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (503, "full\n"));
        assert_eq!(head.header("connection"), Some("close"));
        client.expect_end();
        drop(only);
        until(|| Http::get(server.http, "/ready").1 == "ready");
    });
}

#[test]
fn a_server_with_one_place_left_is_ready_though_the_one_who_asks_has_taken_it() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.max_clients = Some(2));
        let _client = Client::connect(&server, transport);
        expect(&server, "/ready", 200, "ready");
    });
}

#[test]
fn monitors_of_a_full_server_are_answered_one_after_the_other() {
    let server = TestServer::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let mut client = Client::connect(&server, Transport::Tcp);
    for _ in 0..100 {
        expect(&server, "/health", 200, "OK");
    }
    client.expect_nothing();
}

#[test]
fn a_server_that_drains_answers_so_and_lets_nobody_in() {
    at_once(Shape::ALL, |shape| {
        let server = TestServer::start(shape, |settings| {
            large_outboxes(settings);
            settings.probes_until_end = true;
        });
        let slow = SlowReader::start(&server);
        let mut kept = Http::connect(server.http);
        kept.send(PIPELINED);
        assert_eq!(kept.answer().1, "OK");
        server.begin_stop();
        until(|| TcpStream::connect(server.tcp).is_err());
        // A connection of the loop above may still be on its way out.
        until(|| Http::get(server.http, "/ready").1 == "draining: 1 clients left");
        expect(&server, "/ready", 503, "draining: 1 clients left");
        expect(&server, "/health", 200, "OK");
        kept.send(PIPELINED);
        assert_eq!(kept.answer().1, "OK");
        let mut client = Http::connect(server.http);
        client.send([HANDSHAKE.as_bytes(), &frame(FINAL_TEXT, "JOIN a")].concat());
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (503, "draining\n"));
        assert_eq!((head.header("connection"), head.header("retry-after")), (Some("close"), Some("1")));
        client.expect_end();
        slow.read_all();
        let address = server.http;
        server.stop();
        assert!(TcpStream::connect(address).is_err());
    });
}

#[test]
fn a_handshake_with_a_body_is_none() {
    let server = TestServer::plain(Shape::ONE);
    let with_body = HANDSHAKE.replace("\r\n\r\n", "\r\nContent-Length: 6\r\n\r\n");
    let mut client = Http::connect(server.http);
    client.send([with_body.as_bytes(), &frame(FINAL_TEXT, "")].concat());
    let (head, body) = client.answer();
    assert_eq!((head.status, body.as_str()), (400, "a WebSocket handshake has no body\n"));
}
