//! Rooms that the server has a client join, by the token of its connection.

use harness::{Blast, Centrifuge, CentrifugeTransport, Client, Transport, metrics};
use roomcast::config::{RuleSettings, Settings, Size, Who};
use serde_json::{Value, json};

use super::{close, code, contract, expect_members, over_all};
use crate::access::{Guarded, token, token_of};
use crate::server::{Shape, TestServer};

/// Rooms of which some retain nothing, some hold one member, and some nobody may join.
fn rooms(settings: &mut Settings) {
    settings.rules = vec![
        RuleSettings { history_messages: Some(0), ..RuleSettings::new("quiet*", Who::Token) },
        RuleSettings { room_members: Some(1), ..RuleSettings::new("small*", Who::Token) },
        RuleSettings::new("closed*", Who::Nobody),
        RuleSettings::new("*", Who::Anyone),
    ];
}

/// Connects as a user in these rooms, and returns the reply as well.
fn connect_in(
    server: &TestServer,
    transport: CentrifugeTransport,
    channels: &[&str],
    subs: &Value,
) -> (Centrifuge, Value) {
    let token = token(&json!({ "sub": "alice", "channels": channels }));
    Centrifuge::connect_with(transport, server.http, json!({ "token": token, "subs": subs }))
}

#[test]
fn the_reply_to_a_connect_holds_the_rooms_of_the_token_and_the_client_is_in_them() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, rooms);
        let mut publisher = Centrifuge::connect(server.http, Some(&token_of("bob")));
        let claims = json!({
            "sub": "alice",
            "subs": { "a": { "info": { "role": 1 }, "data": { "topic": "x" } }, "$b": {}, "quiet": {} },
        });
        let request = json!({ "token": token(&claims) });
        let (mut client, reply) = Centrifuge::connect_with(transport, server.http, request);
        let subs = &reply["connect"]["subs"];
        let position = |room: &str| json!({ "recoverable": true, "positioned": true, "epoch": subs[room]["epoch"] });
        let mut of_a = position("a");
        of_a["data"] = json!({ "topic": "x" });
        assert_eq!(*subs, json!({ "a": of_a, "$b": position("$b"), "quiet": {} }));
        for room in ["a", "$b", "quiet"] {
            client.publish(room, json!(room));
            assert_eq!(client.publication(room), json!(room));
            assert_eq!(code(&client.error("subscribe", json!({ "channel": room }))), 105);
        }
        let presence = publisher.result("presence", json!({ "channel": "a" }));
        let info = presence["presence"].as_object().expect("an object").values().next().expect("a member");
        assert_eq!(info["chan_info"], json!({ "role": 1 }));
        close(client, transport);
        expect_members(&server, transport, "a", 0);
    });
}

#[test]
fn a_client_that_comes_back_gets_what_it_has_missed_in_each_of_its_rooms() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, rooms);
        let mut publisher = Centrifuge::connect(server.http, Some(&token_of("bob")));
        let epochs: Vec<Value> = ["a", "b"].map(|room| publisher.subscribe(room)["epoch"].clone()).into();
        for number in 1..=6 {
            publisher.publish("a", number);
            publisher.publish("b", number);
        }
        let subs = json!({
            "a": { "recover": true, "epoch": epochs[0], "offset": 2 },
            "b": { "recover": true, "epoch": "_", "offset": 2 },
            "quiet": { "recover": true, "epoch": "", "offset": 0 },
            "of nobody": { "recover": true, "epoch": "", "offset": 0 },
        });
        let (mut client, reply) = connect_in(&server, transport, &["a", "b", "quiet"], &subs);
        let subs = &reply["connect"]["subs"];
        assert_eq!((&subs["a"]["recovered"], &subs["a"]["offset"]), (&json!(true), &json!(2)), "{reply}");
        let missed = subs["a"]["publications"].as_array().expect("a list");
        let offsets: Vec<_> = missed.iter().map(|one| one["offset"].as_u64().expect("an offset")).collect();
        assert_eq!(offsets, [3, 4, 5, 6]);
        let top =
            json!({ "recoverable": true, "positioned": true, "epoch": epochs[1], "offset": 6, "was_recovering": true });
        assert_eq!(subs["b"], top);
        assert_eq!(subs["quiet"], json!({ "was_recovering": true }));
        assert_eq!(subs.as_object().map(|subs| subs.len()), Some(3));
        publisher.publish("b", 7);
        assert_eq!(client.push()["pub"]["offset"], 7);
        client.expect_nothing();
    });
}

#[test]
fn publications_during_the_connect_come_once_behind_the_reply() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| {
            settings.outbox_messages = 1 << 20;
            // All that is published while a client connects can be had.
            settings.outbox_bytes = Size(1 << 30);
            settings.outbox_budget = Size(1 << 40);
            settings.recovery_messages = 1 << 20;
            settings.history_messages = 1 << 20;
        });
        let _publishers = ["a", "b", "c"].map(|room| Blast::start(server.tcp, room));
        for _ in 0..10 {
            let (mut client, reply) = connect_in(&server, transport, &["a", "b", "c"], &json!({}));
            let mut last = ["a", "b", "c"].map(|room| {
                let offset = reply["connect"]["subs"][room]["offset"].as_u64().unwrap_or(0);
                (room, offset)
            });
            for _ in 0..60 {
                let push = client.push();
                let of_room = last.iter_mut().find(|(room, _)| push["channel"] == *room);
                let (_, last) = of_room.unwrap_or_else(|| panic!("{push} of another room"));
                assert_eq!(push["pub"]["offset"], *last + 1);
                *last += 1;
            }
        }
    });
}

#[test]
fn a_connect_that_fails_for_one_room_gives_the_others_back() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, rooms);
        let (mut first, _) = connect_in(&server, transport, &["small"], &json!({}));
        let mut text = Client::connect(&server, Transport::Tcp);
        assert_eq!(text.request(&format!("AUTH {}", token_of("bob"))), "Authenticated as bob");
        for (channels, error) in [
            (["a", "small", "b"], 106),
            (["quiet", "a", "small"], 106),
            (["quiet", "quiet-2", "closed"], 103),
            (["a", "b", "closed"], 103),
        ] {
            let (mut client, reply) = connect_in(&server, transport, &channels, &json!({}));
            assert_eq!(reply["error"]["code"], error, "{reply}");
            // The client has not closed yet, and is in no room.
            harness::until(|| metrics(server.http)["active_rooms"] == 1.0);
            assert_eq!(text.request("LIST"), "Rooms: []");
            if let CentrifugeTransport::WebSocket(_) = transport {
                client.send(r#"{"id":7,"subscribe":{"channel":"a"}}"#);
                client.expect_closed(3501);
            }
        }
        first.publish("small", 1);
        assert_eq!(first.publication("small"), json!(1));
        close(first, transport);
        harness::until(|| metrics(server.http)["active_rooms"] == 0.0);
        let (_again, reply) = connect_in(&server, transport, &["small", "a"], &json!({}));
        assert!(reply["connect"]["subs"]["small"].is_object(), "{reply}");
    });
}

#[test]
fn more_rooms_than_a_client_may_be_in_are_refused() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| settings.rooms_per_client = 2);
        let (_client, reply) = connect_in(&server, transport, &["a", "b", "c"], &json!({}));
        assert_eq!(reply["error"]["code"], 106, "{reply}");
        let (mut client, reply) = connect_in(&server, transport, &["a", "b"], &json!({}));
        assert!(reply["connect"].is_object(), "{reply}");
        assert_eq!(code(&client.error("subscribe", json!({ "channel": "c" }))), 106);
    });
}

#[test]
fn a_refresh_with_other_rooms_ends_the_connection_so_that_the_client_comes_back() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let claims = |channels: Value| token(&json!({ "sub": "alice", "channels": channels }));
        let (mut client, _) = connect_in(&server, transport, &["b", "a"], &json!({}));
        client.result("refresh", json!({ "token": claims(json!(["a", "b"])) }));
        client.send_command(json!({ "refresh": { "token": claims(json!(["a"])) } }));
        client.expect_closed(3010);
    });
}
