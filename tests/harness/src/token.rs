//! Tokens for the tests.

use jsonwebtoken::{EncodingKey, Header, encode};

/// A token of these claims, signed by HS256 with this secret.
#[track_caller]
pub fn token(secret: &str, claims: &serde_json::Value) -> String {
    token_with(&Header::default(), &EncodingKey::from_secret(secret.as_bytes()), claims)
}

/// A token with this header, signed with this key.
#[track_caller]
pub fn token_with(header: &Header, key: &EncodingKey, claims: &serde_json::Value) -> String {
    encode(header, claims, key).expect("a key of the algorithm")
}
