//! Tokens. None is valid that our key has not signed, however it is written, and the claims of one that it has signed are
//! held to their limits.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use roomcast::auth::tokens::{TOKEN_BYTES_MAX, Token, TokenChecks, TokenVerifier};
use roomcast::auth::{INFO_BYTES_MAX, UnixSeconds};
use roomcast::protocol::json::{DEPTH_MAX, depth};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::input::choices;

/// The time at which tokens are verified.
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// The secret of the server.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The secret of somebody else.
const OTHER_SECRET: &[u8] = b"fedcba9876543210fedcba9876543210";

const HEADER: &str = r#"{"alg":"HS256"}"#;

/// Claims that give rights for ever.
const CLAIMS: &str = r#"{"sub":"ada","name":"Ada","rooms":{"a*":["join","publish"]},"channels":["a"]}"#;

/// The bytes as a token, as the claims of a token, and as changes to one.
pub fn token(input: &[u8]) {
    let (places, bytes) = choices::<4>(input);
    let mut verifier = TokenVerifier::new(TokenChecks::default());
    verifier.add_secret("main", SECRET).expect("a secret that is long enough");
    let Ok(text) = str::from_utf8(bytes) else { return };
    assert!(verifier.verify(text, NOW).is_err(), "nobody has signed it");
    assert!(verifier.verify_subscription(text, NOW).is_err(), "nobody has signed it");
    check_claims(&verifier, text);
    check_changed(&verifier, places, text);
    // The input may choose the header as well: no other algorithm, and no key but the server's.
    let (header, claims) = text.split_once('\n').unwrap_or((text, CLAIMS));
    assert!(verifier.verify(&signed(OTHER_SECRET, header, claims), NOW).is_err(), "somebody else has signed it");
    if verifier.verify(&signed(SECRET, header, claims), NOW).is_ok() {
        let header: Value = serde_json::from_str(header).expect("the header of a valid token is JSON");
        assert_eq!(header["alg"], "HS256");
    }
}

fn signed(secret: &[u8], header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256);
    format!("{text}.{}", signature.expect("a key that signs"))
}

/// What a token says is within its limits, and it is of a connection or of a subscription.
fn check_claims(verifier: &TokenVerifier, claims: &str) {
    let token = signed(SECRET, HEADER, claims);
    let (connection, subscription) = (verifier.verify(&token, NOW), verifier.verify_subscription(&token, NOW));
    assert!(connection.is_err() || subscription.is_err(), "no token is both");
    if let Ok(Token { user, label, info, server_side, expires_at, .. }) = connection {
        assert!(token.len() <= TOKEN_BYTES_MAX && user.as_str().len() <= 255);
        assert!(label.is_none_or(|label| (1..=64).contains(&label.as_str().len())));
        assert!(expires_at.is_none_or(|end| end >= NOW), "it has not expired");
        info.iter().for_each(|info| check_json(info));
        for subscription in server_side {
            [subscription.info, subscription.data].iter().flatten().for_each(|json| check_json(json));
        }
    }
    if let Ok(subscription) = subscription {
        [subscription.info, subscription.data].iter().flatten().for_each(|json| check_json(json));
    }
}

/// Others are sent it: JSON on one line, neither long nor deep.
fn check_json(json: &str) {
    assert!(json.len() <= INFO_BYTES_MAX && depth(json) <= DEPTH_MAX && !json.contains(['\n', '\r']));
    assert!(serde_json::from_str::<&RawValue>(json).is_ok());
}

/// A token that was changed is refused, unless it is still the same token.
fn check_changed(verifier: &TokenVerifier, [high, low, cut, piece]: [u8; 4], text: &str) {
    let token = signed(SECRET, HEADER, CLAIMS);
    let original = verifier.verify(&token, NOW).expect("it is valid");
    let at = usize::from(u16::from_be_bytes([high, low])) % token.len();
    let end = token.len().min(at + usize::from(cut % 8));
    let inserted: String = text.chars().take(usize::from(piece % 8)).collect();
    let changed = [&token[..at], &inserted, &token[end..]].concat();
    let accepted = verifier.verify(&changed, NOW);
    let is_same_text = changed.rsplit_once('.').map(|(text, _)| text) == token.rsplit_once('.').map(|(text, _)| text);
    if is_same_text {
        assert!(accepted.is_err() || accepted == Ok(original));
    } else {
        assert!(accepted.is_err(), "{changed}");
    }
}
