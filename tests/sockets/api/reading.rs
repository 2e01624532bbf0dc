//! Presence, history, rooms and the state of the server.

use harness::{Centrifuge, Transport, at_once};
use serde_json::{Value, json};

use super::Served;
use crate::access::token;
use crate::server::Shape;

fn offsets(result: &Value) -> Vec<u64> {
    let publications = result["publications"].as_array().expect("a list");
    publications.iter().map(|publication| publication["offset"].as_u64().expect("an offset")).collect()
}

#[test]
fn history_is_read_page_by_page_in_both_orders() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let mut backend = served.backend();
        assert_eq!(
            backend.result("history", json!({ "channel": "a", "limit": 10 })),
            json!({ "publications": [], "offset": 0, "epoch": "" })
        );
        for number in 1..=10 {
            backend.result("publish", json!({ "channel": "a", "data": { "n": number } }));
        }
        let only = backend.result("history", json!({ "channel": "a" }));
        assert_eq!((only["publications"].clone(), &only["offset"]), (json!([]), &json!(10)));
        let epoch = &only["epoch"];
        let mut page = |limit: i32, offset: u64, reverse: bool| {
            let since = json!({ "offset": offset, "epoch": epoch });
            let parameters = json!({ "channel": "a", "limit": limit, "since": since, "reverse": reverse });
            offsets(&backend.result("history", parameters))
        };
        assert_eq!(page(4, 0, false), [1, 2, 3, 4]);
        assert_eq!(page(4, 4, false), [5, 6, 7, 8]);
        assert_eq!(page(4, 8, false), [9, 10]);
        assert_eq!(page(-1, 10, false), [0_u64; 0]);
        assert_eq!(page(3, 10, true), [9, 8, 7]);
        let newest = backend.result("history", json!({ "channel": "a", "limit": 2, "reverse": true }));
        assert_eq!(offsets(&newest), [10, 9]);
        let other = json!({ "offset": 1, "epoch": "0000000000000" });
        for epoch in [other, json!({ "offset": 1, "epoch": "_" })] {
            let error = backend.error("history", json!({ "channel": "a", "limit": 1, "since": epoch }));
            assert_eq!(error.0, 112, "{error:?}");
        }
        // A page never has a hole: the room has not come that far, or has dropped what follows.
        let since = |offset: u64| json!({ "channel": "a", "limit": 1, "since": { "offset": offset, "epoch": epoch } });
        assert_eq!(backend.error("history", since(11)).0, 112);
        backend.result("history_remove", json!({ "channel": "a" }));
        assert_eq!(backend.error("history", since(9)).0, 112);
        let before_all = json!({ "channel": "a", "limit": 1, "since": { "offset": 0 }, "reverse": true });
        assert_eq!(backend.error("history", before_all).0, 107);
    });
}

#[test]
fn history_shows_clients_as_others_see_them_and_is_removed_with_its_position_kept() {
    let served = Served::plain(Shape::MANY);
    let alice = token(&json!({ "sub": "alice", "info": { "n": 1 } }));
    let mut member = Centrifuge::connect(served.server.http, Some(&alice));
    member.subscribe("a");
    member.publish("a", json!({ "x": 1 }));
    let mut text = served.member(Transport::Tcp, "a");
    text.send("hello");
    let label = text.line().strip_suffix(" hello").expect("a message").trim_matches(['[', ']']).to_owned();
    let mut backend = served.backend();
    let history = backend.result("history", json!({ "channel": "a", "limit": -1 }));
    let publications = &history["publications"];
    let client = &member.connected["client"];
    let info = json!({ "user": "alice", "client": client, "conn_info": { "n": 1 } });
    assert_eq!(publications[0], json!({ "data": { "x": 1 }, "offset": 1, "info": info }));
    assert_eq!(
        (&publications[1]["data"], &publications[1]["info"]["conn_info"]),
        (&json!({ "text": "hello" }), &json!({ "name": label }))
    );
    assert_eq!(backend.result("history_remove", json!({ "channel": "a" })), json!({}));
    let removed = backend.result("history", json!({ "channel": "a", "limit": -1 }));
    assert_eq!(removed, json!({ "publications": [], "offset": 2, "epoch": history["epoch"] }));
    assert_eq!(backend.result("history_remove", json!({ "channel": "nowhere" })), json!({}));
}

#[test]
fn presence_is_who_is_in_and_how_many() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let alice = token(&json!({ "sub": "alice", "info": { "n": 1 } }));
        let mut members: Vec<Centrifuge> =
            (0..2).map(|_| Centrifuge::connect(served.server.http, Some(&alice))).collect();
        members.iter_mut().for_each(|member| drop(member.subscribe("a")));
        let _text = served.member(Transport::WebSocket, "a");
        let mut backend = served.backend();
        let presence = backend.result("presence", json!({ "channel": "a" }));
        assert_eq!(presence["presence"].as_object().expect("an object").len(), 3);
        for member in &members {
            let client = member.connected["client"].as_str().expect("an id");
            let expected = json!({ "user": "alice", "client": client, "conn_info": { "n": 1 } });
            assert_eq!(presence["presence"][client], expected);
        }
        let mut reader = Centrifuge::member(served.server.http, "b");
        assert_eq!(presence, reader.result("presence", json!({ "channel": "a" })), "clients are told the same");
        let stats = json!({ "num_clients": 3, "num_users": 2 });
        assert_eq!(backend.result("presence_stats", json!({ "channel": "a" })), stats);
        assert_eq!(backend.result("presence", json!({ "channel": "nowhere" })), json!({ "presence": {} }));
    });
}

#[test]
fn rooms_with_members_are_listed_by_pattern() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let _members = ["team:a", "team:b", "team:b", "desk"].map(|room| Centrifuge::member(served.server.http, room));
        let mut backend = served.backend();
        backend.result("publish", json!({ "channel": "team:empty", "data": 1 }));
        let all = json!({ "channels": {
            "team:a": { "num_clients": 1 }, "team:b": { "num_clients": 2 }, "desk": { "num_clients": 1 },
        } });
        assert_eq!(backend.result("channels", json!({})), all);
        assert_eq!(backend.result("channels", json!({ "pattern": "*" })), all);
        let teams = backend.result("channels", json!({ "pattern": "team:*" }));
        assert_eq!(teams["channels"].as_object().expect("an object").len(), 2);
        assert_eq!(backend.result("channels", json!({ "pattern": "none" })), json!({ "channels": {} }));
    });
}

#[test]
fn info_counts_clients_users_and_memberships() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let alice = token(&json!({ "sub": "alice" }));
        let mut members: Vec<Centrifuge> =
            (0..3).map(|_| Centrifuge::connect(served.server.http, Some(&alice))).collect();
        members.iter_mut().for_each(|member| drop(member.subscribe("a")));
        members[0].subscribe("b");
        let _text = served.member(Transport::Tcp, "a");
        let mut backend = served.backend();
        let info = backend.result("info", "");
        let node = &info["nodes"][0];
        let counts = ["num_clients", "num_users", "num_subs", "num_channels"].map(|count| node[count].as_u64());
        assert_eq!(counts, [4, 1, 5, 2].map(Some), "{info}");
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(node["uid"].as_str().map(str::len), Some(16));
        assert!(node["uptime"].is_u64() && node["name"].is_string());
        let uids: Vec<Value> =
            (0..8).map(|_| served.backend().result("info", "{}")["nodes"][0]["uid"].clone()).collect();
        assert!(uids.iter().all(|uid| *uid == node["uid"]), "{uids:?}");
    });
}
