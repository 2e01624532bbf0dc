//! `publish` and `broadcast`.

use harness::{Centrifuge, CentrifugeTransport, Transport, at_once, until};
use roomcast::config::{RuleSettings, Who};
use serde_json::{Value, json};

use super::{Backend, Served};
use crate::server::Shape;

/// Backends that repeat one publish at once.
const REPEATS: usize = 16;

fn position(result: &Value) -> (u64, &str) {
    (result["offset"].as_u64().expect("an offset"), result["epoch"].as_str().expect("an epoch"))
}

#[test]
fn members_on_every_transport_get_what_a_backend_publishes() {
    let cases = [Shape::ONE, Shape::MANY, Shape::OVER_TLS];
    at_once(cases, |shape| {
        let served = Served::plain(shape);
        let mut texts = Transport::ALL.map(|transport| served.member(transport, "a"));
        let mut clients = CentrifugeTransport::ALL.map(|transport| {
            let mut client = Centrifuge::connect_over(transport, served.server.http, None);
            client.subscribe("a");
            client
        });
        let mut backend = served.backend();
        let first = backend.result("publish", json!({ "channel": "a", "data": { "text": "hello" } }));
        let second = backend.result("publish", r#"{"channel":"a","data":{"n" : 1.0e2 ,"s":" ä\u00e4"}}"#);
        assert_eq!((position(&first).0, position(&second).0), (1, 2));
        assert_eq!(position(&first).1, position(&second).1);
        for text in &mut texts {
            text.expect("[backend] hello");
            text.expect(r#"[backend] {"n":1.0e2,"s":" ä\u00e4"}"#);
        }
        for client in &mut clients {
            let (push, _) = client.push_and_time();
            assert_eq!(push, json!({ "channel": "a", "pub": { "data": { "text": "hello" }, "offset": 1 } }));
            assert_eq!(client.push()["pub"]["data"]["s"], " ää");
        }
    });
}

#[test]
fn tags_reach_sdks_and_what_skips_history_has_no_offset() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let mut member = Centrifuge::member(served.server.http, "a");
        let mut text = served.member(Transport::Tcp, "a");
        let mut backend = served.backend();
        let tags = json!({ "kind": "news", "ä\"": "" });
        backend.result("publish", json!({ "channel": "a", "data": 1, "tags": tags }));
        let skipped = backend.result("publish", json!({ "channel": "a", "data": 2, "skip_history": true }));
        assert_eq!(skipped, json!({}));
        backend.result("publish", json!({ "channel": "a", "data": null }));
        for publication in [
            json!({ "data": 1, "offset": 1, "tags": tags }),
            json!({ "data": 2 }),
            json!({ "data": null, "offset": 2 }),
        ] {
            assert_eq!(member.push_and_time().0["pub"], publication);
        }
        ["1", "2", "null"].iter().for_each(|data| text.expect(&format!("[backend] {data}")));
        let history = backend.result("history", json!({ "channel": "a", "limit": -1 }));
        assert_eq!(
            history["publications"],
            json!([{ "data": 1, "offset": 1, "tags": tags }, { "data": null, "offset": 2 }])
        );
    });
}

#[test]
fn a_room_that_retains_nothing_has_no_position() {
    let served = Served::start(Shape::ONE, |settings| {
        let rule = RuleSettings::new("live:*", Who::Anyone);
        settings.rules = vec![RuleSettings { history_messages: Some(0), ..rule }];
    });
    let mut member = Centrifuge::member(served.server.http, "live:a");
    let mut backend = served.backend();
    assert_eq!(backend.result("publish", json!({ "channel": "live:a", "data": 1 })), json!({}));
    assert_eq!(backend.result("publish", json!({ "channel": "live:nobody", "data": 1 })), json!({}));
    assert_eq!(member.publication("live:a"), 1);
    for method in ["history", "history_remove"] {
        assert_eq!(backend.error(method, json!({ "channel": "live:a" })).0, 108);
    }
}

#[test]
fn data_in_base64_is_what_its_json_is() {
    let served = Served::plain(Shape::ONE);
    let mut member = Centrifuge::member(served.server.http, "a");
    let mut backend = served.backend();
    // {"a": 1} with and without padding; it wins over data.
    for encoded in ["eyJhIjogMX0=", "eyJhIjogMX0"] {
        backend.result("publish", json!({ "channel": "a", "data": "other", "b64data": encoded }));
        assert_eq!(member.publication("a"), json!({ "a": 1 }));
    }
    backend.result("publish", json!({ "channel": "a", "data": 2, "b64data": "" }));
    assert_eq!(member.publication("a"), 2);
    for wrong in ["?", "/w==", "e30x", "ew=="] {
        let error = backend.error("publish", json!({ "channel": "a", "b64data": wrong }));
        assert!(error.0 == 107 && error.1.contains("b64data"), "{error:?}");
    }
    member.expect_nothing();
}

#[test]
fn concurrent_repeats_of_a_key_are_one_publication_in_each_room() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let mut members = ["a", "b"].map(|room| Centrifuge::member(served.server.http, room));
        let mut backends: Vec<Backend> = (0..REPEATS).map(|_| served.backend()).collect();
        for backend in &mut backends {
            backend.send("publish", json!({ "channel": "a", "data": 1, "idempotency_key": "k" }));
        }
        let first: Vec<Value> = backends.iter_mut().map(Backend::answer).collect();
        assert!(first.iter().all(|answer| *answer == first[0] && answer["result"]["offset"] == 1), "{first:?}");
        for backend in &mut backends {
            let parameters = json!({ "channels": ["a", "b"], "data": 1, "idempotency_key": "k" });
            backend.send("broadcast", parameters);
        }
        for backend in &mut backends {
            let responses = &backend.answer()["result"]["responses"];
            assert_eq!(responses[0], first[0]);
            assert_eq!(responses[1]["result"]["offset"], 1);
        }
        let [a, b] = &mut members;
        assert_eq!((a.publication("a"), b.publication("b")), (json!(1), json!(1)));
        a.expect_nothing();
        b.expect_nothing();
        // Neither other data nor other tags are the same publish.
        for other in [json!({ "data": 2 }), json!({ "data": 1, "tags": { "a": "b" } })] {
            let mut reused = json!({ "channel": "a", "idempotency_key": "k" });
            reused.as_object_mut().expect("an object").extend(other.as_object().expect("an object").clone());
            assert_eq!(backends[0].error("publish", reused).0, 113);
        }
        a.expect_nothing();
        let too_long = json!({ "channel": "a", "data": 1, "idempotency_key": "k".repeat(129) });
        assert_eq!(backends[0].error("publish", too_long).0, 107);
    });
}

#[test]
fn a_broadcast_answers_for_each_room_in_order() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let rooms: Vec<String> = (0..200).map(|number| format!("room-{number}")).collect();
        let mut last = Centrifuge::member(served.server.http, "room-199");
        let mut backend = served.backend();
        backend.result("publish", json!({ "channel": "room-3", "data": 0 }));
        let mut channels = rooms.clone();
        channels[5] = "no room".to_owned();
        let result = backend.result("broadcast", json!({ "channels": channels, "data": { "n": 1 } }));
        let responses = result["responses"].as_array().expect("a list");
        assert_eq!(responses.len(), rooms.len());
        for (number, response) in responses.iter().enumerate() {
            match number {
                5 => assert_eq!(response["error"]["code"], 107),
                3 => assert_eq!(response["result"]["offset"], 2),
                _ => assert_eq!(response["result"]["offset"], 1),
            }
        }
        assert_eq!(last.publication("room-199"), json!({ "n": 1 }));
        assert_eq!(backend.error("broadcast", json!({ "channels": [], "data": 1 })).0, 107);
        assert_eq!(backend.error("broadcast", json!({ "channels": vec!["a"; 20_000], "data": 1 })).0, 106);
    });
}

#[test]
fn a_publish_that_breaks_a_rule_is_refused_and_nothing_of_it_is_delivered() {
    let served = Served::plain(Shape::ONE);
    let mut member = Centrifuge::member(served.server.http, "a");
    let mut backend = served.backend();
    let long = "x".repeat(70_000);
    let deep = format!(r#"{{"channel":"a","data":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let cases = [
        (json!({ "data": 1 }), "channel is missing"),
        (json!({ "channel": "", "data": 1 }), "channel is missing"),
        (json!({ "channel": null, "data": 1 }), "channel is missing"),
        (json!({ "channel": "a" }), "data is missing"),
        (json!({ "channel": "a", "data": long }), "see message-bytes"),
        (json!({ "channel": "a", "data": 1, "tags": { "t": long } }), "see message-bytes"),
        // Too long for clients that read lines: with the label, and with the escapes of what a terminal obeys.
        (json!({ "channel": "a", "data": "x".repeat(65_530) }), "with its label exceeds 65536"),
        (json!({ "channel": "a", "data": "\u{7f}".repeat(20_000) }), "of 120012 bytes with its label exceeds 65536"),
        (json!({ "channel": "two words", "data": 1 }), "no spaces"),
        (json!({ "channel": "ä".repeat(65), "data": 1 }), "1 to 128 bytes"),
        // The name in another form of Unicode than NFC.
        (json!({ "channel": "a\u{308}", "data": 1 }), "in Unicode NFC"),
    ];
    for (parameters, rule) in cases {
        let error = backend.error("publish", &parameters);
        assert!(error.0 == 107 && error.1.contains(rule), "{error:?}");
    }
    assert_eq!(backend.error("publish", deep).0, 107);
    assert_eq!(backend.error("publish", json!({ "channel": "a", "data": 1, "version": 7 })).0, 108);
    let unknown = json!({ "channel": "ä".repeat(64), "data": 1, "delta": true, "version": 0, "later": [1] });
    backend.result("publish", unknown);
    member.expect_nothing();
}

#[test]
fn calls_that_are_pipelined_are_answered_in_order() {
    let served = Served::plain(Shape::MANY);
    let mut backend = served.backend();
    for number in 0..100 {
        backend.send("publish", json!({ "channel": "a", "data": number }));
    }
    for number in 1..=100 {
        assert_eq!(backend.answer()["result"]["offset"], number);
    }
    until(|| {
        harness::metrics(served.server.http)[r#"roomcast_api_requests_total{method="publish",outcome="ok"}"#] == 100.0
    });
}
