//! What the application allows, changes and refuses.

use std::io::BufRead;

use aws_lc_rs::hmac;
use harness::{Centrifuge, Client, Disconnect, Encoding, Http, Transport, WELCOME, http_answer, until};
use roomcast::config::{HookPolicy, RuleSettings, Who};
use serde_json::json;

use super::{Hooked, Kind, Member, SECRET, Wish, forbidden, over_all};
use crate::access::{seconds_from_now, secret_file, token_of};
use crate::server::Shape;

#[test]
fn a_client_connects_joins_and_publishes_as_the_application_allows() {
    over_all(|kind| {
        let hooked = Hooked::asking(&[Wish::Join, Wish::Publish]);
        let mut member = Member::connect(&hooked.server, kind);
        let join = member.begin_join("a");
        let question = hooked.question("join");
        let asked = question.json();
        assert_eq!((&asked["room"], &asked["user"], &asked["address"]), (&json!("a"), &json!(""), &json!("127.0.0.1")));
        let transport = if matches!(kind, Kind::Text(Transport::Tcp)) { "tcp" } else { "websocket" };
        assert_eq!(asked["transport"], transport);
        assert!(asked["client"].as_str().is_some_and(|client| client.len() == 16) && asked["name"].is_string());
        question.answer("{}");
        assert_eq!(member.joined(join, "a"), Ok(()));
        let publish = member.begin_publish("hello");
        let question = hooked.question("publish");
        assert_eq!(question.json()["data"], json!({ "text": "hello" }));
        question.answer("{}");
        member.published(publish);
        assert_eq!(member.hear(), "hello");
        for (hook, outcome) in [("join", "allowed"), ("publish", "allowed")] {
            assert_eq!(hooked.count(hook, outcome), 1);
        }
    });
}

#[test]
fn a_question_is_signed_with_the_secret_and_the_time() {
    let hooked = Hooked::asking(&[Wish::Join]);
    let mut member = Member::connect(&hooked.server, Kind::Centrifuge);
    member.begin_join("a");
    let question = hooked.question("join");
    let time = &question.headers["x-roomcast-time"];
    let signed = [time.as_bytes(), b".", &question.body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), &signed);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(question.headers["x-roomcast-signature"], digits);
    assert_eq!(question.headers["content-type"], "application/json");
    let sent_at: i64 = time.parse().expect("a time");
    assert!((seconds_from_now(-60)..=seconds_from_now(0)).contains(&sent_at));
}

#[test]
fn a_refused_client_is_told_the_reason_and_nothing_else_happens() {
    over_all(|kind| {
        let hooked = Hooked::asking(&[Wish::Join, Wish::Publish]);
        let mut member = Member::connect(&hooked.server, kind);
        let join = member.begin_join("b");
        hooked.question("join").answer(r#"{"refuse":{"reason":"not\ninvited"}}"#);
        assert_eq!(member.joined(join, "b"), Err(forbidden(kind, "not invited")));
        let join = member.begin_join("a");
        hooked.question("join").answer("{}");
        assert_eq!(member.joined(join, "a"), Ok(()));
        // A text client stays in its room until it may be in the next.
        let join = member.begin_join("c");
        hooked.question("join").answer(json!({ "refuse": { "reason": "no" } }));
        assert_eq!(member.joined(join, "c"), Err(forbidden(kind, "no")));
        let publish = member.begin_publish("spam");
        hooked.question("publish").answer(json!({ "refuse": { "reason": "spam" } }));
        assert_eq!(member.refusal(publish), forbidden(kind, "spam"));
        member.expect_nothing_but_answer(&hooked);
        assert_eq!((hooked.count("join", "refused"), hooked.count("publish", "refused")), (2, 1));
    });
}

impl Member {
    /// The client is still in `a`, where nothing was said.
    fn expect_nothing_but_answer(&mut self, hooked: &Hooked) {
        let publish = self.begin_publish("fence");
        hooked.question("publish").answer("{}");
        self.published(publish);
        assert_eq!(self.hear(), "fence");
    }
}

#[test]
fn the_application_changes_what_is_said() {
    over_all(|kind| {
        let hooked = Hooked::asking(&[Wish::Publish]);
        let mut member = Member::of_a(&hooked.server, kind);
        for (answer, heard) in
            [(json!({ "text": "polite" }), "polite"), (json!({ "data": { "text": "tame" } }), "tame")]
        {
            let publish = member.begin_publish("rude");
            hooked.question("publish").answer(answer);
            member.published(publish);
            assert_eq!(member.hear(), heard);
        }
    });
}

#[test]
fn a_refused_connection_ends_with_the_reason() {
    for transport in Transport::ALL {
        let hooked = Hooked::asking(&[Wish::Connect]);
        let mut client = Client::open(&hooked.server, transport);
        hooked.question("connect").answer(json!({ "refuse": { "reason": "members only" } }));
        assert_eq!(client.lines_until_closed(Disconnect::Refused), ["ERR forbidden members only"]);
    }
    let hooked = Hooked::asking(&[Wish::Connect]);
    let mut client = Centrifuge::open(hooked.server.http, Encoding::Protobuf);
    client.send(r#"{"id":1,"connect":{}}"#);
    hooked.question("connect").answer(json!({ "refuse": { "reason": "members only" } }));
    let reply = client.reply(1);
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["message"]),
        (&json!(103), &json!("permission denied: members only"))
    );
    client.send(r#"{"id":2,"subscribe":{"channel":"a"}}"#);
    client.expect_closed(3501);
}

#[test]
fn a_client_is_who_the_application_says_with_its_rights_and_rooms() {
    let claims = json!({ "claims": {
        "sub": "user-7", "name": "alice", "info": { "a": 1 }, "rooms": { "team:*": ["join", "publish"] },
        "channels": ["team:own"],
    } });
    over_all(|kind| {
        let hooked = Hooked::start(Shape::ONE, |settings| {
            settings.hooks.hook_connect = HookPolicy::Deny;
            settings.rules = vec![RuleSettings::new("team:*", Who::Token)];
        });
        match kind {
            Kind::Text(transport) => {
                let mut client = Client::open(&hooked.server, transport);
                hooked.question("connect").answer(&claims);
                client.expect(WELCOME);
                client.join("team:a");
                client.send("hello");
                client.expect("[alice] hello");
                assert!(client.request("NICK bob").starts_with("ERR forbidden"));
            }
            Kind::Centrifuge => {
                let mut client = Centrifuge::open(hooked.server.http, Encoding::Json);
                client.send(r#"{"id":1,"connect":{}}"#);
                hooked.question("connect").answer(&claims);
                let connect = client.reply(1)["connect"].take();
                assert!(connect["subs"]["team:own"].is_object(), "{connect}");
                let refused = client.command(json!({ "subscribe": { "channel": "other" } }));
                assert_eq!(refused["error"]["code"], 103);
            }
        }
    });
}

#[test]
fn a_name_that_comes_from_the_application_stays() {
    over_all(|kind| {
        let hooked = Hooked::asking(&[Wish::Connect]);
        let error = match hooked.connect_as_alice(kind) {
            Member::Text(mut client) => client.request("NICK bob"),
            Member::Centrifuge(mut client) => {
                client.error("rpc", json!({ "method": "nick", "data": { "nick": "bob" } })).to_string()
            }
        };
        assert!(error.contains("your name comes from your token"), "{error}");
    });
}

#[test]
fn a_client_with_a_token_is_asked_about_with_its_user_and_an_answer_replaces_the_token() {
    let (_folder, secret) = secret_file();
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_connect = HookPolicy::Deny;
        settings.token_secret_file = vec![secret.to_str().expect("a path").into()];
    });
    let mut client = Centrifuge::open(hooked.server.http, Encoding::Json);
    client.send(json!({ "id": 1, "connect": { "token": token_of("alice") } }).to_string());
    let question = hooked.question("connect");
    assert_eq!(question.json()["user"], "alice");
    question.answer(json!({ "claims": { "sub": "alice-2", "exp": seconds_from_now(3_600) } }));
    assert_eq!(client.reply(1)["connect"]["expires"], true);
    client.subscribe("a");
    let presence = client.result("presence", json!({ "channel": "a" }));
    assert!(presence.to_string().contains("alice-2"), "{presence}");
}

#[test]
fn a_membership_gives_rights_and_is_what_others_see() {
    over_all(|kind| {
        let hooked = Hooked::start(Shape::ONE, |settings| {
            settings.hooks.hook_join = HookPolicy::Deny;
            settings.rules = vec![RuleSettings::new("a", Who::Token), RuleSettings::new("b", Who::Nobody)];
        });
        let mut member = Member::connect(&hooked.server, kind);
        // Nobody may join this room, so nobody is asked.
        let join = member.begin_join("b");
        assert!(member.joined(join, "b").is_err());
        let join = member.begin_join("a");
        hooked.question("join").answer("{}");
        assert!(member.joined(join, "a").is_err(), "without a membership the rule holds");
        let join = member.begin_join("a");
        let membership = json!({ "membership": { "info": { "role": "guest" }, "exp": seconds_from_now(3_600) } });
        hooked.question("join").answer(membership);
        assert_eq!(member.joined(join, "a"), Ok(()));
        if let Member::Centrifuge(client) = &mut member {
            let presence = client.result("presence", json!({ "channel": "a" }));
            assert!(presence.to_string().contains(r#""chan_info":{"role":"guest"}"#), "{presence}");
        }
    });
}

#[test]
fn clients_without_websocket_are_asked_about_too() {
    let hooked = Hooked::asking(&[Wish::Connect, Wish::Join]);
    let mut client = Http::connect(hooked.server.http);
    client.send("POST /connection/http_stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 21\r\n\r\n");
    client.send(r#"{"id":1,"connect":{}}"#);
    let question = hooked.question("connect");
    assert_eq!(question.json()["transport"], "http_stream");
    question.answer(json!({ "refuse": { "reason": "no" } }));
    assert_eq!(client.head().status, 200);
    let mut lines = client.into_stream().lines().map(|line| line.expect("a stream"));
    let refused = r#"{"id":1,"error":{"code":103,"message":"permission denied: no"}}"#;
    assert!(lines.any(|line| line == refused));
}

/// A client that only listens names its rooms as it connects, and each is a join of its own.
#[test]
fn rooms_that_a_listening_client_names_are_asked_about_and_those_that_the_application_names_are_not() {
    let hooked = Hooked::asking(&[Wish::Connect, Wish::Join]);
    let mut client = Http::connect(hooked.server.http);
    let path = "/connection/uni_sse?cf_connect=%7B%22subs%22:%7B%22a%22:%7B%7D,%22own%22:%7B%7D%7D%7D";
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    hooked.question("connect").answer(json!({ "claims": { "sub": "alice", "channels": ["own"] } }));
    let question = hooked.question("join");
    assert_eq!((&question.json()["room"], &question.json()["user"]), (&json!("a"), &json!("alice")));
    question.answer(json!({ "membership": { "data": { "seen": 1 } } }));
    assert_eq!(client.head().status, 200);
    let mut lines = client.into_stream().lines().map(|line| line.expect("a stream"));
    let connected = lines.find(|line| line.contains("\"client\"")).expect("a connect push");
    assert!(connected.contains(r#""seen":1"#) && connected.contains(r#""own""#), "{connected}");
    hooked.application.expect_no_question();
}

#[test]
fn a_reader_over_plain_http_is_asked_about_twice_and_its_membership_gives_the_right() {
    let hooked = Hooked::start(Shape::ONE, |settings| {
        (settings.hooks.hook_connect, settings.hooks.hook_join) = (HookPolicy::Deny, HookPolicy::Deny);
        settings.rules = vec![RuleSettings::new("a", Who::Token)];
    });
    let open = || {
        let mut client = Http::connect(hooked.server.http);
        client.send("GET /rooms/a?live=sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.head().status, 200);
        client.into_stream().lines().map(|line| line.expect("a stream"))
    };
    let mut refused = open();
    hooked.question("connect").answer(json!({ "refuse": { "reason": "not you" } }));
    assert!(refused.any(|line| line.contains("not you")));
    assert!(refused.any(|line| line.contains("refused")));
    let mut refused = open();
    hooked.question("connect").answer("{}");
    hooked.question("join").answer(json!({ "refuse": { "reason": "not here" } }));
    assert!(refused.any(|line| line.contains("not here")));
    let mut reads = open();
    hooked.question("connect").answer("{}");
    let question = hooked.question("join");
    assert_eq!((&question.json()["room"], &question.json()["transport"]), (&json!("a"), &json!("sse")));
    question.answer(json!({ "membership": {} }));
    assert!(reads.any(|line| line.starts_with("id: ")));
}

#[test]
fn decisions_are_repeated_for_as_long_as_the_application_says() {
    over_all(|kind| {
        let hooked = Hooked::asking(&[Wish::Publish]);
        let mut member = Member::of_a(&hooked.server, kind);
        let keep = |body: &str| http_answer("Cache-Control: private, max-age=600\r\n", body);
        let publish = member.begin_publish("1");
        // What was changed is never kept.
        hooked.question("publish").answer_bytes(keep(r#"{"text":"one"}"#));
        member.published(publish);
        assert_eq!(member.hear(), "one");
        let publish = member.begin_publish("2");
        hooked.question("publish").answer_bytes(keep("{}"));
        member.published(publish);
        assert_eq!(member.hear(), "2");
        for text in ["3", "4"] {
            let publish = member.begin_publish(text);
            member.published(publish);
            assert_eq!(member.hear(), text);
        }
        // Another client is another matter.
        let mut other = Member::of_a(&hooked.server, kind);
        let publish = other.begin_publish("5");
        hooked.question("publish").answer_bytes(keep(r#"{"refuse":{"reason":"no"}}"#));
        assert_eq!(other.refusal(publish), forbidden(kind, "no"));
        let publish = other.begin_publish("6");
        assert_eq!(other.refusal(publish), forbidden(kind, "no"));
        hooked.application.expect_no_question();
        assert_eq!(hooked.count("publish", "cached"), 3);
    });
}

#[test]
fn a_question_holds_up_its_client_alone_and_keeps_the_order_of_its_commands() {
    over_all(|kind| {
        let hooked = Hooked::asking(&[Wish::Publish]);
        hooked.application.expect_no_question();
        let mut waits = Member::of_a(&hooked.server, kind);
        let first = waits.begin_publish("first");
        let second = waits.begin_publish("second");
        let question = hooked.question("publish");
        // Others of the same worker chat meanwhile, and come and go.
        let mut other = Member::of_a(&hooked.server, kind);
        for _ in 0..3 {
            let publish = other.begin_publish("other");
            hooked.question("publish").answer("{}");
            other.published(publish);
            assert_eq!(other.hear(), "other");
        }
        hooked.application.expect_no_question();
        question.answer("{}");
        hooked.question("publish").answer("{}");
        waits.published(first);
        waits.published(second);
        let heard: Vec<String> = (0..5).map(|_| waits.hear()).collect();
        assert_eq!(heard, ["other", "other", "other", "first", "second"]);
    });
}

#[test]
fn so_many_questions_are_asked_at_once_and_others_wait_in_order() {
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_publish = HookPolicy::Deny;
        settings.hooks.hook_concurrency = 2;
    });
    let mut members: Vec<Member> = (0..5).map(|_| Member::of_a(&hooked.server, Kind::Text(Transport::Tcp))).collect();
    let mut held = Vec::new();
    for (number, member) in members.iter_mut().enumerate() {
        member.begin_publish(&number.to_string());
        if number < 2 {
            held.push(hooked.question("publish"));
        }
    }
    until(|| hooked.in_flight() == 2);
    hooked.application.expect_no_question();
    for question in held {
        question.answer("{}");
    }
    for _ in 2..5 {
        hooked.question("publish").answer("{}");
    }
    let mut heard: Vec<String> = (0..5).map(|_| members[0].hear()).collect();
    heard.sort();
    assert_eq!(heard, ["0", "1", "2", "3", "4"]);
}
