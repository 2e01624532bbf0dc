//! Clients of the Centrifuge protocol without WebSocket: what the server says comes as a stream, and commands go by
//! requests of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;

use harness::{
    Body, Centrifuge, CentrifugeTransport, Encoding, Endpoint, Http, Lines, Program, at_once, metrics, until,
};
use roomcast::config::{Settings, Size, Span};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::access::{Guarded, token};
use crate::server::{Shape, TestServer};

/// The transports without WebSocket.
const STREAMS: [CentrifugeTransport; 3] = [
    CentrifugeTransport::HttpStream(Encoding::Json),
    CentrifugeTransport::HttpStream(Encoding::Protobuf),
    CentrifugeTransport::Sse,
];

/// Requests on connections of their own: enough that the kernel gives some to each of two workers.
const REQUESTS: usize = 32;

/// Requests whose answers are more than the kernel buffers for a client that does not read.
const UNREAD: usize = 300;

/// The frame that begins a connection.
pub const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// A request that opens a stream in JSON.
pub fn open(frame: &str) -> String {
    format!(
        "POST /connection/http_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{frame}",
        frame.len()
    )
}

/// The status of a request with a command for a session, on a connection of its own.
#[track_caller]
pub fn emulate(server: impl Into<Endpoint>, session: &str, node: &str, frame: &str) -> u16 {
    let body = json!({ "session": session, "node": node, "data": frame }).to_string();
    let mut client = Http::connect(server);
    let length = body.len();
    client.send(format!("POST /emulation HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"));
    client.answer().0.status
}

/// Both names of a client's session.
pub fn names(connected: &Value) -> (String, String) {
    let name = |name: &str| connected[name].as_str().expect("a name").to_owned();
    (name("session"), name("node"))
}

/// A stream as it comes, and the result of its connect.
fn opened(mut client: Http, request: &str) -> (BufReader<Body>, Value) {
    client.send(request);
    let head = client.head();
    assert_eq!(head.status, 200, "{head:?}");
    let mut body = BufReader::new(Body::new(client, &head));
    let reply: Value = serde_json::from_str(&line(&mut body)).expect("JSON");
    (body, reply["connect"].clone())
}

fn line(body: &mut BufReader<Body>) -> String {
    let mut line = String::new();
    body.read_line(&mut line).expect("a line");
    assert_eq!(line.pop(), Some('\n'), "the end behind {line:?}");
    line
}

fn rest(body: &mut BufReader<Body>) -> String {
    let mut rest = String::new();
    body.read_to_string(&mut rest).expect("the last chunk");
    rest
}

#[test]
fn clients_without_websocket_share_rooms_with_others() {
    let cases = [&Shape::ALL[..], &[Shape::OVER_TLS]].concat();
    at_once(cases.into_iter().flat_map(|shape| STREAMS.map(|stream| (shape, stream))), |(shape, stream)| {
        let server = TestServer::plain(shape);
        let mut lines = Lines::member(server.tcp, "a");
        let mut client = Centrifuge::connect_over(stream, server.http, None);
        assert_ne!(client.connected["session"], client.connected["client"]);
        client.subscribe("a");
        for number in 0..3 {
            lines.send(format!("{number}\n"));
            assert_eq!(client.publication("a"), json!({ "text": number.to_string() }));
            client.publish("a", json!({ "text": format!("from the stream {number}") }));
            assert!(client.publication("a").is_object());
            assert!(lines.line().ends_with(&number.to_string()));
            assert!(lines.line().ends_with(&format!("from the stream {number}")));
        }
        client.expect_nothing();
    });
}

#[test]
fn commands_are_executed_in_order_whichever_worker_they_come_to() {
    let server = TestServer::plain(Shape::MANY);
    let mut lines = Lines::member(server.tcp, "a");
    let clients: Vec<Centrifuge> = (0..4).map(|_| Centrifuge::connect_over(STREAMS[0], server.http, None)).collect();
    for client in &clients {
        let (session, node) = names(&client.connected);
        assert_eq!(emulate(server.http, &session, &node, r#"{"id":2,"subscribe":{"channel":"a"}}"#), 204);
        for number in 0..REQUESTS {
            let publish = json!({ "id": 3 + number, "publish": { "channel": "a", "data": number.to_string() } });
            assert_eq!(emulate(server.http, &session, &node, &publish.to_string()), 204);
        }
        for number in 0..REQUESTS {
            assert!(lines.line().ends_with(&format!("] {number}")));
        }
    }
}

#[test]
fn a_request_may_carry_many_commands_and_pongs() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Centrifuge::connect_over(STREAMS[0], server.http, None);
    client.send(
        "{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n{}\n{\"id\":3,\"publish\":{\"channel\":\"a\",\"data\":1}}\n",
    );
    assert!(client.reply(2)["subscribe"].is_object());
    assert!(client.reply(3)["publish"].is_object());
    assert_eq!(client.publication("a"), 1);
}

#[test]
fn a_session_ends_with_its_stream() {
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::plain(shape);
        let mut lines = Lines::member(server.tcp, "a");
        let (body, connected) = opened(Http::connect(server.http), &open(CONNECT));
        let (session, node) = names(&connected);
        assert_eq!(emulate(server.http, &session, &node, r#"{"id":2,"subscribe":{"channel":"a"}}"#), 204);
        drop(body);
        until(|| emulate(server.http, &session, &node, "{}") == 404);
        until(|| {
            lines.send("WHO\n");
            let members =
                std::iter::repeat_with(|| lines.line()).find(|line| line.starts_with("Members")).expect("a list");
            !members.contains("client")
        });
        until(|| metrics(server.http)["active_connections"] == 1.0);
    }
}

#[test]
fn a_stop_ends_a_stream_with_the_reason_and_the_last_chunk() {
    at_once(
        STREAMS.into_iter().flat_map(|stream| [Shape::MANY, Shape::OVER_TLS].map(|shape| (stream, shape))),
        |(stream, shape)| {
            let server = TestServer::plain(shape);
            let mut client = Centrifuge::connect_over(stream, server.http, None);
            client.subscribe("a");
            server.begin_stop();
            let (objects, (code, _)) = client.until_closed();
            assert_eq!((objects, code), (Vec::new(), 3001));
        },
    );
}

#[test]
fn a_stream_that_is_not_read_is_cut_with_the_reason_and_the_last_chunk() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.message_bytes = Size(2 * 1024);
        settings.outbox_bytes = Size(16 * 1024);
    });
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("an option");
    socket.connect(&server.http.address.into()).expect("a server that accepts");
    let (mut body, connected) = opened(Http::over(TcpStream::from(socket)), &open(CONNECT));
    let (session, node) = names(&connected);
    assert_eq!(emulate(server.http, &session, &node, r#"{"id":2,"subscribe":{"channel":"a"}}"#), 204);
    let mut lines = Lines::member(server.tcp, "a");
    let text = "x".repeat(1_000);
    let cut = "roomcast_connections_closed_total{transport=\"http_stream\",reason=\"slow-consumer\"}";
    let http = server.http;
    // In a thread of its own, since a round of messages may take longer than a client that was cut has to read why.
    let reading = thread::spawn(move || {
        until(|| emulate(http, &session, &node, "{}") == 404);
        rest(&mut body)
    });
    until(|| {
        (0..64).for_each(|_| lines.send(format!("{text}\n")));
        (0..64).for_each(|_| drop(lines.line()));
        reading.is_finished()
    });
    let rest = reading.join().expect("it is told why");
    let last = rest.lines().last().expect("a disconnect");
    assert!(last.contains("\"disconnect\":{\"code\":3008,"), "{last}");
    assert!(rest.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "all lines are whole");
    until(|| metrics(server.http)[cut] == 1.0);
}

#[test]
fn a_stream_may_follow_other_answers_and_what_is_behind_it_is_discarded() {
    for shape in [Shape::ONE, Shape::OVER_TLS] {
        let server = TestServer::plain(shape);
        let other = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut client = Http::connect(server.http);
        client.send([&other.repeat(UNREAD), &open(CONNECT), other, CONNECT].concat());
        for _ in 0..UNREAD {
            assert_eq!(client.answer().0.status, 200);
        }
        let (mut body, connected) = opened(client, other);
        let (session, node) = names(&connected);
        assert_eq!(emulate(server.http, &session, &node, r#"{"id":2,"ping":{}}"#), 204);
        assert_eq!(line(&mut body), r#"{"id":2,"ping":{}}"#);
        server.stop();
        assert!(rest(&mut body).starts_with("{\"push\":{\"disconnect\":"));
    }
}

/// Waits until a figure has been the same ten times, and returns it.
fn settled(figure: impl Fn() -> f64) -> usize {
    let (mut same, mut before) = (0, 0.0);
    until(|| {
        let now = figure();
        same = if std::mem::replace(&mut before, now) == now { same + 1 } else { 0 };
        same == 10
    });
    before as usize
}

#[test]
#[ignore = "slow: more small answers than the kernel buffers, five times"]
fn a_stream_begins_behind_answers_that_its_client_has_not_read() {
    let server = TestServer::plain(Shape::ONE);
    let refused = || metrics(server.http)["roomcast_http_refused_total{reason=\"path\"}"];
    let other = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let ask = |requests: usize, last: &str| {
        let client = Http::connect(server.http);
        let (mut output, requests) = (client.write_half(), other.repeat(requests) + last);
        thread::spawn(move || output.write_all(requests.as_bytes()));
        client
    };
    let _unread = ask(1 << 17, "");
    let buffered = settled(refused);
    println!("{buffered} answers are buffered");
    assert!((100..1 << 17).contains(&buffered), "{buffered}");
    // hyper has up to 16 KiB of the last of these.
    for fewer in [0, 20, 40, 60] {
        let mut client = ask(buffered - fewer, &open(CONNECT));
        settled(refused);
        for _ in 0..buffered - fewer {
            assert_eq!(client.answer().0.status, 404);
        }
        let head = client.head();
        assert_eq!(head.status, 200);
        let mut body = BufReader::new(Body::new(client, &head));
        assert!(line(&mut body).starts_with("{\"id\":1,\"connect\":"));
    }
}

#[test]
fn an_event_stream_begins_with_an_empty_line_and_is_not_to_be_kept() {
    let server = TestServer::plain(Shape::ONE);
    let get = "GET /connection/sse?later=1&cf_connect=%7B%22id%22%3A1,%22connect%22:%7B%7D%7D HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = open(CONNECT).replace("http_stream", "sse");
    for request in [get, &post] {
        let mut client = Http::connect(server.http);
        client.send(request);
        let head = client.head();
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "private, no-cache, no-store, must-revalidate, max-age=0"),
            ("x-accel-buffering", "no"),
            ("transfer-encoding", "chunked"),
            ("vary", "Origin"),
        ] {
            assert_eq!(head.header(name), Some(value));
        }
        let mut body = BufReader::new(Body::new(client, &head));
        assert_eq!(line(&mut body), "\r");
        let event = line(&mut body);
        assert!(event.starts_with("data: {\"id\":1,\"connect\":{"), "{event}");
        assert_eq!(line(&mut body), "");
    }
}

#[test]
fn a_client_that_sends_no_commands_gets_pushes_of_the_rooms_of_its_token() {
    let guarded = Guarded::start(Shape::MANY, |_| {});
    let server = &guarded.server;
    let token = token(&json!({ "sub": "ada", "channels": ["a"] }));
    let mut client = Http::connect(server.http);
    client.send(open(&json!({ "token": token }).to_string()).replace("http_stream", "uni_sse"));
    let head = client.head();
    assert_eq!(head.status, 200);
    let mut body = BufReader::new(Body::new(client, &head));
    let mut event = || loop {
        let event = line(&mut body);
        if let Some(event) = event.strip_prefix("data: ") {
            return serde_json::from_str::<Value>(event).expect("JSON");
        }
    };
    let connected = event();
    assert!(connected["connect"]["client"].is_string() && connected["connect"]["subs"]["a"].is_object(), "{connected}");
    assert_eq!(connected["connect"]["session"], Value::Null);
    let lines = Lines::connect(server.tcp);
    lines.send("JOIN a\nhello\n");
    let published = loop {
        let event = event();
        if event["pub"].is_object() {
            break event;
        }
    };
    assert_eq!((&published["channel"], &published["pub"]["data"]), (&json!("a"), &json!({ "text": "hello" })));
    server.begin_stop();
    let last = std::iter::repeat_with(event).find(|event| event["disconnect"].is_object()).expect("the end");
    assert_eq!(last["disconnect"]["code"], 3001);
}

#[test]
fn a_client_that_sends_no_commands_is_pinged_and_never_taken_for_dead() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.ping_interval = Span(std::time::Duration::from_millis(50));
        settings.pong_timeout = Span(std::time::Duration::from_millis(100));
    });
    let mut client = Http::connect(server.http);
    client.send("GET /connection/uni_sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = client.head();
    let mut silent = Centrifuge::connect_over(STREAMS[0], server.http, None);
    silent.answers_pings = false;
    silent.expect_closed(3012);
    let mut body = BufReader::new(Body::new(client, &head));
    let pings = std::iter::repeat_with(|| line(&mut body)).filter(|line| line == "data: {}");
    assert_eq!(pings.take(10).count(), 10);
}

#[test]
fn a_full_server_still_takes_the_commands_of_its_clients() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| settings.max_clients = Some(1));
    let (mut body, connected) = opened(Http::connect(server.http), &open(CONNECT));
    let (session, node) = names(&connected);
    for id in 2..40 {
        let ping = format!("{{\"id\":{id},\"ping\":{{}}}}");
        assert_eq!(emulate(server.http, &session, &node, &ping), 204);
        assert_eq!(line(&mut body), ping);
    }
    let mut other = Http::connect(server.http);
    other.send(open(CONNECT));
    assert_eq!(other.answer().0.status, 503);
}

#[test]
fn a_stream_costs_about_what_a_websocket_costs() {
    const CLIENTS: usize = 400;
    let cost = |transport: CentrifugeTransport| {
        let program = Program::start(&["--workers", "1"]);
        // What the first clients cost once.
        let _first: Vec<Centrifuge> =
            (0..100).map(|_| Centrifuge::connect_over(transport, program.http, None)).collect();
        let before = program.private_bytes();
        let _clients: Vec<Centrifuge> =
            (0..CLIENTS).map(|_| Centrifuge::connect_over(transport, program.http, None)).collect();
        program.private_bytes().saturating_sub(before) / CLIENTS as u64
    };
    let web_socket = cost(CentrifugeTransport::WebSocket(Encoding::Json));
    let stream = cost(STREAMS[0]);
    println!("{web_socket} bytes for a WebSocket, {stream} for a stream");
    assert!(stream < web_socket + 1_536, "{stream} bytes for a stream, {web_socket} for a WebSocket");
}

#[test]
fn curl_opens_a_stream_and_sends_commands() {
    if !Path::new("/usr/bin/curl").exists() {
        return println!("left out: there is no curl");
    }
    let server = TestServer::plain(Shape::MANY);
    let base = format!("http://{}", server.http.address);
    let curl = |arguments: &[&str]| {
        let output = Command::new("/usr/bin/curl").args(["-sS"]).args(arguments).output().expect("curl");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let (_body, connected) = opened(Http::connect(server.http), &open(CONNECT));
    let (session, node) = names(&connected);
    let command = json!({ "session": session, "node": node, "data": "{}" }).to_string();
    let status = ["-w", "%{http_code}", "-H", "Expect: 100-continue", "-d", &command, &format!("{base}/emulation")];
    assert_eq!(curl(&status), "204");
    let stream = thread::scope(|scope| {
        let url = format!("{base}/connection/uni_sse");
        let stream = scope.spawn(move || curl(&["-N", &url]));
        until(|| metrics(server.http)["active_connections"] == 2.0);
        server.stop();
        stream.join().expect("an end in order")
    });
    assert!(
        stream.starts_with("\r\ndata: {\"connect\":{") && stream.contains("data: {\"disconnect\":{\"code\":3001"),
        "{stream}"
    );
}
