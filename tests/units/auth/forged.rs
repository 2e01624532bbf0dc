//! Tokens that somebody else has made or changed.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roomcast::auth::tokens::{TOKEN_BYTES_MAX, TokenChecks, TokenError, TokenVerifier};
use serde_json::json;

use super::keys::Pair;
use super::{NOW, SECRET, ada, signed, signed_text, signed_texts, signed_with, verifier};

#[track_caller]
fn refused(verifier: &TokenVerifier, token: &str) -> String {
    match verifier.verify(token, NOW) {
        Err(TokenError::Invalid(why)) => {
            assert!(token.len() < 8 || !why.contains(token), "{why} shows the token");
            why
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_without_a_signature_is_refused_however_its_algorithm_is_written() {
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256 "] {
        let token = signed_texts(&json!({"alg": alg}).to_string(), r#"{"sub":"ada"}"#);
        let cut = &token[..=token.rfind('.').unwrap()];
        for token in [cut, token.as_str()] {
            let why = refused(&verifier(), token);
            assert!(why.starts_with("signed with ") && why.ends_with(", and no key allows that"), "{why}");
        }
    }
    let (text, _) = signed(&ada()).rsplit_once('.').map(|(text, _)| (text.to_owned(), ())).unwrap();
    for token in [format!("{text}."), format!("{text}.AAAA"), format!("{text}.*")] {
        assert!(refused(&verifier(), &token).contains("signature"));
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    let pair = Pair::rsa();
    let mut verifier = TokenVerifier::new(TokenChecks::default());
    verifier.add_public_key("web", pair.public.as_bytes()).unwrap();
    for kid in [None, Some("web".to_owned())] {
        for secret in [pair.public.as_bytes(), pair.public.trim().as_bytes()] {
            let header = Header { kid: kid.clone(), ..Header::new(Algorithm::HS256) };
            let token = signed_with(&header, &ada(), &EncodingKey::from_secret(secret));
            assert_eq!(refused(&verifier, &token), "signed with HS256, and no key allows that");
        }
    }
    // Nor beside a secret: the key of that name verifies no HS256.
    verifier.add_secret("main", SECRET).unwrap();
    let header = Header { kid: Some("web".to_owned()), ..Header::new(Algorithm::HS256) };
    let token = signed_with(&header, &ada(), &EncodingKey::from_secret(pair.public.as_bytes()));
    assert_eq!(refused(&verifier, &token), "signed with HS256, and no key allows that");
}

#[test]
fn a_key_verifies_only_what_it_has_signed() {
    let (ours, theirs) = (Pair::p256(), Pair::p256());
    let mut verifier = TokenVerifier::new(TokenChecks::default());
    verifier.add_public_key("web", ours.public.as_bytes()).unwrap();
    let token = |pair: &Pair| signed_with(&Header::new(Algorithm::ES256), &ada(), &pair.signer(Algorithm::ES256));
    assert!(verifier.verify(&token(&ours), NOW).is_ok());
    assert_eq!(refused(&verifier, &token(&theirs)), "the signature is of another key or another text");
}

#[test]
fn a_token_cannot_bring_its_own_key() {
    let theirs = Pair::p256();
    let key = theirs.signer(Algorithm::ES256);
    let url = "https://attacker.example/keys.json".to_owned();
    let certificate = "MIIB".to_owned();
    for header in [
        Header { jku: Some(url.clone()), ..Header::new(Algorithm::ES256) },
        Header { x5u: Some(url), ..Header::new(Algorithm::ES256) },
        Header { x5c: Some(vec![certificate]), ..Header::new(Algorithm::ES256) },
    ] {
        assert_eq!(
            refused(&verifier(), &signed_with(&header, &ada(), &key)),
            "signed with ES256, and no key allows that"
        );
    }
    // Our own token may name them: they are not read.
    let token = signed_texts(r#"{"alg":"HS256","jku":1,"x5u":[],"x5c":{},"jwk":"k","typ":7}"#, r#"{"sub":"ada"}"#);
    assert!(verifier().verify(&token, NOW).is_ok());
}

#[test]
fn an_unknown_kid_is_refused() {
    for (kid, shown) in [("other", "\"other\""), ("../main", "\"../main\""), ("a\nb", "\"a\\nb\""), ("", "\"\"")] {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = signed_with(&header, &ada(), &EncodingKey::from_secret(SECRET));
        assert_eq!(refused(&verifier(), &token), format!("no key has the kid {shown}"));
    }
}

#[test]
fn an_extension_that_must_be_understood_is_refused() {
    for crit in ["[\"b64\"]", "[]", "null"] {
        let token = signed_texts(&format!("{{\"alg\":\"HS256\",\"crit\":{crit}}}"), r#"{"sub":"ada"}"#);
        assert!(refused(&verifier(), &token).contains("crit"));
    }
}

#[test]
fn an_algorithm_that_no_key_has_is_refused() {
    let header = r#"{"alg":"HS384","kid":"main"}"#;
    assert!(refused(&verifier(), &signed_texts(header, "{}")).contains("signature"));
    for alg in ["RS256", "ES256", "EdDSA", "ES256K", "hs256"] {
        let token = signed_texts(&format!("{{\"alg\":\"{alg}\"}}"), "{}");
        assert_eq!(refused(&verifier(), &token), format!("signed with {alg}, and no key allows that"));
    }
}

#[test]
fn what_is_no_token_is_refused_with_what_one_is() {
    let long = signed_text(&format!("{{\"sub\":\"{}\"}}", "x".repeat(64 * 1024)));
    assert_eq!(refused(&verifier(), &long), format!("a token of {} bytes exceeds {TOKEN_BYTES_MAX}", long.len()));
    for (token, part) in [
        ("", "three parts"),
        ("a.b", "three parts"),
        ("a.b.c.d.e", "three parts"),
        ("..", "the header is no JSON"),
        ("e30.e30.", "the header is no JSON"),
        ("*.e30.", "the header is not base64url"),
        ("é.ü.ß", "the header is not base64url"),
    ] {
        assert!(refused(&verifier(), token).contains(part), "{token}");
    }
    for claims in ["", "[]", "1", "null", "{", "{}{}", "\u{feff}{}"] {
        assert!(refused(&verifier(), &signed_text(claims)).contains("the claims are no JSON object"), "{claims}");
    }
    for header in ["[]", "{}", r#"{"alg":1}"#, r#"{"alg":"HS256","alg":"none"}"#, r#"{"alg":"HS256","kid":1}"#] {
        assert!(refused(&verifier(), &signed_texts(header, "{}")).contains("the header is no JSON"), "{header}");
    }
}

#[test]
fn without_keys_no_token_is_valid() {
    let verifier = TokenVerifier::new(TokenChecks::default());
    assert!(verifier.is_empty());
    assert_eq!(refused(&verifier, &signed(&ada())), "this server has no key for tokens");
}

#[test]
fn a_claim_may_be_nested_as_deep_as_a_token_is_long_but_for_what_others_read() {
    let depth = 2_000;
    let verify = |claim: &str| {
        let nested = "[".repeat(depth) + &"]".repeat(depth);
        verifier().verify(&signed_text(&format!("{{\"{claim}\":{nested}}}")), NOW)
    };
    assert!(verify("other").is_ok());
    for claim in ["info", "sub", "rooms", "subs", "channels"] {
        let why = verify(claim).unwrap_err().to_string();
        assert!(why.starts_with(&format!("the claim {claim} ")), "{why}");
    }
}
