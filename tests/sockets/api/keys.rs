//! Keys: where they stand, what they may do, and that they are never shown.

use harness::{Http, metrics};
use serde_json::json;

use super::{Served, ask, post};
use crate::server::{Shape, TestServer};

const INFO: &str = "{}";

#[test]
fn a_key_stands_in_either_header() {
    let served = Served::plain(Shape::ONE);
    let key = &served.backend;
    for headers in [
        format!("X-API-Key: {key}\r\n"),
        format!("x-api-key: {key}\r\nAuthorization: apikey other\r\n"),
        format!("Authorization: apikey {key}\r\n"),
        format!("Authorization: APIKEY   {key}\r\n"),
        format!("X-API-Key:\r\nAuthorization: apikey {key}\r\n"),
    ] {
        assert_eq!(ask(served.server.http, post("info", &headers, INFO)).0.status, 200, "{headers}");
    }
}

#[test]
fn a_call_without_a_valid_key_is_answered_with_401_and_nothing() {
    let served = Served::plain(Shape::ONE);
    let key = &served.backend;
    let cases = [
        String::new(),
        "X-API-Key: \r\n".to_owned(),
        "X-API-Key: rck_wrong\r\n".to_owned(),
        format!("X-API-Key: {}\r\n", &key[1..]),
        format!("X-API-Key: {key}x\r\n"),
        format!("X-API-Key: {}\r\n", key.to_uppercase()),
        format!("X-API-Key: wrong\r\nAuthorization: apikey {key}\r\n"),
        format!("Authorization: Bearer {key}\r\n"),
        format!("Authorization: {key}\r\n"),
        "Authorization: apikey\r\n".to_owned(),
        "X-API-Key: \u{e4}\r\n".to_owned(),
    ];
    for headers in &cases {
        let (head, body) = ask(served.server.http, post("info", headers, INFO));
        assert_eq!((head.status, body.as_str()), (401, ""), "{headers}");
        assert_eq!(head.header("www-authenticate"), Some("apikey"));
    }
    let counted = metrics(served.server.http);
    let refused = cases.len() as f64;
    assert_eq!(counted[r#"roomcast_http_refused_total{reason="api-key"}"#], refused);
    assert_eq!(counted[r#"roomcast_api_requests_total{method="info",outcome="refused"}"#], refused);
}

#[test]
fn a_key_in_the_query_is_refused_with_a_word_on_where_it_stands() {
    let served = Served::plain(Shape::ONE);
    let request = post("info", "", INFO).replacen("info", &format!("info?api_key={}", served.backend), 1);
    let (head, body) = ask(served.server.http, request);
    assert!(head.status == 401 && body.contains("X-API-Key"), "{body}");
    assert!(!body.contains(&served.backend));
}

#[test]
fn without_keys_nobody_may_call() {
    let server = TestServer::plain(Shape::ONE);
    for headers in ["", "X-API-Key: \r\n", "X-API-Key: rck_a\r\n"] {
        assert_eq!(ask(server.http, post("info", headers, INFO)).0.status, 401);
    }
    assert_eq!(ask(server.http, post("nothing", "", INFO)).0.status, 404);
}

#[test]
fn a_key_may_do_what_its_line_says_where_its_line_says() {
    let served = Served::plain(Shape::ONE);
    let mut teams = served.with(&served.teams);
    teams.result("publish", json!({ "channel": "team:a", "data": 1 }));
    teams.result("history", json!({ "channel": "team:a" }));
    let refused = [
        ("publish", json!({ "channel": "desk", "data": 1 })),
        ("history", json!({ "channel": "desk" })),
        ("presence", json!({ "channel": "team:a" })),
        ("presence_stats", json!({ "channel": "team:a" })),
        ("history_remove", json!({ "channel": "team:a" })),
        ("subscribe", json!({ "channel": "team:a", "user": "u" })),
        ("unsubscribe", json!({ "channel": "team:a", "user": "u" })),
        ("disconnect", json!({ "user": "u" })),
        ("refresh", json!({ "user": "u" })),
        ("channels", json!({})),
        ("info", json!({})),
        ("revoke_token", json!({ "uid": "t" })),
        ("invalidate_user_tokens", json!({ "user": "u" })),
    ];
    for (method, parameters) in &refused {
        let (code, message) = teams.error(method, parameters);
        assert_eq!(code, 103, "{method}");
        assert!(message.starts_with(r#"permission denied: the key "teams" may not "#), "{message}");
    }
    let broadcast = teams.result("broadcast", json!({ "channels": ["team:a", "desk"], "data": 1 }));
    assert_eq!(broadcast["responses"][0]["result"]["offset"], 2);
    assert_eq!(broadcast["responses"][1]["error"]["code"], 103);
    let mut reader = served.with(&served.reader);
    reader.result("history", json!({ "channel": "desk" }));
    assert_eq!(reader.error("publish", json!({ "channel": "desk", "data": 1 })).0, 103);
    assert_eq!(served.backend().result("history", json!({ "channel": "desk" }))["offset"], 0);
}

#[test]
fn pages_of_other_origins_may_not_call() {
    let served = Served::plain(Shape::ONE);
    let headers = format!("Origin: https://evil.example\r\nX-API-Key: {}\r\n", served.backend);
    assert_eq!(ask(served.server.http, post("info", &headers, INFO)).0.status, 403);
}

#[test]
fn other_methods_and_paths_are_refused() {
    let served = Served::plain(Shape::ONE);
    let key = format!("X-API-Key: {}\r\n", served.backend);
    for method in ["GET", "PUT", "DELETE"] {
        let (head, _) = ask(served.server.http, post("info", &key, INFO).replacen("POST", method, 1));
        assert_eq!((head.status, head.header("allow")), (405, Some("POST,OPTIONS")));
    }
    for path in ["rpc", "Publish", "publish/", "PUBLISH", "info%20"] {
        let (head, body) = ask(served.server.http, post(path, &key, INFO));
        assert_eq!((head.status, body.as_str()), (404, "no such method: see /api/openapi.json\n"), "{path}");
    }
    assert_eq!(ask(served.server.http, post("", &key, INFO)).0.status, 404);
    let mut client = Http::connect(served.server.http);
    client.send("OPTIONS /api/publish HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().0.status, 204);
}
