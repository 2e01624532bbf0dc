//! Tokens that expire, and tokens of one subscription.

use std::time::Duration;

use harness::{Centrifuge, CentrifugeTransport};
use roomcast::config::{Settings, Span};
use serde_json::{Value, json};

use super::{code, contract, over_all};
use crate::access::{Guarded, seconds_from_now, token, token_of};
use crate::server::{Shape, TestServer};

fn short_grace(settings: &mut Settings) {
    settings.token_grace = Span(Duration::from_secs(2));
}

/// The seconds of a token that ends while the test waits. Until then and in the grace behind it one is refreshed.
const SOON: i64 = 4;

fn until(seconds: i64) -> String {
    token(&json!({ "sub": "alice", "exp": seconds_from_now(seconds) }))
}

fn alice(server: &TestServer, transport: CentrifugeTransport) -> Centrifuge {
    Centrifuge::connect_over(transport, server.http, Some(&token_of("alice")))
}

/// A token of a subscription of alice with these further claims.
fn pass(channel: &str, claims: &Value) -> String {
    let mut all = json!({ "sub": "alice", "channel": channel });
    let further = claims.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(further);
    token(&all)
}

#[test]
fn a_connection_ends_with_its_token_unless_it_is_refreshed_in_time() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, short_grace);
        let connect = || {
            let mut client = Centrifuge::connect_over(transport, server.http, Some(&until(SOON)));
            client.subscribe("a");
            client
        };
        let mut stays = connect();
        assert_eq!(stays.connected["expires"], true);
        assert!(stays.connected["ttl"].as_u64().is_some_and(|ttl| ttl <= SOON as u64), "{}", stays.connected);
        let refreshed = stays.result("refresh", json!({ "token": until(600) }));
        assert_eq!((&refreshed["client"], &refreshed["expires"]), (&stays.connected["client"], &json!(true)));
        assert!(refreshed["ttl"].as_u64().is_some_and(|ttl| (500..=600).contains(&ttl)), "{refreshed}");
        // It ends no earlier than the other would have.
        connect().expect_closed(3005);
        let stats = stays.result("presence_stats", json!({ "channel": "a" }));
        assert_eq!(stats["num_clients"], 1);
        let forever = stays.result("refresh", json!({ "token": token_of("alice") }));
        assert_eq!(forever, json!({ "client": stays.connected["client"] }));
        stays.expect_nothing();
    });
}

#[test]
fn a_wrong_refresh_ends_the_connection_for_good_and_an_expired_one_for_now() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        for (token, closed) in [
            (token_of("bob"), 3500),
            ("no.token.here".to_owned(), 3500),
            (pass("a", &json!({})), 3500),
            (until(-60), 3005),
        ] {
            let mut client = alice(&server, transport);
            client.send_command(json!({ "refresh": { "token": token } }));
            client.expect_closed(closed);
        }
        let mut client = alice(&server, transport);
        assert_eq!(code(&client.error("refresh", json!({ "token": "" }))), 107);
        client.expect_nothing();
    });
}

#[test]
fn a_subscription_by_a_wrong_token_is_refused_and_one_of_another_ends_the_connection() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let mut client = alice(&server, transport);
        for (pass, error) in [
            (pass("$a", &json!({ "exp": seconds_from_now(-60) })), 109),
            (pass("$a", &json!({ "nbf": seconds_from_now(600) })), 109),
            (token_of("alice"), 103),
            ("no.token.here".to_owned(), 103),
            (pass("$a", &json!({ "sub": 7 })), 103),
        ] {
            assert_eq!(code(&client.error("subscribe", json!({ "channel": "$a", "token": pass }))), error, "{pass}");
        }
        let stats = client.command(r#"{"presence_stats":{"channel":"a"}}"#);
        assert_eq!(stats["presence_stats"]["num_clients"], 0);
        for other in
            [pass("$b", &json!({})), pass("$a", &json!({ "sub": "bob" })), pass("$a", &json!({ "client": "another" }))]
        {
            let mut client = alice(&server, transport);
            client.send_command(json!({ "subscribe": { "channel": "$a", "token": other } }));
            client.expect_closed(3500);
        }
        let own = pass("$a", &json!({ "client": client.connected["client"] }));
        client.result("subscribe", json!({ "channel": "$a", "token": own }));
    });
}

#[test]
fn a_subscription_ends_with_its_token_unless_that_is_refreshed_in_time() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, short_grace);
        let mut client = alice(&server, transport);
        let subscribe = |client: &mut Centrifuge, room| {
            let soon = json!({ "exp": seconds_from_now(SOON) });
            let result = client.result("subscribe", json!({ "channel": room, "token": pass(room, &soon) }));
            assert_eq!(result["expires"], true);
            assert!(result["ttl"].as_u64().is_some_and(|ttl| ttl <= SOON as u64), "{result}");
            result
        };
        subscribe(&mut client, "$b");
        let later = json!({ "exp": seconds_from_now(600) });
        let refreshed = client.result("sub_refresh", json!({ "channel": "$b", "token": pass("$b", &later) }));
        assert!(refreshed["ttl"].as_u64().is_some_and(|ttl| (500..=600).contains(&ttl)), "{refreshed}");
        subscribe(&mut client, "$c");
        // An old SDK leaves out the room.
        assert_eq!(client.result("sub_refresh", json!({ "token": pass("$c", &json!({})) })), json!({}));
        // It ends no earlier than the others would have.
        let result = subscribe(&mut client, "$a");
        let expired = json!({ "code": 2501, "reason": "subscription expired" });
        assert_eq!(client.push(), json!({ "channel": "$a", "unsubscribe": expired }));
        for room in ["$b", "$c"] {
            client.publish(room, 1);
            assert_eq!(client.publication(room), json!(1));
        }
        assert_eq!(code(&client.error("publish", json!({ "channel": "$a", "data": 1 }))), 103);
        // The client may come back with a new token, and with its position.
        let again = json!({ "channel": "$a", "token": pass("$a", &json!({})), "recover": true,
            "epoch": result["epoch"], "offset": 0 });
        assert_eq!(client.result("subscribe", again)["was_recovering"], true);
        client.expect_nothing();
    });
}

#[test]
fn a_refresh_of_a_subscription_by_an_expired_token_ends_it_and_by_another_the_connection() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let mut client = alice(&server, transport);
        client.result("subscribe", json!({ "channel": "$a", "token": pass("$a", &json!({})) }));
        assert_eq!(code(&client.error("sub_refresh", json!({ "channel": "$a", "token": "no.token" }))), 103);
        let elsewhere = json!({ "channel": "$b", "token": pass("$b", &json!({})) });
        assert_eq!(code(&client.error("sub_refresh", elsewhere)), 103);
        let expired = pass("$a", &json!({ "exp": seconds_from_now(-60) }));
        let id = client.send_command(json!({ "sub_refresh": { "channel": "$a", "token": expired } }));
        let unsubscribe = json!({ "code": 2501, "reason": "subscription expired" });
        assert_eq!(client.push(), json!({ "channel": "$a", "unsubscribe": unsubscribe }));
        assert_eq!(client.reply(id)["error"]["code"], 109);
        let stats = client.error("presence_stats", json!({ "channel": "$a" }));
        assert_eq!(code(&stats), 103);
        for other in [
            json!({ "channel": "$a", "token": pass("$b", &json!({})) }),
            json!({ "token": token(&json!({ "sub": "bob", "channel": "$a" })) }),
        ] {
            let mut client = alice(&server, transport);
            client.result("subscribe", json!({ "channel": "$a", "token": pass("$a", &json!({})) }));
            client.send_command(json!({ "sub_refresh": other }));
            client.expect_closed(3500);
        }
    });
}
