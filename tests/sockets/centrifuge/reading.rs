//! What clients read of a room: presence, its events, history and positions.

use std::time::{SystemTime, UNIX_EPOCH};

use harness::{Centrifuge, Client, Transport};
use roomcast::config::{RuleSettings, Who};
use serde_json::{Value, json};

use super::{code, connect, contract, member, over_all, quiet_rooms};
use crate::access::{Guarded, token, token_of};
use crate::server::{Shape, TestServer};

#[test]
fn presence_names_every_client_with_its_user_and_what_its_tokens_say() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |_| {});
        let of_connection = token(&json!({ "sub": "alice", "info": { "a": [1, 2] } }));
        let of_room = token(&json!({ "sub": "alice", "channel": "$a", "info": { "role": "x" } }));
        let mut one = Centrifuge::connect_over(transport, server.http, Some(&of_connection));
        one.result("subscribe", json!({ "channel": "$a", "token": of_room }));
        let mut two = Centrifuge::connect_over(transport, server.http, Some(&token_of("alice")));
        two.result(
            "subscribe",
            json!({ "channel": "$a", "token": token(&json!({ "sub": "alice", "channel": "$a" })) }),
        );
        let [first, second] = [&one, &two].map(|client| client.connected["client"].as_str().expect("a client"));
        let presence = json!({
            first: { "user": "alice", "client": first, "conn_info": { "a": [1, 2] }, "chan_info": { "role": "x" } },
            second: { "user": "alice", "client": second },
        });
        assert_eq!(one.result("presence", json!({ "channel": "$a" })), json!({ "presence": presence }));
        let stats = two.result("presence_stats", json!({ "channel": "$a" }));
        assert_eq!(stats, json!({ "num_clients": 2, "num_users": 1 }));
        one.publish("$a", 1);
        let info = &two.push()["pub"]["info"];
        assert_eq!((&info["conn_info"], &info["chan_info"]), (&json!({ "a": [1, 2] }), &json!({ "role": "x" })));
    });
}

#[test]
fn presence_of_an_empty_room_is_an_empty_object_and_members_are_not_needed_to_ask() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = connect(&server, transport);
        assert_eq!(client.result("presence", json!({ "channel": "nobody" })), json!({ "presence": {} }));
        let stats = client.result("presence_stats", json!({ "channel": "nobody" }));
        assert_eq!(stats, json!({ "num_clients": 0, "num_users": 0 }));
        let _member = member(&server, transport, "a");
        assert_eq!(client.result("presence_stats", json!({ "channel": "a" }))["num_clients"], 1);
    });
}

#[test]
fn what_a_rule_does_not_give_is_refused() {
    over_all(|transport| {
        let server = TestServer::start(Shape::MANY, |settings| {
            settings.rules = vec![RuleSettings {
                history: Some(Who::User),
                presence: Some(Who::Nobody),
                publish: Some(Who::User),
                ..RuleSettings::new("a", Who::Anyone)
            }];
        });
        let mut client = member(&server, transport, "a");
        for (method, request) in [
            ("history", json!({ "channel": "a", "limit": 1 })),
            ("presence", json!({ "channel": "a" })),
            ("presence_stats", json!({ "channel": "a" })),
            ("publish", json!({ "channel": "a", "data": 1 })),
            ("subscribe", json!({ "channel": "other" })),
        ] {
            assert_eq!(code(&client.error(method, request)), 103, "{method}");
        }
        client.expect_nothing();
        // A client that may not read history cannot resume, and is told so.
        let mut again = connect(&server, transport);
        let result = again.result("subscribe", json!({ "channel": "a", "recover": true, "epoch": "", "offset": 0 }));
        assert_eq!(result, json!({ "was_recovering": true }));
    });
}

#[test]
fn members_are_told_of_joins_and_leaves_and_of_their_own_join_behind_the_reply() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.presence_events = true);
        let mut one = connect(&server, transport);
        let id = one.send_command(r#"{"subscribe":{"channel":"a"}}"#);
        let reply: Value = serde_json::from_str(&one.object()).expect("JSON");
        assert_eq!(reply["id"], id);
        let info = json!({ "user": "", "client": one.connected["client"] });
        assert_eq!(one.push(), json!({ "channel": "a", "join": { "info": info } }));
        let mut text = Client::connect(&server, Transport::Tcp);
        text.name("bob");
        text.join("a");
        let join = one.push();
        assert_eq!(join["join"]["info"]["conn_info"], json!({ "name": "bob" }));
        text.expect("JOINED bob");
        text.leave();
        let leave = one.push();
        assert_eq!(leave, json!({ "channel": "a", "leave": join["join"] }));
        one.expect_nothing();
    });
}

/// A room with eight publications, in which none of the first three are retained.
fn with_history(server: &TestServer, client: &mut Centrifuge) -> String {
    client.subscribe("a");
    for number in 1..=8 {
        client.publish("a", number);
        client.push();
    }
    let history = client.result("history", json!({ "channel": "a" }));
    let _ = server;
    history["epoch"].as_str().expect("an epoch").to_owned()
}

#[track_caller]
fn offsets(result: &Value) -> Vec<u64> {
    let publications = result["publications"].as_array().unwrap_or_else(|| panic!("{result} has no publications"));
    publications
        .iter()
        .map(|publication| {
            assert_eq!(publication["data"], publication["offset"]);
            assert!(publication["info"]["client"].is_string());
            publication["offset"].as_u64().expect("an offset")
        })
        .collect()
}

#[test]
fn history_is_paged_in_both_directions_from_any_position() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.history_messages = 5);
        let mut client = connect(&server, transport);
        let epoch = with_history(&server, &mut client);
        let since = |offset: u64| json!({ "offset": offset, "epoch": epoch });
        for (request, expected) in [
            (json!({}), vec![]),
            (json!({ "limit": 0 }), vec![]),
            (json!({ "limit": -1 }), vec![4, 5, 6, 7, 8]),
            (json!({ "limit": 2 }), vec![4, 5]),
            (json!({ "limit": 2, "reverse": true }), vec![8, 7]),
            (json!({ "limit": -1, "reverse": true }), vec![8, 7, 6, 5, 4]),
            (json!({ "limit": 100, "since": since(6) }), vec![7, 8]),
            (json!({ "limit": 1, "since": since(6) }), vec![7]),
            (json!({ "limit": -1, "since": since(8) }), vec![]),
            (json!({ "limit": -1, "since": since(1) }), vec![4, 5, 6, 7, 8]),
            (json!({ "limit": -1, "since": { "offset": 5 } }), vec![6, 7, 8]),
            (json!({ "limit": -1, "since": since(99) }), vec![]),
            (json!({ "limit": -1, "reverse": true, "since": since(6) }), vec![5, 4]),
            (json!({ "limit": 1, "reverse": true, "since": since(6) }), vec![5]),
            (json!({ "limit": -1, "reverse": true, "since": since(4) }), vec![]),
            (json!({ "limit": 2, "reverse": true, "since": since(99) }), vec![8, 7]),
        ] {
            let mut request = request;
            request["channel"] = json!("a");
            let result = client.result("history", &request);
            assert_eq!(offsets(&result), expected, "{request}");
            assert_eq!((result["offset"].as_u64(), result["epoch"].as_str()), (Some(8), Some(&*epoch)));
        }
        for (since, reverse, error) in [
            (json!({ "offset": 0, "epoch": epoch }), true, 107),
            (json!({ "offset": 4, "epoch": "0000000000000" }), false, 112),
            (json!({ "offset": 4, "epoch": "_" }), false, 112),
            (json!({ "offset": 4, "epoch": "other" }), true, 112),
        ] {
            let request = json!({ "channel": "a", "limit": 1, "since": since, "reverse": reverse });
            assert_eq!(code(&client.error("history", &request)), error, "{request}");
        }
    });
}

#[test]
fn a_publication_has_one_time_whether_it_is_live_in_history_or_recovered() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = connect(&server, transport);
        let epoch = client.subscribe("a")["epoch"].clone();
        let before = unix_millis();
        let times: Vec<u64> = (0..3)
            .map(|number| {
                client.publish("a", number);
                client.push_and_time().1
            })
            .collect();
        assert!(times.is_sorted() && times.iter().all(|time| (before..=unix_millis()).contains(time)), "{times:?}");
        let mut again = connect(&server, transport);
        let recovered = again.result("subscribe", json!({ "channel": "a", "recover": true, "epoch": epoch }));
        let history = client.result("history", json!({ "channel": "a", "limit": -1 }));
        for result in [recovered, history] {
            let publications = result["publications"].as_array().expect("publications");
            let found: Vec<_> = publications.iter().map(|publication| publication["time"].as_u64()).collect();
            assert_eq!(found, times.iter().copied().map(Some).collect::<Vec<_>>());
        }
    });
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis() as u64
}

#[test]
fn a_room_that_nobody_knows_has_an_empty_page_and_one_without_history_has_none() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, quiet_rooms);
        let mut client = connect(&server, transport);
        let unknown = client.result("history", json!({ "channel": "unknown", "limit": -1 }));
        assert_eq!(unknown, json!({ "publications": [], "epoch": "", "offset": 0 }));
        // Nobody is promised what a room says that retains nothing.
        assert_eq!(client.subscribe("quiet"), json!({}));
        client.publish("quiet", 1);
        assert_eq!(client.publication("quiet"), json!(1));
        assert_eq!(client.error("history", json!({ "channel": "quiet", "limit": -1 }))["code"], 108);
        let mut again = connect(&server, transport);
        let result =
            again.result("subscribe", json!({ "channel": "quiet", "recover": true, "offset": 0, "epoch": "" }));
        assert_eq!(result, json!({ "was_recovering": true }));
    });
}

#[test]
fn a_client_learns_the_position_of_a_room_as_it_joins_wishes_or_not() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut one = connect(&server, transport);
        let wish = json!({ "channel": "a", "positioned": true, "recoverable": true, "join_leave": true,
            "delta": "fossil", "flag": 1 });
        let first = one.result("subscribe", &wish);
        let epoch = first["epoch"].as_str().expect("an epoch");
        assert_eq!(first, json!({ "recoverable": true, "positioned": true, "epoch": epoch }));
        one.publish("a", r#"{"a":1}"#);
        assert_eq!(one.publication("a"), json!({ "a": 1 }));
        let mut two = connect(&server, transport);
        let second = two.subscribe("a");
        assert_eq!(second, json!({ "recoverable": true, "positioned": true, "epoch": epoch, "offset": 1 }));
        for (request, error) in
            [(json!({ "channel": "b", "type": 1 }), 108), (json!({ "channel": "b", "type": 2 }), 108)]
        {
            assert_eq!(code(&two.error("subscribe", &request)), error, "{request}");
        }
    });
}
