//! The types that claims may have: each function takes a claim as it stands in the token, and refuses another type with
//! the claim's name and the right type.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::UnixSeconds;
use super::token::TokenError;
use crate::protocol::json::{DEPTH_MAX, depth, on_one_line};
use crate::protocol::names::{NameError, RoomName, shortened};

/// The longest `info` and the longest `data`, in bytes of JSON without white space. Presence and join events repeat the
/// `info`.
pub const INFO_BYTES_MAX: usize = 4 * 1024;

/// Base64 as libraries write it, with padding or without.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) const TEXT: &str = "a string";
const TIME: &str = "a number of seconds since 1970";
const OVERRIDE: &str = "an object of switches, as in {\"presence\": {\"value\": true}}";

/// A claim of this type; the text says which type is right.
pub(super) fn typed<'a, T: Deserialize<'a>>(
    claim: &str,
    value: Option<&'a RawValue>,
    right: &str,
) -> Result<Option<T>, TokenError> {
    let value = value.map(|value| serde_json::from_str(value.get())).transpose();
    value.map_err(|_| TokenError::invalid(format!("the claim {claim} must be {right}")))
}

/// A time (NumericDate, RFC 7519 §2): whole or not, never negative.
pub(super) fn time(claim: &str, value: Option<&RawValue>) -> Result<Option<f64>, TokenError> {
    match typed::<f64>(claim, value, TIME)? {
        Some(seconds) if seconds < 0.0 => Err(TokenError::invalid(format!("the claim {claim} must be {TIME}"))),
        seconds => Ok(seconds),
    }
}

/// Whole seconds; a time beyond all calendars is the last of them.
pub(super) fn unix_seconds(seconds: f64) -> UnixSeconds {
    UnixSeconds(seconds as u64)
}

pub(super) fn named(claim: &str, error: &NameError) -> TokenError {
    TokenError::invalid(format!("the claim {claim} {error}"))
}

/// A room under its very name. An SDK looks for its channel under the name that it has sent, so a name that the server
/// would write in another form of Unicode is refused.
pub(super) fn room(claim: &str, name: &str) -> Result<RoomName, TokenError> {
    let room = RoomName::parse(name).map_err(|error| named(claim, &error))?;
    if room.as_str() == name {
        return Ok(room);
    }
    Err(TokenError::invalid(format!("the claim {claim} {:?}: the name of a room must be in NFC", shortened(name))))
}

/// JSON of the application, on one line: `NAME`, or in its place `b64NAME` in base64. The prefix is that of both claims
/// in an error.
pub(super) fn json(
    prefix: &str,
    name: &str,
    plain: Option<&RawValue>,
    encoded: Option<&RawValue>,
) -> Result<Option<Arc<str>>, TokenError> {
    let encoded_name = format!("{prefix}b64{name}");
    let wrong = |what: &str| TokenError::invalid(format!("the claim {encoded_name} {what}"));
    let Some(encoded) = typed::<String>(&encoded_name, encoded, "base64 of JSON")? else {
        return plain.map(|json| bounded(&format!("{prefix}{name}"), json.get())).transpose();
    };
    let json = BASE64.decode(encoded).map_err(|_| wrong("is not base64"))?;
    let json: &RawValue = serde_json::from_slice(&json).map_err(|_| wrong("is no JSON in base64"))?;
    bounded(&encoded_name, json.get()).map(Some)
}

/// JSON on one line, not too long and not nested too deeply for its readers. Its texts and numbers stay as they were
/// written.
fn bounded(claim: &str, json: &str) -> Result<Arc<str>, TokenError> {
    let json = on_one_line(json);
    let (bytes, depth) = (json.len(), depth(&json));
    if bytes > INFO_BYTES_MAX {
        return Err(TokenError::invalid(format!("the claim {claim} has {bytes} bytes: at most {INFO_BYTES_MAX}")));
    }
    if depth > DEPTH_MAX {
        return Err(TokenError::invalid(format!("the claim {claim} has {depth} levels of JSON: at most {DEPTH_MAX}")));
    }
    Ok(json.into())
}

/// Checks the type of an `override`. It has no effect: a room is the same for all of its members, by its rule.
pub(super) fn check_override(claim: &str, value: Option<&RawValue>) -> Result<(), TokenError> {
    typed::<BTreeMap<String, Option<BTreeMap<String, bool>>>>(claim, value, OVERRIDE).map(drop)
}
