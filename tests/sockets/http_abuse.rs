//! HTTP that is slow, endless or too large on purpose: it is refused or closed in time and in bounded memory, while
//! others are served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{Client, FAILSAFE, Http, Program, Transport, until};
use roomcast::config::Span;

use crate::server::{Shape, TestServer};

/// The status of the answer, if one came before the end or a reset.
fn status_of(mut stream: TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let answer = String::from_utf8_lossy(&answer);
    answer.strip_prefix("HTTP/1.1 ").map(|rest| rest[..3].to_owned())
}

/// A connection on which this much was sent, or less if the server closed it.
fn send_endlessly(server: &Program, first: &str, filler: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).expect("a server that accepts");
    stream.set_read_timeout(Some(FAILSAFE)).expect("an option");
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
    const CLIENTS: usize = 20;
    const HEAD_BYTES: usize = 20 * 1024 * 1024;
    /// Memory of a worker and of a connection's buffer; far less than one such head.
    const MEMORY_MAX: u64 = 8 * 1024 * 1024;
    let program = Program::start(&["--workers", "1"]);
    let mut other = Client::member(&program, Transport::Tcp, "a", "other");
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    let before = program.peak_bytes();
    let begun = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let fillers = ["X-Header: value\r\n", "x"];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let name = if number % 2 == 0 { "" } else { "X-Long: " };
            let client = send_endlessly(&program, &format!("{begun}{name}"), fillers[number % 2], HEAD_BYTES);
            assert_eq!(other.request("hello"), "[other] hello");
            client
        })
        .collect();
    for client in clients {
        assert_eq!(status_of(client).as_deref(), Some("431"));
    }
    let grown = program.peak_bytes() - before;
    println!("{grown} bytes");
    assert!(grown < MEMORY_MAX, "{grown} bytes");
    assert_eq!(Http::get(program.http, "/health").1, "OK");
}

#[test]
fn heads_of_nearly_the_limit_that_are_open_at_once_take_bounded_memory() {
    const CLIENTS: usize = 50;
    const HEAD_BYTES: usize = 15 * 1024;
    /// Memory of a buffer that has doubled until the head fitted, and of the connection itself.
    const CLIENT_BYTES_MAX: usize = 48 * 1024;
    let program = Program::start(&["--workers", "1"]);
    let mut other = Client::member(&program, Transport::Tcp, "a", "other");
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    let before = program.peak_bytes();
    let head = format!("GET /health HTTP/1.1\r\nHost: a\r\nX-Header: {}", "x".repeat(HEAD_BYTES));
    let mut clients: Vec<Http> = (0..CLIENTS).map(|_| Http::connect(program.http)).collect();
    for client in &clients {
        client.send(&head);
        assert_eq!(other.request("hello"), "[other] hello");
    }
    for client in &mut clients {
        client.send("\r\n\r\n");
        assert_eq!(client.answer().1, "OK");
    }
    let grown = program.peak_bytes() - before;
    println!("{grown} bytes");
    assert!(grown < (CLIENTS * CLIENT_BYTES_MAX) as u64, "{grown} bytes");
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
    let server = TestServer::start(Shape::ONE, |settings| settings.header_timeout = Span(Duration::from_secs(2)));
    let mut other = Client::member(&server, Transport::WebSocket, "a", "other");
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).expect("a server that accepts");
            stream.set_read_timeout(Some(FAILSAFE)).expect("an option");
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: loc").expect("a server that reads");
            stream
        })
        .collect();
    assert_eq!(other.request("hello"), "[other] hello");
    for client in clients {
        // The server ends it.
        let status = status_of(client);
        assert!(status.is_none() || status.as_deref() == Some("408"), "{status:?}");
    }
    other.expect_nothing();
}

/// The bytes that have come on a connection, without waiting, or `None` at its end.
fn poll(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = [0; 1024];
    match stream.read(&mut bytes) {
        Ok(0) => None,
        Ok(read) => Some(bytes[..read].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(Vec::new()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            None
        }
    }
}

#[test]
fn heads_that_drip_on_are_closed_at_the_deadline_all_the_same() {
    const CLIENTS: usize = 20;
    let server = TestServer::start(Shape::ONE, |settings| settings.header_timeout = Span(Duration::from_secs(2)));
    let mut other = Client::member(&server, Transport::WebSocket, "a", "other");
    let connect = |_| {
        let mut stream = TcpStream::connect(server.http).expect("a server that accepts");
        stream.write_all(b"GET /health HTTP/1.1\r\nX-Header: ").expect("a server that reads");
        stream.set_nonblocking(true).expect("an option");
        stream
    };
    let mut open: Vec<TcpStream> = (0..CLIENTS).map(connect).collect();
    let mut dripped = 0;
    until(|| {
        assert_eq!(other.request("hello"), "[other] hello");
        // Fails once the server has closed, which the read below notices.
        open.iter_mut().for_each(|stream| drop(stream.write(b"x")));
        dripped += 1;
        open.retain_mut(|stream| {
            poll(stream).inspect(|answer| assert_eq!(String::from_utf8_lossy(answer), "")).is_some()
        });
        open.is_empty()
    });
    println!("{dripped} bytes each");
    assert!((2..15 * 1024).contains(&dripped), "{dripped} bytes each: it was not the deadline");
}

#[test]
fn a_body_that_was_refused_and_drips_on_does_not_keep_its_connection() {
    let server = TestServer::plain(Shape::ONE);
    let mut other = Client::member(&server, Transport::Tcp, "a", "other");
    let mut client = Http::connect(server.http);
    client.send("POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n");
    assert_eq!(client.answer().0.status, 413);
    client.expect_end();
    let mut output = client.write_half();
    until(|| {
        assert_eq!(other.request("hello"), "[other] hello");
        output.write_all(b"x").is_err()
    });
}

#[test]
fn a_body_that_nobody_asked_for_is_not_waited_for_whether_it_comes_or_not() {
    let program = Program::start(&["--workers", "1"]);
    let mut other = Client::member(&program, Transport::Tcp, "a", "other");
    let descriptors = program.descriptors().len();
    for (method, status) in [("GET", 200), ("POST", 405)] {
        let head = |length: &str| format!("{method} /health HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n");
        // A body that never comes, from a client that does not close.
        let mut client = Http::connect(program.http);
        client.send(head("Content-Length: 100"));
        assert_eq!(client.answer().0.status, status);
        client.expect_end();
        until(|| program.descriptors().len() == descriptors);
        // A body that never ends.
        let mut client = Http::connect(program.http);
        client.send(head("Transfer-Encoding: chunked"));
        assert_eq!(client.answer().0.status, status);
        let mut output = client.write_half();
        until(|| {
            assert_eq!(other.request("hello"), "[other] hello");
            output.write_all(b"4\r\nbody\r\n").is_err()
        });
        until(|| program.descriptors().len() == descriptors);
    }
}

#[test]
fn connections_that_are_slow_take_hardly_any_time_of_the_processor() {
    const CLIENTS: usize = 50;
    const ROUND_TRIPS: u32 = 200;
    /// The pause between two round trips, in which the server has nothing to do.
    const LOOK: Duration = Duration::from_millis(5);
    let program = Program::start(&["--workers", "1", "--header-timeout", "60s"]);
    let mut other = Client::member(&program, Transport::Tcp, "a", "other");
    let mut slow: Vec<TcpStream> = (0..CLIENTS)
        .map(|number| {
            let mut stream = TcpStream::connect(program.http).expect("a server that accepts");
            stream.set_read_timeout(Some(LOOK)).expect("an option");
            stream.write_all(&b"GET /health HTTP/1.1\r\nHost: loc"[..number % 30]).expect("a server that reads");
            stream
        })
        .collect();
    let (begun, before) = (Instant::now(), program.cpu_time());
    for number in 0..ROUND_TRIPS as usize {
        assert_eq!(other.request("hello"), "[other] hello");
        assert_eq!(poll(&mut slow[number % CLIENTS]), Some(Vec::new()), "it is open still");
    }
    let (elapsed, taken) = (begun.elapsed(), program.cpu_time() - before);
    println!("{taken:?} of {elapsed:?}");
    assert!(elapsed >= LOOK * ROUND_TRIPS && taken < elapsed / 5, "{taken:?} of {elapsed:?}");
}
