//! Memberships by a token of their own: what it gives, until when, and what follows at its end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::Session;
use super::access::{instant_of, log_refusal, seconds_until};
use super::rights::expired;
use crate::auth::rights::Rights;
use crate::auth::tokens::{SubscriptionToken, TokenError};
use crate::broker::Now;
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::RoomName;
use crate::writer::Slot;

/// The right to be in one room, by a token for that room alone.
#[derive(Debug)]
pub struct Pass {
    /// When the token ends; `None` is never.
    ends_at: Option<Instant>,
    token: SubscriptionToken,
    /// What it gives in its room.
    rights: Rights,
}

/// When the next pass of a client ends. The worker's sweep looks at it, and has the session review its memberships.
#[derive(Debug)]
pub struct PassExpiry {
    pub(super) slot: Slot,
    /// `None` if no pass ends.
    pub(super) next: Cell<Option<Instant>>,
    /// A pass has ended.
    pub(super) is_due: Cell<bool>,
}

/// Why a token for a room is refused.
#[derive(Debug)]
pub enum PassRefused {
    /// The client is told so.
    Error(CommandError),
    /// It is of another client or room, and the connection ends.
    Ended(Disconnect),
}

impl Pass {
    /// A pass by a valid token for one room.
    pub(super) fn of(token: SubscriptionToken) -> Box<Self> {
        Self::with_rights(token, Rights::JOIN_AND_READ)
    }

    /// A pass by an order of the application, which says what a token would say.
    pub(super) fn ordered(token: SubscriptionToken) -> Box<Self> {
        Self::with_rights(token, Rights::GIVEN_BY_APPLICATION)
    }

    fn with_rights(token: SubscriptionToken, rights: Rights) -> Box<Self> {
        let ends_at = token.expires_at.and_then(|at| instant_of(at, Now::read()));
        Box::new(Self { ends_at, token, rights })
    }

    /// What it gives in its room.
    pub(super) fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether it has ended, and the time in which another one may come is over.
    pub(super) fn is_over(&self, now: Instant, session: &Session) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at + session.context.access.rules().token_grace <= now)
    }

    /// The seconds until it ends, for the client; `None` is never.
    pub fn expires_in(&self) -> Option<u32> {
        self.ends_at.map(|ends_at| seconds_until(ends_at, Now::read().instant))
    }

    /// What others learn of the client in the room.
    pub fn info(&self) -> Option<&Arc<str>> {
        self.token.info.as_ref()
    }

    /// What the client is told as it joins.
    pub fn data(&self) -> Option<&Arc<str>> {
        self.token.data.as_ref()
    }

    /// The room that it is for.
    pub fn room(&self) -> &RoomName {
        &self.token.room
    }
}

impl Session {
    /// Verifies a token for one room.
    ///
    /// # Errors
    /// The token is refused, or is another client's.
    pub fn pass(&self, token: &str) -> Result<Box<Pass>, PassRefused> {
        let token = self.context.access.verify_subscription(token).map_err(|error| match error {
            TokenError::OutOfTime(why) => PassRefused::Error(expired(&why)),
            TokenError::Invalid(why) => PassRefused::Error(CommandError::Forbidden(format!("token: {why}").into())),
        })?;
        let is_of_client = token.client.as_ref().is_none_or(|client| *client == self.identity.client.to_string());
        if token.user != self.identity.user || !is_of_client {
            log_refusal(&TokenError::Invalid("it is of another user or client".to_owned()));
            return Err(PassRefused::Ended(Disconnect::TokenInvalid));
        }
        Ok(Pass::of(token))
    }

    /// Goes on with another pass in its room, which the client is in.
    pub fn renew_pass(&mut self, pass: Box<Pass>) {
        let room = pass.room().clone();
        if let Some(membership) = self.memberships.iter_mut().find(|membership| membership.joined.room == room) {
            membership.pass = Some(pass);
        }
        self.update_rights();
        self.watch_passes();
    }

    /// Sees to it that the sweep looks at the pass that ends first.
    pub(super) fn watch_passes(&mut self) {
        let passes = self.memberships.iter().filter_map(|membership| membership.pass.as_ref());
        let next = passes.filter_map(|pass| pass.ends_at).min();
        match &self.pass_expiry {
            Some(expiry) => expiry.next.set(next),
            None if next.is_some() => {
                let expiry = PassExpiry { slot: self.slot, next: Cell::new(next), is_due: Cell::new(false) };
                let expiry = Rc::new(expiry);
                self.context.access.watch_passes(&expiry);
                self.pass_expiry = Some(expiry);
            }
            None => {}
        }
    }
}
