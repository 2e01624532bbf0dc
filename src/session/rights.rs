//! The one place where rights are asked, and what follows when they change: a token, another token, other rules.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::access::{Lease, log_refusal};
use super::asking::PublishRequest;
use super::pass::Pass;
use super::waiting::{Answer, Joining, Outcome};
use super::{Membership, Session};
use crate::auth::rights::{Action, Rights};
use crate::auth::tokens::{ServerSideSubscription, Token, TokenError};
use crate::broker::{Act, Farewell, MemberCommand, Reservation};
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;

/// Why the token of a client was refused, which ends the connection.
#[derive(Debug)]
pub struct Unauthenticated(TokenError);

impl From<TokenError> for Unauthenticated {
    fn from(why: TokenError) -> Self {
        Self(why)
    }
}

impl Unauthenticated {
    /// What a text client is told before the end.
    pub fn error(&self) -> CommandError {
        CommandError::Forbidden(format!("token: {}", self.0).into())
    }

    /// Why the connection ends.
    pub fn reason(&self) -> Disconnect {
        match self.0 {
            TokenError::OutOfTime(_) => Disconnect::TokenExpired,
            TokenError::Invalid(_) => Disconnect::TokenInvalid,
        }
    }

    /// The error of a token that was valid before, or will be.
    pub fn expired(&self) -> Option<CommandError> {
        match &self.0 {
            TokenError::OutOfTime(why) => Some(expired(why)),
            TokenError::Invalid(_) => None,
        }
    }
}

/// The error of a token that has expired. The code of the error says that it has.
pub(super) fn expired(why: &str) -> CommandError {
    CommandError::TokenExpired(why.strip_prefix("expired ").unwrap_or(why).into())
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
        self.adopt(token);
        Ok(())
    }

    /// Makes the client the user of a valid token.
    pub(super) fn adopt(&mut self, token: Box<Token>) {
        self.context.clients.change_user(self.identity.client, &self.identity.user, &token.user);
        let identity = Arc::make_mut(&mut self.identity);
        identity.user = token.user.clone();
        identity.info.clone_from(&token.info);
        if let Some(label) = &token.label {
            identity.name(label.clone());
        }
        match &self.lease {
            Some(lease) => lease.renew(token),
            None => self.lease = self.context.access.lease(self.slot, self.dialect, Some(token)),
        }
        self.update_rights();
        self.reviewed = self.context.access.generation().wrapping_sub(1);
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
            || self.context.clients.has_order(self.slot)
            || self.pass_expiry.as_ref().is_some_and(|expiry| expiry.is_due.get())
    }

    /// Ends the first membership whose right is lost. To be called until it is done.
    pub fn review(&mut self) -> Outcome {
        self.update_rights();
        self.update_lease();
        let now = Instant::now();
        let is_over = |membership: &Membership| membership.pass.as_ref().is_some_and(|pass| pass.is_over(now, self));
        let is_lost = |membership: &Membership| !membership.rights.allow(Action::Join) || is_over(membership);
        let Some(place) = self.memberships.iter().position(is_lost) else {
            self.reviewed = self.context.access.generation();
            if let Some(expiry) = &self.pass_expiry {
                expiry.is_due.set(false);
            }
            self.watch_passes();
            return Outcome::Done;
        };
        let expired = || CommandError::TokenExpired("the token of the membership".into());
        let is_expired = is_over(&self.memberships[place]);
        let room = self.take_membership(place);
        let error = if is_expired { expired() } else { self.refusal(Action::Join, &room) };
        let leaving = self.context.broker.leave(room.clone(), self.address(), Farewell::Others);
        self.wait(Answer::Evicting(leaving, Box::new((room, error))))
    }

    /// A client without a token has a lease where it needs a token, and none where it does not.
    fn update_lease(&mut self) {
        let access = &self.context.access;
        let keeps = |lease: &Rc<Lease>| lease.has_token() || lease.awaits_connect() || !access.admits_anonymous();
        if !self.lease.as_ref().is_some_and(keeps) {
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

    /// What the client may do in a room that it joins, by this pass if it has one.
    pub(super) fn rights_with(&self, room: &RoomName, pass: Option<&Pass>) -> Rights {
        self.rights_with_grant(room, rights_of(pass))
    }

    /// What the client may do in a room in which it is granted more than its token says.
    pub(super) fn rights_with_grant(&self, room: &RoomName, grant: Rights) -> Rights {
        self.context.access.rights(room, self.lease.as_deref(), grant)
    }

    /// Refuses a join, or to tell what was missed, without the right.
    pub(super) fn permit_join(
        &self,
        room: &RoomName,
        since: Option<Since>,
        pass: Option<&Pass>,
    ) -> Result<(), CommandError> {
        let rights = self.rights_with(room, pass);
        let needed = [Some(Action::Join), since.map(|_| Action::History)];
        let missing = needed.into_iter().flatten().find(|action| !rights.allow(*action));
        missing.map_or(Ok(()), |action| Err(self.refusal(action, room)))
    }

    /// Refuses a join without the right. A place that is reserved is taken all the same, for the review to leave it, and
    /// then the client is told nothing that it has missed.
    pub(super) fn permit_joining(&self, Joining { join, pass }: &mut Joining) -> Result<(), CommandError> {
        let rights = self.rights_with(&join.room, pass.as_deref());
        join.may_recover = rights.allow(Action::Join) && rights.allow(Action::History);
        if join.since.is_some() && !join.may_recover {
            if !self.dialect.has_offsets() && join.reservation == Reservation::None {
                return self.permit_join(&join.room, join.since, pass.as_deref());
            }
            // No room reaches that far, so the room replies that what was missed cannot be had.
            join.since = Some(Since::UNREACHABLE);
        }
        match join.reservation {
            Reservation::None if !rights.allow(Action::Join) => Err(self.refusal(Action::Join, &join.room)),
            Reservation::Held | Reservation::None => Ok(()),
        }
    }

    /// Refuses a command that has waited and whose right is lost. Otherwise a client that reads slowly could keep a
    /// command, and its membership, for as long as it likes.
    pub(super) fn permit_late(&mut self, command: &MemberCommand) -> Result<(), CommandError> {
        if !self.needs_review() {
            return Ok(());
        }
        self.update_rights();
        let room = &command.room;
        match command.act {
            Act::Page(..) => return self.permit(Action::History, room),
            Act::Presence(..) | Act::PresenceCount(..) => return self.permit(Action::Presence, room),
            _ => self.permit(Action::Join, room)?,
        }
        match command.act {
            Act::History(..) => self.permit(Action::History, room),
            Act::Members(..) => self.permit(Action::Presence, room),
            _ => Ok(()),
        }
    }

    /// Refuses a publish as [`Self::permit_late`] does.
    pub(super) fn permit_publish_late(&mut self, publish: &PublishRequest) -> Result<(), CommandError> {
        if !self.needs_review() {
            return Ok(());
        }
        self.update_rights();
        if publish.is_member {
            self.permit(Action::Join, &publish.room)?;
        }
        self.permit_publish(publish)
    }

    /// Refuses to publish in a room that the client is not in, without the right to do that.
    pub(super) fn permit_publish_from_outside(&self, room: &RoomName) -> Result<(), CommandError> {
        if self.rights(room).allow_publish_from_outside() {
            return Ok(());
        }
        self.permit(Action::Publish, room)?;
        Err(CommandError::Forbidden(format!("publish {:?}: only members, and you are not in it", room.as_str()).into()))
    }

    /// Begins the connection of a client that asks for it by a command. False if it must present a token first.
    pub fn begin_connection(&mut self) -> bool {
        let has_token = self.lease.as_ref().is_some_and(|lease| lease.has_token());
        if !has_token && !self.context.access.admits_anonymous() {
            return false;
        }
        match &self.lease {
            Some(lease) if has_token => lease.connected(),
            _ => self.lease = None,
        }
        self.context.clients.add(self.identity.client, &self.identity.user, self.slot);
        true
    }

    /// Takes the client's token away, and ends the connection unless the client does so in time.
    pub fn refuse_connection(&mut self) {
        self.context.clients.remove(self.identity.client, &self.identity.user, self.slot);
        self.lease = Some(self.context.access.connect_lease(self.slot, self.dialect, None));
    }

    /// The seconds until the client's token expires; `None` is never.
    pub fn expires_in(&self) -> Option<u32> {
        self.lease.as_ref()?.expires_in()
    }

    /// The rooms that the client's token has it join.
    pub fn server_side(&self) -> Vec<ServerSideSubscription> {
        self.lease.as_ref().map(|lease| lease.server_side()).unwrap_or_default()
    }

    /// Whether the client may read what a room has published before, and so resume.
    pub fn may_recover(&self, room: &RoomName, pass: Option<&Pass>) -> bool {
        self.rights_with(room, pass).allow(Action::History)
    }

    /// Refuses what needs no room to a client that must present a token first.
    pub(super) fn permit_anything(&self) -> Result<(), CommandError> {
        let has_token = self.lease.as_ref().is_some_and(|lease| lease.has_token());
        if has_token || self.context.access.admits_anonymous() { Ok(()) } else { Err(token_needed()) }
    }

    fn rights(&self, room: &RoomName) -> Rights {
        self.rights_with(room, None)
    }

    pub(super) fn update_rights(&mut self) {
        let (access, lease) = (&self.context.access, self.lease.as_deref());
        for Membership { joined, rights, pass } in &mut self.memberships {
            *rights = access.rights(&joined.room, lease, rights_of(pass.as_deref()));
        }
    }

    #[cold]
    pub(super) fn refusal(&self, action: Action, room: &RoomName) -> CommandError {
        let forbidden = || CommandError::Forbidden(self.context.access.rules().rooms.refusal(room, action).into());
        self.permit_anything().err().unwrap_or_else(forbidden)
    }

    /// A connection belongs to one user: rooms that it is in were joined by that one's rights.
    fn refuse_other_user(&self, token: &Token) -> Result<(), Unauthenticated> {
        let has_token = self.lease.as_ref().is_some_and(|lease| lease.has_token());
        if has_token && self.identity.user != token.user {
            let why = TokenError::Invalid("it is of another user: connect anew".to_owned());
            log_refusal(&why);
            return Err(Unauthenticated(why));
        }
        Ok(())
    }
}

/// The rights that a pass gives, if there is one.
fn rights_of(pass: Option<&Pass>) -> Rights {
    pass.map_or(Rights::NONE, Pass::rights)
}

#[cold]
fn token_needed() -> CommandError {
    CommandError::Forbidden("this server needs a token: AUTH <token>".into())
}
