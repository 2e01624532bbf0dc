//! The parameters of the server API: what is missing, `null`, unknown, or of another type.

use roomcast::api::{ApiMethod, Call};
use serde_json::{Map, Value, json};
use strum::VariantArray;

/// Parameters with every field that a method has. Fields that hold any JSON are named beside them.
fn parameters(method: ApiMethod) -> (Value, &'static [&'static str]) {
    let publish = json!({
        "data": 1, "b64data": "MQ==", "tags": { "a": "b" }, "skip_history": true, "idempotency_key": "k",
        "delta": true, "version": 0, "version_epoch": "e",
    });
    let with = |fields: &Value, more: Value| {
        let maps = [fields, &more].map(|fields| fields.as_object().cloned().expect("an object"));
        Value::Object(maps.into_iter().flatten().collect::<Map<_, _>>())
    };
    let client = json!({ "user": "u", "client": "c", "session": "" });
    let position = json!({ "offset": 1, "epoch": "e" });
    match method {
        ApiMethod::Publish => (with(&publish, json!({ "channel": "a" })), &["data"]),
        ApiMethod::Broadcast => (with(&publish, json!({ "channels": ["a", "b"] })), &["data"]),
        ApiMethod::Subscribe => {
            let fields = json!({
                "channel": "a", "info": 1, "b64info": "MQ==", "data": 1, "b64data": "MQ==", "expire_at": 1,
                "recover_since": position, "override": {},
            });
            (with(&client, fields), &["info", "data", "override"])
        }
        ApiMethod::Unsubscribe => (with(&client, json!({ "channel": "a" })), &[]),
        ApiMethod::Disconnect => {
            let fields = json!({ "whitelist": ["c"], "disconnect": { "code": 4000, "reason": "r" } });
            (with(&client, fields), &[])
        }
        ApiMethod::Refresh => (with(&client, json!({ "expired": true, "expire_at": 1, "info": 1 })), &["info"]),
        ApiMethod::Presence | ApiMethod::PresenceStats | ApiMethod::HistoryRemove => (json!({ "channel": "a" }), &[]),
        ApiMethod::History => (json!({ "channel": "a", "limit": -1, "since": position, "reverse": true }), &[]),
        ApiMethod::Channels => (json!({ "pattern": "*" }), &[]),
        ApiMethod::Info => (json!({}), &[]),
        ApiMethod::Batch => (json!({ "commands": [{ "info": {} }], "parallel": true }), &[]),
        ApiMethod::RevokeToken => (json!({ "uid": "t" }), &[]),
        ApiMethod::InvalidateUserTokens => (json!({ "user": "u", "issued_before": 1 }), &[]),
    }
}

#[test]
fn fields_may_be_missing_or_null_and_unknown_ones_are_ignored() {
    for &method in ApiMethod::VARIANTS {
        let (whole, _) = parameters(method);
        let parses = |value: &Value| assert!(Call::parse(method, &value.to_string()).is_ok(), "{method:?} {value}");
        parses(&whole);
        parses(&json!({}));
        parses(&json!({ "of_a_later_version": [{ "deep": null }], "": 1 }));
        for name in whole.as_object().expect("an object").keys() {
            let mut changed = whole.clone();
            changed[name] = Value::Null;
            parses(&changed);
            changed.as_object_mut().expect("an object").remove(name);
            parses(&changed);
        }
    }
}

#[test]
fn a_field_of_another_type_is_refused() {
    for &method in ApiMethod::VARIANTS {
        let (whole, any_json) = parameters(method);
        for name in whole.as_object().expect("an object").keys().filter(|name| !any_json.contains(&name.as_str())) {
            for other in [json!({ "x": [] }), json!([[]]), json!(1.5)] {
                let mut changed = whole.clone();
                changed[name] = other;
                // An object with a field that is unknown is one without fields.
                let is_object = whole[name].is_object() && changed[name].is_object() && name != "tags";
                let parsed = Call::parse(method, &changed.to_string());
                assert_eq!(parsed.is_ok(), is_object, "{method:?} {changed}");
            }
        }
        for other in ["", "[]", "null", "1", "\"a\"", "{", "{}x", "{} {}"] {
            assert!(Call::parse(method, other).is_err(), "{method:?} {other}");
        }
    }
}
