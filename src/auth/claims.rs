//! The claims of a token whose signature is right: their types, their times, and what they give.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::UnixSeconds;
use super::grants::Grants;
use super::pattern::Pattern;
use super::rights::{Action, Rights};
use super::token::{Token, TokenChecks, TokenError};
use crate::protocol::json::on_one_line;
use crate::protocol::names::{Label, NameError, RoomName, shortened, unseen};
use crate::protocol::publication::UserId;

/// The rooms and patterns that a token may name. They are kept with its client, about 100 bytes each, and looked through
/// at each join.
const GRANTS_MAX: usize = 256;

/// The longest `sub`, in bytes.
const USER_BYTES_MAX: usize = 255;

/// The longest `info`, in bytes of JSON without white space. Presence and join events repeat it.
const INFO_BYTES_MAX: usize = 4 * 1024;

/// `b64info` as libraries write it, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const TEXT: &str = "a string";
const TIME: &str = "a number of seconds since 1970";
const ROOMS: &str = "an object of room patterns, each with a list of rights";

/// Claims as they stand in the token; others are ignored. `null` is as good as missing, but not for a time: a token that
/// was meant to expire must not live for ever.
#[derive(Deserialize)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    iss: Option<&'a RawValue>,
    aud: Option<&'a RawValue>,
    jti: Option<&'a RawValue>,
    info: Option<&'a RawValue>,
    b64info: Option<&'a RawValue>,
    channels: Option<&'a RawValue>,
    subs: Option<&'a RawValue>,
    rooms: Option<&'a RawValue>,
    channel: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    exp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    nbf: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    iat: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    expire_at: Option<&'a RawValue>,
}

/// The recipients of a token: one or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A value that counts as given even if it is `null`.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'a> Claims<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, TokenError> {
        serde_json::from_slice(json)
            .map_err(|_| TokenError::invalid("the claims are no JSON object in UTF-8 that has each claim once"))
    }

    /// What the token says, if it is for this server and for now.
    pub(super) fn check(&self, checks: &TokenChecks, now: UnixSeconds) -> Result<Token, TokenError> {
        if self.channel.is_some() {
            return Err(TokenError::invalid(
                "it has the claim channel: a token of a subscription, not of a connection",
            ));
        }
        let token = self.token()?;
        self.check_origin(checks)?;
        self.check_times(checks, now)?;
        Ok(token)
    }

    fn token(&self) -> Result<Token, TokenError> {
        let user: String = typed("sub", self.sub, TEXT)?.unwrap_or_default();
        if user.len() > USER_BYTES_MAX || unseen(&user).is_some() {
            let rule = format!("at most {USER_BYTES_MAX} bytes, no characters that show nothing");
            return Err(TokenError::invalid(format!("the claim sub {:?}: {rule}", shortened(&user))));
        }
        let expires_at = match (time("expire_at", self.expire_at)?, time("exp", self.exp)?) {
            (Some(0.0), _) => None,
            (expire_at, exp) => expire_at.or(exp),
        };
        Ok(Token {
            label: self.label(&user)?,
            user: UserId::new(&user),
            info: self.info()?,
            id: typed::<String>("jti", self.jti, TEXT)?.map(Arc::from),
            issued_at: time("iat", self.iat)?.map(unix_seconds),
            expires_at: expires_at.map(unix_seconds),
            grants: self.grants()?,
        })
    }

    fn label(&self, user: &str) -> Result<Option<Label>, TokenError> {
        match typed::<String>("name", self.name, TEXT)? {
            Some(name) => Label::of_user(&name).map(Some).map_err(|error| named("name", &error)),
            None if user.is_empty() => Ok(None),
            None => Label::of_user(user)
                .map(Some)
                .map_err(|error| TokenError::invalid(format!("give the token a name: its sub cannot be one: {error}"))),
        }
    }

    fn info(&self) -> Result<Option<Arc<str>>, TokenError> {
        let wrong = |what: &str| TokenError::invalid(format!("the claim {what}"));
        let Some(encoded) = typed::<String>("b64info", self.b64info, "base64 of JSON")? else {
            return self.info.map(|info| bounded("info", info.get())).transpose();
        };
        let json = BASE64.decode(encoded).map_err(|_| wrong("b64info is not base64"))?;
        let json: &RawValue = serde_json::from_slice(&json).map_err(|_| wrong("b64info is no JSON in base64"))?;
        bounded("b64info", json.get()).map(Some)
    }

    fn grants(&self) -> Result<Grants, TokenError> {
        let member = Rights::of([Action::Join, Action::History, Action::Presence]);
        let mut grants = Grants::default();
        let channels = typed::<Vec<String>>("channels", self.channels, "a list of room names")?.unwrap_or_default();
        let subs = typed::<BTreeMap<String, BTreeMap<String, IgnoredAny>>>(
            "subs",
            self.subs,
            "an object of room names, each with an object",
        )?
        .unwrap_or_default();
        let rooms = channels.iter().map(|room| ("channels", room)).chain(subs.keys().map(|room| ("subs", room)));
        for (claim, room) in rooms {
            grants.add_room(RoomName::parse(room).map_err(|error| named(claim, &error))?, member);
        }
        for (rooms, words) in typed::<BTreeMap<String, Vec<String>>>("rooms", self.rooms, ROOMS)?.unwrap_or_default() {
            let rooms = Pattern::parse(&rooms).map_err(|error| named("rooms", &error))?;
            let actions = words.iter().map(|word| {
                let unknown =
                    |_| format!("the claim rooms: {:?} is none of join, publish, history, presence", shortened(word));
                word.parse::<Action>().map_err(|error| TokenError::Invalid(unknown(error)))
            });
            grants.add_rooms(rooms, Rights::of(actions.collect::<Result<Vec<_>, _>>()?));
        }
        match grants.len() {
            ..=GRANTS_MAX => Ok(grants),
            more => {
                Err(TokenError::invalid(format!("a token that names {more} rooms and patterns exceeds {GRANTS_MAX}")))
            }
        }
    }

    /// Checks the issuer and the audience.
    fn check_origin(&self, checks: &TokenChecks) -> Result<(), TokenError> {
        let issuer: Option<String> = typed("iss", self.iss, TEXT)?;
        let audience = typed("aud", self.aud, "a string or a list of strings")?;
        if let Some(wanted) = &checks.issuer
            && issuer.as_ref() != Some(wanted)
        {
            let given = issuer.map_or("none".to_owned(), |issuer| format!("{:?}", shortened(&issuer)));
            return Err(TokenError::invalid(format!("the issuer (iss) is {given}, and this server trusts {wanted:?}")));
        }
        let is_for = |wanted: &String| match &audience {
            Some(Audience::One(audience)) => audience == wanted,
            Some(Audience::Several(audiences)) => audiences.contains(wanted),
            None => false,
        };
        match &checks.audience {
            Some(wanted) if !is_for(wanted) => {
                Err(TokenError::invalid(format!("it is for another audience (aud): this server is {wanted:?}")))
            }
            _ => Ok(()),
        }
    }

    fn check_times(&self, checks: &TokenChecks, UnixSeconds(now): UnixSeconds) -> Result<(), TokenError> {
        let (now, leeway) = (now as f64, checks.leeway.as_secs_f64());
        let (exp, expire_at, nbf) =
            (time("exp", self.exp)?, time("expire_at", self.expire_at)?, time("nbf", self.nbf)?);
        for (end, what) in [(exp, "expired"), (expire_at.filter(|&end| end != 0.0), "its connection expired")] {
            if let Some(end) = end.filter(|end| now > end + leeway) {
                return Err(TokenError::OutOfTime(format!("{what} {:.0} s ago", (now - end).floor())));
            }
        }
        match nbf.filter(|begin| now + leeway < *begin) {
            Some(begin) => {
                Err(TokenError::OutOfTime(format!("not valid before {:.0} s from now", (begin - now).ceil())))
            }
            None => Ok(()),
        }
    }
}

/// A claim of this type; the text says which type is right.
fn typed<T: DeserializeOwned>(claim: &str, value: Option<&RawValue>, right: &str) -> Result<Option<T>, TokenError> {
    let value = value.map(|value| serde_json::from_str(value.get())).transpose();
    value.map_err(|_| TokenError::invalid(format!("the claim {claim} must be {right}")))
}

/// A time (NumericDate, RFC 7519 §2): whole or not, never negative.
fn time(claim: &str, value: Option<&RawValue>) -> Result<Option<f64>, TokenError> {
    match typed::<f64>(claim, value, TIME)? {
        Some(seconds) if seconds < 0.0 => Err(TokenError::invalid(format!("the claim {claim} must be {TIME}"))),
        seconds => Ok(seconds),
    }
}

/// Whole seconds; a time beyond all calendars is the last of them.
fn unix_seconds(seconds: f64) -> UnixSeconds {
    UnixSeconds(seconds as u64)
}

fn named(claim: &str, error: &NameError) -> TokenError {
    TokenError::invalid(format!("the claim {claim} {error}"))
}

/// JSON on one line and not too long. Its texts and numbers stay as they were written.
fn bounded(claim: &str, json: &str) -> Result<Arc<str>, TokenError> {
    let json = on_one_line(json);
    if json.len() > INFO_BYTES_MAX {
        return Err(TokenError::invalid(format!(
            "the claim {claim} has {} bytes: at most {INFO_BYTES_MAX}",
            json.len()
        )));
    }
    Ok(Arc::from(&*json))
}
