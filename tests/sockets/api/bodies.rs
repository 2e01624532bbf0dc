//! Bodies: what is JSON, how long, and how fast.

use std::time::Duration;

use harness::{Centrifuge, Http};
use roomcast::config::Span;
use serde_json::{Value, json};

use super::{Served, ask, post};
use crate::server::Shape;

fn key(served: &Served) -> String {
    format!("X-API-Key: {}\r\n", served.backend)
}

#[test]
fn a_body_that_is_no_json_of_the_right_types_is_answered_with_400() {
    let served = Served::plain(Shape::ONE);
    let mut member = Centrifuge::member(served.server.http, "a");
    let key = key(&served);
    for body in [
        "{",
        "[]",
        "null",
        "1",
        r#"["a",1]"#,
        r#"{"channel":"a","data":1}x"#,
        r#"{"channel":"a","data":1}{}"#,
        "\u{feff}{}",
        r#"{"channel":1,"data":1}"#,
        r#"{"channel":["a"],"data":1}"#,
        r#"{"channel":"a","data":1,"tags":{"a":1}}"#,
        r#"{"channel":"a","data":1,"skip_history":"yes"}"#,
        r#"{"channel":"a","data":1,"idempotency_key":1}"#,
        r#"{"channel":"a","channel":"b","data":1}"#,
        "{\"channel\":\"a\",\"data\":\"a\nb\"}",
        r#"{"channel":"a","data":01}"#,
    ] {
        let (head, text) = ask(served.server.http, post("publish", &key, body));
        assert_eq!(head.status, 400, "{body}: {text}");
    }
    for (method, body) in [
        ("history", r#"{"channel":"a","limit":"1"}"#),
        ("history", r#"{"channel":"a","limit":99999999999}"#),
        ("history", r#"{"channel":"a","since":{"offset":-1}}"#),
        ("history", r#"{"channel":"a","since":[1,"e"]}"#),
        ("broadcast", r#"{"channels":"a","data":1}"#),
        ("broadcast", r#"{"channels":[null],"data":1}"#),
        ("disconnect", r#"{"user":"u","disconnect":{"code":"1"}}"#),
        ("disconnect", r#"{"user":"u","disconnect":[4000,"r"]}"#),
        ("batch", r#"{"commands":{}}"#),
        ("info", "[]"),
    ] {
        assert_eq!(ask(served.server.http, post(method, &key, body)).0.status, 400, "{body}");
    }
    let mut not_utf8 = post("publish", &key, r#"{"channel":"a","data":"-"}"#).into_bytes();
    let place = not_utf8.len() - 3;
    not_utf8[place] = 0xff;
    assert_eq!(ask(served.server.http, not_utf8).0.status, 400);
    member.expect_nothing();
}

#[test]
fn null_is_as_good_as_missing_and_unknown_fields_are_ignored() {
    let served = Served::plain(Shape::ONE);
    let mut backend = served.backend();
    let nulls = json!({
        "channel": "a", "data": 1, "b64data": null, "tags": null, "skip_history": null, "idempotency_key": null,
        "delta": null, "version": null, "version_epoch": null, "of_a_later_version": { "deep": [{}] },
    });
    assert_eq!(backend.result("publish", nulls)["offset"], 1);
    let nulls = json!({ "channel": "a", "limit": null, "since": null, "reverse": null });
    assert_eq!(backend.result("history", nulls)["offset"], 1);
    assert_eq!(backend.result("channels", json!({ "pattern": null })), json!({ "channels": {} }));
    let nulls = json!({ "user": "u", "client": null, "session": null, "whitelist": null, "disconnect": null });
    assert_eq!(backend.result("disconnect", nulls), json!({}));
    let nulls = json!({
        "channel": "a", "user": "u", "info": null, "data": null, "expire_at": null, "recover_since": null,
        "override": null,
    });
    assert_eq!(backend.result("subscribe", nulls), json!({}));
    for empty in ["", " \r\n", "{}"] {
        assert!(backend.result("info", empty)["nodes"].is_array());
    }
}

#[test]
fn the_media_type_does_not_matter() {
    let served = Served::plain(Shape::ONE);
    for media_type in ["application/json", "application/json; charset=utf-8", "text/plain", "application/octet-stream"]
    {
        let headers = format!("{}Content-Type: {media_type}\r\n", key(&served));
        assert_eq!(ask(served.server.http, post("info", &headers, "{}")).0.status, 200);
    }
}

#[test]
fn a_body_has_a_megabyte_and_one_message_at_most() {
    let served = Served::plain(Shape::ONE);
    let bytes_max = 1024 * 1024 + 64 * 1024;
    let filled = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
    let key = key(&served);
    assert_eq!(ask(served.server.http, post("info", &key, &filled(bytes_max))).0.status, 200);
    // By its length alone, before anything of it has come.
    let declared =
        format!("POST /api/info HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: {}\r\n\r\n", bytes_max + 1);
    assert_eq!(ask(served.server.http, declared).0.status, 413);
    let mut client = Http::connect(served.server.http);
    client.send(format!("POST /api/info HTTP/1.1\r\nHost: localhost\r\n{key}Transfer-Encoding: chunked\r\n\r\n"));
    let length = bytes_max + 1;
    client.send(format!("{length:x}\r\n{}", filled(length)));
    assert_eq!(client.answer().0.status, 413);
}

#[test]
fn a_body_that_comes_slowly_is_cut() {
    let served = Served::start(Shape::ONE, |settings| settings.header_timeout = Span(Duration::from_secs(3)));
    let key = key(&served);
    let mut client = Http::connect(served.server.http);
    client.send(format!("POST /api/info HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: 9\r\n\r\n{{"));
    assert_eq!(client.answer().0.status, 408);
    // Without a key nobody waits for the body.
    let mut client = Http::connect(served.server.http);
    client.send("POST /api/info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(client.answer().0.status, 401);
}

#[test]
fn errors_are_statuses_for_clients_that_want_them() {
    let served = Served::plain(Shape::ONE);
    let cases = [
        ("publish", json!({ "channel": "a" }), 400, 107),
        ("publish", json!({ "channel": "a", "data": 1, "version": 1 }), 400, 108),
        ("history", json!({ "channel": "a", "since": { "offset": 1, "epoch": "_" } }), 416, 112),
    ];
    for (method, parameters, status, code) in cases {
        let headers = format!("{}X-Centrifugo-Error-Mode: transport\r\n", key(&served));
        let (head, body) = ask(served.server.http, post(method, &headers, &parameters.to_string()));
        let error: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((head.status, &error["code"]), (status, &json!(code)), "{body}");
        assert!(error["message"].is_string());
    }
    let headers = format!("X-API-Key: {}\r\nX-Centrifugo-Error-Mode: transport\r\n", served.teams);
    assert_eq!(ask(served.server.http, post("info", &headers, "{}")).0.status, 403);
}
