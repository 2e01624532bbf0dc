//! Many commands in one frame, in front of all replies, and limits.

use harness::Centrifuge;
use serde_json::{Value, json};

use super::{ENCODINGS, connect, contract, member, over_all};
use crate::server::{Shape, TestServer};

/// The next object, which is a reply or a push.
fn next(client: &mut Centrifuge) -> Value {
    serde_json::from_str(&client.object()).expect("JSON")
}

/// A frame of these commands, with the ids from `first` on.
fn frame(first: usize, commands: impl IntoIterator<Item = Value>) -> String {
    let with_id = |(id, mut command): (usize, Value)| {
        command["id"] = id.into();
        command.to_string()
    };
    (first..).zip(commands).map(with_id).collect::<Vec<String>>().join("\n")
}

#[test]
fn everything_that_stands_behind_a_connect_in_its_frame_is_executed_in_order() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::plain(Shape::MANY);
        let mut client = Centrifuge::open(server.http, encoding);
        client.send(frame(
            1,
            [
                json!({ "connect": {} }),
                json!({ "subscribe": { "channel": "a" } }),
                json!({ "subscribe": { "channel": "b" } }),
                json!({ "publish": { "channel": "a", "data": 1 } }),
                json!({ "publish": { "channel": "b", "data": 2 } }),
                json!({ "unsubscribe": { "channel": "a" } }),
                json!({ "subscribe": { "channel": "a", "recover": true, "epoch": "", "offset": 0 } }),
                json!({ "presence_stats": { "channel": "a" } }),
                json!({ "ping": {} }),
            ],
        ));
        assert!(next(&mut client)["connect"]["client"].is_string());
        for id in [2, 3] {
            let reply = next(&mut client);
            assert_eq!((&reply["id"], reply["subscribe"].is_object()), (&json!(id), true), "{reply}");
        }
        // Replies of two rooms may overtake each other; those of one room do not.
        let objects: Vec<Value> = (0..8).map(|_| next(&mut client)).collect();
        let ids: Vec<u64> = objects.iter().filter_map(|object| object["id"].as_u64()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [4, 5, 6, 7, 8, 9], "{objects:?}");
        let of = |id: u64| objects.iter().find(|object| object["id"] == id).expect("a reply");
        let recovered = &of(7)["subscribe"];
        assert_eq!((&recovered["recovered"], &recovered["publications"][0]["data"]), (&json!(true), &json!(1)));
        assert_eq!(of(8)["presence_stats"]["num_clients"], 1);
        let pushes: Vec<&Value> = objects.iter().filter(|object| object["push"].is_object()).collect();
        assert_eq!(pushes.len(), 2, "{objects:?}");
        client.expect_nothing();
    });
}

#[test]
fn a_frame_of_three_hundred_publishes_keeps_its_order_and_others_are_served_meanwhile() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let [mut client, mut other] = [(); 2].map(|()| member(&server, transport, "a"));
        let publish = |number| json!({ "publish": { "channel": "a", "data": number } });
        client.send(frame(1_000, (0..300).map(publish)));
        other.publish("a", r#""other""#);
        let heard = |client: &mut Centrifuge| {
            let mut numbers: Vec<Value> = Vec::new();
            let mut replies = Vec::new();
            while numbers.len() < 301 {
                let object = next(client);
                match object["id"].as_u64() {
                    Some(id) => replies.push(id),
                    None => numbers.push(object["push"]["pub"]["data"].clone()),
                }
            }
            (numbers, replies)
        };
        let (numbers, mut replies) = heard(&mut client);
        let (same, _) = heard(&mut other);
        assert_eq!(numbers, same);
        let own: Vec<Value> = numbers.into_iter().filter(Value::is_number).collect();
        assert_eq!(own, (0..300).map(Value::from).collect::<Vec<Value>>());
        while replies.len() < 300 {
            replies.push(next(&mut client)["id"].as_u64().expect("a reply"));
        }
        assert_eq!(replies, (1_000..1_300).collect::<Vec<u64>>());
    });
}

#[test]
fn a_client_is_in_128_rooms_and_no_more_and_may_leave_one_for_another() {
    over_all(|transport| {
        let server = TestServer::plain(Shape::MANY);
        let mut client = connect(&server, transport);
        client.send(frame(1_000, (0..129).map(|number| json!({ "subscribe": { "channel": format!("r{number}") } }))));
        for id in 1_000..1_128 {
            assert!(client.reply(id)["subscribe"].is_object());
        }
        assert_eq!(client.reply(1_128)["error"]["code"], 106);
        client.send(frame(
            2_000,
            [json!({ "unsubscribe": { "channel": "r7" } }), json!({ "subscribe": { "channel": "r128" } })],
        ));
        assert_eq!(client.reply(2_000), json!({ "unsubscribe": {} }));
        assert!(client.reply(2_001)["subscribe"].is_object());
        for number in [0, 64, 127, 128] {
            let room = format!("r{number}");
            client.publish(&room, number);
            assert_eq!(client.publication(&room), json!(number));
        }
    });
}

#[test]
fn subscribing_and_unsubscribing_again_and_again_in_one_frame_ends_where_the_frame_ends() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = member(&server, transport, "b");
        let mut client = connect(&server, transport);
        let turn = |number: usize| match number % 2 {
            0 => json!({ "subscribe": { "channel": "a" } }),
            _ => json!({ "unsubscribe": { "channel": "a" } }),
        };
        client.send(frame(1_000, (0..101).map(turn)));
        for id in 1_000..1_101 {
            let reply = client.reply(id);
            assert!(reply["error"].is_null(), "{id}: {reply}");
        }
        let stats = watcher.result("presence_stats", json!({ "channel": "a" }));
        assert_eq!(stats["num_clients"], 1);
        client.publish("a", 1);
        assert_eq!(client.publication("a"), json!(1));
        client.expect_nothing();
    });
}
