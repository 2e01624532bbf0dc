//! Tokens that are not valid any more, though they have not expired: kept in memory, so they are valid again after a
//! restart. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use super::token::{SubscriptionToken, Token};
use crate::protocol::publication::UserId;

/// The most tokens and users that can be revoked at once: about 20 MiB in each worker.
const REVOCATIONS_MAX: usize = 100_000;

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revocation {
    /// Every token of a user that was issued before that time, or that does not say when.
    User(UserId, UnixSeconds),
    /// The token with this `jti`.
    Token(Arc<str>),
}

/// Everything that is revoked.
#[derive(Debug, Default)]
pub struct Revocations {
    users: HashMap<UserId, UnixSeconds>,
    tokens: HashSet<Arc<str>>,
}

impl Revocation {
    /// Whether it revokes this token.
    pub fn covers(&self, token: &Token) -> bool {
        match self {
            Self::User(user, before) => token.user == *user && is_before(token.issued_at, *before),
            Self::Token(id) => token.id.as_ref() == Some(id),
        }
    }
}

impl Revocations {
    /// Whether the token of a connection is revoked.
    pub fn cover(&self, token: &Token) -> bool {
        self.cover_parts(&token.user, token.id.as_ref(), token.issued_at)
    }

    /// Whether the token of a subscription is revoked.
    pub fn cover_subscription(&self, token: &SubscriptionToken) -> bool {
        self.cover_parts(&token.user, token.id.as_ref(), token.issued_at)
    }

    fn cover_parts(&self, user: &UserId, id: Option<&Arc<str>>, issued_at: Option<UnixSeconds>) -> bool {
        let of_user = self.users.get(user).is_some_and(|before| is_before(issued_at, *before));
        of_user || id.is_some_and(|id| self.tokens.contains(id))
    }

    /// Adds a revocation. False if there are too many; it then covers the clients of the moment only.
    pub fn add(&mut self, revocation: &Revocation) -> bool {
        let is_known = match revocation {
            Revocation::User(user, _) => self.users.contains_key(user),
            Revocation::Token(id) => self.tokens.contains(id),
        };
        if !is_known && self.users.len() + self.tokens.len() >= REVOCATIONS_MAX {
            return false;
        }
        match revocation {
            Revocation::User(user, before) => {
                let latest = self.users.entry(user.clone()).or_insert(*before);
                *latest = (*latest).max(*before);
            }
            Revocation::Token(id) => drop(self.tokens.insert(Arc::clone(id))),
        }
        true
    }
}

fn is_before(issued_at: Option<UnixSeconds>, time: UnixSeconds) -> bool {
    issued_at.is_none_or(|issued_at| issued_at < time)
}
