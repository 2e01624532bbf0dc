//! HTTP from those who mean harm: slow, endless, too large. Refused or closed in time, in bounded memory, while others are
//! served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use roomcast::config::Span;

use crate::harness::{Client, Http, Program, Shape, TestServer, Transport};

/// The status of the answer, if one came before the end or a reset.
fn status_of(mut stream: TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let answer = String::from_utf8_lossy(&answer);
    answer.strip_prefix("HTTP/1.1 ").map(|rest| rest[..3].to_owned())
}

/// A connection on which this much was sent, as far as the server took it.
fn send_endlessly(server: &Program, first: &str, filler: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).expect("a server that accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
    let mut sent = stream.write(first.as_bytes()).expect("a server that reads");
    let filler = filler.repeat(64 * 1024 / filler.len());
    while sent < bytes {
        match stream.write(filler.as_bytes()) {
            Ok(written) => sent += written,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
                break;
            }
        }
    }
    stream
}

#[test]
fn heads_without_end_are_refused_in_bounded_memory() {
    const CLIENTS: usize = 50;
    const HEAD_BYTES: usize = 20 * 1024 * 1024;
    /// Of a worker and of what a connection may have in a buffer; far less than one such head.
    const MEMORY_MAX: u64 = 8 * 1024 * 1024;
    let program = Program::start(&["--workers", "1"]);
    let mut other = Client::member(&program, Transport::Tcp, "a", "other");
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    let before = program.private_bytes();
    let begun = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let fillers = ["X-Header: value\r\n", "x"];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let name = if number % 2 == 0 { "" } else { "X-Long: " };
            send_endlessly(&program, &format!("{begun}{name}"), fillers[number % 2], HEAD_BYTES)
        })
        .collect();
    assert_eq!(other.ask("hello"), "[other] hello");
    let grown = program.private_bytes().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "{grown} bytes");
    for client in clients {
        let status = status_of(client);
        // A reset may have destroyed it.
        assert!(status.is_none() || status.as_deref() == Some("431"), "{status:?}");
    }
    assert_eq!(Http::get(program.http, "/health").1, "OK");
}

#[test]
fn a_long_body_is_refused_before_it_comes() {
    let server = TestServer::plain(Shape::ONE);
    for (path, length) in [("/health", "16385"), ("/ws", "9223372036854775807"), ("/nowhere", "20000000")] {
        let mut client = Http::connect(server.http);
        client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nslow"));
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (413, "a body has at most 16 KiB\n"), "{path}");
        assert_eq!(head.header("connection"), Some("close"));
    }
}

#[test]
fn hundreds_that_send_their_heads_slowly_are_closed_in_time_while_others_are_served() {
    const CLIENTS: usize = 300;
    let server = TestServer::start(Shape::ONE, |settings| settings.header_timeout = Span(Duration::from_millis(500)));
    let mut other = Client::member(&server, Transport::WebSocket, "a", "other");
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).expect("a server that accepts");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: loc").expect("a server that reads");
            stream
        })
        .collect();
    assert_eq!(other.ask("hello"), "[other] hello");
    for client in clients {
        // The end comes by itself.
        let status = status_of(client);
        assert!(status.is_none() || status.as_deref() == Some("408"), "{status:?}");
    }
    other.expect_nothing();
}
