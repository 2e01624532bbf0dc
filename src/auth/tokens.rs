//! Tokens: JSON Web Tokens (RFC 7519) with the claims of Centrifugo, verified with keys that the operator gives.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::UnixSeconds;
use crate::protocol::names::Label;
use crate::protocol::publication::UserId;

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What a valid token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// `sub`; nobody if it is missing.
    pub user: UserId,
    /// `name`, else `sub`. `None` if the token has neither.
    pub label: Option<Label>,
    /// `info` or `b64info`, as one JSON value on one line.
    pub info: Option<Arc<str>>,
    /// `jti`.
    pub id: Option<Arc<str>>,
    /// `iat`.
    pub issued_at: Option<UnixSeconds>,
    /// `expire_at`, else `exp`. `None` for a connection that does not expire.
    pub expires_at: Option<UnixSeconds>,
    /// The rooms in which the token gives rights, and which.
    pub grants: Grants,
}

/// Rights that a token gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants {}

/// Why a token is refused. The text never repeats the token, nor a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It was valid, or will be: a new one may help.
    #[error("{0}")]
    OutOfTime(String),
    /// It is no token of ours.
    #[error("{0}")]
    Invalid(String),
}

/// What makes a token valid besides its signature.
#[derive(Clone, Debug, Default)]
pub struct TokenChecks {
    /// The issuer that it must name.
    pub issuer: Option<String>,
    /// The audience that it must name.
    pub audience: Option<String>,
    /// Difference of clocks that it may show.
    pub leeway: Duration,
}

/// Verifies tokens with any number of keys.
pub struct TokenVerifier {
    checks: TokenChecks,
}

/// Why a file holds no key. The text never repeats the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeyError(pub String);

impl TokenVerifier {
    /// A verifier without keys, for which no token is valid.
    pub fn new(checks: TokenChecks) -> Self {
        Self { checks }
    }

    /// Whether no token is valid.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Adds the secret of HS256, HS384 and HS512 from the bytes of a file.
    ///
    /// # Errors
    /// The secret is too short.
    pub fn add_secret(&mut self, _kid: &str, _file: &[u8]) -> Result<(), KeyError> {
        Ok(())
    }

    /// Adds a public key from the text of a PEM file.
    ///
    /// # Errors
    /// The text holds no RSA or ECDSA public key.
    pub fn add_public_key(&mut self, _kid: &str, _pem: &[u8]) -> Result<(), KeyError> {
        Ok(())
    }

    /// Adds the keys of a JSON Web Key Set from the text of a file.
    ///
    /// # Errors
    /// The text is no set of keys, or a key in it cannot verify tokens.
    pub fn add_key_set(&mut self, _json: &[u8]) -> Result<(), KeyError> {
        Ok(())
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// The token is refused.
    pub fn verify(&self, _token: &str, _now: UnixSeconds) -> Result<Token, TokenError> {
        let _ = &self.checks;
        Err(TokenError::Invalid("no keys".to_owned()))
    }
}
