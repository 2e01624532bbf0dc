//! A room as server-sent events: what a reader gets, what ends its stream, and what it costs.

use std::fs;
use std::time::Duration;

use harness::{
    Body, Centrifuge, CentrifugeTransport, Encoding, EventStream, Http, Lines, Program, Signal, at_once, metrics, until,
};
use roomcast::config::{RuleSettings, Settings, Span, Who};
use serde_json::{Value, json};

use crate::access::{Guarded, seconds_from_now, secret_file, token, token_of};
use crate::drain::{SlowReader, large_outboxes};
use crate::rooms_http::{SHAPES, get, rules};
use crate::server::{Shape, TestServer};

type Reader = EventStream<Body>;

/// The path of a stream of the room `a`.
pub const LIVE: &str = "/rooms/a?live=sse";

/// A header line by which an `EventSource` is known.
const EVENT_SOURCE: &str = "Accept: text/event-stream\r\n";

/// A reader that has joined.
#[track_caller]
pub fn reader(server: &TestServer) -> Reader {
    let mut reader = Reader::open(server.http, LIVE, "");
    reader.until_placed();
    reader
}

/// The next publication.
#[track_caller]
fn publication(reader: &mut Reader) -> Value {
    let publication: Value = serde_json::from_str(&reader.expect("message")).expect("JSON");
    assert_eq!(publication["position"], reader.last_event_id.as_str());
    publication
}

/// The reason with which a stream ends, behind which there is the last chunk.
#[track_caller]
fn end(reader: &mut Reader) -> Value {
    let closed: Value = serde_json::from_str(&reader.expect("closed")).expect("JSON");
    assert_eq!(reader.next_event(), None);
    closed["reason"].clone()
}

#[test]
fn text_clients_sdks_and_readers_of_a_room_get_one_order() {
    at_once(SHAPES, |shape| {
        let server = TestServer::plain(shape);
        let mut lines = Lines::member(server.tcp, "a");
        let mut client = Centrifuge::connect_over(CentrifugeTransport::WebSocket(Encoding::Json), server.http, None);
        client.subscribe("a");
        let mut readers = [(); 3].map(|()| reader(&server));
        for number in 0..50 {
            lines.send(format!("{number}\n"));
            client.publish("a", json!({ "n": number }));
        }
        let all = |mut next: Box<dyn FnMut() -> Value + '_>| (0..100).map(|_| next()).collect::<Vec<_>>();
        let heard = readers.each_mut().map(|reader| all(Box::new(|| publication(reader)["data"].clone())));
        let of_client = all(Box::new(|| client.publication("a")));
        assert!(heard.iter().all(|heard| *heard == of_client));
        let shown = heard[0].iter().map(|data| data["text"].as_str().map_or_else(|| data.to_string(), str::to_owned));
        for text in shown {
            assert!(lines.line().ends_with(&format!("] {text}")), "{text}");
        }
    });
}

#[test]
fn a_stream_begins_with_its_place_and_the_time_to_come_back_and_is_not_to_be_kept() {
    let server = TestServer::plain(Shape::ONE);
    for (path, accept) in
        [(LIVE, ""), ("/rooms/a", EVENT_SOURCE), ("/rooms/a", "accept: */*, Text/Event-Stream;q=1\r\n")]
    {
        let mut client = Http::connect(server.http);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"));
        let head = client.head();
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "private, no-cache, no-store, must-revalidate, max-age=0"),
            ("x-accel-buffering", "no"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("vary", "Origin"),
        ] {
            assert_eq!(head.header(name), Some(value), "{path}");
        }
        let mut reader = Reader::of(Body::new(client, &head));
        reader.until_placed();
        assert_eq!((reader.last_event_id.len(), reader.retry), (30, Some(2_000)));
    }
    let (status, document) = {
        let mut client = Http::connect(server.http);
        client.send(format!("GET {LIVE} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        let (head, body) = client.answer();
        (head.status, body)
    };
    assert!(status == 400 && document.contains("a stream is HTTP/1.1"), "{document}");
}

#[test]
fn a_reader_gets_what_it_has_missed_since_its_last_event_or_else_since_the_query() {
    at_once(SHAPES, |shape| {
        let server = TestServer::plain(shape);
        let mut first = reader(&server);
        let mut lines = Lines::member(server.tcp, "a");
        lines.send("0\n1\n2\n");
        let places: Vec<String> =
            (0..3).map(|_| publication(&mut first)["position"].as_str().expect("a position").to_owned()).collect();
        let since = |place: &str| format!("{LIVE}&since={place}");
        for (path, header, missed) in [
            (since(&places[0]), String::new(), vec!["1", "2"]),
            (LIVE.to_owned(), format!("Last-Event-ID: {}\r\n", places[1]), vec!["2"]),
            (since(&places[0]), format!("Last-Event-ID: {}\r\n", places[1]), vec!["2"]),
            (since(&places[2]), String::new(), vec![]),
            (LIVE.to_owned(), "Last-Event-ID:\r\n".to_owned(), vec![]),
        ] {
            let mut reader = Reader::open(server.http, &path, &header);
            reader.until_placed();
            for text in missed {
                assert_eq!(publication(&mut reader)["data"]["text"], text);
            }
            lines.send("PING x\n");
            while lines.line() != "PONG x" {}
            assert_eq!(reader.last_event_id, places[2]);
        }
        assert_eq!(get(server.http, &since("7"), "").0, 400);
    });
}

#[test]
fn a_reader_whose_position_cannot_be_continued_from_hears_of_a_gap_and_goes_on() {
    at_once(SHAPES, |shape| {
        let few = |settings: &mut Settings| settings.history_messages = 3;
        let server = TestServer::start(shape, few);
        let first_address = server.http.address;
        let mut first = reader(&server);
        let start = first.last_event_id.clone();
        let lines = Lines::member(server.tcp, "a");
        lines.send("0\n1\n2\n3\n");
        let place = (0..4).map(|_| publication(&mut first)["position"].clone()).last().expect("four");
        let other_server = TestServer::start(shape, few);
        let _other_lines = Lines::member(other_server.tcp, "a");
        for (server, id) in [
            (&server, start.as_str()),
            (&server, "7"),
            (&server, "<script>"),
            (&server, "0123456789abc-0000000000000001"),
            (&other_server, place.as_str().expect("a position")),
        ] {
            let mut reader = Reader::open(server.http, LIVE, &format!("Last-Event-ID: {id}\r\n"));
            let gap: Value = serde_json::from_str(&reader.expect("gap")).expect("JSON");
            assert_eq!(gap, json!({ "room": "a", "position": reader.last_event_id }), "{id}");
            assert_eq!(gap["position"] == place, server.http.address == first_address, "{id}");
        }
        let mut reader = Reader::open(server.http, LIVE, "Last-Event-ID: 7\r\n");
        reader.expect("gap");
        lines.send("4\n");
        assert_eq!(publication(&mut reader)["data"]["text"], "4");
    });
}

#[test]
fn where_nothing_is_retained_a_reader_hears_of_a_gap_only_if_something_was_published() {
    let server = TestServer::start(Shape::MANY, |settings: &mut Settings| settings.history_messages = 0);
    let lines = Lines::member(server.tcp, "a");
    let place = reader(&server).last_event_id;
    let header = format!("Last-Event-ID: {place}\r\n");
    let mut same = Reader::open(server.http, LIVE, &header);
    same.until_placed();
    lines.send("x\n");
    assert_eq!(publication(&mut same)["data"]["text"], "x");
    Reader::open(server.http, LIVE, &header).expect("gap");
}

#[test]
fn members_that_come_and_go_are_told_where_the_rule_says_so() {
    let server = TestServer::start(Shape::MANY, |settings: &mut Settings| {
        let rule = RuleSettings::new("a", Who::Anyone);
        settings.rules = vec![RuleSettings { presence_events: Some(true), ..rule }];
    });
    let mut reader = reader(&server);
    let name = |data: String| serde_json::from_str::<Value>(&data).expect("JSON")["name"].clone();
    let own = name(reader.expect("join"));
    assert!(own.as_str().expect("a label").starts_with("client-"), "{own}");
    let lines = Lines::member(server.tcp, "a");
    let other = name(reader.expect("join"));
    lines.send("WHO\n");
    drop(lines);
    assert_eq!(name(reader.expect("leave")), other);
}

#[test]
fn a_reader_counts_as_a_client_and_a_member() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| settings.max_clients = Some(2));
    let reader = reader(&server);
    let mut lines = Lines::member(server.tcp, "a");
    lines.send("WHO\n");
    assert!(lines.line().contains("\"client-"));
    let metrics = || metrics(server.http);
    assert_eq!(metrics()["active_connections"], 2.0);
    let (status, document) = get(server.http, LIVE, "");
    assert_eq!((status, &document["detail"]), (503, &json!("full")));
    // An `EventSource` never comes back from an error status.
    let mut refused = Reader::open(server.http, LIVE, EVENT_SOURCE);
    assert_eq!(end(&mut refused), "too-many-connections");
    assert_eq!(refused.retry, Some(10_000));
    drop(reader);
    let closed = "roomcast_connections_closed_total{transport=\"sse\",reason=\"closed-by-peer\"}";
    until(|| metrics()[closed] == 1.0);
    until(|| get(server.http, "/rooms/a", "").0 == 200);
}

#[test]
fn a_room_that_is_full_refuses_a_reader_with_the_reason() {
    let server = TestServer::start(Shape::MANY, |settings: &mut Settings| settings.room_members = 1);
    let _member = Lines::member(server.tcp, "a");
    let mut reader = Reader::open(server.http, LIVE, "");
    let refused: Value = serde_json::from_str(&reader.expect("refused")).expect("JSON");
    assert_eq!(refused, json!({ "code": "too-many", "message": "members in \"a\": at most 1" }));
    assert_eq!(end(&mut reader), "too-many-connections");
    assert_eq!(reader.retry, Some(10_000));
}

#[test]
fn a_stop_ends_a_stream_with_the_reason_the_time_to_come_back_and_the_last_chunk() {
    at_once(SHAPES, |shape| {
        let server = TestServer::start(shape, |settings| settings.probes_until_end = true);
        let mut readers = [(); 4].map(|()| reader(&server));
        let mut lines = Lines::member(server.tcp, "a");
        let kept = Http::connect(server.http);
        lines.send("last\n");
        assert!(lines.line().ends_with("last"));
        server.begin_stop();
        for reader in &mut readers {
            assert_eq!(publication(reader)["data"]["text"], "last");
            assert_eq!(end(reader), "shutdown");
            assert_eq!(reader.retry, Some(1_000));
        }
        drop((kept, lines));
        server.stop();
    });
}

#[test]
fn an_event_source_that_comes_to_a_stopping_server_is_told_to_come_back() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        large_outboxes(settings);
        settings.probes_until_end = true;
    });
    let slow = SlowReader::start(&server);
    let mut lines = Lines::member(server.tcp, "a");
    let mut requests = [Http::connect(server.http), Http::connect(server.http)];
    for request in &mut requests {
        request.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(request.answer().0.status, 200);
    }
    server.begin_stop();
    lines.expect("ERR closed shutdown retry=1");
    let [mut source, mut other] = requests;
    source.send(format!("GET /rooms/a HTTP/1.1\r\nHost: localhost\r\n{EVENT_SOURCE}\r\n"));
    let (head, body) = source.answer();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(body, "event: closed\nretry: 1000\ndata: {\"reason\":\"shutdown\",\"retry\":1}\n\n");
    other.send(format!("GET {LIVE} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let (head, body) = other.answer();
    assert_eq!((head.status, head.header("retry-after")), (503, Some("1")), "{body}");
    slow.read_all();
}

#[test]
fn a_silent_stream_has_a_comment_now_and_then() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.ping_interval = Span(Duration::from_millis(50));
        settings.pong_timeout = Span(Duration::from_millis(100));
    });
    let mut reader = reader(&server);
    let scrapes = std::iter::from_fn(|| Some(metrics(server.http)));
    assert!(scrapes.take(10).all(|metrics| metrics["active_connections"] == 1.0), "it is taken for dead");
    let lines = Lines::member(server.tcp, "a");
    until(|| {
        lines.send("x\n");
        publication(&mut reader);
        reader.comments >= 10
    });
}

#[test]
fn a_reader_whose_token_expires_is_told_so_and_then_needs_another() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| {
        rules(settings);
        settings.token_grace = Span(Duration::from_millis(1));
        settings.token_leeway = Span(Duration::ZERO);
    });
    let token = token(&json!({ "sub": "ada", "exp": seconds_from_now(5), "rooms": { "team:a": ["join"] } }));
    let header = format!("Authorization: Bearer {token}\r\n");
    let mut reader = Reader::open(server.http, "/rooms/team:a?live=sse", &header);
    reader.until_placed();
    assert_eq!(end(&mut reader), "token-expired");
    until(|| get(server.http, "/rooms/team:a?live=sse", &header).0 == 401);
}

#[test]
fn a_reader_without_the_right_to_history_hears_of_a_gap() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, rules);
    let mut first = Reader::open(server.http, "/rooms/open?live=sse", "");
    first.until_placed();
    let header = format!("Last-Event-ID: {}\r\n", first.last_event_id);
    Reader::open(server.http, "/rooms/open?live=sse", &header).expect("gap");
    let header = format!("{header}Authorization: Bearer {}\r\n", token_of("ada"));
    Reader::open(server.http, "/rooms/open?live=sse", &header).until_placed();
}

#[test]
fn a_reader_that_loses_its_right_by_other_rules_hears_why() {
    let (folder, secret) = secret_file();
    let file = folder.path().join("roomcast.toml");
    let settings = format!("token-secret-file = [{secret:?}]\n");
    fs::write(&file, &settings).expect("a file");
    let program = Program::start(&["--config", file.to_str().expect("a path")]);
    let mut inside = Reader::open(program.http, LIVE, "");
    let mut elsewhere = Reader::open(program.http, "/rooms/b?live=sse", "");
    inside.until_placed();
    elsewhere.until_placed();
    let rules = "[[rule]]\nrooms = 'a'\njoin = 'user'\n[[rule]]\nrooms = '*'\njoin = 'anyone'\n";
    fs::write(&file, settings + rules).expect("a file");
    program.signal(Signal::HUP);
    program.log.until("reloaded");
    let refused: Value = serde_json::from_str(&inside.expect("refused")).expect("JSON");
    assert_eq!(refused["code"], "forbidden");
    assert_eq!(end(&mut inside), "kicked");
    assert_eq!(get(program.http, LIVE, "").0, 401);
    let lines = Lines::member(program.tcp, "b");
    lines.send("x\n");
    assert_eq!(publication(&mut elsewhere)["data"]["text"], "x");
}

#[test]
fn what_a_reader_sends_is_no_request_and_no_command() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    let output = client.write_half();
    client.send(format!("GET {LIVE} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\n\r\n"));
    let head = client.head();
    let mut reader = Reader::of(Body::new(client, &head));
    reader.until_placed();
    std::io::Write::write_all(&mut &output, b"QUIT\nLEAVE\n{}\n").expect("a server that reads");
    let lines = Lines::member(server.tcp, "a");
    lines.send("x\n");
    assert_eq!(publication(&mut reader)["data"]["text"], "x");
}

#[test]
fn a_reader_costs_about_what_a_text_websocket_costs() {
    const CLIENTS: usize = 400;
    let private_bytes = |program: &Program| program.private_bytes();
    let cost = |is_reader: bool| {
        let program = Program::start(&["--workers", "1"]);
        let open = |count: usize| -> (Vec<Reader>, Vec<harness::Client>) {
            let readers = if is_reader { count } else { 0 };
            let readers = (0..readers).map(|_| {
                let mut reader = Reader::open(program.http, LIVE, "");
                reader.until_placed();
                reader
            });
            let clients = (0..if is_reader { 0 } else { count }).map(|number| {
                harness::Client::member(&program, harness::Transport::WebSocket, "a", &format!("n{number}"))
            });
            (readers.collect(), clients.collect())
        };
        // What the first clients cost once.
        let _first = open(100);
        let before = private_bytes(&program);
        let _clients = open(CLIENTS);
        private_bytes(&program).saturating_sub(before) / CLIENTS as u64
    };
    let (web_socket, reader) = (cost(false), cost(true));
    println!("{web_socket} bytes for a text WebSocket, {reader} for a reader");
    assert!(reader <= 2_560, "{reader} bytes for a reader, {web_socket} for a text WebSocket");
}
