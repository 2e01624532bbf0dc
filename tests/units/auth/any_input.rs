//! No text that anybody writes makes these parts panic, and no changed token is somebody else's.

use proptest::prelude::*;
use roomcast::auth::api_keys::ApiKeys;
use roomcast::auth::pattern::Pattern;
use roomcast::auth::rules::RoomRules;
use roomcast::auth::tokens::{TokenChecks, TokenVerifier};
use roomcast::config::{Config, Settings};
use roomcast::protocol::names::{Label, RoomName};
use serde_json::json;

use super::rights::rule_for;
use super::{NOW, signed, signed_text, signed_texts, verifier};

/// Text of the characters of which tokens, JSON and TOML are made.
fn markup() -> impl Strategy<Value = String> {
    "[\\[\\]{}\":,.=\\\\ \n\tabeknstu0-9*~\u{e9}\u{200b}-]{0,80}"
}

/// A text that is JSON in shape, with names that are claims and members of keys.
fn json_text() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "sub", "name", "exp", "nbf", "iat", "aud", "iss", "info", "b64info", "channels", "subs", "rooms", "keys",
        "channel", "client", "data", "b64data", "override", "value", "kty", "kid", "alg", "crv", "x", "y", "n", "e",
        "k", "use", "RSA", "EC", "oct", "join", "HS256",
    ]);
    let leaf = prop_oneof![
        name.clone().prop_map(|text| json!(text)),
        any::<String>().prop_map(|text| json!(text)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        Just(json!(null)),
        any::<bool>().prop_map(|truth| json!(truth)),
    ];
    leaf.prop_recursive(4, 32, 6, move |value| {
        prop_oneof![
            prop::collection::vec(value.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::btree_map(name.clone(), value, 0..6).prop_map(|object| json!(object)),
        ]
    })
    .prop_map(|value| value.to_string())
}

proptest! {
    #[test]
    fn no_text_is_a_token_unless_it_is_signed(text in any::<String>(), markup in markup()) {
        for token in [text.clone(), format!("{text}.{markup}.{text}"), signed(&json!({"sub": "ada"})) + &markup] {
            let accepted = verifier().verify(&token, NOW);
            prop_assert!(accepted.is_err() || markup.is_empty());
        }
    }

    #[test]
    fn no_claims_and_no_header_panic_though_they_are_signed(claims in json_text(), header in json_text(), other in markup()) {
        for token in [signed_text(&claims), signed_text(&other), signed_texts(&header, &claims)] {
            if let Ok(token) = verifier().verify(&token, NOW) {
                prop_assert!(token.user.as_str().len() <= 255);
                prop_assert!(token.info.is_none_or(|info| !info.contains('\n') && info.len() <= 4096));
            }
            let _ = verifier().verify_subscription(&token, NOW);
        }
    }

    #[test]
    fn a_changed_token_is_never_that_of_another_user(
        at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f, cut in any::<prop::sample::Index>(), ends in any::<bool>()
    ) {
        let token = signed(&json!({"sub": "ada", "name": "Ada", "exp": NOW.0 + 60, "rooms": {"a": ["join"]}}));
        let original = verifier().verify(&token, NOW).unwrap();
        let mut bytes = token.clone().into_bytes();
        bytes[at.index(token.len())] = byte;
        if ends {
            bytes.truncate(cut.index(token.len()));
        }
        if let Ok(accepted) = verifier().verify(&String::from_utf8(bytes).unwrap(), NOW) {
            prop_assert_eq!(accepted, original);
        }
    }

    #[test]
    fn no_key_set_panics(text in json_text(), other in any::<Vec<u8>>()) {
        let mut verifier = TokenVerifier::new(TokenChecks::default());
        let keys = format!("{{\"keys\":[{text}]}}");
        for json in [text.as_bytes(), keys.as_bytes(), &other] {
            let _ = verifier.add_key_set(json);
        }
        for kty in ["RSA", "EC", "oct"] {
            let members = json!({"kty": kty, "kid": "a", "crv": "P-256", "n": text, "e": text, "x": text, "y": text, "k": text});
            let _ = verifier.add_key_set(json!({"keys": [members]}).to_string().as_bytes());
        }
        let _ = (verifier.describe(), verifier.verify(&signed(&json!({})), NOW));
    }

    #[test]
    fn no_file_of_a_public_key_or_a_secret_panics(body in any::<Vec<u8>>(), text in markup()) {
        use base64::Engine;
        let mut verifier = TokenVerifier::new(TokenChecks::default());
        let encoded = base64::prelude::BASE64_STANDARD.encode(&body);
        for kind in ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE", "X"] {
            let pem = format!("-----BEGIN {kind}-----\n{encoded}\n-----END {kind}-----\n{text}");
            let _ = verifier.add_public_key("a", pem.as_bytes());
        }
        let _ = (verifier.add_public_key("a", &body), verifier.add_secret(&text, &body));
        let _ = verifier.verify(&signed(&json!({})), NOW);
    }

    #[test]
    fn no_file_of_api_keys_panics_or_shows_its_text(text in markup(), name in any::<String>()) {
        let hash = "0".repeat(64);
        for file in [text.clone(), name.clone(), format!("a = {{ sha256 = '{hash}', may = [{text}] }}"), format!("{name} = {{ {text} }}")] {
            let _ = ApiKeys::parse(&file).map(|keys| keys.authenticate(&text).is_some());
        }
    }

    #[test]
    fn a_pattern_matches_the_rooms_that_a_plain_model_says(pattern in "[ab*:]{1,8}", room in "[ab*:]{1,12}") {
        fn is_match(pattern: &[u8], room: &[u8]) -> bool {
            match (pattern, room) {
                ([], _) => room.is_empty(),
                ([b'*', pattern @ ..], _) => (0..=room.len()).any(|skipped| is_match(pattern, &room[skipped..])),
                ([_, ..], []) => false,
                ([one, pattern @ ..], [other, room @ ..]) => one == other && is_match(pattern, room),
            }
        }
        let expected = is_match(pattern.as_bytes(), room.as_bytes());
        prop_assert_eq!(Pattern::parse(&pattern).unwrap().matches(&RoomName::parse(&room).unwrap()), expected);
    }

    #[test]
    fn a_pattern_that_covers_another_matches_its_rooms(
        patterns in prop::array::uniform2("[ab*]{1,5}"),
        rooms in prop::collection::vec("[ab*]{1,7}", 64),
    ) {
        let [one, other] = patterns.map(|pattern| Pattern::parse(&pattern).unwrap());
        let rooms: Vec<_> = rooms.iter().map(|room| RoomName::parse(room).unwrap()).collect();
        let only_other = rooms.iter().find(|room| other.matches(room) && !one.matches(room));
        prop_assert!(!one.covers(&other) || only_other.is_none(), "{} {} {:?}", one, other, only_other);
    }

    #[test]
    fn no_rule_pattern_or_room_panics(rooms in any::<String>(), name in any::<String>(), text in markup()) {
        let limits = Config::try_from(Settings::default()).unwrap().access.default_limits;
        let rules = RoomRules::new([rule_for(&rooms), rule_for(&text)].into_iter().flatten().collect(), limits);
        for room in [&rooms, &name, &text] {
            if let Ok(room) = RoomName::parse(room) {
                let _ = (rules.rights(&room, None), rules.explain(&room, None), rules.limits_of(&room));
            }
        }
        let _ = (Label::nick(&name), Label::of_user(&name));
    }
}
