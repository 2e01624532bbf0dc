//! The one place where rights are asked, and what follows when they change: a token, another token, other rules.

use std::sync::Arc;

use super::waiting::{Answer, Outcome};
use super::{Membership, Session};
use crate::auth::rights::{Action, Rights};
use crate::auth::tokens::{Token, TokenError};
use crate::broker::{Act, Farewell, Join, MemberCommand, Reservation};
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;

/// Why a token was refused, and why the connection ends with that.
#[derive(Debug)]
pub struct Unauthenticated {
    /// For the client.
    pub error: CommandError,
    /// For everybody else.
    pub reason: Disconnect,
}

impl From<TokenError> for Unauthenticated {
    fn from(error: TokenError) -> Self {
        let reason = match error {
            TokenError::OutOfTime(_) => Disconnect::TokenExpired,
            TokenError::Invalid(_) => Disconnect::TokenInvalid,
        };
        Self { error: CommandError::Forbidden(format!("token: {error}").into()), reason }
    }
}

impl Session {
    /// Makes the client the user that a token names, for as long as the token is valid. Rights that the client has lost
    /// apply no more from here on; [`Self::review`], which is due then, ends the memberships.
    ///
    /// # Errors
    /// The token is refused, or is another user's. The connection is to end.
    pub fn authenticate(&mut self, token: &str) -> Result<(), Unauthenticated> {
        let token = self.context.access.verify(token)?;
        self.refuse_other_user(&token)?;
        let identity = Arc::make_mut(&mut self.identity);
        identity.user = token.user.clone();
        identity.info.clone_from(&token.info);
        if let Some(label) = &token.label {
            identity.label = label.clone();
        }
        match &self.lease {
            Some(lease) => lease.renew(token),
            None => self.lease = self.context.access.lease(self.slot, self.dialect, Some(token)),
        }
        self.update_rights();
        self.reviewed = self.context.access.generation().wrapping_sub(1);
        Ok(())
    }

    /// Replies who the client is, behind what it has said in that room, which shows the client as it is now.
    pub fn introduce(&mut self, room: Option<&RoomName>) -> Outcome {
        let identity = Arc::clone(&self.identity);
        match room {
            Some(room) => self.send_to_room(self.command(room, Act::Authenticate(identity), None)),
            None => self.reply(None, &Event::Authenticated(&identity.user)),
        }
    }

    /// Whether rights may have changed since the last review.
    pub fn needs_review(&self) -> bool {
        self.reviewed != self.context.access.generation()
    }

    /// Ends the first membership whose right is lost. To be called until it is done.
    pub fn review(&mut self) -> Outcome {
        self.update_rights();
        self.update_lease();
        let is_lost = |membership: &Membership| !membership.rights.allow(Action::Join);
        let Some(place) = self.memberships.iter().position(is_lost) else {
            self.reviewed = self.context.access.generation();
            return Outcome::Done;
        };
        let room = self.take_membership(place);
        let error = self.refusal(Action::Join, &room);
        let leaving = self.context.broker.leave(room.clone(), self.address(), Farewell::Others);
        self.wait(Answer::Evicting(leaving, Box::new((room, error))))
    }

    /// A client without a token has a lease where it needs a token, and none where it does not.
    fn update_lease(&mut self) {
        let access = &self.context.access;
        if !self.lease.as_ref().is_some_and(|lease| lease.has_token() || !access.admits_anonymous()) {
            self.lease = access.lease(self.slot, self.dialect, None);
        }
    }

    /// Refuses what the client has no right to do. All calls of the broker for a client ask here first.
    pub(super) fn permit(&self, action: Action, room: &RoomName) -> Result<(), CommandError> {
        let rights = match self.membership(room) {
            Some(membership) => membership.rights,
            None => self.rights(room),
        };
        if rights.allow(action) { Ok(()) } else { Err(self.refusal(action, room)) }
    }

    /// Refuses a join, or to tell what was missed, without the right.
    pub(super) fn permit_join(&self, room: &RoomName, since: Option<Since>) -> Result<(), CommandError> {
        self.permit(Action::Join, room)?;
        since.map_or(Ok(()), |_| self.permit(Action::History, room))
    }

    /// Refuses a join without the right. A place that is reserved is taken all the same, for the review to leave it, and
    /// then the client is told nothing that it has missed.
    pub(super) fn permit_reserved(&self, join: &mut Join) -> Result<(), CommandError> {
        match (self.permit_join(&join.room, join.since), join.reservation) {
            (Err(_), Reservation::Held) => {
                // No room is so far, so the room replies that it cannot tell.
                join.since = join.since.map(|_| Since::UNREACHABLE);
                Ok(())
            }
            (permitted, _) => permitted,
        }
    }

    /// Refuses a command that has waited and whose right is lost. Otherwise a client that reads slowly could keep a
    /// command, and its membership, for as long as it likes.
    pub(super) fn permit_late(&mut self, command: &MemberCommand) -> Result<(), CommandError> {
        if !self.needs_review() {
            return Ok(());
        }
        self.update_rights();
        match command.act {
            Act::Publish(..) => self.permit(Action::Publish, &command.room),
            Act::PublishFromOutside(..) => self.permit_publish_from_outside(&command.room),
            Act::History(..) | Act::Page(..) => self.permit(Action::History, &command.room),
            Act::Members(..) | Act::Presence(_) | Act::PresenceCount => self.permit(Action::Presence, &command.room),
            _ => self.permit(Action::Join, &command.room),
        }
    }

    /// Refuses to publish in a room that the client is not in, without the right to do that.
    pub(super) fn permit_publish_from_outside(&self, room: &RoomName) -> Result<(), CommandError> {
        if self.rights(room).allow_publish_from_outside() {
            return Ok(());
        }
        self.permit(Action::Publish, room)?;
        Err(CommandError::Forbidden(format!("publish {:?}: only members, and you are not in it", room.as_str()).into()))
    }

    /// Refuses what needs no room to a client that must present a token first.
    pub(super) fn permit_anything(&self) -> Result<(), CommandError> {
        let has_token = self.lease.as_ref().is_some_and(|lease| lease.has_token());
        if has_token || self.context.access.admits_anonymous() { Ok(()) } else { Err(token_needed()) }
    }

    fn rights(&self, room: &RoomName) -> Rights {
        self.context.access.rights(room, self.lease.as_deref())
    }

    fn update_rights(&mut self) {
        let (access, lease) = (&self.context.access, self.lease.as_deref());
        for Membership { joined, rights } in &mut self.memberships {
            *rights = access.rights(&joined.room, lease);
        }
    }

    #[cold]
    fn refusal(&self, action: Action, room: &RoomName) -> CommandError {
        let forbidden = || CommandError::Forbidden(self.context.access.rules().rooms.refusal(room, action).into());
        self.permit_anything().err().unwrap_or_else(forbidden)
    }

    /// A connection belongs to one user: rooms that it is in were joined by that one's rights.
    fn refuse_other_user(&self, token: &Token) -> Result<(), Unauthenticated> {
        let has_token = self.lease.as_ref().is_some_and(|lease| lease.has_token());
        if has_token && self.identity.user != token.user {
            let error = "token: it is of another user: connect anew".to_owned();
            return Err(Unauthenticated {
                error: CommandError::Forbidden(error.into()),
                reason: Disconnect::TokenInvalid,
            });
        }
        Ok(())
    }
}

#[cold]
fn token_needed() -> CommandError {
    CommandError::Forbidden("this server needs a token: AUTH <token>".into())
}
