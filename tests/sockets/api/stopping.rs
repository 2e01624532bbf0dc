//! The API of a server that is full, and of one that stops.

use std::io::{Read, Write};

use harness::{Centrifuge, Disconnect, Http, Transport, at_once};
use serde_json::json;

use super::{Served, ask, post};
use crate::drain::{SlowReader, large_outboxes};
use crate::server::Shape;

#[test]
fn a_full_server_answers_its_backend() {
    let served = Served::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let mut only = served.member(Transport::Tcp, "a");
    for number in 1..=20 {
        let key = format!("X-API-Key: {}\r\n", served.backend);
        let body = json!({ "channel": "a", "data": number }).to_string();
        let (head, body) = ask(served.server.http, post("publish", &key, &body));
        assert_eq!((head.status, head.header("connection")), (200, Some("close")), "{body}");
        only.expect(&format!("[backend] {number}"));
    }
}

#[test]
fn a_call_with_a_valid_key_is_not_cut_at_a_full_server_and_one_without_is() {
    const NEWCOMERS: usize = 40;
    let served = Served::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let mut only = served.member(Transport::Tcp, "a");
    let body = json!({ "channel": "a", "data": 1 }).to_string();
    let begin = |key: &str| {
        let mut client = Http::connect(served.server.http);
        client
            .send(post("publish", &format!("X-API-Key: {key}\r\nExpect: 100-continue\r\n"), &body).replace(&body, ""));
        let status = client.head().status;
        (status, client)
    };
    assert_eq!(begin("rck_unknown").0, 401);
    let (status, mut call) = begin(&served.backend);
    assert_eq!(status, 100, "the body is waited for, so the key was valid");
    let mut clock = Http::connect(served.server.http);
    let newcomers: Vec<Http> = (0..NEWCOMERS).map(|_| Http::connect(served.server.http)).collect();
    // A connection on a spare permit ends as others come, and after its second.
    clock.expect_end();
    newcomers.into_iter().for_each(|mut newcomer| newcomer.expect_end());
    call.send(&body);
    let (head, answer) = call.answer();
    assert_eq!((head.status, head.header("connection")), (200, Some("close")), "{answer}");
    only.expect("[backend] 1");
}

#[test]
fn a_server_that_stops_refuses_calls() {
    let served = Served::start(Shape::ONE, large_outboxes);
    let slow = SlowReader::start(&served.server);
    let mut witness = served.member(Transport::Tcp, "b");
    let mut backend = served.backend();
    backend.result("publish", json!({ "channel": "a", "data": "x" }));
    served.server.begin_stop();
    witness.lines_until_closed(Disconnect::Shutdown);
    backend.send("publish", json!({ "channel": "a", "data": 1 }));
    let (head, body) = backend.client.answer();
    assert_eq!((head.status, body.as_str(), head.header("connection")), (503, "draining\n", Some("close")));
    assert_eq!(head.header("retry-after"), Some("1"));
    slow.read_all();
}

#[test]
fn members_get_all_that_was_answered_before_the_end() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::plain(shape);
        let mut member = Centrifuge::member(served.server.http, "a");
        let mut backends: Vec<_> = (0..8).map(|_| Http::connect(served.server.http)).collect();
        let key = format!("X-API-Key: {}\r\n", served.backend);
        for backend in &mut backends {
            backend.send(post("info", &key, "{}"));
            assert_eq!(backend.answer().0.status, 200);
        }
        let request = post("publish", &key, r#"{"channel":"a","data":1}"#).repeat(20);
        for (number, backend) in backends.iter().enumerate() {
            // Fails once the server has closed the connection.
            let _ = backend.write_half().write_all(request.as_bytes());
            if number == 4 {
                served.server.begin_stop();
            }
        }
        let mut published = 0;
        for backend in backends {
            let mut answers = Vec::new();
            let _ = backend.into_stream().read_to_end(&mut answers);
            published += String::from_utf8_lossy(&answers).matches(r#""offset""#).count();
        }
        let objects = std::iter::from_fn(|| member.object_or_end());
        let delivered = objects.filter(|object| object.contains(r#""pub""#)).count();
        assert!(delivered >= published, "{delivered} of {published}");
        drop(member);
        served.server.stop();
    });
}
