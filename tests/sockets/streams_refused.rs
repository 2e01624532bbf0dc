//! Requests of clients without WebSocket that are refused, each with a line that says what would be right; and pages of
//! other origins.

use std::time::Duration;

use harness::{Centrifuge, CentrifugeTransport, Encoding, Http, Lines, Program, WELCOME, at_once};
use roomcast::config::{Settings, Size, Span};
use serde_json::json;

use crate::drain::{SlowReader, large_outboxes};
use crate::server::{Shape, TestServer};
use crate::streams::{CONNECT, emulate, open};

/// Bytes of the longest frame of these tests.
const FRAME_BYTES_MAX: usize = 1024;

fn small_messages(settings: &mut Settings) {
    settings.message_bytes = Size(FRAME_BYTES_MAX);
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost:3000\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

#[test]
fn a_request_that_breaks_a_rule_hears_the_rule() {
    let server = TestServer::start(Shape::MANY, small_messages);
    let emulation =
        |session: &str, node: &str, data: &str| json!({ "session": session, "node": node, "data": data }).to_string();
    let post = |path: &str, body: &str| request("POST", path, "", body);
    let long = "x".repeat(FRAME_BYTES_MAX + 1);
    let no_session = "there is no such session on this node: connect again\n";
    let malformed = "the body is {\"session\":\"…\",\"node\":\"…\",\"data\":\"<frame>\"}\n";
    let too_long = "a frame has at most 1024 bytes: see message-bytes\n";
    let rules = [
        (post("/connection/http_stream", ""), 400, "the body is a frame with a connect command\n"),
        (post("/connection/http_stream", &long), 413, "a body has at most 1 KiB\n"),
        (
            request("GET", "/connection/sse", "", ""),
            400,
            "cf_connect is a frame with a connect command, percent-encoded\n",
        ),
        (request("GET", &format!("/connection/sse?cf_connect={long}"), "", ""), 413, too_long),
        (
            request("GET", "/connection/uni_sse?cf_connect=[]", "", ""),
            400,
            "cf_connect is a connect request, as in {\"token\":\"…\"}\n",
        ),
        (open(CONNECT).replace("HTTP/1.1", "HTTP/1.0"), 400, "a stream is HTTP/1.1\n"),
        (post("/emulation", ""), 400, malformed),
        (post("/emulation", r#"{"session":"a","node":"b"}"#), 400, malformed),
        (request("POST", "/emulation", "Content-Type: application/octet-stream\r\n", "\u{1}"), 400, malformed),
        (request("POST", "/emulation", "Content-Type: application/octet-stream\r\n", ""), 404, no_session),
        (post("/emulation", &emulation("", "", "{}")), 404, no_session),
        (post("/emulation", &emulation(&"0".repeat(36), &"0".repeat(16), "{}")), 404, no_session),
        (post("/emulation", &emulation("", "", &long)), 413, too_long),
        (post("/emulation", &"x".repeat(8 * FRAME_BYTES_MAX)), 413, "a body has at most 3 KiB\n"),
        (request("GET", "/connection/http_stream", "", ""), 405, "this path has the methods POST,OPTIONS\n"),
        (request("PUT", "/connection/sse", "", CONNECT), 405, "this path has the methods GET,POST,OPTIONS\n"),
        (request("GET", "/emulation", "", ""), 405, "this path has the methods POST,OPTIONS\n"),
    ];
    for (request, status, text) in rules {
        let mut client = Http::connect(server.http);
        client.send(&request);
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (status, text), "{request}");
        assert_eq!(head.header("allow").is_some(), status == 405);
    }
}

#[test]
fn the_names_of_a_session_must_both_be_right() {
    let server = TestServer::plain(Shape::MANY);
    let mut client = Centrifuge::connect_over(CentrifugeTransport::HttpStream(Encoding::Json), server.http, None);
    let (session, node) = crate::streams::names(&client.connected);
    let other = |name: &str, at: usize| {
        let digit = if &name[at..=at] == "0" { "1" } else { "0" };
        format!("{}{digit}{}", &name[..at], &name[at + 1..])
    };
    let last = session.len() - 1;
    for (session, node) in [
        (other(&session, last), node.clone()),
        (other(&session, 4), node.clone()),
        // Another worker, and one that is not there.
        (other(&session, 3), node.clone()),
        (other(&session, 0), node.clone()),
        (session.clone(), other(&node, 0)),
        (session.to_uppercase() + " ", node.clone()),
        (client.connected["client"].as_str().expect("a client").to_owned(), node.clone()),
    ] {
        assert_eq!(emulate(server.http, &session, &node, r#"{"id":9,"ping":{}}"#), 404, "{session} {node}");
    }
    client.expect_nothing();
}

#[test]
fn a_body_in_chunks_is_cut_off_where_it_is_too_long() {
    let server = TestServer::start(Shape::ONE, small_messages);
    let head = "POST /connection/http_stream HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = Http::connect(server.http);
    client.send(format!("{head}15\r\n{CONNECT}\r\n0\r\n\r\n"));
    assert_eq!(client.head().status, 200);
    let mut client = Http::connect(server.http);
    client.send([head, &format!("200\r\n{}\r\n", "x".repeat(512)).repeat(3)].concat());
    let (head, body) = client.answer();
    assert_eq!((head.status, body.as_str()), (413, "a body has at most 1 KiB\n"));
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.header_timeout = Span(Duration::from_secs(3));
    });
    at_once(["/connection/http_stream", "/emulation"], |path| {
        let mut client = Http::connect(server.http);
        client.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{"));
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (408, "the body has taken too long\n"));
        client.expect_end();
    });
}

#[test]
fn a_page_of_another_origin_may_read_answers_if_it_may_connect() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.allowed_origins = vec!["https://app.example".into()];
    });
    let origin = "Origin: https://app.example\r\n";
    let asked =
        format!("{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type, x-a\r\n");
    for (method, path, headers, body, status) in [
        ("OPTIONS", "/connection/http_stream", asked.as_str(), "", 204),
        ("OPTIONS", "/emulation", &asked, "", 204),
        ("POST", "/emulation", origin, "", 400),
        ("POST", "/connection/http_stream", origin, CONNECT, 200),
        ("GET", "/connection/uni_sse", origin, "", 200),
    ] {
        let mut client = Http::connect(server.http);
        client.send(request(method, path, headers, body));
        let head = client.head();
        assert_eq!(head.status, status, "{method} {path}");
        assert_eq!(head.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(head.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(head.header("vary"), Some("Origin"));
        let is_preflight = method == "OPTIONS";
        assert_eq!(head.header("access-control-allow-headers"), is_preflight.then_some("content-type, x-a"));
        assert_eq!(head.header("access-control-allow-methods"), is_preflight.then_some("POST,OPTIONS"));
    }
    for path in ["/connection/http_stream", "/connection/sse", "/connection/uni_sse", "/emulation"] {
        for method in ["POST", "OPTIONS"] {
            let mut client = Http::connect(server.http);
            client.send(request(method, path, "Origin: https://evil.example\r\n", CONNECT));
            let (head, body) = client.answer();
            assert_eq!(
                (head.status, body.as_str()),
                (403, "pages of this Origin may not connect: see allowed-origins\n")
            );
            assert_eq!(head.header("access-control-allow-origin"), None);
        }
    }
}

#[test]
fn the_first_frame_of_a_stream_is_in_no_log() {
    let program = Program::start(&["--workers", "1", "--log", "debug"]);
    let path = "/connection/uni_sse?cf_connect=%7B%22token%22:%22a-secret%22%7D";
    for headers in ["", "Origin: https://evil.example\r\n", "Content-Type: a-secret\r\nHost: b\r\n"] {
        let mut client = Http::connect(program.http);
        client.send(request("GET", path, headers, ""));
        let _ = client.head();
    }
    emulate(program.http, "a-secret", "a-secret", "a-secret");
    let log = program.stop_and_read_log();
    assert!(log.iter().any(|line| line.contains("/connection/uni_sse")), "{log:?}");
    assert!(log.iter().all(|line| !line.contains("secret")), "{log:?}");
}

#[test]
fn a_stopping_server_takes_no_stream_and_no_commands() {
    let server = TestServer::start(Shape::MANY, |settings: &mut Settings| {
        large_outboxes(settings);
        settings.probes_until_end = true;
    });
    let slow = SlowReader::start(&server);
    let mut client = Lines::connect(server.tcp);
    client.expect(WELCOME);
    let mut requests = [Http::connect(server.http), Http::connect(server.http)];
    for request in &mut requests {
        request.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(request.answer().0.status, 200);
    }
    server.begin_stop();
    client.expect("ERR closed shutdown retry=1");
    let [stream, commands] = &mut requests;
    stream.send(open(CONNECT));
    commands.send(request("POST", "/emulation", "", &json!({ "session": "", "node": "", "data": "" }).to_string()));
    for request in [stream, commands] {
        let (head, body) = request.answer();
        assert_eq!((head.status, body.as_str(), head.header("retry-after")), (503, "draining\n", Some("1")));
    }
    slow.read_all();
}
