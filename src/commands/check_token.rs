//! `roomcast check-token`: what a token says, and whether a server accepts it.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{now, read_token};
use crate::access::Access;
use crate::auth::UnixSeconds;
use crate::auth::tokens::{Token, TokenError};

/// What the token of a file says, in words, and whether it is valid.
///
/// # Errors
/// The file cannot be read.
pub fn check_token(access: &Access, path: &Path) -> anyhow::Result<(String, Result<(), TokenError>)> {
    let text = read_token(path)?;
    let (token, now) = (text.trim(), now());
    let mut words = String::new();
    let mut parts = token.split('.');
    for name in ["header", "claims"] {
        let part = parts.next().context("no part").and_then(shown);
        let _ = writeln!(words, "{name}: {}", part.unwrap_or_else(|error| format!("cannot be read: {error}")));
    }
    let _ = writeln!(words, "keys of this server: {}", access.tokens.describe());
    let verdict = access.tokens.verify(token, now);
    match &verdict {
        Ok(token) => words += &format!("valid: yes\n{}", meaning(token, now)),
        Err(error) => {
            let _ = writeln!(words, "valid: no, {error}");
        }
    }
    Ok((words, verdict.map(drop)))
}

/// A part of a token as JSON.
fn shown(part: &str) -> anyhow::Result<String> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).context("not base64url")?;
    let value: Value = serde_json::from_slice(&json).context("not JSON")?;
    let text = serde_json::to_string_pretty(&value).context("not JSON")?;
    // JSON may have control characters of Unicode, which a terminal would follow.
    Ok(text.replace(|character: char| character.is_control() && character != '\n', "\u{fffd}"))
}

/// What a valid token gives.
fn meaning(token: &Token, UnixSeconds(now): UnixSeconds) -> String {
    let user = if token.names_user() { format!("{:?}", token.user.as_str()) } else { "nobody".to_owned() };
    let label = token
        .label
        .as_ref()
        .map_or("that of a client without a nick".to_owned(), |label| format!("{label:?}", label = label.as_str()));
    let end = match token.expires_at {
        Some(UnixSeconds(end)) => format!("{} s from now, unless it is renewed", end.saturating_sub(now)),
        None => "never".to_owned(),
    };
    format!(
        "user: {user}\nlabel: {label}\nconnection ends: {end}\nrights where a rule asks for a token:{}\n",
        token.grants
    )
}
