//! The description of the API: its paths are the methods, and its schemas fit real answers.

use harness::{Centrifuge, Http};
use serde_json::{Value, json};

use super::Served;
use crate::server::{Shape, TestServer};
use roomcast::api::ApiMethod;
use strum::VariantArray;

/// Whether a value is as a schema says, as far as schemas of the description go. An object has no field that its schema
/// does not have.
fn fits(description: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return fits(description, &description["components"]["schemas"][name], value);
    }
    if let Some(schemas) = schema["oneOf"].as_array() {
        return schemas.iter().filter(|schema| fits(description, schema, value)).count() == 1;
    }
    let is_of = |name: &str| match name {
        "object" => value.as_object().is_some_and(|object| {
            let properties = schema["properties"].as_object();
            let known = |name: &str| properties.and_then(|properties| properties.get(name));
            let others = schema.get("additionalProperties");
            let required = schema["required"].as_array().into_iter().flatten();
            required.into_iter().all(|name| object.contains_key(name.as_str().expect("a name")))
                && object
                    .iter()
                    .all(|(name, value)| known(name).or(others).is_some_and(|schema| fits(description, schema, value)))
        }),
        "array" => {
            value.as_array().is_some_and(|items| items.iter().all(|item| fits(description, &schema["items"], item)))
        }
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    match &schema["type"] {
        Value::Null => true,
        Value::String(name) => is_of(name),
        names => names.as_array().expect("types").iter().any(|name| is_of(name.as_str().expect("a type"))),
    }
}

fn description(server: &TestServer) -> Value {
    let (head, body) = Http::get(server.http, "/api/openapi.json");
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn the_description_needs_no_key_and_has_every_method() {
    let description = description(&TestServer::plain(Shape::ONE));
    let described: Vec<&String> = description["paths"].as_object().expect("paths").keys().collect();
    let mut methods: Vec<String> = ApiMethod::VARIANTS.iter().map(|method| format!("/api/{}", method.name())).collect();
    methods.sort_unstable();
    assert!(described.into_iter().eq(&methods));
    for path in &methods {
        let operation = &description["paths"][path]["post"];
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{operation}");
    }
    let text = description.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(description["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[test]
fn real_calls_and_answers_are_as_they_are_described() {
    let served = Served::plain(Shape::ONE);
    let description = &description(&served.server);
    let mut member = Centrifuge::member(served.server.http, "a");
    member.publish("a", json!({ "text": "hello" }));
    let mut backend = served.backend();
    let publish = json!({ "channel": "a", "data": [1], "tags": { "t": "x" }, "idempotency_key": "k" });
    let calls = [
        ("publish", publish.clone()),
        ("publish", json!({ "channel": "a", "data": 1, "skip_history": true })),
        ("publish", json!({ "channel": "a" })),
        ("broadcast", json!({ "channels": ["a", "no room"], "b64data": "MQ==" })),
        (
            "subscribe",
            json!({ "channel": "b", "user": "u", "info": {}, "recover_since": { "offset": 1, "epoch": "e" } }),
        ),
        ("unsubscribe", json!({ "channel": "b", "user": "u" })),
        ("disconnect", json!({ "user": "u", "whitelist": ["c"], "disconnect": { "code": 4000, "reason": "r" } })),
        ("refresh", json!({ "user": "u", "expired": false, "expire_at": 1 })),
        ("presence", json!({ "channel": "a" })),
        ("presence_stats", json!({ "channel": "a" })),
        ("history", json!({ "channel": "a", "limit": -1, "reverse": true })),
        ("channels", json!({ "pattern": "*" })),
        ("info", json!({})),
        (
            "batch",
            json!({ "commands": [{ "publish": publish }, { "info": {} }, { "history": { "channel": "a" } }, {}] }),
        ),
        ("history_remove", json!({ "channel": "a" })),
        ("revoke_token", json!({ "uid": "t" })),
        ("invalidate_user_tokens", json!({ "user": "u", "issued_before": 1 })),
    ];
    for method in ApiMethod::VARIANTS {
        assert!(calls.iter().any(|(called, _)| *called == method.name()), "{method:?}");
    }
    for (method, parameters) in calls {
        let operation = &description["paths"][format!("/api/{method}")]["post"];
        let content = |part: &Value| part["content"]["application/json"]["schema"].clone();
        let request = content(&operation["requestBody"]);
        let has_missing = method == "publish" && parameters.get("data").is_none();
        let is_odd = method == "batch" || has_missing;
        assert!(is_odd || fits(description, &request, &parameters), "{method} {parameters} {request}");
        let answer = backend.call(method, &parameters);
        assert!(fits(description, &content(&operation["responses"]["200"]), &answer), "{method} {answer}");
    }
}
