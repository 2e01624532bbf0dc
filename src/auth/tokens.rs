//! Tokens: JSON Web Tokens (RFC 7519) with the claims of Centrifugo, verified with keys that the operator gives.

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::UnixSeconds;
use super::claims::{Claims, given};
pub use super::keys::secret_in;
use super::keys::{Key, hmac_key, keys_of_set, public_key};
pub use super::token::{
    KeyError, ServerSideSubscription, SubscriptionToken, TOKEN_BYTES_MAX, Token, TokenChecks, TokenError,
};
use crate::protocol::names::{RoomName, shortened};
use crate::protocol::publication::UserId;

/// Verifies tokens with any number of keys.
pub struct TokenVerifier {
    checks: TokenChecks,
    keys: Vec<Key>,
}

/// The part of a token in front of its claims. Of the other members, `jku`, `jwk`, `x5u` and `x5c` would let a token
/// choose its own key, so they are not even read.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "given")]
    crit: Option<IgnoredAny>,
}

impl TokenVerifier {
    /// A verifier without keys, for which no token is valid.
    pub fn new(checks: TokenChecks) -> Self {
        Self { checks, keys: Vec::new() }
    }

    /// Adds the secret of HS256, HS384 and HS512 from the bytes of a file.
    ///
    /// # Errors
    /// The secret is too short.
    pub fn add_secret(&mut self, kid: &str, file: &[u8]) -> Result<(), KeyError> {
        self.keys.push(hmac_key(kid, secret_in(file))?);
        Ok(())
    }

    /// Adds a public key from the text of a PEM file.
    ///
    /// # Errors
    /// The text holds no RSA or ECDSA public key.
    pub fn add_public_key(&mut self, kid: &str, pem: &[u8]) -> Result<(), KeyError> {
        self.keys.push(public_key(kid, pem)?);
        Ok(())
    }

    /// Adds the keys of a JSON Web Key Set (RFC 7517) from the text of a file. Keys for encryption and keys of other
    /// types are left out.
    ///
    /// # Errors
    /// The text is no set of keys, or a key in it is wrong, or none can verify tokens.
    pub fn add_key_set(&mut self, json: &[u8]) -> Result<(), KeyError> {
        self.keys.extend(keys_of_set(json)?);
        Ok(())
    }

    /// Whether there is no key, so that no token can be valid.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys by `kid` and what each verifies, for the log and for operators: `2026 (HS256, HS384, HS512)`.
    pub fn describe(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(Key::describe).collect();
        if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
    }

    /// Verifies the token of a connection: its form, its signature, the type of each claim, its issuer and audience, and
    /// its times.
    ///
    /// # Errors
    /// The token is refused.
    pub fn verify(&self, token: &str, now: UnixSeconds) -> Result<Token, TokenError> {
        Claims::parse(&self.signed_claims(token)?)?.check(&self.checks, now)
    }

    /// Verifies the token of a subscription, as that of a connection. The caller compares its user, its room and its
    /// client with those of the connection.
    ///
    /// # Errors
    /// The token is refused.
    pub fn verify_subscription(&self, token: &str, now: UnixSeconds) -> Result<SubscriptionToken, TokenError> {
        Claims::parse(&self.signed_claims(token)?)?.check_subscription(&self.checks, now)
    }

    /// The claims of a token whose signature is right, as JSON that is not checked yet.
    fn signed_claims(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        if self.is_empty() {
            return Err(TokenError::invalid("this server has no key for tokens"));
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::invalid(format!("a token of {} bytes exceeds {TOKEN_BYTES_MAX}", token.len())));
        }
        let parts: Vec<&str> = token.split('.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err(TokenError::invalid("a token is three parts with a dot between them"));
        };
        self.verify_signature(header, &token[..header.len() + 1 + payload.len()], signature)?;
        decoded(payload, "claims")
    }

    fn verify_signature(&self, header: &str, signed: &str, signature: &str) -> Result<(), TokenError> {
        let header = decoded(header, "header")?;
        let Header { alg, kid, crit } = serde_json::from_slice(&header)
            .map_err(|_| TokenError::invalid("the header is no JSON object with the text alg"))?;
        if crit.is_some() {
            return Err(TokenError::invalid("the header has crit, and this server knows no extension of tokens"));
        }
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        if let Some(kid) = &kid {
            keys.retain(|key| key.kid == *kid);
            if keys.is_empty() {
                return Err(TokenError::invalid(format!("no key has the kid {:?}", shortened(kid))));
            }
        }
        let not_allowed = || TokenError::invalid(format!("signed with {}, and no key allows that", shown(&alg)));
        let algorithm = Algorithm::from_str(&alg).map_err(|_| not_allowed())?;
        keys.retain(|key| key.algorithms.contains(&algorithm));
        if keys.is_empty() {
            return Err(not_allowed());
        }
        if keys.iter().any(|key| key.verifies(signed, signature, algorithm)) {
            return Ok(());
        }
        Err(TokenError::invalid("the signature is of another key or another text"))
    }
}

/// What the application says of a client in an answer that nobody else can have written: the claims of a token without a
/// signature. The issuer and the audience are not compared, and they are issued now unless they say so.
///
/// # Errors
/// A claim has a wrong type, or the times are over.
pub fn identity_of_application(claims: &str, now: UnixSeconds) -> Result<Token, TokenError> {
    let token = Claims::parse(claims.as_bytes())?.check(&TokenChecks::default(), now)?;
    Ok(Token { issued_at: token.issued_at.or(Some(now)), ..token })
}

/// What the application says of the membership of this user in this room, as [`identity_of_application`] does: the claims
/// of a subscription token without `channel` and `sub`.
///
/// # Errors
/// A claim has a wrong type, or the times are over.
pub fn membership_of_application(
    claims: &str,
    room: RoomName,
    user: UserId,
    now: UnixSeconds,
) -> Result<SubscriptionToken, TokenError> {
    Claims::parse(claims.as_bytes())?.check_membership(room, user, now)
}

/// The name of an algorithm as a token gives it: as it is if it is a plain word.
fn shown(alg: &str) -> String {
    let is_word = !alg.is_empty() && alg.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { shortened(alg) } else { format!("{:?}", shortened(alg)) }
}

fn decoded(part: &str, name: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::invalid(format!("the {name} is not base64url")))
}
