//! `batch`.

use harness::{Centrifuge, at_once};
use serde_json::{Value, json};

use super::Served;
use crate::server::Shape;

fn replies(answer: &Value) -> &Vec<Value> {
    assert_eq!(answer.as_object().expect("an object").len(), 1, "{answer}");
    answer["replies"].as_array().expect("replies")
}

#[test]
fn a_batch_answers_each_call_under_its_name_in_order() {
    at_once([(Shape::ONE, false), (Shape::MANY, false), (Shape::MANY, true)], |(shape, parallel)| {
        let served = Served::plain(shape);
        let mut member = Centrifuge::member(served.server.http, "a");
        let publish = |number: usize| json!({ "publish": { "channel": "a", "data": number } });
        let mut commands: Vec<Value> = (1..=100).map(publish).collect();
        commands.extend([
            json!({ "unsubscribe": { "channel": "b", "user": "nobody" } }),
            json!({ "publish": { "channel": "no room", "data": 1 } }),
            json!({ "presence_stats": { "channel": "a" }, "later": null }),
            json!({ "rpc": { "method": "m" } }),
            json!({}),
            json!({ "publish": null }),
            json!({ "batch": { "commands": [] } }),
            json!({ "history": { "channel": "a", "limit": "1" } }),
            // Neither is done.
            json!({ "publish": { "channel": "a", "data": 0 }, "info": {} }),
        ]);
        let answer = served.backend().call("batch", json!({ "commands": commands, "parallel": parallel }));
        let replies = replies(&answer);
        assert_eq!(replies.len(), commands.len());
        let mut offsets: Vec<_> = replies[..100].iter().map(|reply| reply["publish"]["offset"].as_u64()).collect();
        if parallel {
            offsets.sort_unstable();
        }
        assert!(offsets.into_iter().eq((1..=100).map(Some)), "{answer}");
        assert_eq!(replies[100], json!({ "unsubscribe": {} }));
        assert_eq!(replies[102], json!({ "presence_stats": { "num_clients": 1, "num_users": 1 } }));
        let codes: Vec<_> =
            [101, 103, 104, 105, 106, 107, 108].map(|place| replies[place]["error"]["code"].as_u64()).into();
        assert_eq!(codes, [107, 104, 104, 104, 104, 107, 107].map(Some), "{answer}");
        let numbers: Vec<_> = (1..=100).map(|_| member.publication("a").as_u64().expect("a number")).collect();
        assert!(parallel || numbers.is_sorted());
        member.expect_nothing();
    });
}

#[test]
fn a_batch_has_a_limit_and_may_be_empty() {
    let served = Served::plain(Shape::ONE);
    let mut backend = served.backend();
    assert_eq!(backend.call("batch", json!({ "commands": [] })), json!({ "replies": [] }));
    assert_eq!(backend.error("batch", json!({})).0, 107);
    assert_eq!(backend.error("batch", json!({ "commands": vec![json!({}); 10_000] })).0, 106);
}

#[test]
fn a_batch_whose_answers_are_too_long_answers_the_rest_with_an_error() {
    let served = Served::plain(Shape::ONE);
    let mut backend = served.backend();
    let text = "x".repeat(60_000);
    for _ in 0..16 {
        backend.result("publish", json!({ "channel": "a", "data": text }));
    }
    let history = json!({ "history": { "channel": "a", "limit": -1 } });
    let answer = backend.call("batch", json!({ "commands": vec![history; 60] }));
    let replies = replies(&answer);
    assert!(replies[0]["history"].is_object());
    assert_eq!(replies[59]["error"]["code"], 106);
}

#[test]
fn each_call_of_a_batch_needs_its_own_right() {
    let served = Served::plain(Shape::ONE);
    let commands = json!({ "commands": [
        { "publish": { "channel": "team:a", "data": 1 } },
        { "publish": { "channel": "desk", "data": 1 } },
        { "info": {} },
    ] });
    let answer = served.with(&served.teams).call("batch", commands);
    let replies = replies(&answer);
    assert_eq!(replies[0]["publish"]["offset"], 1);
    assert_eq!((&replies[1]["error"]["code"], &replies[2]["error"]["code"]), (&json!(103), &json!(103)));
}
