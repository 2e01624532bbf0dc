//! `roomcast gen-token`: a token for trying out the rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::now;
use crate::access::{self, Access};
use crate::auth::UnixSeconds;
use crate::auth::tokens::secret_in;
use crate::config::{AccessRules, read_file};

/// The setting of the files with secrets.
const SETTING: &str = "token-secret-file";

/// What the token shall say.
pub struct TokenRequest {
    /// `sub`.
    pub user: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// `rooms`, each as in `team:*=join,publish`.
    pub rooms: Vec<String>,
    /// `channel`, which makes it the token of a subscription to this room.
    pub channel: Option<String>,
    /// Time until `exp`.
    pub expires: Duration,
    /// The secret that signs; the first if it is missing.
    pub kid: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rooms: BTreeMap<&'a str, Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

/// A token that a server with these settings accepts.
///
/// # Errors
/// No setting names a secret, the secret cannot be read, or such a token would be refused.
pub fn gen_token(rules: &AccessRules, request: &TokenRequest) -> anyhow::Result<String> {
    let (kid, secret) = secret(&rules.tokens.secret_files, request.kid.as_deref())?;
    let UnixSeconds(now) = now();
    let rooms = request.rooms.iter().map(|room| {
        // A room name may have = in it, a right does not.
        let (rooms, rights) =
            room.rsplit_once('=').with_context(|| format!("--room {room}: as in team:*=join,publish"))?;
        Ok((rooms, rights.split(',').map(str::trim).collect()))
    });
    let claims = Claims {
        sub: request.user.as_deref(),
        name: request.name.as_deref(),
        iss: rules.tokens.issuer.as_deref(),
        aud: rules.tokens.audience.as_deref(),
        iat: now,
        exp: now + request.expires.as_secs(),
        rooms: rooms.collect::<anyhow::Result<_>>()?,
        channel: request.channel.as_deref(),
    };
    let header = Header { kid: Some(kid), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(secret_in(&secret));
    let token = jsonwebtoken::encode(&header, &claims, &key).context("cannot sign")?;
    let (tokens, now) = (Access::load(rules)?.tokens, UnixSeconds(now));
    let verdict = match request.channel {
        Some(_) => tokens.verify_subscription(&token, now).map(drop),
        None => tokens.verify(&token, now).map(drop),
    };
    verdict.context("a server would refuse this token")?;
    Ok(token + "\n")
}

/// The secret that signs, and its name.
fn secret(files: &[PathBuf], wanted: Option<&str>) -> anyhow::Result<(String, Vec<u8>)> {
    if files.is_empty() {
        bail!(
            "no {SETTING}: make a secret with `openssl rand -base64 32 > secret.key`, then give --{SETTING} secret.key"
        );
    }
    for path in files {
        let kid = access::kid(SETTING, path)?;
        if wanted.is_none_or(|wanted| wanted == kid) {
            return Ok((kid, read_file(SETTING, path)?.0));
        }
    }
    Err(anyhow!("--kid {}: no {SETTING} of this name", wanted.unwrap_or_default()))
}
