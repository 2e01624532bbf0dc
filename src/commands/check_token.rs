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
use crate::auth::rights::Rights;
use crate::auth::tokens::{SubscriptionToken, Token, TokenError};
use crate::protocol::publication::UserId;

/// What the token of a file says, in words, and whether it is valid.
///
/// # Errors
/// The file cannot be read.
pub fn check_token(access: &Access, path: &Path) -> anyhow::Result<(String, Result<(), TokenError>)> {
    let text = read_token(path)?;
    let (token, now) = (text.trim(), now());
    let mut words = String::new();
    let (mut parts, mut is_of_subscription) = (token.split('.'), false);
    for name in ["header", "claims"] {
        let part = parts.next().context("no part").and_then(json);
        is_of_subscription = part.as_ref().is_ok_and(|claims| !claims["channel"].is_null());
        let part = part.and_then(|part| shown(&part));
        let _ = writeln!(words, "{name}: {}", part.unwrap_or_else(|error| format!("cannot be read: {error}")));
    }
    let _ = writeln!(words, "keys of this server: {}", access.tokens.describe());
    let verdict = match is_of_subscription {
        true => access.tokens.verify_subscription(token, now).map(|token| meaning_of_subscription(&token, now)),
        false => access.tokens.verify(token, now).map(|token| meaning(&token, now)),
    };
    match &verdict {
        Ok(meaning) => words += &format!("valid: yes\n{meaning}"),
        Err(error) => {
            let _ = writeln!(words, "valid: no, {error}");
        }
    }
    Ok((words, verdict.map(drop)))
}

/// A part of a token as JSON.
fn json(part: &str) -> anyhow::Result<Value> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).context("not base64url")?;
    serde_json::from_slice(&json).context("not JSON")
}

fn shown(value: &Value) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value).context("not JSON")?;
    // JSON may have control characters of Unicode, which a terminal would follow.
    Ok(text.replace(|character: char| character.is_control() && character != '\n', "\u{fffd}"))
}

/// What a valid token of a connection gives.
fn meaning(token: &Token, now: UnixSeconds) -> String {
    let label = token
        .label
        .as_ref()
        .map_or("that of a client without a nick".to_owned(), |label| format!("{label:?}", label = label.as_str()));
    let rooms: Vec<&str> = token.server_side.iter().map(|subscription| subscription.room.as_str()).collect();
    let rooms = if rooms.is_empty() { "none".to_owned() } else { rooms.join(" ") };
    format!(
        "user: {}\nlabel: {label}\nconnection ends: {}\nrights where a rule asks for a token:{}\nserver-side \
         subscriptions: {rooms}\n",
        user(&token.user),
        end(token.expires_at, now),
        token.grants
    )
}

/// What a valid token of a subscription gives.
fn meaning_of_subscription(token: &SubscriptionToken, now: UnixSeconds) -> String {
    let client = token.client.as_ref().map_or("any of the user".to_owned(), |client| format!("{client:?} alone"));
    format!(
        "a subscription to the room: {:?}\nuser: {}\nclient: {client}\nsubscription ends: {}\nrights where a rule asks \
         for a token: {}\n",
        token.room.as_str(),
        user(&token.user),
        end(token.expires_at, now),
        Rights::JOIN_AND_READ
    )
}

fn user(user: &UserId) -> String {
    if user.as_str().is_empty() { "nobody".to_owned() } else { format!("{:?}", user.as_str()) }
}

fn end(expires_at: Option<UnixSeconds>, UnixSeconds(now): UnixSeconds) -> String {
    match expires_at {
        Some(UnixSeconds(end)) => format!("{} s from now, unless it is renewed", end.saturating_sub(now)),
        None => "never".to_owned(),
    }
}
