//! JSON as text: white space between its tokens, and its depth.

use std::borrow::Cow;

use proptest::prelude::*;
use roomcast::protocol::json::{DEPTH_MAX, depth, on_one_line};
use serde_json::{Value, json};

fn values() -> impl Strategy<Value = Value> {
    let text = "[\\[\\]{}\":,\\\\ \n\té]{0,12}";
    let leaf = prop_oneof![
        text.prop_map(|text| json!(text)),
        any::<i32>().prop_map(|number| json!(number)),
        Just(json!(null)),
        any::<bool>().prop_map(|truth| json!(truth)),
    ];
    leaf.prop_recursive(5, 40, 6, move |value| {
        prop_oneof![
            prop::collection::vec(value.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::btree_map(text, value, 0..4).prop_map(|object| json!(object)),
        ]
    })
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn white_space_goes_between_tokens_and_stays_in_strings() {
    for (json, line) in [
        ("{\n  \"a b\" : [ 1.50,\t2e3 ] }\r\n", "{\"a b\":[1.50,2e3]}"),
        (" \"\\\" \\\\\" ", "\"\\\" \\\\\""),
        ("\n\n1\n", "1"),
        ("[\"\u{a0}é \u{2028}\" ]", "[\"\u{a0}é \u{2028}\"]"),
        ("{\"a\": 1, \"a\": 2}", "{\"a\":1,\"a\":2}"),
    ] {
        assert_eq!(on_one_line(json), line);
    }
}

#[test]
fn a_text_without_white_space_between_tokens_is_not_copied() {
    for json in ["{\"a b\":\"c\\n d\"}", "1", "\"\"", "[]", "\" \""] {
        assert!(matches!(on_one_line(json), Cow::Borrowed(line) if line == json), "{json}");
    }
}

#[test]
fn depth_counts_arrays_and_objects_and_no_brackets_in_strings() {
    for (json, expected) in
        [("1", 0), ("\"[[{\\\"[\"", 0), ("[]", 1), ("{\"a\":[{}],\"b\":[]}", 3), ("[[],[[]],[]]", 3)]
    {
        assert_eq!(depth(json), expected, "{json}");
    }
    assert_eq!(depth(&nested(1_000_000)), 1_000_000);
}

#[test]
fn a_parser_in_rust_reads_the_deepest_json_in_the_deepest_reply() {
    let reply = |depth| {
        let info = nested(depth);
        format!(r#"{{"connect":{{"subs":{{"a":{{"publications":[{{"info":{{"conn_info":{info}}}}}]}}}}}}}}"#)
    };
    assert!(serde_json::from_str::<Value>(&reply(DEPTH_MAX)).is_ok());
    assert!(serde_json::from_str::<Value>(&reply(DEPTH_MAX + 1)).is_err());
}

proptest! {
    #[test]
    fn any_json_is_the_same_value_on_one_line_and_as_deep(value in values()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(on_one_line(&pretty), value.to_string());
        prop_assert_eq!(depth(&pretty), depth_of(&value));
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}\"\\\\ \né]{0,20}", other in any::<String>()) {
        for text in [text, other] {
            let _ = (on_one_line(&text), depth(&text));
        }
    }
}
