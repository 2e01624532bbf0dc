//! The claims of tokens that are signed right: their types, their times, and what they give.

use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use roomcast::auth::UnixSeconds;
use roomcast::auth::rights::Action;
use roomcast::auth::tokens::{TokenChecks, TokenError};
use roomcast::protocol::names::RoomName;
use serde_json::{Value, json};

use super::{NOW, accepted, ada, refused, signed, signed_text, verifier, verifier_with};

const SECONDS: u64 = NOW.0;

#[test]
fn a_token_says_who_its_holder_is() {
    let token = accepted(&json!({"sub": "u42", "name": "Ada Lovelace", "jti": "t1", "iat": SECONDS, "meta": {"a": 1}}));
    assert_eq!(token.user.as_str(), "u42");
    assert_eq!(token.label.unwrap().as_str(), "Ada Lovelace");
    assert_eq!((token.id.as_deref(), token.issued_at, token.expires_at), (Some("t1"), Some(NOW), None));
}

#[test]
fn the_label_is_the_name_or_else_the_user_or_else_none() {
    assert_eq!(accepted(&ada()).label.unwrap().as_str(), "ada");
    assert_eq!(accepted(&json!({"sub": "ada", "name": null})).label.unwrap().as_str(), "ada");
    let nobody = accepted(&json!({}));
    assert!(nobody.label.is_none() && !nobody.names_user());
    let long = "x".repeat(65);
    assert!(refused(&json!({"sub": long})).starts_with("give the token a name"));
    assert_eq!(accepted(&json!({"sub": long, "name": "x"})).user.as_str(), long);
}

#[test]
fn names_and_users_that_break_the_rule_are_refused_with_the_rule() {
    for name in ["~ada", " ada", "ada ", "a  b", "a\tb", "", "a\u{200b}b", "\u{2800}", "\u{3164}"] {
        let why = refused(&json!({"sub": "ada", "name": name}));
        assert!(why.starts_with("the claim name "), "{why}");
    }
    for user in ["a\nb".to_owned(), "a\u{200b}".to_owned(), "x".repeat(256)] {
        let why = refused(&json!({"sub": user, "name": "x"}));
        assert!(why.contains("at most 255 bytes"), "{why}");
    }
}

#[test]
fn every_claim_of_a_wrong_type_is_refused_by_its_name_and_the_right_type() {
    let texts = ["sub", "name", "iss", "jti"].map(|claim| (claim, json!([42, true, [], {}]), "must be a string"));
    let times = ["exp", "nbf", "iat", "expire_at"]
        .map(|claim| (claim, json!(["x", "1800000000", null, true, [], {}, -1]), "must be a number of seconds since"));
    let others = [
        ("aud", json!([1, {}, [1], true]), "must be a string or a list"),
        ("channels", json!(["a", {}, [1], 1]), "must be a list of room names"),
        ("subs", json!(["a", ["a"], {"a": 1}, {"a": "x"}]), "must be an object of room names"),
        ("rooms", json!(["a", ["a"], {"a": "join"}, {"a": [1]}, {"a": {}}]), "must be an object of room patterns"),
        ("rooms", json!([{"a": ["read"]}, {"a": ["Join"]}, {"a": [""]}]), "is none of join, publish"),
        ("b64info", json!([1, {}, []]), "must be base64 of JSON"),
        ("b64info", json!(["*", "e", "eyI"]), "b64info is no"),
    ];
    for (claim, values, right) in texts.into_iter().chain(times).chain(others) {
        for value in values.as_array().unwrap() {
            let why = refused(&json!({"sub": "ada", claim: value}));
            assert!(why.contains(claim) && why.contains(right), "{claim} {value}: {why}");
        }
    }
}

#[test]
fn a_number_beyond_all_numbers_is_no_time() {
    let far = accepted(&json!({"sub": "ada", "exp": 1e300}));
    assert_eq!(far.expires_at, Some(UnixSeconds(u64::MAX)));
    let why = verifier().verify(&signed_text(r#"{"sub":"ada","exp":1e400}"#), NOW).unwrap_err();
    assert_eq!(why.to_string(), "the claim exp must be a number of seconds since 1970");
}

#[test]
fn a_token_is_valid_from_nbf_to_exp_and_the_leeway_on_both_sides() {
    let verifier = verifier_with(TokenChecks { leeway: Duration::from_secs(5), ..TokenChecks::default() });
    let verify = |claims: Value| verifier.verify(&signed(&claims), NOW).map(drop);
    let out_of_time = |text: &str| Err(TokenError::OutOfTime(text.to_owned()));
    assert_eq!(verify(json!({"exp": SECONDS - 5, "nbf": SECONDS + 5})), Ok(()));
    assert_eq!(verify(json!({"exp": SECONDS - 6})), out_of_time("expired 6 s ago"));
    assert_eq!(verify(json!({"exp": (SECONDS - 5) as f64 - 0.5})), out_of_time("expired 5 s ago"));
    assert_eq!(verify(json!({"exp": (SECONDS - 5) as f64 + 0.5})), Ok(()));
    assert_eq!(verify(json!({"nbf": SECONDS + 6})), out_of_time("not valid before 6 s from now"));
    assert_eq!(verify(json!({"exp": 0})), out_of_time("expired 1800000000 s ago"));
    assert_eq!(
        verify(json!({"exp": SECONDS + 600, "nbf": SECONDS + 600})),
        out_of_time("not valid before 600 s from now")
    );
}

#[test]
fn expire_at_sets_the_end_of_the_connection_and_0_is_never() {
    let end = |claims: &Value| accepted(claims).expires_at;
    assert_eq!(end(&json!({"exp": SECONDS + 60})), Some(UnixSeconds(SECONDS + 60)));
    assert_eq!(end(&json!({"exp": SECONDS + 60, "expire_at": SECONDS + 3600})), Some(UnixSeconds(SECONDS + 3600)));
    assert_eq!(end(&json!({"exp": SECONDS + 60, "expire_at": 0})), None);
    let over = verifier().verify(&signed(&json!({"exp": SECONDS + 60, "expire_at": SECONDS - 7})), NOW);
    assert_eq!(over, Err(TokenError::OutOfTime("its connection expired 7 s ago".into())));
}

#[test]
fn issuer_and_audience_must_be_those_of_the_settings() {
    let (issuer, audience) = (Some("https://id.example".to_owned()), Some("rooms".to_owned()));
    let verifier = verifier_with(TokenChecks { issuer, audience, ..TokenChecks::default() });
    let verify = |claims: Value| verifier.verify(&signed(&claims), NOW).map(drop).map_err(|error| error.to_string());
    for audience in [json!("rooms"), json!(["other", "rooms"])] {
        assert_eq!(verify(json!({"iss": "https://id.example", "aud": audience})), Ok(()));
    }
    for audience in [json!("room"), json!(["other"]), json!([]), json!(null)] {
        let why = verify(json!({"iss": "https://id.example", "aud": audience})).unwrap_err();
        assert_eq!(why, "it is for another audience (aud): this server is \"rooms\"");
    }
    for (issuer, shown) in [(json!("https://id.example/"), "\"https://id.example/\""), (json!(null), "none")] {
        let why = verify(json!({"iss": issuer, "aud": "rooms"})).unwrap_err();
        assert_eq!(why, format!("the issuer (iss) is {shown}, and this server trusts \"https://id.example\""));
    }
    // Before the times: a new token of the same issuer would not help.
    assert!(verify(json!({"exp": 0})).unwrap_err().contains("issuer"));
}

#[test]
fn info_stays_as_it_was_written_on_one_line() {
    let token = |claims: &str| {
        let claims = format!("{{\"sub\":\"ada\",{claims}}}");
        signed_text(&claims)
    };
    let info = |claims: &str| verifier().verify(&token(claims), NOW).unwrap().info;
    let pretty = "\"info\": {\n  \"a\" : 1.10e0,\r\n\t\"b \\\" \\\\\" : [ \"x  y\", 12345678901234567890123 ]\n}";
    assert_eq!(info(pretty).unwrap().as_ref(), r#"{"a":1.10e0,"b \" \\":["x  y",12345678901234567890123]}"#);
    for encoded in [BASE64_STANDARD.encode("{\"b\": 2}"), BASE64_STANDARD_NO_PAD.encode("{\"b\": 2}")] {
        assert_eq!(info(&format!("\"info\":1,\"b64info\":{encoded:?}")).unwrap().as_ref(), "{\"b\":2}");
    }
    assert_eq!(info("\"info\":null"), None);
    let long = format!("\"info\":\"{}\"", "x".repeat(4095));
    assert_eq!(
        verifier().verify(&token(&long), NOW),
        Err(TokenError::Invalid("the claim info has 4097 bytes: at most 4096".into()))
    );
}

#[test]
fn grants_hold_in_their_rooms_alone() {
    let token = accepted(&json!({
        "channels": ["news", "a*"],
        "subs": {"desk": {"data": 1}},
        "rooms": {"team:*": ["join", "publish"], "team:a": ["history"], "*:log": ["presence"]},
    }));
    let allow = |room: &str| {
        let room = RoomName::parse(room).unwrap();
        let actions = [Action::Join, Action::Publish, Action::History, Action::Presence];
        actions.map(|action| token.grants.allow(&room, action))
    };
    assert_eq!(allow("news"), [true, false, true, true]);
    assert_eq!(allow("desk"), [true, false, true, true]);
    assert_eq!(allow("a*"), [true, false, true, true], "a channel is a name, not a pattern");
    assert_eq!(allow("ab"), [false; 4]);
    assert_eq!(allow("team:b"), [true, true, false, false]);
    assert_eq!(allow("team:a"), [true, true, true, false]);
    assert_eq!(allow("team:log"), [true, true, false, true]);
    assert_eq!(allow("team"), [false; 4]);
}

#[test]
fn rooms_and_patterns_of_grants_follow_the_rule_of_room_names() {
    for claims in [json!({"channels": ["a b"]}), json!({"subs": {"": {}}}), json!({"rooms": {"a\u{200b}": ["join"]}})] {
        let why = refused(&claims);
        assert!(why.contains("1 to 128 bytes"), "{why}");
    }
}

#[test]
fn a_token_of_a_subscription_and_claims_that_are_there_twice_are_refused() {
    assert!(refused(&json!({"sub": "ada", "channel": "news"})).contains("channel"));
    let twice = signed_text(r#"{"sub":"ada","sub":"bob"}"#);
    assert!(verifier().verify(&twice, NOW).unwrap_err().to_string().contains("each claim once"));
}

#[test]
fn a_token_names_at_most_256_rooms_and_patterns() {
    let rooms: Vec<String> = (0..256).map(|number| format!("r{number}")).collect();
    accepted(&json!({"sub": "ada", "channels": rooms}));
    let why = refused(&json!({"sub": "ada", "channels": rooms, "rooms": {"a*": ["join"]}}));
    assert_eq!(why, "a token that names 257 rooms and patterns exceeds 256");
    // A pattern that gives nothing is not kept.
    accepted(&json!({"sub": "ada", "channels": rooms, "rooms": {"a*": []}}));
}
