//! Readers of a room that are cut at any byte or are too slow, and come back as an `EventSource` does. What they get
//! together is the room's own order: each publication once, or a gap that was told. `curl` is one more such reader.

use std::cell::Cell;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use harness::{Body, EventStream, Http, Lines, Random, at_once, metrics, until};
use roomcast::config::{Settings, Size, Span};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::rooms_http_streams::{LIVE, reader};
use crate::server::{Shape, TestServer};

/// Times that a reader is cut.
const CUTS: usize = 250;

/// Bytes of a stream that come before a cut are fewer than this.
const BYTES_MAX: usize = 1_500;

/// The text of a publication.
fn text(data: &str) -> String {
    let publication: Value = serde_json::from_str(data).expect("JSON");
    publication["data"]["text"].as_str().expect("a text").to_owned()
}

/// An answer from which no more bytes come than are allowed.
fn cut_stream(server: &TestServer, id: &str, bytes: usize) -> EventStream<impl Read + use<>> {
    let mut client = Http::connect(server.http);
    let header = if id.is_empty() { String::new() } else { format!("Last-Event-ID: {id}\r\n") };
    client.send(format!("GET {LIVE} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"));
    let head = client.head();
    assert_eq!(head.status, 200);
    let mut stream = EventStream::of(Body::new(client, &head).take(bytes as u64));
    stream.last_event_id = id.to_owned();
    stream
}

#[test]
fn a_reader_that_is_cut_at_any_byte_loses_nothing_and_doubles_nothing() {
    at_once([(Shape::ONE, 1), (Shape::MANY, 2), (Shape::OVER_TLS, 3)], |(shape, seed)| {
        let server = TestServer::start(shape, |settings| {
            settings.history_messages = 10_000;
            settings.recovery_messages = 10_000;
        });
        // A room that nobody is in and that retains nothing begins anew.
        let mut lines = Lines::member(server.tcp, "a");
        let mut id = reader(&server).last_event_id;
        let (permit, permits) = flume::unbounded::<usize>();
        let publisher = thread::spawn(move || {
            let mut said = 0;
            for messages in permits.iter() {
                for _ in 0..messages {
                    lines.send(format!("{said}\n"));
                    assert!(lines.line().ends_with(&format!("] {said}")));
                    said += 1;
                }
            }
            (lines, said)
        });
        let mut random = Random(seed);
        let mut heard = Vec::new();
        let allowed = Cell::new(0);
        let allow = |messages| {
            allowed.set(allowed.get() + messages);
            permit.send(messages).expect("a publisher");
        };
        for _ in 0..CUTS {
            let mut stream = cut_stream(&server, &id, random.below(BYTES_MAX));
            loop {
                // There is always something to come, and so the stream reaches the cut.
                allow(if allowed.get() < heard.len() + 2 { 2 } else { 0 });
                let Some(event) = stream.next_event() else { break };
                assert_eq!(event.event, "message", "{event:?}");
                heard.push(text(&event.data));
            }
            id = stream.last_event_id;
            allow(random.below(8));
        }
        drop(permit);
        let (_lines, said) = publisher.join().expect("it heard itself");
        let mut stream = cut_stream(&server, &id, usize::MAX);
        while heard.len() < said {
            heard.push(text(&stream.expect("message")));
        }
        assert_eq!(heard, (0..said).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

/// The next texts of a reader: so many, or fewer if it is cut first because it is too slow.
fn texts_until_too_slow(stream: &mut EventStream<impl Read>, most: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < most
        && let Some(event) = stream.next_event()
    {
        match event.event.as_str() {
            "message" => texts.push(text(&event.data)),
            _ => assert_eq!((event.event.as_str(), event.data.as_str()), ("closed", r#"{"reason":"slow-consumer"}"#)),
        }
    }
    texts
}

#[test]
fn a_reader_that_is_too_slow_is_cut_with_the_reason_and_goes_on_from_its_last_event() {
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::start(shape, |settings: &mut Settings| {
            settings.slow_after = Span(Duration::from_millis(100));
            settings.outbox_bytes = Size(64 << 20);
            settings.outbox_messages = 1 << 20;
            settings.history_messages = 1 << 20;
            settings.recovery_messages = 1 << 20;
        });
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("an option");
        socket.connect(&server.http.address.into()).expect("a server that accepts");
        let mut client = Http::over(TcpStream::from(socket));
        client.send(format!("GET {LIVE} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.head();
        let mut slow = EventStream::of(Body::new(client, &head));
        slow.until_placed();
        let mut lines = Lines::member(server.tcp, "a");
        let long = "x".repeat(1_000);
        let mut said = 0;
        let cut = "roomcast_connections_closed_total{transport=\"sse\",reason=\"slow-consumer\"}";
        until(|| {
            for _ in 0..64 {
                lines.send(format!("{said} {long}\n"));
                said += 1;
            }
            (0..64).for_each(|_| drop(lines.line()));
            metrics(server.http)[cut] == 1.0
        });
        let mut heard = texts_until_too_slow(&mut slow, said);
        assert!(heard.len() < said, "nothing was cut off");
        let mut id = slow.last_event_id;
        while heard.len() < said {
            // It may be too slow once more.
            let mut stream = cut_stream(&server, &id, usize::MAX);
            heard.extend(texts_until_too_slow(&mut stream, said - heard.len()));
            id = stream.last_event_id;
        }
        assert!(heard.iter().enumerate().all(|(number, text)| *text == format!("{number} {long}")));
    }
}

#[test]
fn curl_reads_a_room() {
    if !Path::new("/usr/bin/curl").exists() {
        return println!("left out: there is no curl");
    }
    let server = TestServer::plain(Shape::MANY);
    let url = format!("http://{}/rooms/team%3A7", server.http.address);
    let mut stream = Command::new("/usr/bin/curl")
        .args(["-sSN", &format!("{url}?live=sse")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let mut heard = EventStream::of(stream.stdout.take().expect("a pipe"));
    heard.until_placed();
    let lines = Lines::member(server.tcp, "team:7");
    lines.send("hello\n");
    assert!(heard.expect("message").contains("{\"text\":\"hello\"}"));
    let history = Command::new("/usr/bin/curl").args(["-sS", &url]).output().expect("curl");
    let page: Value = serde_json::from_slice(&history.stdout).expect("JSON");
    assert_eq!(page["publications"][0]["data"]["text"], "hello");
    server.stop();
    heard.expect("closed");
    assert_eq!(heard.next_event(), None);
    assert!(stream.wait().expect("curl").success());
}
