//! What an application has clients do: join, leave, end, go on.

use harness::{Centrifuge, CentrifugeTransport, Client, Encoding, Transport, at_once};
use serde_json::{Value, json};

use super::Served;
use crate::access::{seconds_from_now, token, token_of};
use crate::server::Shape;

fn id(client: &Centrifuge) -> String {
    client.connected["client"].as_str().expect("an id").to_owned()
}

#[test]
fn clients_of_a_user_join_and_leave_as_ordered_on_every_transport() {
    at_once(CentrifugeTransport::ALL, |transport| {
        let served = Served::plain(Shape::MANY);
        let alice = token_of("alice");
        let mut clients: Vec<Centrifuge> =
            (0..3).map(|_| Centrifuge::connect_over(transport, served.server.http, Some(&alice))).collect();
        let mut other = Centrifuge::connect(served.server.http, Some(&token_of("bob")));
        let mut backend = served.backend();
        let subscribe = json!({ "channel": "a", "user": "alice", "info": { "i": 1 }, "data": { "d": 1 } });
        assert_eq!(backend.result("subscribe", subscribe), json!({}));
        for client in &mut clients {
            let push = client.push();
            assert_eq!((&push["channel"], &push["subscribe"]["data"]), (&json!("a"), &json!({ "d": 1 })));
        }
        let presence = backend.result("presence", json!({ "channel": "a" }));
        assert_eq!(presence["presence"][id(&clients[0])]["chan_info"], json!({ "i": 1 }));
        backend.result("publish", json!({ "channel": "a", "data": 7 }));
        clients.iter_mut().for_each(|client| assert_eq!(client.publication("a"), 7));
        let only = json!({ "channel": "a", "user": "alice", "client": id(&clients[0]) });
        assert_eq!(backend.result("unsubscribe", only), json!({}));
        assert_eq!(clients[0].push()["unsubscribe"]["code"], 2000);
        assert_eq!(backend.result("presence_stats", json!({ "channel": "a" }))["num_clients"], 2);
        let unsubscribe = json!({ "channel": "a", "user": "alice" });
        assert_eq!(backend.result("unsubscribe", &unsubscribe), json!({}));
        assert_eq!(backend.result("unsubscribe", &unsubscribe), json!({}), "those that are not in it are content");
        clients[1..].iter_mut().for_each(|client| assert_eq!(client.push()["unsubscribe"]["code"], 2000));
        assert_eq!(backend.result("presence", json!({ "channel": "a" })), json!({ "presence": {} }));
        clients.iter_mut().chain([&mut other]).for_each(Centrifuge::expect_nothing);
    });
}

#[test]
fn a_client_that_is_ordered_to_join_from_a_position_gets_what_it_has_missed() {
    let served = Served::plain(Shape::MANY);
    let mut backend = served.backend();
    let first = backend.result("publish", json!({ "channel": "a", "data": 1 }));
    backend.result("publish", json!({ "channel": "a", "data": 2 }));
    let mut client = Centrifuge::connect(served.server.http, Some(&token_of("alice")));
    let since = json!({ "offset": first["offset"], "epoch": first["epoch"] });
    backend.result("subscribe", json!({ "channel": "a", "user": "alice", "recover_since": since }));
    assert!(client.push()["subscribe"].is_object());
    assert_eq!(client.publication("a"), 2);
    // From where it cannot have everything, nobody joins.
    backend.result("publish", json!({ "channel": "b", "data": 1 }));
    let since = json!({ "offset": 9, "epoch": first["epoch"] });
    let order = json!({ "channel": "b", "user": "alice", "recover_since": since });
    assert_eq!(backend.error("subscribe", order).0, 112);
    client.expect_nothing();
}

#[test]
fn connections_of_a_user_end_with_the_words_of_the_application() {
    at_once([Encoding::Json, Encoding::Protobuf], |encoding| {
        let served = Served::plain(Shape::MANY);
        let over = CentrifugeTransport::WebSocket(encoding);
        let connect = |user: &str| Centrifuge::connect_over(over, served.server.http, Some(&token_of(user)));
        let (mut kept, mut ended, mut other) = (connect("alice"), connect("alice"), connect("bob"));
        let mut backend = served.backend();
        let words = json!({ "code": 4501, "reason": "moved" });
        let order = json!({ "user": "alice", "whitelist": [id(&kept), "no id"], "disconnect": words });
        assert_eq!(backend.result("disconnect", order), json!({}));
        ended.expect_closed(4501);
        kept.expect_nothing();
        assert_eq!(backend.result("disconnect", json!({ "client": id(&kept) })), json!({}));
        kept.expect_closed(3503);
        assert_eq!(backend.result("disconnect", json!({ "user": "alice", "client": "not one" })), json!({}));
        other.expect_nothing();
        assert_eq!(backend.result("disconnect", json!({ "user": "alice", "client": id(&other) })), json!({}));
        other.expect_nothing();
    });
}

#[test]
fn lines_of_a_user_end_as_well() {
    let served = Served::plain(Shape::ONE);
    let mut client = Client::connect(&served.server, Transport::Tcp);
    client.send(&format!("AUTH {}", token_of("alice")));
    client.line();
    served.backend().result("disconnect", json!({ "user": "alice" }));
    client.lines_until_closed(harness::Disconnect::Kicked);
}

#[test]
fn a_connection_is_renewed_or_expires_as_ordered() {
    let served = Served::plain(Shape::MANY);
    let mut backend = served.backend();
    let expiring = token(&json!({ "sub": "alice", "exp": seconds_from_now(60) }));
    let mut client = Centrifuge::connect(served.server.http, Some(&expiring));
    let renewed = json!({ "user": "alice", "expire_at": seconds_from_now(3600) });
    assert_eq!(backend.result("refresh", renewed), json!({}));
    let push = client.push();
    assert_eq!(push["refresh"]["expires"], true, "{push}");
    assert!(push["refresh"]["ttl"].as_u64().is_some_and(|ttl| ttl > 3000), "{push}");
    assert_eq!(backend.result("refresh", json!({ "user": "alice", "expired": true })), json!({}));
    client.expect_closed(3005);
}

#[test]
fn tokens_that_are_taken_back_end_their_connections_and_open_no_other() {
    let served = Served::plain(Shape::MANY);
    let mut backend = served.backend();
    let tokens = ["t1", "t2"].map(|id| token(&json!({ "sub": "alice", "jti": id, "iat": seconds_from_now(-10) })));
    let [mut one, mut two] = [0, 1].map(|place| Centrifuge::connect(served.server.http, Some(&tokens[place])));
    assert_eq!(backend.result("revoke_token", json!({ "uid": "t1" })), json!({}));
    one.expect_closed(3503);
    two.expect_nothing();
    let early = json!({ "user": "alice", "issued_before": seconds_from_now(-60) });
    assert_eq!(backend.result("invalidate_user_tokens", early), json!({}));
    two.expect_nothing();
    assert_eq!(backend.result("invalidate_user_tokens", json!({ "user": "alice" })), json!({}));
    two.expect_closed(3503);
    for token in &tokens {
        let mut refused = Centrifuge::open(served.server.http, Encoding::Json);
        refused.send(json!({ "id": 1, "connect": { "token": token } }).to_string());
        refused.expect_closed(3500);
    }
}

#[test]
fn orders_that_break_a_rule_are_refused() {
    let served = Served::plain(Shape::ONE);
    let mut client = Centrifuge::connect(served.server.http, Some(&token_of("alice")));
    let mut backend = served.backend();
    let long = "x".repeat(5_000);
    let disconnect = |words: Value| ("disconnect", json!({ "user": "alice", "disconnect": words }), 107);
    let cases = [
        ("subscribe", json!({ "channel": "a" }), 107),
        ("subscribe", json!({ "channel": "", "user": "alice" }), 107),
        ("subscribe", json!({ "channel": "a", "user": "alice", "session": "s" }), 108),
        ("subscribe", json!({ "channel": "a", "user": "alice", "info": long }), 107),
        ("subscribe", json!({ "channel": "a", "user": "alice", "b64data": "?" }), 107),
        ("subscribe", json!({ "channel": "a", "user": "alice", "expire_at": -1 }), 107),
        ("unsubscribe", json!({ "user": "alice" }), 107),
        ("disconnect", json!({}), 107),
        ("refresh", json!({ "expired": true }), 107),
        ("revoke_token", json!({}), 107),
        ("invalidate_user_tokens", json!({ "user": "" }), 107),
        disconnect(json!({ "code": 2999, "reason": "r" })),
        disconnect(json!({ "code": 5000, "reason": "r" })),
        disconnect(json!({ "code": 70_000, "reason": "r" })),
        disconnect(json!({ "reason": "without a code" })),
        disconnect(json!({ "code": 4000, "reason": "r".repeat(124) })),
        disconnect(json!({ "code": 4000, "reason": "two\nlines" })),
        // centrifuge-js would take it for an instruction.
        disconnect(json!({ "code": 4000, "reason": "503" })),
        disconnect(json!({ "code": 4000, "reason": "{\"reconnect\":false,\"reason\":\"x\"}" })),
    ];
    for (method, parameters, code) in cases {
        assert_eq!(backend.error(method, &parameters).0, code, "{method} {parameters}");
    }
    client.expect_nothing();
}
