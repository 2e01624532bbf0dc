//! The claims of a token whose signature is right: their types, their times, and what they give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::UnixSeconds;
use super::claim_types::{TEXT, check_override, json, named, room, time, typed, unix_seconds};
use super::grants::Grants;
use super::pattern::Pattern;
use super::rights::{Action, Rights};
use super::token::{ServerSideSubscription, SubscriptionToken, Token, TokenChecks, TokenError};
use crate::protocol::names::{Label, RoomName, shortened, unseen};
use crate::protocol::publication::UserId;

/// The rooms and patterns that a token may name. They are kept with its client, about 100 bytes each, and looked through
/// at each join.
const GRANTS_MAX: usize = 256;

/// The longest `sub`, in bytes.
const USER_BYTES_MAX: usize = 255;

const SUBSCRIPTIONS: &str = "an object of room names, each with an object";
const ROOMS: &str = "an object of room patterns, each with a list of rights";

/// The value of a room in `subs`.
type SubscriptionClaims<'a> = BTreeMap<String, Option<&'a RawValue>>;

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
    client: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    b64data: Option<&'a RawValue>,
    r#override: Option<&'a RawValue>,
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

    /// What the token of a connection says, if it is for this server and for now.
    pub(super) fn check(&self, checks: &TokenChecks, now: UnixSeconds) -> Result<Token, TokenError> {
        if self.channel.is_some() {
            return Err(TokenError::invalid(
                "it has the claim channel: a token of a subscription, not of a connection",
            ));
        }
        let token = self.token()?;
        self.check_origin(checks)?;
        self.check_times("connection", checks, now)?;
        Ok(token)
    }

    /// What the token of a subscription says, if it is for this server and for now.
    pub(super) fn check_subscription(
        &self,
        checks: &TokenChecks,
        now: UnixSeconds,
    ) -> Result<SubscriptionToken, TokenError> {
        let Some(channel) = typed::<String>("channel", self.channel, "a room name")? else {
            return Err(TokenError::invalid("it has no claim channel: a token of a connection, not of a subscription"));
        };
        let (room, user) = (room("channel", &channel)?, UserId::new(&self.user()?));
        let token = self.subscription_token(room, user)?;
        self.check_origin(checks)?;
        self.check_times("subscription", checks, now)?;
        Ok(token)
    }

    /// What the application says of the membership of this user in this room, if it is for now.
    pub(super) fn check_membership(
        &self,
        room: RoomName,
        user: UserId,
        now: UnixSeconds,
    ) -> Result<SubscriptionToken, TokenError> {
        if self.channel.is_some() || self.sub.is_some() || self.client.is_some() {
            return Err(TokenError::invalid("it has channel, sub or client: a membership is of the client that asked"));
        }
        self.check_times("subscription", &TokenChecks::default(), now)?;
        self.subscription_token(room, user)
    }

    fn token(&self) -> Result<Token, TokenError> {
        let user = self.user()?;
        let server_side = self.server_side()?;
        Ok(Token {
            label: self.label(&user)?,
            user: UserId::new(&user),
            info: json("", "info", self.info, self.b64info)?,
            id: self.id()?,
            issued_at: self.issued_at()?,
            expires_at: self.expires_at()?,
            grants: self.grants(&server_side)?,
            server_side,
        })
    }

    fn subscription_token(&self, room: RoomName, user: UserId) -> Result<SubscriptionToken, TokenError> {
        check_override("override", self.r#override)?;
        Ok(SubscriptionToken {
            user,
            room,
            client: typed::<String>("client", self.client, TEXT)?.filter(|client| !client.is_empty()),
            info: json("", "info", self.info, self.b64info)?,
            data: json("", "data", self.data, self.b64data)?,
            id: self.id()?,
            issued_at: self.issued_at()?,
            expires_at: self.expires_at()?,
        })
    }

    fn user(&self) -> Result<String, TokenError> {
        let user: String = typed("sub", self.sub, TEXT)?.unwrap_or_default();
        if user.len() > USER_BYTES_MAX || unseen(&user).is_some() {
            let rule = format!("at most {USER_BYTES_MAX} bytes, no characters that show nothing");
            return Err(TokenError::invalid(format!("the claim sub {:?}: {rule}", shortened(&user))));
        }
        Ok(user)
    }

    fn id(&self) -> Result<Option<Arc<str>>, TokenError> {
        Ok(typed::<String>("jti", self.jti, TEXT)?.map(Arc::from))
    }

    fn issued_at(&self) -> Result<Option<UnixSeconds>, TokenError> {
        Ok(time("iat", self.iat)?.map(unix_seconds))
    }

    fn expires_at(&self) -> Result<Option<UnixSeconds>, TokenError> {
        let expires_at = match (time("expire_at", self.expire_at)?, time("exp", self.exp)?) {
            (Some(0.0), _) => None,
            (expire_at, exp) => expire_at.or(exp),
        };
        Ok(expires_at.map(unix_seconds))
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

    /// The subscriptions of `channels` and `subs`, each room once. One that both name is as `subs` says.
    fn server_side(&self) -> Result<Vec<ServerSideSubscription>, TokenError> {
        let channels: BTreeSet<String> = typed("channels", self.channels, "a list of room names")?.unwrap_or_default();
        let subs: BTreeMap<String, SubscriptionClaims<'_>> =
            typed("subs", self.subs, SUBSCRIPTIONS)?.unwrap_or_default();
        let plain = channels.iter().filter(|name| !subs.contains_key(*name));
        let plain = plain.map(|name| {
            let room = room("channels", name)?;
            Ok(ServerSideSubscription { room, info: None, data: None })
        });
        plain.chain(subs.iter().map(|(name, claims)| server_side(name, claims))).collect()
    }

    fn grants(&self, server_side: &[ServerSideSubscription]) -> Result<Grants, TokenError> {
        let mut grants = Grants::default();
        for subscription in server_side {
            grants.add_room(subscription.room.clone(), Rights::JOIN_AND_READ);
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

    fn check_times(
        &self,
        what_expires: &str,
        checks: &TokenChecks,
        UnixSeconds(now): UnixSeconds,
    ) -> Result<(), TokenError> {
        let (now, leeway) = (now as f64, checks.leeway.as_secs_f64());
        let (exp, expire_at, nbf) =
            (time("exp", self.exp)?, time("expire_at", self.expire_at)?, time("nbf", self.nbf)?);
        for (end, what) in [(exp, ""), (expire_at.filter(|&end| end != 0.0), &*format!("its {what_expires} "))] {
            if let Some(end) = end.filter(|end| now > end + leeway) {
                return Err(TokenError::OutOfTime(format!("{what}expired {:.0} s ago", (now - end).floor())));
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

/// A subscription of `subs`.
fn server_side(name: &str, claims: &SubscriptionClaims<'_>) -> Result<ServerSideSubscription, TokenError> {
    let claim = |name: &str| claims.get(name).copied().flatten();
    check_override("subs.override", claim("override"))?;
    Ok(ServerSideSubscription {
        room: room("subs", name)?,
        info: json("subs.", "info", claim("info"), claim("b64info"))?,
        data: json("subs.", "data", claim("data"), claim("b64data"))?,
    })
}
