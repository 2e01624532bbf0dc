//! The beginning of a connection: who the client is, and the rooms that the server has it join.
//!
//! The reply to a connect holds what the client has missed in these rooms, and everything else from them follows it. They
//! are on several shards, so each place is reserved first, together with what was missed up to a position. Then the reply is
//! sent, and then the client joins each room from that position on: without a gap and without a double. A room that
//! retains nothing is joined in front of the reply, since nobody is promised what it said before.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::commands::{room, since};
use super::{CentrifugeHandler, Phase, Step};
use crate::auth::tokens::ServerSideSubscription;
use crate::broker::{JoinReply, Reservation, Reserved};
use crate::protocol::centrifuge::command::Connect;
use crate::protocol::command::{CommandError, TokenText};
use crate::protocol::dialect::Encoding;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::{Connected, Event, JoinedAt, Recovery, RequestId};
use crate::protocol::names::RoomName;
use crate::protocol::position::{Position, Since};
use crate::session::pass::Pass;
use crate::session::{Finished, JoinRequest, NamedBy, Outcome};

/// A connect that has not finished.
pub(super) struct Connecting {
    request: RequestId,
    /// Rooms that were not asked yet.
    left: VecDeque<Wanted>,
    /// Places that are reserved, or rooms that are joined because they retain nothing.
    reserved: Vec<Place>,
    /// The rooms that are joined behind the reply.
    joining: VecDeque<Place>,
    /// The client's turn to hold what it has missed, if it resumes, until the writer has it.
    turn: Option<OwnedSemaphorePermit>,
    /// How much longer what the client has missed may get, over all rooms, in bytes.
    missed_bytes_left: usize,
    /// Why the connect fails. The places are given back.
    error: Option<CommandError>,
}

/// A room that the client itself names, and up to where it has the room, if it resumes.
pub(super) type NamedRoom<'a> = (Cow<'a, str>, Option<Since>);

/// A room that the client is to be in.
struct Wanted {
    subscription: ServerSideSubscription,
    named_by: NamedBy,
    /// Up to where the client has it, if it resumes.
    since: Option<Since>,
}

/// A place in a room.
struct Place {
    wanted: Wanted,
    position: Position,
    is_recoverable: bool,
    /// What the client has missed, encoded; `None` if this cannot be had.
    missed: Option<Vec<u8>>,
    /// A token for the membership that the application has given.
    pass: Option<Box<Pass>>,
    /// The seconds until that token expires.
    expires_in: Option<u32>,
}

impl CentrifugeHandler {
    pub(super) fn connect(&mut self, request: RequestId, connect: Connect<'_>) -> Outcome {
        let Connect { token, subs } = connect;
        if let Some(TokenText(token)) = &token
            && let Err(refused) = self.session.authenticate(token)
        {
            return match refused.expired() {
                Some(error) => self.refuse_connect(request, &error),
                None => Outcome::Ended(refused.reason()),
            };
        }
        let rooms: Vec<NamedRoom<'_>> = subs.into_iter().map(|(channel, resume)| (channel, since(&resume))).collect();
        match self.session.ask_to_connect() {
            Outcome::Done => self.admit(request, &rooms),
            outcome => {
                let owned = |(channel, since): NamedRoom<'_>| (Cow::Owned(channel.into_owned()), since);
                self.after(outcome, Step::Admitting(request, rooms.into_iter().map(owned).collect()))
            }
        }
    }

    /// Connects a client that may connect.
    pub(super) fn admit(&mut self, request: RequestId, rooms: &[NamedRoom<'_>]) -> Outcome {
        if !self.session.begin_connection() {
            // An SDK that has a token sends it, so this one has none to try again with.
            return Outcome::Ended(Disconnect::ProtocolError);
        }
        match self.wanted(rooms) {
            Ok(left) => self.begin_rooms(request, left),
            Err(error) => self.refuse_connect(request, &error),
        }
    }

    fn begin_rooms(&mut self, request: RequestId, left: VecDeque<Wanted>) -> Outcome {
        let resumes = left.iter().any(|wanted| wanted.since.is_some());
        let connecting = Box::new(Connecting {
            request,
            left,
            reserved: Vec::new(),
            joining: VecDeque::new(),
            turn: None,
            missed_bytes_left: self.session.context.broker.replay_bytes_max(),
            error: None,
        });
        if !resumes {
            return self.next_room(connecting);
        }
        let outcome = self.session.collect();
        self.after(outcome, Step::Connecting(connecting))
    }

    pub(super) fn not_admitted(&mut self, request: RequestId, error: &CommandError) -> Outcome {
        match self.session.dialect.encoding() {
            Encoding::Push => Outcome::Ended(Disconnect::Refused),
            _ => self.refuse_connect(request, error),
        }
    }

    /// Refuses to connect. The client is to close the connection, has as long for that as for a connect, and may do
    /// nothing else.
    pub(super) fn refuse_connect(&mut self, request: RequestId, error: &CommandError) -> Outcome {
        self.phase = Phase::Refused;
        self.session.refuse_connection();
        if self.session.dialect.encoding() == Encoding::Push {
            return Outcome::Ended(match error {
                CommandError::TokenExpired(_) => Disconnect::TokenExpired,
                _ => Disconnect::NotAvailable,
            });
        }
        self.reply(request, &Event::Error(error))
    }

    /// The rooms that the client's token names, and those that a client which cannot ask for rooms later names itself.
    fn wanted(&self, named: &[NamedRoom<'_>]) -> Result<VecDeque<Wanted>, CommandError> {
        let rooms_max = self.session.context.rooms_max;
        let mut subscriptions = self.session.server_side();
        let by_application = subscriptions.len();
        if self.session.dialect.encoding() == Encoding::Push {
            for (channel, _) in named {
                let room = room(channel)?;
                if !subscriptions.iter().any(|subscription| subscription.room == room) {
                    subscriptions.push(ServerSideSubscription { room, info: None, data: None });
                }
                // A request has space for thousands of names, each of which is compared with all before it.
                if subscriptions.len() > rooms_max {
                    break;
                }
            }
        }
        if subscriptions.len() > rooms_max {
            return Err(CommandError::TooManyMemberships { rooms_max });
        }
        let named = |room: &RoomName| named.iter().find(|(channel, _)| channel == room.as_str());
        let wanted = |(place, subscription): (usize, ServerSideSubscription)| Wanted {
            since: named(&subscription.room).and_then(|(_, since)| *since),
            named_by: if place < by_application { NamedBy::Application } else { NamedBy::Client },
            subscription,
        };
        Ok(subscriptions.into_iter().enumerate().map(wanted).collect())
    }

    /// Reserves a place in the next room; behind the last one the client is connected.
    fn next_room(&mut self, mut connecting: Box<Connecting>) -> Outcome {
        let Some(wanted) = connecting.left.pop_front() else { return self.connected(connecting) };
        let outcome = self.session.reserve_and_read(wanted.subscription.room.clone(), wanted.since, wanted.named_by);
        connecting.left.push_front(wanted);
        self.after(outcome, Step::Connecting(connecting))
    }

    pub(super) fn go_on_connecting(&mut self, mut connecting: Box<Connecting>, finished: Finished) -> Outcome {
        match finished {
            Finished::Collecting(turn) => {
                connecting.turn = Some(turn);
                self.next_room(connecting)
            }
            Finished::Reserved(reserved, pass) => {
                let Some(wanted) = connecting.left.pop_front() else { return Outcome::Done };
                let mut place = self.place(wanted, reserved, pass, &mut connecting.missed_bytes_left);
                if place.is_recoverable {
                    connecting.reserved.push(place);
                    return self.next_room(connecting);
                }
                let request = place.join(None);
                connecting.reserved.push(place);
                let outcome = self.session.join(request);
                self.after(outcome, Step::Connecting(connecting))
            }
            Finished::Refused(error) if connecting.error.is_none() => {
                connecting.error = Some(error);
                connecting.left.clear();
                if self.phase == Phase::Connected { self.next_join(connecting) } else { self.connected(connecting) }
            }
            // A place that was given back is refused as well.
            _ if self.phase == Phase::Connected || connecting.error.is_some() => self.next_join(connecting),
            _ => self.next_room(connecting),
        }
    }

    /// The place in a room, with all that the client has missed there. That cannot be had if it does not fit into
    /// `bytes_left`: all rooms together have one reply, which is to be no longer than one replay.
    fn place(&self, mut wanted: Wanted, reserved: Reserved, pass: Option<Box<Pass>>, bytes_left: &mut usize) -> Place {
        let Reserved { position, is_recoverable, missed } = reserved;
        let expires_in = pass.as_ref().and_then(|pass| pass.expires_in());
        if let Some(pass) = &pass {
            let data = pass.data().cloned();
            wanted.subscription = ServerSideSubscription { data, ..wanted.subscription };
        }
        let may_recover = is_recoverable && self.session.may_recover(&wanted.subscription.room, pass.as_deref());
        let missed = missed.filter(|_| may_recover).and_then(|missed| {
            let mut bytes = Vec::new();
            for publication in &missed {
                self.session.dialect.write_missed(&wanted.subscription.room, position.epoch, publication, &mut bytes);
                if bytes.len() > *bytes_left {
                    return None;
                }
            }
            *bytes_left -= bytes.len();
            Some(bytes)
        });
        Place { wanted, position, is_recoverable: may_recover, missed, pass, expires_in }
    }

    /// Replies that the client is connected, and goes on to join the rooms.
    fn connected(&mut self, mut connecting: Box<Connecting>) -> Outcome {
        let places = mem::take(&mut connecting.reserved);
        if connecting.error.is_some() {
            connecting.joining = places.into_iter().filter(|place| place.is_recoverable).collect();
            return self.next_join(connecting);
        }
        self.phase = Phase::Connected;
        self.server_side = places.iter().map(|place| place.wanted.subscription.room.clone()).collect();
        let rooms: Vec<JoinedAt<'_>> = places.iter().map(Place::joined_at).collect();
        let stream = self.opening.stream.take().map(|stream| (stream.session(), stream.node()));
        let connected = Connected {
            client: self.session.identity().client,
            ping_seconds: self.session.ping_seconds(),
            answers_pings: self.session.dialect.answers_pings(),
            expires_in: self.session.expires_in(),
            rooms: &rooms,
            session: stream.as_ref().map(|(session, node)| (&**session, &**node)),
        };
        let outcome = self.session.reply_to(connecting.request, &Event::Connected(&connected));
        connecting.joining = places.into_iter().filter(|place| place.is_recoverable).collect();
        match outcome {
            Outcome::Done => self.next_join(connecting),
            outcome => self.after(outcome, Step::Connecting(connecting)),
        }
    }

    /// Joins the next room in which a place is reserved, or gives the place back.
    fn next_join(&mut self, mut connecting: Box<Connecting>) -> Outcome {
        connecting.turn = None;
        let Some(mut place) = connecting.joining.pop_front() else { return self.end_of_places(connecting) };
        let since = match &connecting.error {
            None => place.position.into(),
            // A join that must recover and cannot gives its place back.
            Some(_) => Since::UNREACHABLE,
        };
        let outcome = self.session.join(place.join(Some(since)));
        self.after(outcome, Step::Connecting(connecting))
    }

    /// Every place was taken or given back. A client that is refused also leaves the rooms that it is in already, since
    /// it may stay connected.
    fn end_of_places(&mut self, connecting: Box<Connecting>) -> Outcome {
        let Some(error) = &connecting.error else { return Outcome::Done };
        if self.phase == Phase::Connected {
            // The client was told that it is in a room, and cannot be: it is to come back.
            return Outcome::Ended(Disconnect::OutOfStep);
        }
        let joined = self.session.rooms().next().cloned();
        let Some(room) = joined else { return self.refuse_connect(connecting.request, error) };
        let outcome = self.session.leave(&room);
        self.after(outcome, Step::Connecting(connecting))
    }
}

impl Place {
    fn join(&mut self, since: Option<Since>) -> JoinRequest {
        let ServerSideSubscription { room, info, .. } = &self.wanted.subscription;
        JoinRequest {
            since,
            must_recover: since.is_some(),
            reply: JoinReply::Told,
            reservation: Reservation::Held,
            info: info.clone(),
            pass: self.pass.take(),
            ..JoinRequest::of(room.clone())
        }
    }

    fn joined_at(&self) -> JoinedAt<'_> {
        let ServerSideSubscription { room, data, .. } = &self.wanted.subscription;
        let recovery = match (self.wanted.since, &self.missed) {
            (None, _) => Recovery::NotRequested,
            (Some(since), Some(missed)) => Recovery::Recovered { since: since.offset, missed },
            (Some(_), None) => Recovery::Unrecovered,
        };
        JoinedAt {
            room,
            position: self.position,
            is_recoverable: self.is_recoverable,
            recovery,
            expires_in: self.expires_in,
            data: data.as_ref().map(Arc::as_ref),
        }
    }
}
