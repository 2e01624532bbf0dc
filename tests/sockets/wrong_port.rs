//! What comes to the wrong port: another protocol on the line port, lines on the HTTP port. Each gets an
//! answer that it can understand, and the server ends the connection at once.

use std::time::Duration;

use harness::{Http, Lines, WELCOME};
use roomcast::config::Span;

use crate::server::{Shape, TestServer};

const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// What is no line, and what is heard behind the greeting.
const AT_LINES: [(&[u8], &str); 3] = [
    (CLIENT_HELLO, "ERR closed protocol-error\n"),
    (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", "ERR closed protocol-error\n"),
    (b"POST /rooms HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", "ERR closed protocol-error\n"),
];

/// What is no HTTP, and the beginning of what is heard.
const AT_HTTP: [(&[u8], &str); 5] = [
    (CLIENT_HELLO, "HTTP/1.1 400 Bad Request\r\n"),
    (b"LIST\n", "HTTP/1.1 400 Bad Request\r\n"),
    (b"JOIN a\n", "HTTP/1.1 400 Bad Request\r\n"),
    (b"JOIN a\r\nhello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
    (b"hello there, everybody\n", "HTTP/1.1 400 Bad Request\r\n"),
];

/// A server that waits for nothing in less than ten minutes: what ends here does not end because it took too long.
fn patient(shape: Shape) -> TestServer {
    TestServer::start(shape, |settings| {
        let long = Span(Duration::from_secs(600));
        (settings.header_timeout, settings.message_timeout, settings.idle_timeout) = (long, long, long);
    })
}

#[test]
fn what_is_no_line_is_told_so_and_ends() {
    for shape in Shape::ALL {
        let server = patient(shape);
        for (said, answer) in AT_LINES {
            let mut client = Lines::connect(server.tcp);
            client.expect(WELCOME);
            client.send(said);
            // The client does not close.
            assert_eq!(client.rest(), answer, "{said:?}");
        }
    }
}

#[test]
fn what_is_no_http_is_answered_and_ends() {
    for shape in Shape::ALL {
        let server = patient(shape);
        for (said, answer) in AT_HTTP {
            let mut client = Lines::connect(server.http);
            client.send(said);
            let heard = client.rest();
            assert!(heard.starts_with(answer) && heard.ends_with("\r\n\r\n"), "{heard:?} to {said:?}");
            assert_eq!(heard.matches("HTTP/").count(), 1, "{heard:?}");
        }
    }
}

#[test]
fn what_ends_before_it_is_http_ends_without_a_word() {
    for shape in Shape::ALL {
        let server = patient(shape);
        for said in ["", "hello", "GET /health HTTP/1.1\r\nHo"] {
            let mut client = Lines::connect(server.http);
            client.send(said);
            client.end_input();
            assert_eq!(client.rest(), "", "{said:?}");
        }
        assert_eq!(Http::get(server.http, "/health").1, "OK");
    }
}

#[test]
fn http_2_on_the_http_port_ends_without_a_word_that_it_would_not_understand() {
    let server = patient(Shape::ONE);
    let mut client = Lines::connect(server.http);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.rest(), "");
}

#[test]
fn http_2_on_the_line_port_is_chat_since_only_http_1_is_told_apart() {
    for shape in Shape::ALL {
        let server = patient(shape);
        let mut client = Lines::connect(server.tcp);
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nQUIT\n");
        assert_eq!(client.rest(), format!("{WELCOME}\nJoin a room first\nJoin a room first\nBye\n"));
    }
}
