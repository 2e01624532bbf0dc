//! Asking the application before the client connects, joins or publishes: the question that the client waits for, and what
//! follows the decision. Where no hook is on, nothing here is reached.

use std::task::{Context, Poll};

use super::Session;
use super::memberships::JoinRequest;
use super::pass::Pass;
use super::waiting::{Finished, Outcome, Waiting};
use crate::auth::rights::{Action, Rights};
use crate::auth::tokens::Token;
use crate::hooks::{Allowed, Asking, Deciding, Decision, Question, Refusal, Wish};
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::RequestId;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;
use crate::protocol::publication::Data;

/// A question that the application has not answered yet.
pub(super) struct Asked {
    deciding: Deciding,
    wished: Wished,
}

/// What follows if the application allows it.
pub(super) enum Wished {
    Connect,
    Join(JoinRequest),
    Reserve(PlaceRequest),
    Publish(PublishRequest),
}

/// A wish to have a place reserved.
pub(super) struct PlaceRequest {
    pub room: RoomName,
    pub since: Option<Since>,
    /// The reply is to hold what the client has missed.
    pub is_read: bool,
}

/// A wish to publish.
pub(super) struct PublishRequest {
    pub room: RoomName,
    pub data: Data,
    pub request: Option<RequestId>,
    /// The client is in the room.
    pub is_member: bool,
}

impl Wished {
    fn wish(&self) -> Wish<'_> {
        match self {
            Self::Connect => Wish::Connect,
            Self::Join(JoinRequest { room, .. }) | Self::Reserve(PlaceRequest { room, .. }) => Wish::Join(room),
            Self::Publish(PublishRequest { room, data, .. }) => Wish::Publish(room, data),
        }
    }
}

impl Session {
    /// Asks whether the client may connect. It may if this is done; otherwise `Finished::Admitted` or
    /// `Finished::NotAdmitted` says so.
    pub fn ask_to_connect(&mut self) -> Outcome {
        if self.context.hooks.is_none() {
            return Outcome::Done;
        }
        // The time in which the client must connect, or present a token, is not for the application to spend.
        if let Some(lease) = &self.lease {
            lease.stop_for_question();
        }
        self.ask(Wished::Connect)
    }

    /// Asks the application, and goes on if the decision is known at once.
    pub(super) fn ask(&mut self, wished: Wished) -> Outcome {
        let Some(hooks) = &self.context.hooks else { return self.allowed(wished, Allowed::AsAsked) };
        match hooks.ask(&self.question(&wished)) {
            Asking::Ready(decision) => self.decided(wished, decision),
            Asking::Later(deciding) => self.wait(Waiting::Asked(Box::new(Asked { deciding, wished }))),
        }
    }

    fn question<'a>(&'a self, wished: &'a Wished) -> Question<'a> {
        Question { wish: wished.wish(), publisher: &self.identity, dialect: self.dialect, address: self.address }
    }

    /// Asks before a join, unless the client could not join whatever the application said.
    pub(super) fn ask_to_join(&mut self, wished: Wished) -> Outcome {
        if let Some(room) = wished.wish().room()
            && !self.rights_with_grant(room, Rights::JOIN_AND_READ).allow(Action::Join)
        {
            let error = self.refusal(Action::Join, room);
            return self.wait(Waiting::Refused(error));
        }
        self.ask(wished)
    }

    /// A client that is disconnected waits no longer. A server that stops still asks about what it has read, but lets
    /// nobody in.
    pub(super) fn poll_asked(&mut self, mut asked: Box<Asked>, context: &mut Context<'_>) -> Poll<Finished> {
        let is_connect = matches!(asked.wished, Wished::Connect);
        match self.context.writer.poll_disconnect(self.slot, context) {
            Poll::Ready(reason) if is_connect || reason != Disconnect::Shutdown => {
                return Poll::Ready(Finished::Disconnected(reason));
            }
            _ => {}
        }
        let Asked { deciding, wished } = &mut *asked;
        let Poll::Ready(decision) = deciding.poll(&self.question(wished), context) else {
            self.waiting = Some(Waiting::Asked(asked));
            return Poll::Pending;
        };
        if self.needs_review() {
            self.update_rights();
        }
        match self.decided(asked.wished, decision) {
            Outcome::Done if is_connect => Poll::Ready(Finished::Admitted),
            outcome => self.poll_again(outcome, context),
        }
    }

    fn decided(&mut self, wished: Wished, decision: Decision) -> Outcome {
        let error = match decision {
            Decision::Allowed(allowed) => return self.allowed(wished, allowed),
            Decision::Refused(Refusal::ByApplication(reason)) => CommandError::Forbidden(reason),
            Decision::Refused(Refusal::NoAnswer) => {
                CommandError::Unavailable("the application does not answer: try again later")
            }
        };
        match wished {
            Wished::Connect => self.wait(Waiting::NotAdmitted(error)),
            _ => self.wait(Waiting::Refused(error)),
        }
    }

    fn allowed(&mut self, wished: Wished, allowed: Allowed) -> Outcome {
        match (wished, allowed) {
            (Wished::Connect, Allowed::Identity(token)) => self.connect_as(token),
            (Wished::Connect, _) => {
                if self.lease.as_ref().is_some_and(|lease| !lease.awaits_connect() && !lease.has_token()) {
                    self.lease = self.context.access.lease(self.slot, self.dialect, None);
                }
                Outcome::Done
            }
            (Wished::Join(join), Allowed::Membership(token)) => {
                let pass = Some(Pass::of(*token));
                self.join_unasked(JoinRequest { pass, ..join })
            }
            (Wished::Join(join), _) => self.join_unasked(join),
            (Wished::Reserve(place), Allowed::Membership(token)) => {
                let pass = Some(Pass::of(*token));
                self.reserve_unasked(place, pass)
            }
            (Wished::Reserve(place), _) => self.reserve_unasked(place, None),
            (Wished::Publish(publish), Allowed::Data(data)) => self.publish_unasked(PublishRequest { data, ..publish }),
            (Wished::Publish(publish), _) => self.publish_unasked(publish),
        }
    }

    /// Makes the client the one that the application says, in place of what its own token says.
    fn connect_as(&mut self, token: Box<Token>) -> Outcome {
        if self.context.access.is_revoked(&token) {
            return self.wait(Waiting::NotAdmitted(CommandError::Forbidden("token: revoked".into())));
        }
        self.adopt(token);
        Outcome::Done
    }
}
