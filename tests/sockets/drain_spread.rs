//! Draining over a time: clients end one after another, those who are still connected are served, nobody is let in, and
//! everybody is told when to come back.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::{
    Centrifuge, CentrifugeTransport, Client, Disconnect, EventStream, HANDSHAKE, Http, Lines, Program, Signal,
    Transport, WELCOME, at_once, metrics, until,
};
use roomcast::config::Span;
use serde_json::{Value, json};

use crate::api::Served;
use crate::server::Shape;

/// The clients of each transport that only read, and the line clients that talk to them.
const READERS: usize = 6;
const TALKERS: usize = 4;

/// What clients hear in place of a number of seconds, where the spread takes two.
const RETRY: u32 = 3;

/// Nobody is cut for reading slowly while all processes of the tests share two cores.
const OUTBOXES: [&str; 6] = ["--outbox-bytes", "1GiB", "--outbox-messages", "1048576", "--slow-after", "60s"];

/// What a reader is connected by.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Text(Transport),
    Sdk(CentrifugeTransport),
    RoomEvents,
}

impl Wire {
    fn all() -> Vec<Self> {
        let text = Transport::ALL.map(Self::Text);
        let sdks = CentrifugeTransport::ALL.map(Self::Sdk);
        text.into_iter().chain(sdks).chain([Self::RoomEvents]).collect()
    }

    /// A reader that has joined. In a thread of its own it reads to the end and is told when to come back.
    fn reader(self, program: &Program) -> JoinHandle<Vec<String>> {
        match self {
            Self::Text(transport) => {
                let mut client = Client::member(program, transport, "a", "reader");
                thread::spawn(move || texts_of(client.lines_until_closed(Disconnect::ShutdownFor(RETRY))))
            }
            Self::Sdk(transport) => {
                let mut client = Centrifuge::connect_over(transport, program.http, None);
                client.subscribe("a");
                thread::spawn(move || {
                    let (objects, closed) = client.until_closed();
                    assert_eq!(closed, (3001, format!("shutdown retry={RETRY}")));
                    objects.iter().map(|object| text_of(&parsed(object)["push"]["pub"])).collect()
                })
            }
            Self::RoomEvents => {
                let mut reader = EventStream::open(program.http, "/rooms/a?live=sse", "");
                reader.until_placed();
                thread::spawn(move || {
                    let mut events: Vec<_> = std::iter::from_fn(|| reader.next_event()).collect();
                    let closed = events.pop().expect("a last event");
                    assert_eq!(closed.event, "closed");
                    assert_eq!(parsed(&closed.data), json!({ "reason": "shutdown", "retry": RETRY }));
                    assert_eq!(reader.retry, Some(u64::from(RETRY) * 1_000));
                    events.iter().map(|event| text_of(&parsed(&event.data))).collect()
                })
            }
        }
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

fn text_of(publication: &Value) -> String {
    publication["data"]["text"].as_str().expect("a text").to_owned()
}

/// What was said in these lines, without the labels of those who have said it.
fn texts_of(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| line.split_once("] ").expect("a label").1.to_owned()).collect()
}

/// A member that says one thing after another, each when it has heard the one before, until it is ended.
fn talk(mut talker: Lines, number: usize) -> JoinHandle<Vec<String>> {
    let (mut output, last) = (talker.write_half(), Disconnect::ShutdownFor(RETRY).last_line());
    thread::spawn(move || {
        let mut lines = Vec::new();
        for said in 0.. {
            let text = format!("{number}: {said}");
            // Fails once the server has closed the connection, of which the last line tells.
            let _ = writeln!(output, "{text}");
            loop {
                let line = talker.line();
                if line == last {
                    talker.expect_end();
                    return texts_of(lines);
                }
                let is_own = line.ends_with(&format!("] {text}"));
                lines.push(line);
                if is_own {
                    break;
                }
            }
        }
        unreachable!("it is ended before it has said everything")
    })
}

#[test]
fn clients_end_one_after_another_and_those_who_are_left_go_on_and_miss_nothing() {
    at_once(Wire::all(), |wire| {
        let program = Program::start(&[&OUTBOXES[..], &["--workers", "2", "--drain-spread", "2s"]].concat());
        let readers: Vec<_> = (0..READERS).map(|_| wire.reader(&program)).collect();
        let talkers: Vec<Lines> = (0..TALKERS).map(|_| Lines::member(program.tcp, "a")).collect();
        let talking = (0..).zip(talkers).map(|(number, talker)| talk(talker, number));
        let clients: Vec<_> = readers.into_iter().chain(talking).collect();
        program.signal(Signal::TERM);
        let heard: Vec<Vec<String>> =
            clients.into_iter().map(|client| client.join().expect("it was told why")).collect();
        let order = heard.iter().max_by_key(|heard| heard.len()).expect("clients");
        let ends: BTreeSet<usize> = heard.iter().map(Vec::len).collect();
        assert!(heard.iter().all(|heard| order.starts_with(heard)), "the first of {} messages: {ends:?}", order.len());
        // Members have talked and heard while others were gone already.
        assert!(ends.len() > 1, "the clients ended behind {ends:?} messages");
        let (code, log) = program.end();
        assert_eq!(code, Some(0), "{log:?}");
        let progress: Vec<_> = log.iter().filter(|line| line.contains("draining")).collect();
        assert!(progress[0].contains("clients=10 elapsed="), "{log:?}");
        assert!(progress[progress.len() - 1].contains("clients=0 elapsed="), "{log:?}");
        assert!(log.last().is_some_and(|line| line.contains("stopped") && line.contains("clients_cut=0")), "{log:?}");
    });
}

#[test]
fn over_the_spread_nobody_is_let_in_and_whoever_is_connected_is_served_until_nobody_is_left() {
    let served = Served::start(Shape::MANY, |settings| {
        settings.drain_spread = Span(Duration::from_secs(3_600));
        settings.probes_until_end = true;
    });
    let (server, retry) = (&served.server, Some("3601"));
    let mut member = served.member(Transport::Tcp, "a");
    let mut other = served.member(Transport::WebSocket, "a");
    let mut backend = served.backend();
    backend.result("info", "{}");
    let mut kept = Http::connect(server.http);
    let mut ask = |request: &str| {
        kept.send(request);
        let (head, body) = kept.answer();
        (head.status, body, head.header("retry-after").map(str::to_owned))
    };
    assert_eq!(ask("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").1, "ready");
    server.begin_stop();
    until(|| TcpStream::connect(server.tcp.address).is_err());
    let draining = (503, "draining: 2 clients left".to_owned(), None);
    // A connection of the loop above may still be on its way out.
    until(|| ask("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n") == draining);
    // Nobody is let in.
    let stream = "POST /connection/http_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 23\r\n\r\n\
        {\"id\":1,\"connect\":{}}\r\n";
    for request in [HANDSHAKE, stream] {
        let mut newcomer = Http::connect(server.http);
        newcomer.send(request);
        let (head, body) = newcomer.answer();
        assert_eq!((head.status, body.as_str(), head.header("retry-after")), (503, "draining\n", retry), "{request}");
    }
    let mut source = EventStream::open(server.http, "/rooms/a", "Accept: text/event-stream\r\n");
    assert_eq!(parsed(&source.expect("closed")), json!({ "reason": "shutdown", "retry": 3_601 }));
    assert_eq!(source.retry, Some(3_601_000));
    // Whoever is connected is served.
    member.send("hello");
    let said = member.line();
    other.expect(&said);
    assert_eq!(other.request("JOIN b"), "Joined b");
    other.expect_nothing();
    backend.result("publish", json!({ "channel": "b", "data": 1 }));
    other.expect("[backend] 1");
    let (status, history, _) = ask("GET /rooms/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(status == 200 && history.contains("hello"), "{status}: {history}");
    let (status, rooms, _) = ask("GET /rooms HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(status == 200 && rooms.contains("\"b\""), "{status}: {rooms}");
    for client in [&mut member, &mut other] {
        client.send("QUIT");
        client.expect("Bye");
    }
    drop((member, other));
    assert_eq!(served.server.stop().cut, 0);
}

#[test]
fn others_are_told_of_whoever_is_ended_and_a_second_signal_ends_all_at_once() {
    const MEMBERS: usize = 20;
    let arguments = ["--workers", "2", "--presence-events", "--probes-until-end", "--drain-spread", "10s"];
    let mut program = Program::start(&arguments);
    let mut members: Vec<Lines> = (0..MEMBERS).map(|_| Lines::member(program.tcp, "a")).collect();
    program.signal(Signal::TERM);
    let closed = "roomcast_connections_closed_total{transport=\"tcp\",reason=\"shutdown\"}";
    until(|| metrics(program.http)[closed] >= 2.0);
    let ready = Http::get(program.http, "/ready").1;
    let left: Option<usize> = ready.strip_prefix("draining: ").and_then(|text| text.split(' ').next()?.parse().ok());
    assert!(left.is_some_and(|left| left < MEMBERS), "{ready}");
    program.signal_until_end(Signal::TERM);
    assert_eq!(program.end().0, Some(1));
    let heard: Vec<String> = members.iter_mut().map(Lines::rest_if_not_reset).collect();
    let ended: Vec<_> = heard.iter().filter(|heard| heard.ends_with("ERR closed shutdown retry=11\n")).collect();
    assert!((2..MEMBERS).contains(&ended.len()), "{heard:?}");
    let told = heard.iter().filter(|heard| heard.contains("\nLEFT ") || heard.starts_with("LEFT ")).count();
    assert!(told > 0, "{heard:?}");
}

#[test]
fn a_client_that_is_not_in_yet_is_refused_with_the_time_to_come_back() {
    let program = Program::start(&[
        "--workers",
        "1",
        "--drain-spread",
        "1h",
        "--trusted-proxies",
        "127.0.0.1",
        "--proxy-protocol",
        "tcp",
    ]);
    // Its proxy has still to send the header.
    let mut early = Lines::connect(program.tcp);
    let mut member = Lines::connect(program.tcp);
    member.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    member.expect(WELCOME);
    program.signal(Signal::TERM);
    assert_eq!(early.rest_if_not_reset(), "ERR closed shutdown retry=3601\n");
    drop(member);
    assert_eq!(program.end().0, Some(0));
}
