//! What rooms remember: `HISTORY`, `POSITION`, coming back with `since=`, and being told who comes and goes.

use std::time::Duration;

use harness::{Centrifuge, Client, Transport, at_once};
use roomcast::config::{Settings, Span};
use serde_json::json;

use crate::server::{Shape, TestServer, contract};

/// The member's position in its room, and nothing was on its way.
fn position(client: &mut Client) -> String {
    let line = client.request("POSITION");
    line.strip_prefix("Position ").expect("a position").to_owned()
}

/// Comes back with a position. Returns what was on its way.
fn resume(server: &TestServer, transport: Transport, since: &str) -> Vec<String> {
    let mut client = Client::connect(server, transport);
    client.send(&format!("JOIN a since={since}"));
    client.fence()
}

#[test]
fn history_is_what_was_said_oldest_first_and_then_the_position() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let end = |client: &mut Client| format!("END HISTORY {}", position(client));
        let none = end(&mut alice);
        assert_eq!(alice.request("HISTORY"), none);
        for number in 1..=22 {
            assert_eq!(alice.request(&format!("message {number}")), format!("[alice] message {number}"));
        }
        alice.name("renamed");
        let end = end(&mut alice);
        let newest = |count| {
            let messages = (23 - count..=22).map(|number| format!("[alice] message {number}"));
            messages.chain([end.clone()]).collect::<Vec<_>>()
        };
        let mut bob = Client::member(&server, transport, "a", "bob");
        for (command, count) in [("HISTORY", 20), ("HISTORY 1", 1), ("HISTORY 0", 0), ("HISTORY 999999999999", 22)] {
            bob.send(command);
            assert_eq!(bob.fence(), newest(count), "{command}");
        }
        bob.send("HISTORY of Rome");
        assert_eq!(bob.fence(), ["[bob] HISTORY of Rome"]);
    });
}

#[test]
fn outside_a_room_there_is_no_history_and_no_position() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        assert_eq!(client.request("HISTORY"), "Join a room first");
        assert_eq!(client.request("POSITION"), "Join a room first");
    });
}

#[test]
fn a_client_that_comes_back_gets_exactly_what_it_has_missed_on_whatever_transport() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        alice.send("before");
        alice.expect("[alice] before");
        let since = position(&mut alice);
        assert_eq!(resume(&server, transport, &since), ["Joined a"]);
        alice.send("one");
        alice.send("two");
        alice.fence();
        for transport in Transport::ALL {
            assert_eq!(resume(&server, transport, &since), ["Joined a", "[alice] one", "[alice] two"]);
        }
    });
}

#[test]
fn a_room_that_everybody_has_left_is_remembered() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let since = position(&mut alice);
        alice.send("for later");
        alice.expect("[alice] for later");
        alice.leave();
        assert_eq!(alice.request("LIST"), "Rooms: []");
        assert_eq!(resume(&server, transport, &since), ["Joined a", "[alice] for later"]);
    });
}

#[test]
fn what_cannot_be_had_is_told_and_the_client_is_in_the_room() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.history_messages = 3);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let since = position(&mut alice);
        (0..4).for_each(|_| alice.send("x"));
        alice.fence();
        let mut bob = Client::connect(&server, transport);
        bob.send(&format!("JOIN a since={since}"));
        assert_eq!(bob.fence(), ["Joined a", "GAP unknown"]);
        alice.send("live");
        bob.expect("[alice] live");
        let other_room = resume(&server, transport, &since.replace(&since[..9], "000000000"));
        assert_eq!(other_room, ["Joined a", "GAP unknown"]);
    });
}

#[test]
fn without_history_only_who_has_missed_nothing_resumes() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.history_messages = 0);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let since = position(&mut alice);
        assert_eq!(resume(&server, transport, &since), ["Joined a"]);
        alice.send("x");
        alice.expect("[alice] x");
        assert_eq!(resume(&server, transport, &since), ["Joined a", "GAP unknown"]);
        alice.send("HISTORY");
        assert_eq!(alice.fence(), [format!("END HISTORY {}", position(&mut alice))]);
    });
}

#[test]
fn an_sdk_is_told_that_a_room_without_history_has_none_and_not_that_it_is_empty() {
    let server = TestServer::start(Shape::ONE, |settings| settings.history_messages = 0);
    let mut member = Centrifuge::member(server.http, "a");
    member.publish("a", 1);
    assert_eq!(member.publication("a"), 1);
    assert_eq!(member.error("history", json!({ "channel": "a", "limit": 1 }))["code"], 108);
    member.expect_nothing();
}

#[test]
fn messages_are_remembered_until_they_are_too_old() {
    let settings = |settings: &mut Settings| settings.history_age = Span(Duration::from_secs(1));
    at_once(Transport::ALL, |transport| {
        let server = TestServer::start(Shape::MANY, settings);
        let mut alice = Client::member(&server, transport, "a", "alice");
        alice.send("soon forgotten");
        alice.expect("[alice] soon forgotten");
        let end = format!("END HISTORY {}", position(&mut alice));
        alice.request_until("HISTORY", &end);
        harness::until(|| {
            alice.send("HISTORY");
            alice.fence() == [end.clone()]
        });
    });
}

#[test]
fn a_history_is_charged_for_no_more_messages_than_a_room_keeps() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| {
            settings.history_messages = 3;
            (settings.deliveries_per_second, settings.deliveries_burst) = (1, 10);
        });
        let mut client = Client::member(&server, transport, "a", "alice");
        let end = format!("END HISTORY {}", position(&mut client));
        (0..3).for_each(|_| assert_eq!(client.request("HISTORY 300"), end));
    });
}

#[test]
fn a_position_that_is_none_is_refused_and_the_client_stays_where_it_is() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::member(&server, transport, "a", "alice");
        let refused = "ERR unknown since=\"yesterday\": a position as POSITION replies with";
        assert_eq!(client.request("JOIN b since=yesterday"), refused);
        assert_eq!(client.request("WHO"), "Members of a: [\"alice\"]");
    });
}

#[test]
fn joining_the_room_one_is_in_replays_nothing() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::member(&server, transport, "a", "alice");
        let since = position(&mut client);
        client.send("x");
        client.expect("[alice] x");
        client.send(&format!("JOIN a since={since}"));
        assert_eq!(client.fence(), ["Joined a"]);
    });
}

#[test]
fn a_client_can_move_to_another_room_and_resume_there() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let mut bob = Client::member(&server, transport, "a", "bob");
        let since = position(&mut bob);
        bob.send("JOIN b");
        bob.expect("Joined b");
        alice.send("meanwhile");
        alice.expect("[alice] meanwhile");
        bob.send(&format!("JOIN a since={since}"));
        assert_eq!(bob.fence(), ["Joined a", "[alice] meanwhile"]);
    });
}

#[test]
fn members_are_told_who_comes_and_goes_if_a_setting_says_so() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.presence_events = true);
        let mut alice = Client::member(&server, transport, "a", "alice");
        alice.expect("JOINED alice");
        let bob = Client::member(&server, transport, "a", "bob");
        alice.expect("JOINED bob");
        drop(bob);
        alice.expect("LEFT bob");
    });
}
