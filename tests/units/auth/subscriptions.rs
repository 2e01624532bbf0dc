//! Tokens of one subscription, and the subscriptions that the token of a connection brings with it.

use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roomcast::auth::UnixSeconds;
use roomcast::auth::revocations::{Revocation, Revocations};
use roomcast::auth::rights::{Action, Rights};
use roomcast::auth::tokens::{SubscriptionToken, TokenChecks, TokenError, TokenVerifier};
use roomcast::protocol::json::DEPTH_MAX;
use serde_json::{Value, json};

use super::{NOW, SECRET, accepted, refused, signed, signed_text, signed_texts, signed_with, verifier, verifier_with};

const SECONDS: u64 = NOW.0;

fn verify(claims: &Value) -> Result<SubscriptionToken, TokenError> {
    verifier().verify_subscription(&signed(claims), NOW)
}

#[track_caller]
fn subscription(claims: &Value) -> SubscriptionToken {
    verify(claims).expect("a token that is valid")
}

#[track_caller]
fn refused_subscription(claims: &Value) -> String {
    match verify(claims) {
        Err(TokenError::Invalid(why)) => why,
        other => panic!("{claims}: {other:?}"),
    }
}

fn news() -> Value {
    json!({"sub": "ada", "channel": "news"})
}

/// The claims of [`news`] and this one.
fn with(claim: &str, value: &Value) -> Value {
    let mut claims = news();
    claims[claim] = value.clone();
    claims
}

/// JSON of lists within lists.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn the_token_of_a_subscription_names_the_user_the_room_and_the_client() {
    let token = subscription(&json!({
        "sub": "ada", "channel": "$team:a", "client": "c1", "info": {"a": 1}, "data": [1], "jti": "t1", "iat": SECONDS,
        "exp": SECONDS + 60, "override": {"presence": {"value": true}, "join_leave": null}, "name": "~", "meta": 1,
    }));
    assert_eq!((token.user.as_str(), token.room.as_str(), token.client.as_deref()), ("ada", "$team:a", Some("c1")));
    assert_eq!((token.info.as_deref(), token.data.as_deref()), (Some("{\"a\":1}"), Some("[1]")));
    assert_eq!((token.id.as_deref(), token.issued_at), (Some("t1"), Some(NOW)));
    assert_eq!(token.expires_at, Some(UnixSeconds(SECONDS + 60)));
}

#[test]
fn everything_but_the_room_may_be_missing_or_null() {
    let least = subscription(&json!({"channel": "news"}));
    assert_eq!((least.user.as_str(), least.client.as_deref(), least.expires_at), ("", None, None));
    assert_eq!((least.info.as_deref(), least.data.as_deref()), (None, None));
    for claim in ["sub", "client", "info", "b64info", "data", "b64data", "override", "jti", "iss", "aud"] {
        assert_eq!(subscription(&with(claim, &json!(null))).room.as_str(), "news", "{claim}");
    }
    assert_eq!(subscription(&with("client", &json!(""))).client, None);
}

#[test]
fn the_token_of_a_connection_is_none_of_a_subscription_and_the_other_way_round() {
    for claims in [json!({"sub": "ada"}), json!({"sub": "ada", "channel": null})] {
        assert!(refused_subscription(&claims).starts_with("it has no claim channel: a token of a connection"));
        accepted(&claims);
    }
    assert!(refused(&news()).starts_with("it has the claim channel: a token of a subscription"));
}

#[test]
fn the_room_of_a_subscription_is_named_as_the_server_names_it() {
    for name in ["", "a b", "a\u{200b}", &"x".repeat(129)] {
        let why = refused_subscription(&json!({"channel": name}));
        assert!(why.starts_with("the claim channel ") && why.contains("1 to 128 bytes"), "{why}");
    }
    assert_eq!(subscription(&json!({"channel": "caf\u{e9}"})).room.as_str(), "caf\u{e9}");
    assert_eq!(subscription(&json!({"channel": "a*"})).room.as_str(), "a*");
    for (claim, claims) in [
        ("channels", json!({"channels": ["cafe\u{301}"]})),
        ("subs", json!({"subs": {"cafe\u{301}": {}}})),
        ("channel", json!({"channel": "cafe\u{301}"})),
    ] {
        let why = if claim == "channel" { refused_subscription(&claims) } else { refused(&claims) };
        assert_eq!(why, format!("the claim {claim} {:?}: the name of a room must be in NFC", "cafe\u{301}"));
    }
}

#[test]
fn every_claim_of_a_subscription_that_has_a_wrong_type_is_refused_by_its_name_and_the_right_type() {
    let texts = ["sub", "client", "iss", "jti"].map(|claim| (claim, json!([42, true, [], {}]), "must be a string"));
    let times = ["exp", "nbf", "iat", "expire_at"]
        .map(|claim| (claim, json!(["x", "1800000000", null, true, [], {}, -1]), "must be a number of seconds since"));
    let encoded = ["b64info", "b64data"].map(|claim| {
        [(claim, json!([1, {}, []]), "must be base64 of JSON"), (claim, json!(["*", "e", "eyI"]), " is no")]
    });
    let others = [
        ("channel", json!([1, true, [], {}]), "must be a room name"),
        ("aud", json!([1, {}, [1], true]), "must be a string or a list"),
        (
            "override",
            json!([1, "x", [], {"presence": true}, {"presence": {"value": 1}}]),
            "must be an object of switches",
        ),
    ];
    for (claim, values, right) in texts.into_iter().chain(times).chain(encoded.into_iter().flatten()).chain(others) {
        for value in values.as_array().unwrap() {
            let why = refused_subscription(&with(claim, value));
            assert!(why.contains(claim) && why.contains(right), "{claim} {value}: {why}");
        }
    }
    let twice = signed_text(r#"{"channel":"a","channel":"b"}"#);
    let why = verifier().verify_subscription(&twice, NOW).unwrap_err().to_string();
    assert!(why.contains("each claim once"), "{why}");
}

#[test]
fn a_subscription_out_of_time_is_told_apart_from_an_invalid_one() {
    let verifier = verifier_with(TokenChecks { leeway: Duration::from_secs(5), ..TokenChecks::default() });
    for (claim, seconds, expected) in [
        ("exp", SECONDS - 5, Ok(())),
        ("exp", SECONDS - 6, Err("expired 6 s ago")),
        ("expire_at", SECONDS - 6, Err("its subscription expired 6 s ago")),
        ("nbf", SECONDS + 5, Ok(())),
        ("nbf", SECONDS + 6, Err("not valid before 6 s from now")),
    ] {
        let verdict = verifier.verify_subscription(&signed(&with(claim, &json!(seconds))), NOW).map(drop);
        assert_eq!(verdict, expected.map_err(|why| TokenError::OutOfTime(why.to_owned())), "{claim}");
    }
    let end = |claims: Value| subscription(&claims).expires_at;
    let both = json!({"channel": "news", "exp": SECONDS + 60, "expire_at": SECONDS + 3600});
    assert_eq!(end(both), Some(UnixSeconds(SECONDS + 3600)));
    assert_eq!(end(json!({"channel": "news", "exp": SECONDS + 60, "expire_at": 0})), None);
    // What is invalid comes first: a new token of the same kind would not help.
    assert!(refused_subscription(&json!({"exp": 0})).contains("channel"));
}

#[test]
fn a_subscription_needs_the_signature_the_issuer_and_the_audience_of_a_connection() {
    let verify = |token: &str| verifier().verify_subscription(token, NOW).unwrap_err();
    for alg in ["none", "None", "RS256", ""] {
        let token = signed_texts(&json!({"alg": alg}).to_string(), &news().to_string());
        assert!(verify(&token).to_string().ends_with(", and no key allows that"), "{alg}");
    }
    let other = EncodingKey::from_secret(&[b'x'; 32]);
    assert!(verify(&signed_with(&Header::new(Algorithm::HS256), &news(), &other)).to_string().contains("signature"));
    assert!(verify("a.b").to_string().contains("three parts"));
    let (issuer, audience) = (Some("https://id.example".to_owned()), Some("rooms".to_owned()));
    let verifier = verifier_with(TokenChecks { issuer, audience, ..TokenChecks::default() });
    for (claims, part) in [
        (json!({"channel": "a", "aud": "rooms"}), "the issuer (iss) is none"),
        (json!({"channel": "a", "iss": "https://id.example"}), "another audience"),
    ] {
        let why = verifier.verify_subscription(&signed(&claims), NOW).unwrap_err();
        assert!(matches!(&why, TokenError::Invalid(why) if why.contains(part)), "{why}");
    }
    let claims = json!({"channel": "a", "iss": "https://id.example", "aud": ["rooms"]});
    assert!(verifier.verify_subscription(&signed(&claims), NOW).is_ok());
    let without_keys = TokenVerifier::new(TokenChecks::default());
    let token = signed_with(&Header::new(Algorithm::HS256), &news(), &EncodingKey::from_secret(SECRET));
    assert!(without_keys.verify_subscription(&token, NOW).is_err());
}

#[test]
fn a_subscription_of_a_revoked_token_or_user_is_refused() {
    let mut revocations = Revocations::default();
    let token = |claims: Value| subscription(&claims);
    let stolen = json!({"sub": "bob", "channel": "news", "jti": "t1", "iat": SECONDS});
    assert!(!revocations.cover_subscription(&token(stolen.clone())));
    assert!(revocations.add(&Revocation::Token("t1".into())));
    let user = subscription(&news()).user;
    assert!(revocations.add(&Revocation::User(user, NOW)));
    assert!(revocations.cover_subscription(&token(stolen)));
    assert!(revocations.cover_subscription(&token(news())), "it does not say when it was issued");
    assert!(revocations.cover_subscription(&token(with("iat", &json!(SECONDS - 1)))));
    assert!(!revocations.cover_subscription(&token(with("iat", &json!(SECONDS)))));
}

#[test]
fn server_side_subscriptions_are_those_of_channels_and_subs_each_room_once() {
    let token = accepted(&json!({
        "channels": ["news", "desk", "news"],
        "subs": {
            "desk": {"info": {"a": 1}, "data": "b c", "other": [], "override": {"force_recovery": {"value": false}}},
            "log": {"info": 1, "b64info": BASE64_STANDARD.encode("{ \"b\":\n2 }"), "data": null},
            "raw": {"b64data": BASE64_STANDARD_NO_PAD.encode("[1 ]")},
        },
    }));
    let subscriptions: Vec<_> = token
        .server_side
        .iter()
        .map(|subscription| (subscription.room.as_str(), subscription.info.as_deref(), subscription.data.as_deref()))
        .collect();
    let expected = [
        ("news", None, None),
        ("desk", Some("{\"a\":1}"), Some("\"b c\"")),
        ("log", Some("{\"b\":2}"), None),
        ("raw", None, Some("[1]")),
    ];
    assert_eq!(subscriptions, expected);
    for subscription in &token.server_side {
        assert!(token.grants.allow(&subscription.room, Action::Join));
        assert!(!token.grants.allow(&subscription.room, Action::Publish));
    }
    assert!(accepted(&json!({"sub": "ada", "rooms": {"a": ["join"]}})).server_side.is_empty());
}

#[test]
fn a_claim_of_a_server_side_subscription_that_has_a_wrong_type_is_refused_by_its_name() {
    for (claims, part) in [
        (json!(null), "the claim subs must be an object of room names"),
        (json!([]), "the claim subs must be an object of room names"),
        (json!({"b64info": 1}), "the claim subs.b64info must be base64 of JSON"),
        (json!({"b64info": "*"}), "the claim subs.b64info is not base64"),
        (json!({"b64data": "eyI"}), "the claim subs.b64data is no"),
        (json!({"override": []}), "the claim subs.override must be an object of switches"),
        (json!({"override": {"presence": {"value": "yes"}}}), "the claim subs.override must be an object of switches"),
    ] {
        let why = refused(&json!({"subs": {"a": claims}}));
        assert!(why.starts_with(part), "{why}");
    }
    accepted(&json!({"subs": {"a": {"override": {"presence": {"value": true}}}}}));
}

#[test]
fn info_and_data_are_bounded_in_bytes_and_in_levels() {
    let long = "x".repeat(4095);
    let long_why = |claim: &str| format!("the claim {claim} has 4097 bytes: at most 4096");
    assert_eq!(refused_subscription(&with("info", &json!(long))), long_why("info"));
    assert_eq!(refused_subscription(&with("data", &json!(long))), long_why("data"));
    assert_eq!(refused(&json!({"subs": {"a": {"info": long}}})), long_why("subs.info"));
    assert_eq!(refused(&json!({"subs": {"a": {"data": long}}})), long_why("subs.data"));
    let verify = |depth| {
        let claims = format!("{{\"channel\":\"a\",\"data\":{}}}", nested(depth));
        verifier().verify_subscription(&signed_text(&claims), NOW)
    };
    assert!(verify(DEPTH_MAX).is_ok());
    let why = verify(DEPTH_MAX + 1).unwrap_err().to_string();
    assert_eq!(why, format!("the claim data has {} levels of JSON: at most {DEPTH_MAX}", DEPTH_MAX + 1));
}

#[test]
fn a_token_that_names_a_room_gives_the_rights_to_join_and_read_there() {
    let expected = Rights::of([Action::Join, Action::History, Action::Presence]);
    assert_eq!(Rights::JOIN_AND_READ, expected);
    assert_eq!(expected.to_string(), "join, history, presence");
}
