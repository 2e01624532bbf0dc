//! Connecting, in time and with a valid token, and rules that end memberships.

use std::fs;
use std::time::Duration;

use harness::{Centrifuge, CentrifugeTransport, Client, Http, Program, Signal, Transport};
use jsonwebtoken::Algorithm;
use roomcast::auth::UnixSeconds;
use roomcast::auth::revocations::Revocation;
use roomcast::config::{Anonymous, RuleSettings, Span, Who};
use roomcast::protocol::publication::UserId;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::{ENCODINGS, code, connect, contract, over_all};
use crate::access::{Guarded, seconds_from_now, signed, token, token_of};
use crate::server::{Shape, TestServer};

#[test]
fn a_client_that_does_not_connect_in_time_is_closed_as_stale() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::start(Shape::MANY, |settings| settings.header_timeout = Span(Duration::from_secs(3)));
        let mut stays = Centrifuge::open(server.http, encoding);
        stays.send(r#"{"id":1,"connect":{}}"#);
        let mut silent = Centrifuge::open(server.http, encoding);
        let mut pongs = Centrifuge::open(server.http, encoding);
        pongs.send("{}");
        silent.expect_closed(3502);
        pongs.expect_closed(3502);
        assert!(stays.reply(1)["connect"].is_object());
        stays.expect_nothing();
    });
}

#[test]
fn a_first_command_that_is_no_connect_and_a_second_connect_end_the_connection() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::plain(Shape::MANY);
        for command in [
            r#"{"id":1,"subscribe":{"channel":"a"}}"#,
            r#"{"id":1,"ping":{}}"#,
            r#"{"send":{"data":1}}"#,
            r#"{"id":1,"rpc":{"method":"a","data":1}}"#,
            r#"{"id":1}"#,
        ] {
            let mut client = Centrifuge::open(server.http, encoding);
            client.send(command);
            client.expect_closed(3501);
        }
        let mut client = Centrifuge::open(server.http, encoding);
        client.send("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"connect\":{}}\n{\"id\":3,\"ping\":{}}");
        assert!(client.reply(1)["connect"].is_object());
        client.expect_closed(3501);
        // A message to the server needs no id, and this server has no use for it.
        let mut client = Centrifuge::open(server.http, encoding);
        client.send("{\"id\":1,\"connect\":{}}\n{\"send\":{\"data\":1}}");
        assert!(client.reply(1)["connect"].is_object());
        client.expect_closed(3508);
    });
}

#[test]
fn there_are_no_procedures_to_call_and_a_ping_is_answered() {
    over_all(|transport| {
        let server = TestServer::plain(Shape::ONE);
        let mut client = connect(&server, transport);
        assert_eq!(code(&client.error("rpc", json!({ "method": "x", "data": {} }))), 108);
        assert_eq!(client.result("ping", "{}"), json!({}));
        assert_eq!((client.connected["ping"].as_u64(), &client.connected["pong"]), (Some(30), &json!(true)));
    });
}

#[test]
fn a_refused_connect_is_told_why_and_the_client_can_do_nothing_more() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        for (claims, why) in [
            (json!({ "sub": "alice", "exp": seconds_from_now(-6_000_000) }), "token expired: 60000"),
            (json!({ "sub": "alice", "nbf": seconds_from_now(600) }), "token expired: not valid before "),
        ] {
            let (mut client, reply) =
                Centrifuge::connect_with(transport, server.http, json!({ "token": token(&claims) }));
            assert_eq!(reply["error"]["code"], 109, "{reply}");
            assert!(reply["error"]["message"].as_str().is_some_and(|message| message.starts_with(why)), "{reply}");
            assert_eq!(reply["error"]["temporary"], Value::Null);
            if let CentrifugeTransport::WebSocket(_) = transport {
                client.send(r#"{"id":2,"connect":{}}"#);
                client.expect_closed(3501);
            }
        }
        for encoding in ENCODINGS {
            for wrong in [
                signed(b"another secret that is long enough too", Algorithm::HS256, &json!({ "sub": "alice" })),
                token(&json!({ "sub": "alice", "channel": "a" })),
                token(&json!({ "sub": 7 })),
                "no.token.here".to_owned(),
            ] {
                let mut client = Centrifuge::open(server.http, encoding);
                client.send(json!({ "id": 1, "connect": { "token": wrong } }).to_string());
                client.expect_closed(3500);
            }
        }
    });
}

#[test]
fn a_refused_client_that_stays_is_closed_as_stale() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| {
            settings.header_timeout = Span(Duration::from_secs(3));
            settings.rooms_per_client = 1;
            settings.rules = vec![RuleSettings::new("a", Who::Token), RuleSettings::new("closed", Who::Nobody)];
        });
        let refused = [
            (json!({ "sub": "alice", "exp": seconds_from_now(-60) }), 109),
            (json!({ "sub": "alice", "channels": ["a", "b"] }), 106),
            (json!({ "sub": "alice", "channels": ["closed"] }), 103),
        ];
        let mut clients = refused.map(|(claims, error)| {
            let request = json!({ "token": token(&claims) });
            let (client, reply) = Centrifuge::connect_with(transport, server.http, request);
            assert_eq!(reply["error"]["code"], error, "{reply}");
            client
        });
        clients.iter_mut().for_each(|client| client.expect_closed(3502));
    });
}

#[test]
fn a_right_that_the_next_token_does_not_give_ends_the_membership_with_a_push() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } =
            Guarded::start(shape, |settings| settings.rules = vec![RuleSettings::new("*", Who::Token)]);
        let with = |rooms: Value| token(&json!({ "sub": "alice", "rooms": rooms }));
        let both = with(json!({ "a": ["join", "publish"], "b": ["join", "publish"] }));
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&both));
        client.subscribe("a");
        client.subscribe("b");
        let only_b = with(json!({ "b": ["join", "publish"] }));
        client.result("refresh", json!({ "token": only_b }));
        let unsubscribe = json!({ "code": 2000, "reason": "server unsubscribe" });
        assert_eq!(client.push(), json!({ "channel": "a", "unsubscribe": unsubscribe }));
        assert_eq!(code(&client.error("publish", json!({ "channel": "a", "data": 1 }))), 103);
        client.publish("b", 1);
        assert_eq!(client.publication("b"), json!(1));
        client.expect_nothing();
    });
}

#[test]
fn where_anonymous_clients_are_denied_a_connect_needs_a_token() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } =
            Guarded::start(shape, |settings| settings.anonymous = Anonymous::Deny);
        for encoding in ENCODINGS {
            let mut guest = Centrifuge::open(server.http, encoding);
            guest.send("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}");
            guest.expect_closed(3501);
        }
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&token_of("alice")));
        client.subscribe("a");
    });
}

#[test]
fn the_token_of_the_handshake_is_as_good_as_that_of_the_connect() {
    harness::at_once(ENCODINGS, |encoding| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| {
            settings.anonymous = Anonymous::Deny;
        });
        let bearer = |claims: &Value| format!("Authorization: Bearer {}\r\n", token(claims));
        let claims = json!({ "sub": "alice", "channels": ["$a"], "exp": seconds_from_now(600) });
        let mut client = Centrifuge::open_with(server.http, encoding, &bearer(&claims));
        client.send(r#"{"id":1,"connect":{}}"#);
        let reply = client.reply(1);
        assert_eq!((&reply["connect"]["expires"], reply["connect"]["subs"]["$a"].is_object()), (&json!(true), true));
        assert!(reply["connect"]["ttl"].as_u64().is_some_and(|ttl| (500..=600).contains(&ttl)), "{reply}");
        client.publish("$a", 1);
        assert_eq!(client.push()["pub"]["info"]["user"], "alice");
        // The connect may bring another token of the same user, but none of another one.
        for (user, is_same) in [("alice", true), ("bob", false)] {
            let mut client = Centrifuge::open_with(server.http, encoding, &bearer(&claims));
            client.send(json!({ "id": 1, "connect": { "token": token_of(user) } }).to_string());
            if is_same {
                let reply = client.reply(1);
                assert_eq!((&reply["connect"]["expires"], &reply["connect"]["subs"]), (&Value::Null, &Value::Null));
            } else {
                client.expect_closed(3500);
            }
        }
        // A wrong token fails the handshake.
        let expired = bearer(&json!({ "sub": "alice", "exp": seconds_from_now(-60) }));
        let request = format!(
            "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{expired}\r\n"
        );
        let mut client = Http::connect(server.http);
        client.send(request);
        assert_eq!(client.head().status, 401);
    });
}

#[test]
fn a_room_that_begins_with_a_dollar_needs_a_token() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |_| {});
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&token_of("alice")));
        for (method, request) in [
            ("subscribe", json!({ "channel": "$a" })),
            ("publish", json!({ "channel": "$a", "data": 1 })),
            ("history", json!({ "channel": "$a", "limit": -1 })),
            ("presence", json!({ "channel": "$a" })),
        ] {
            assert_eq!(code(&client.error(method, request)), 103, "{method}");
        }
        let pass = token(&json!({ "sub": "alice", "channel": "$a", "data": [1] }));
        let result = client.result("subscribe", json!({ "channel": "$a", "token": pass }));
        assert_eq!(result["data"], json!([1]));
        client.publish("$a", 1);
        assert_eq!(client.publication("$a"), json!(1));
        client.result("unsubscribe", json!({ "channel": "$a" }));
        assert_eq!(code(&client.error("history", json!({ "channel": "$a" }))), 103);
    });
}

#[test]
fn a_revoked_client_is_closed_for_good() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let old = token(&json!({ "sub": "alice", "iat": seconds_from_now(-100) }));
        let mut kicked = Centrifuge::connect_over(transport, server.http, Some(&old));
        kicked.subscribe("a");
        let mut other = Centrifuge::connect_over(transport, server.http, Some(&token_of("bob")));
        let before = UnixSeconds(u64::try_from(seconds_from_now(0)).expect("a time"));
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        assert!(runtime.block_on(server.control.workers().revoke(&Revocation::User(UserId::new("alice"), before))));
        kicked.expect_closed(3503);
        let stats = other.result("presence_stats", json!({ "channel": "a" }));
        assert_eq!(stats["num_clients"], 0);
        for encoding in ENCODINGS {
            let mut again = Centrifuge::open(server.http, encoding);
            again.send(json!({ "id": 1, "connect": { "token": old } }).to_string());
            again.expect_closed(3500);
        }
    });
}

#[test]
fn other_rules_end_the_memberships_that_they_forbid_with_a_push() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomcast.toml");
    fs::write(&file, "").expect("a settings file");
    let program = Program::start(&["--config", file.to_str().expect("a path")]);
    let mut clients = super::TRANSPORTS.map(|transport| {
        let mut client = Centrifuge::connect_over(transport, program.http, None);
        client.subscribe("team:a");
        client.subscribe("open");
        client
    });
    let mut text = Client::member(&program, Transport::Tcp, "open", "text");
    let rules = "[[rule]]\nrooms = 'team:*'\njoin = 'token'\n[[rule]]\nrooms = '*'\njoin = 'anyone'\n";
    fs::write(&file, rules).expect("a settings file");
    program.signal(Signal::HUP);
    program.log.until("reloaded");
    for client in &mut clients {
        let unsubscribe = json!({ "code": 2000, "reason": "server unsubscribe" });
        assert_eq!(client.push(), json!({ "channel": "team:a", "unsubscribe": unsubscribe }));
        assert_eq!(code(&client.error("subscribe", json!({ "channel": "team:a" }))), 103);
        assert_eq!(client.result("unsubscribe", json!({ "channel": "team:a" })), json!({}));
    }
    text.send("hello");
    text.expect("[text] hello");
    for client in &mut clients {
        assert_eq!(client.publication("open"), json!({ "text": "hello" }));
        client.expect_nothing();
    }
}
