//! The API of a server that is full, and of one that stops.

use harness::{Centrifuge, Client, Http, Transport, at_once};
use roomcast::config::Span;
use serde_json::json;
use std::time::Duration;

use super::{Served, ask, post};
use crate::server::Shape;

#[test]
fn a_full_server_answers_its_backend() {
    let served = Served::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let mut only = Client::member(&served.server, Transport::Tcp, "a", "member");
    for number in 1..=20 {
        let key = format!("X-API-Key: {}\r\n", served.backend);
        let body = json!({ "channel": "a", "data": number }).to_string();
        let (head, body) = ask(served.server.http, post("publish", &key, &body));
        assert_eq!((head.status, head.header("connection")), (200, Some("close")), "{body}");
        only.expect(&format!("[backend] {number}"));
    }
}

#[test]
fn a_server_that_stops_refuses_calls_and_delivers_what_it_has_answered() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let served = Served::start(shape, |settings| settings.grace = Span(Duration::from_secs(5)));
        let mut member = Centrifuge::member(served.server.http, "a");
        let mut backends: Vec<_> = (0..8).map(|_| Http::connect(served.server.http)).collect();
        let key = format!("X-API-Key: {}\r\n", served.backend);
        let request = post("publish", &key, r#"{"channel":"a","data":1}"#);
        let mut published = 0;
        served.server.begin_stop();
        for backend in &mut backends {
            backend.send(&request);
        }
        for backend in &mut backends {
            match backend.answer() {
                (head, body) if head.status == 200 => {
                    assert!(body.contains("offset"), "{body}");
                    published += 1;
                }
                (head, body) => assert_eq!((head.status, body.as_str()), (503, "draining\n")),
            }
        }
        let mut delivered = 0;
        while let Some(object) = member.object_or_end() {
            delivered += usize::from(object.contains(r#""pub""#));
        }
        assert!(delivered >= published, "{delivered} of {published}");
        drop(member);
        served.server.stop();
    });
}
