//! The rooms that a client is in: joining, with what was missed, and leaving.

use std::sync::Arc;

use super::asking::{PlaceRequest, Wished};
use super::pass::Pass;
use super::waiting::{Answer, Joining, Waiting};
use super::{Outcome, Session};
use crate::auth::rights::Rights;
use crate::broker::{Farewell, Join, JoinReply, Joined, Member, Reservation};
use crate::protocol::command::CommandError;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;
use crate::protocol::publication::Publisher;

/// A room that a client is a member of.
pub(super) struct Membership {
    pub joined: Joined,
    /// What the client may do there.
    pub rights: Rights,
    /// Of a membership by a token of its own.
    pub pass: Option<Box<Pass>>,
}

/// The one who has named a room that a client is to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The application, in the client's token or by an order.
    Application,
    /// The client.
    Client,
}

/// A wish to join a room.
#[derive(Debug)]
pub struct JoinRequest {
    /// The room.
    pub room: RoomName,
    /// Up to where the client has everything, if it resumes.
    pub since: Option<Since>,
    /// The join fails if what was missed cannot all be had.
    pub must_recover: bool,
    /// How the client is told.
    pub reply: JoinReply,
    /// The one who has named the room: the application is not asked about its own wish.
    pub named_by: NamedBy,
    /// Whether the client has reserved a place.
    pub reservation: Reservation,
    /// A token for this membership alone.
    pub pass: Option<Box<Pass>>,
    /// What others learn of the client in this room, as one JSON value on one line.
    pub info: Option<Arc<str>>,
}

impl JoinRequest {
    /// A plain join.
    pub fn of(room: RoomName) -> Self {
        Self {
            room,
            since: None,
            must_recover: false,
            reply: JoinReply::Requested(None),
            named_by: NamedBy::Client,
            reservation: Reservation::None,
            pass: None,
            info: None,
        }
    }
}

impl Session {
    /// The rooms that the client is in, in the order in which it has joined them.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomName> {
        self.memberships.iter().map(|membership| &membership.joined.room)
    }

    /// Whether the client is in the room.
    pub fn is_in(&self, room: &RoomName) -> bool {
        self.membership(room).is_some()
    }

    /// Reserves a place in a room, for a client that leaves another one first and must stay there if it cannot join this
    /// one. A join must follow `Finished::Reserved`.
    pub fn reserve(&mut self, JoinRequest { room, since, pass, named_by, .. }: &JoinRequest) -> Outcome {
        let place = PlaceRequest { room: room.clone(), since: *since, is_read: false };
        if self.context.hooks.is_some() && *named_by == NamedBy::Client {
            return self.ask_to_join(Wished::Reserve(place));
        }
        if let Err(error) = self.permit_join(room, *since, pass.as_deref()) {
            return self.wait(Waiting::Refused(error));
        }
        self.wait(Answer::Reserving(self.context.broker.reserve(room.clone(), None), None))
    }

    /// Waits for the client's turn to hold what it has missed in several rooms, as `Finished::Collecting`.
    pub fn collect(&mut self) -> Outcome {
        self.wait(Answer::Collecting(Box::pin(self.context.broker.collecting())))
    }

    /// Reserves a place as [`Self::reserve`] does, and asks for what a client that resumes has missed. The application is
    /// not asked about a room that it has named itself.
    pub fn reserve_and_read(&mut self, room: RoomName, since: Option<Since>, named_by: NamedBy) -> Outcome {
        let place = PlaceRequest { room, since, is_read: true };
        if self.context.hooks.is_some() && named_by == NamedBy::Client {
            return self.ask_to_join(Wished::Reserve(place));
        }
        self.reserve_unasked(place, None)
    }

    pub(super) fn reserve_unasked(&mut self, place: PlaceRequest, pass: Option<Box<Pass>>) -> Outcome {
        let PlaceRequest { room, since, is_read } = place;
        if let Err(error) = self.permit_join(&room, since.filter(|_| !is_read), pass.as_deref()) {
            return self.wait(Waiting::Refused(error));
        }
        let request = self.context.broker.reserve(room, since.filter(|_| is_read));
        self.wait(Answer::Reserving(request, pass))
    }

    /// Joins a room that the client is not in. The room itself replies with `Event::Joined` or `Event::JoinedAt`, ahead
    /// of everything else from it, and with what the client has missed since its position, if it has one.
    pub fn join(&mut self, request: JoinRequest) -> Outcome {
        debug_assert!(!self.is_in(&request.room), "joined twice");
        let rooms_max = self.context.rooms_max;
        if self.memberships.len() >= rooms_max {
            return self.wait(Waiting::Refused(CommandError::TooManyMemberships { rooms_max }));
        }
        // A place is reserved only where the application has been asked.
        let is_asked = request.named_by == NamedBy::Application || request.reservation == Reservation::Held;
        if self.context.hooks.is_some() && !is_asked {
            return self.ask_to_join(Wished::Join(request));
        }
        self.join_unasked(request)
    }

    pub(super) fn join_unasked(&mut self, request: JoinRequest) -> Outcome {
        let JoinRequest { room, since, must_recover, reply, reservation, pass, info, .. } = request;
        let info = pass.as_ref().and_then(|pass| pass.info().cloned()).or(info);
        let publisher = match info {
            None => Arc::clone(&self.identity),
            info => Publisher { room_info: info, ..(*self.identity).clone() }.into(),
        };
        let (expires_in, data) = pass.as_deref().map_or((None, None), |pass| (pass.expires_in(), pass.data().cloned()));
        let join = Join {
            member: Member { address: self.address(), dialect: self.dialect, publisher },
            // The right to it is asked for below, and once more after a wait.
            may_recover: false,
            room,
            reply,
            reservation,
            since,
            must_recover,
            expires_in,
            data,
            turn: None,
        };
        let mut joining = Joining { join, pass };
        match self.permit_joining(&mut joining) {
            Ok(()) => self.send_join(joining),
            Err(error) => self.wait(Waiting::Refused(error)),
        }
    }

    /// Leaves a room that the client is in. Nothing from it follows `Finished::Left`.
    pub fn leave(&mut self, room: &RoomName) -> Outcome {
        let place = self.rooms().position(|joined| joined == room).expect("a room that the client is in");
        let room = self.take_membership(place);
        self.wait(Answer::Leaving(self.context.broker.leave(room, self.address(), Farewell::Others)))
    }

    pub(super) fn membership(&self, room: &RoomName) -> Option<&Membership> {
        self.memberships.iter().find(|membership| membership.joined.room == *room)
    }

    /// Adds a room that the client has joined.
    pub(super) fn add_membership(&mut self, joined: Joined, pass: Option<Box<Pass>>) {
        let rights = self.rights_with(&joined.room, pass.as_deref());
        let is_by_pass = pass.is_some();
        // Most clients are in one room.
        self.memberships.reserve_exact(1);
        self.memberships.push(Membership { joined, rights, pass });
        if is_by_pass {
            self.watch_passes();
        }
    }

    pub(super) fn take_membership(&mut self, place: usize) -> RoomName {
        let Membership { joined, .. } = self.memberships.remove(place);
        if self.memberships.is_empty() {
            self.memberships = Vec::new();
        }
        joined.room
    }
}
