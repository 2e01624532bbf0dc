//! The rate limit of deliveries: a client beyond it is first read more slowly, then refused.

use std::time::{Duration, Instant};

use harness::{Centrifuge, Client, Disconnect, Transport, at_once, metrics, until};
use roomcast::config::{Settings, Span};
use serde_json::json;

use crate::server::{Shape, TestServer, contract};

/// The answer to a client that stays beyond its limit.
const REFUSED: &str = "ERR too-many deliveries: at most 1 a second, 1 at once";

/// One delivery a second, after which a client is refused almost at once: half the time in which it must answer a ping.
fn hardly_any(settings: &mut Settings) {
    (settings.deliveries_per_second, settings.deliveries_burst) = (1, 1);
    (settings.ping_interval, settings.pong_timeout) =
        (Span(Duration::from_millis(10)), Span(Duration::from_millis(100)));
}

/// A publisher and other members in one room.
#[track_caller]
fn room_of(members: usize, server: &TestServer, transport: Transport) -> Vec<Client> {
    (0..members).map(|number| Client::member(server, transport, "a", &number.to_string())).collect()
}

#[test]
fn who_says_too_much_is_read_more_slowly_and_nothing_is_lost() {
    const MESSAGES: usize = 100;
    const PER_SECOND: u32 = 1_000;
    const BURST: u32 = 50;
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| {
            (settings.deliveries_per_second, settings.deliveries_burst) = (PER_SECOND, BURST);
        });
        let mut members = room_of(2, &server, transport);
        let begun = Instant::now();
        let said: Vec<String> = (0..MESSAGES).map(|number| format!("message {number}")).collect();
        said.iter().for_each(|text| members[0].send(text));
        // Another client is served meanwhile.
        let mut other = Client::member(&server, transport, "b", "other");
        assert_eq!(other.request("hello"), "[other] hello");
        let expected: Vec<String> = said.iter().map(|text| format!("[0] {text}")).collect();
        assert_eq!(members[0].fence(), expected);
        assert_eq!(members[1].fence(), expected);
        // The last message may exceed the limit.
        let earned = (MESSAGES as u32 * 2 - BURST - 2) / 2;
        assert!(begun.elapsed() >= Duration::from_secs(1) * earned / PER_SECOND, "{:?}", begun.elapsed());
    });
}

#[test]
fn who_goes_on_is_refused_and_its_room_hears_nothing_of_it() {
    for shape in Shape::ALL {
        let server = TestServer::start(shape, hardly_any);
        // The first message costs a minute and a half.
        let mut members = room_of(100, &server, Transport::Tcp);
        assert_eq!(members[0].request("hello"), "[0] hello");
        for _ in 0..3 {
            assert_eq!(members[0].request("and again"), REFUSED);
        }
        members[0].expect_nothing();
        members[1].send("hello, 0");
        for member in &mut members[1..] {
            member.expect("[0] hello");
            member.expect("[1] hello, 0");
            member.expect_nothing();
        }
        members[0].expect("[1] hello, 0");
        // Commands without deliveries are still answered.
        members[0].leave();
        members[0].join("b");
        assert_eq!(members[0].request("LIST"), r#"Rooms: ["a", "b"]"#);
        assert_eq!(members[0].request("in another room"), REFUSED);
    }
}

#[test]
fn an_sdk_that_causes_too_much_is_told_at_once_to_come_back_and_is_not_held_up() {
    for shape in Shape::ALL {
        let server = TestServer::start(shape, |settings| {
            (settings.deliveries_per_second, settings.deliveries_burst) = (1, 1);
        });
        let mut members: Vec<Centrifuge> = (0..100).map(|_| Centrifuge::member(server.http, "a")).collect();
        members[0].publish("a", "1");
        for _ in 0..3 {
            let refused = members[0].error("publish", json!({ "channel": "a", "data": 2 }));
            assert_eq!((&refused["code"], &refused["temporary"]), (&json!(111), &json!(true)), "{refused}");
        }
        members[0].subscribe("b");
        assert_eq!(members[1].publication("a"), 1);
        members[1].expect_nothing();
    }
}

#[test]
fn who_is_kept_waiting_leaves_at_once_when_the_server_stops_and_what_was_read_is_said() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| {
            (settings.deliveries_per_second, settings.deliveries_burst) = (1, 1);
        });
        let mut members = room_of(8, &server, transport);
        assert_eq!(members[0].request("hello"), "[0] hello");
        let received = || metrics(server.http)["roomcast_received_bytes_total"];
        let before = received();
        members[0].send("read, and kept waiting");
        until(|| received() > before);
        server.begin_stop();
        for member in &mut members[1..] {
            member.expect("[0] hello");
        }
        for member in &mut members {
            member.expect("[0] read, and kept waiting");
            member.expect_closed(Disconnect::Shutdown);
        }
    });
}

#[test]
fn whoever_connects_anew_has_no_new_burst() {
    // Not over WebSocket: who answers no ping in time is gone before the others have been asked.
    at_once(Shape::ALL, |shape| {
        let server = TestServer::start(shape, hardly_any);
        let mut members = room_of(8, &server, Transport::Tcp);
        assert_eq!(members[0].request("hello"), "[0] hello");
        drop(members.remove(0));
        let mut anew = Client::member(&server, Transport::Tcp, "b", "0");
        members[1].fence();
        members[1].request_until("WHO", r#"Members of a: ["1", "2", "3", "4", "5", "6", "7"]"#);
        assert_eq!(anew.request("hello again"), REFUSED);
    });
}
