//! Tokens, keys, rules and API keys: what is accepted, and why everything else is refused.

mod access;
mod any_input;
mod api_keys;
mod claims;
mod forged;
mod keys;
mod rights;
mod subscriptions;

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roomcast::auth::UnixSeconds;
use roomcast::auth::tokens::{Token, TokenChecks, TokenError, TokenVerifier};
use roomcast::config::{AccessRules, Config, Invocation};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// The time at which the tests verify.
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// A secret of 32 bytes.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Who may do what by the text of a settings file.
fn access_rules(text: &str) -> AccessRules {
    let file = NamedTempFile::new().expect("a file");
    fs::write(&file, text).expect("a file");
    let path = file.path().to_str().expect("a path in UTF-8");
    let settings = Invocation::parse(["roomcast", "--config", path]).expect("settings").settings;
    Config::try_from(settings).expect("settings within their rules").access
}

/// A verifier with the key `main`, which has the secret.
fn verifier() -> TokenVerifier {
    verifier_with(TokenChecks::default())
}

fn verifier_with(checks: TokenChecks) -> TokenVerifier {
    let mut verifier = TokenVerifier::new(checks);
    verifier.add_secret("main", SECRET).expect("a secret that is long enough");
    verifier
}

/// A token with these claims, signed with the secret.
fn signed(claims: &Value) -> String {
    signed_with(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET))
}

fn signed_with(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).expect("a key that signs")
}

/// What a token with these claims says.
#[track_caller]
fn accepted(claims: &Value) -> Token {
    verifier().verify(&signed(claims), NOW).expect("a token that is valid")
}

/// Why a token with these claims is no token of ours.
#[track_caller]
fn refused(claims: &Value) -> String {
    match verifier().verify(&signed(claims), NOW) {
        Err(TokenError::Invalid(why)) => why,
        other => panic!("{claims}: {other:?}"),
    }
}

/// Claims of a user that never expire.
fn ada() -> Value {
    json!({"sub": "ada"})
}

/// A token with this text in place of its claims, signed with the secret.
fn signed_text(claims: &str) -> String {
    signed_texts(r#"{"alg":"HS256"}"#, claims)
}

/// A token with these texts in place of its header and its claims, signed with the secret under HS256.
fn signed_texts(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    format!("{text}.{}", signature.expect("a key that signs"))
}
