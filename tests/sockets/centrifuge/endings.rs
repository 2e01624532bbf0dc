//! Ends of connections: slow consumers, a server that stops, pings without an answer, messages that may not be.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::frame::{FINAL_BINARY, FINAL_CLOSE, FINAL_TEXT, close_frame, frame};
use harness::{Centrifuge, CentrifugeTransport, Client, Transport, metrics, until};
use roomcast::config::{Settings, Size, SlowPolicy, Span};
use serde_json::{Value, json};

use super::{ENCODINGS, connect, contract, member, text_of};
use crate::server::{Shape, TestServer};

/// A member of the room `a` that reads nothing.
fn stalled_member(server: &TestServer, encoding: harness::Encoding) -> Centrifuge {
    let mut stalled = Centrifuge::open_short_of_buffer(server.http, encoding);
    stalled.send("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}");
    stalled.reply(2);
    stalled
}

/// The objects that a client has got, and the code and the reason of its end.
type End = (Vec<String>, (u16, String));

/// Reads a stalled member as soon as the room has only so many members left. In a thread of its own: a client that was
/// cut is told why only if it takes something within a second, and a round of messages may take longer.
fn read_once_cut(server: &TestServer, mut stalled: Centrifuge, left: usize) -> JoinHandle<End> {
    let mut watcher = Centrifuge::connect(server.http, None);
    thread::spawn(move || {
        watcher.until_members("a", left);
        stalled.until_closed()
    })
}

/// A room with a member that reads nothing until it is cut for the age of what is pending: its end, and all that was
/// said.
fn cut_for_age(server: &TestServer, encoding: harness::Encoding) -> (End, Vec<String>) {
    let stalled = stalled_member(server, encoding);
    let mut publisher = Client::member(server, Transport::Tcp, "a", "publisher");
    let reading = read_once_cut(server, stalled, 1);
    let mut said = Vec::new();
    until(|| {
        let round: Vec<String> =
            (said.len()..).take(32).map(|number| format!("{number:08}{}", "x".repeat(1_000))).collect();
        round.iter().for_each(|text| publisher.send(text));
        said.extend(round);
        publisher.fence();
        reading.is_finished()
    });
    (reading.join().expect("it is told why"), said)
}

#[test]
fn a_slow_consumer_is_disconnected_under_either_policy_and_recovers_everything_when_it_comes_back() {
    let cases = [SlowPolicy::Disconnect, SlowPolicy::DropOldest];
    let cases = cases.into_iter().flat_map(|policy| ENCODINGS.map(|encoding| (policy, encoding)));
    harness::at_once(cases, |(policy, encoding)| {
        let server = TestServer::start(Shape::MANY, |settings| {
            settings.slow = policy;
            settings.slow_after = Span(Duration::from_secs(1));
            settings.outbox_bytes = Size(1 << 30);
            settings.outbox_budget = Size(1 << 40);
            settings.outbox_messages = 1 << 20;
            settings.history_messages = 1 << 20;
            settings.recovery_messages = 1 << 20;
        });
        let ((objects, (code, reason)), said) = cut_for_age(&server, encoding);
        assert_eq!((code, &*reason), (3008, "slow"));
        let publications = objects.iter().map(|object| serde_json::from_str::<Value>(object).expect("JSON"));
        let publications: Vec<Value> = publications.filter(|object| object["push"].is_object()).collect();
        assert!(publications.len() < said.len());
        for (number, publication) in publications.iter().enumerate() {
            let publication = &publication["push"]["pub"];
            assert_eq!(
                (publication["offset"].as_u64(), text_of(&publication["data"])),
                (Some(number as u64 + 1), &*said[number])
            );
        }
        let mut again = connect(&server, CentrifugeTransport::WebSocket(encoding));
        let last = publications.len();
        let result = again.result("subscribe", json!({ "channel": "a", "recover": true, "epoch": "", "offset": last }));
        assert_eq!(result["recovered"], true);
        let missed = result["publications"].as_array().expect("a list");
        assert!(missed.iter().map(|one| text_of(&one["data"])).eq(said[last..].iter().map(String::as_str)));
        let dropped = &metrics(server.http)["roomcast_dropped_total{reason=\"gap\"}"];
        assert_eq!(*dropped, 0.0, "a client with offsets never gets a gap");
    });
}

#[test]
fn a_member_whose_outbox_is_full_is_disconnected_where_text_members_only_lose_the_oldest() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::start(Shape::MANY, |settings| {
            settings.slow = SlowPolicy::DropOldest;
            settings.slow_after = Span(Duration::from_secs(3600));
            settings.message_bytes = Size(2 * 1024);
            settings.outbox_bytes = Size(16 * 1024);
        });
        let mut text = Client::member_short_of_buffer(&server, Transport::Tcp, "a", "text");
        let stalled = stalled_member(&server, encoding);
        let mut publisher = Client::member(&server, Transport::Tcp, "a", "publisher");
        let reading = read_once_cut(&server, stalled, 2);
        let mut said = 0;
        until(|| {
            (0..32).for_each(|_| publisher.send(&"x".repeat(1_000)));
            said += 32;
            publisher.fence();
            reading.is_finished()
        });
        let (objects, closed) = reading.join().expect("it is told why");
        assert_eq!(closed, (3008, "slow".to_owned()));
        let offsets = objects.iter().filter_map(|object| {
            let object: Value = serde_json::from_str(object).expect("JSON");
            object["push"]["pub"]["offset"].as_u64()
        });
        let offsets: Vec<u64> = offsets.collect();
        assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<u64>>());
        assert!(offsets.len() < said);
        assert!(text.fence().iter().all(|line| line.starts_with("[publisher] ") || line.starts_with("GAP ")));
    });
}

#[test]
fn a_server_that_stops_says_so_behind_everything_that_was_published() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut members: Vec<Centrifuge> = (0..4).map(|_| member(&server, transport, "a")).collect();
        let mut idle = connect(&server, transport);
        let mut waiting = ENCODINGS.map(|encoding| Centrifuge::open(server.http, encoding));
        let publish = |number| json!({ "publish": { "channel": "a", "data": number } });
        let last = (1..=100).map(|number| members[0].send_command(publish(number))).last();
        members[0].reply(last.expect("a publish"));
        server.begin_stop();
        idle.expect_closed(3001);
        waiting.iter_mut().for_each(|client| client.expect_closed(3001));
        for member in &mut members[1..] {
            let (objects, closed) = member.until_closed();
            assert_eq!(closed, (3001, "shutdown retry=1".to_owned()));
            assert_eq!(objects.len(), 100);
        }
        members[0].until_closed();
        drop((members, idle, waiting));
        assert_eq!(server.stop().cut, 0);
    });
}

fn short_keepalive(settings: &mut Settings) {
    settings.ping_interval = Span(Duration::from_millis(100));
    settings.pong_timeout = Span(Duration::from_secs(3));
}

#[test]
fn a_client_that_answers_no_ping_is_disconnected_and_has_left_its_rooms() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, short_keepalive);
        let mut mute = member(&server, transport, "a");
        mute.answers_pings = false;
        assert_eq!((mute.connected["ping"].as_u64(), &mute.connected["pong"]), (Some(1), &json!(true)));
        mute.expect_closed(3012);
        let mut watcher = connect(&server, transport);
        let stats = watcher.result("presence_stats", json!({ "channel": "a" }));
        assert_eq!(stats["num_clients"], 0);
    });
}

#[test]
fn a_client_that_answers_pings_stays_and_answers_that_nobody_asked_for_are_ignored() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::start(Shape::MANY, short_keepalive);
        let transport = CentrifugeTransport::WebSocket(encoding);
        let mut alive = member(&server, transport, "a");
        alive.send("{}\n{}\n{}");
        let mut mute = connect(&server, transport);
        mute.answers_pings = false;
        // Reads, and so answers, until a message comes that is said when the mute client is gone.
        let reader = thread::spawn(move || {
            let publication = alive.publication("a");
            alive.expect_nothing();
            publication
        });
        mute.expect_closed(3012);
        let mut publisher = Client::member(&server, Transport::Tcp, "a", "publisher");
        publisher.send("over");
        assert_eq!(reader.join().expect("it stays"), json!({ "text": "over" }));
    });
}

#[test]
fn a_message_that_is_too_long_ends_the_connection_as_every_websocket_server_does_it() {
    let cases = [Shape::ONE, Shape::MANY, Shape::OVER_TLS];
    let cases = cases.into_iter().flat_map(|shape| ENCODINGS.map(|encoding| (shape, encoding)));
    harness::at_once(cases, |(shape, encoding)| {
        let transport = CentrifugeTransport::WebSocket(encoding);
        let server = TestServer::start(shape, |settings| settings.message_bytes = Size(1024));
        let mut other = member(&server, transport, "a");
        let mut client = member(&server, transport, "a");
        let data = |bytes: usize| json!("x".repeat(bytes));
        client.publish("a", data(900));
        assert_eq!(client.publication("a"), data(900));
        client.send_command(json!({ "publish": { "channel": "a", "data": data(1100) } }));
        client.expect_closed(1009);
        assert_eq!(other.publication("a"), data(900));
        other.expect_nothing();
        let stats = other.result("presence_stats", json!({ "channel": "a" }));
        assert_eq!(stats["num_clients"], 1);
    });
}

#[test]
fn frames_of_the_other_kind_and_frames_that_are_none_end_the_connection_and_no_other() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::plain(Shape::MANY);
        let transport = CentrifugeTransport::WebSocket(encoding);
        let mut other = member(&server, transport, "a");
        let kind = match encoding {
            harness::Encoding::Json => FINAL_BINARY,
            harness::Encoding::Protobuf => FINAL_TEXT,
        };
        for (bytes, closed) in [
            (frame(kind, "{}"), 3506),
            (frame(FINAL_TEXT, "not JSON, and no Protobuf"), if kind == FINAL_TEXT { 3506 } else { 3501 }),
            // A close frame with half a code.
            (frame(FINAL_CLOSE, "\x03"), 3501),
            (close_frame(1005, ""), 3501),
            // A reserved opcode.
            (frame(0x83, ""), 3501),
        ] {
            let mut client = member(&server, transport, "a");
            client.send_bytes(&bytes);
            client.expect_closed(closed);
        }
        let stats = other.result("presence_stats", json!({ "channel": "a" }));
        assert_eq!(stats["num_clients"], 1);
        other.expect_nothing();
    });
}

#[test]
fn a_client_whose_connection_breaks_has_left_all_of_its_rooms() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = connect(&server, transport);
        let mut client = connect(&server, transport);
        ["a", "b", "c"].iter().for_each(|room| drop(client.subscribe(room)));
        client.send_command(r#"{"publish":{"channel":"a","data":1}}"#);
        drop(client);
        until(|| {
            ["a", "b", "c"].iter().all(|room| {
                let stats = watcher.result("presence_stats", json!({ "channel": room }));
                stats["num_clients"] == 0
            })
        });
        until(|| metrics(server.http)["active_rooms"] == 0.0);
    });
}
