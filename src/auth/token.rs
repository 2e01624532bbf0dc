//! What a valid token says, and why one is refused.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::UnixSeconds;
use super::grants::Grants;
use crate::protocol::names::{Label, RoomName};
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
    /// `channels` and `subs`: the rooms that the client joins as it connects, if its protocol knows such subscriptions.
    pub server_side: Vec<ServerSideSubscription>,
}

/// A room that a client joins by its token, without asking for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSideSubscription {
    /// The room.
    pub room: RoomName,
    /// `info` or `b64info`: what others learn of the client in this room, as one JSON value on one line.
    pub info: Option<Arc<str>>,
    /// `data` or `b64data`: what the client is told as it joins, as one JSON value on one line.
    pub data: Option<Arc<str>>,
}

/// What a valid token for one subscription says. In its room it gives
/// [`JOIN_AND_READ`](super::rights::Rights::JOIN_AND_READ).
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionToken {
    /// `sub`: the user of the connection that may present it; nobody if it is missing.
    pub user: UserId,
    /// `channel`.
    pub room: RoomName,
    /// `client`: the only connection that may present it, by the id that the server gave it.
    pub client: Option<String>,
    /// `info` or `b64info`: what others learn of the client in this room, as one JSON value on one line.
    pub info: Option<Arc<str>>,
    /// `data` or `b64data`: what the client is told as it joins, as one JSON value on one line.
    pub data: Option<Arc<str>>,
    /// `jti`.
    pub id: Option<Arc<str>>,
    /// `iat`.
    pub issued_at: Option<UnixSeconds>,
    /// `expire_at`, else `exp`. `None` for a subscription that does not expire.
    pub expires_at: Option<UnixSeconds>,
}

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

/// Why a file holds no key. The text never repeats the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeyError(pub String);

impl Token {
    /// Whether the token says who its holder is.
    pub fn names_user(&self) -> bool {
        !self.user.as_str().is_empty()
    }
}

impl TokenError {
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(why.into())
    }
}
