//! What a client asks of rooms: publishing, reading what they retain and who is in, listing them.

use std::sync::Arc;
use std::time::Instant;

use super::asking::{PublishRequest, Wished};
use super::memberships::Membership;
use super::waiting::{Answer, Paused, Waiting};
use super::{Outcome, Session};
use crate::auth::rights::Action;
use crate::broker::{Act, MemberCommand, Page, PeerAnswers, ReplyTo, Viewer};
use crate::protocol::command::CommandError;
use crate::protocol::event::{Event, RequestId};
use crate::protocol::names::{Label, RoomName};
use crate::protocol::publication::{Data, PublisherKind};
use crate::protocol::text::check_length;

impl Session {
    /// Publishes to a room that the client is in, as far as the client may cause the deliveries.
    pub fn publish(&mut self, room: &RoomName, data: Data, request: Option<RequestId>) -> Outcome {
        let permitted = self.check_length(&data).and_then(|()| self.permit(Action::Publish, room));
        if let Err(error) = permitted {
            return self.wait(Waiting::Refused(error));
        }
        self.publish_if_allowed(PublishRequest { room: room.clone(), data, request, is_member: true })
    }

    /// Publishes to a room that the client is not in.
    pub fn publish_from_outside(&mut self, room: &RoomName, data: Data, request: Option<RequestId>) -> Outcome {
        let permitted = self.check_length(&data).and_then(|()| self.permit_publish_from_outside(room));
        if let Err(error) = permitted {
            return self.wait(Waiting::Refused(error));
        }
        self.publish_if_allowed(PublishRequest { room: room.clone(), data, request, is_member: false })
    }

    /// Checks that text clients can get the message.
    fn check_length(&self, data: &Data) -> Result<(), CommandError> {
        check_length(&self.identity.label, data, self.context.message_bytes_max)
    }

    /// Charges the message before the application is asked: a client beyond its limit causes no questions either.
    fn publish_if_allowed(&mut self, publish: PublishRequest) -> Outcome {
        let now = Instant::now();
        match self.charge(1, now) {
            Ok(()) => self.publish_charged(publish, now),
            Err(time) => self.pause(Paused::Publish(publish), 1, time),
        }
    }

    /// Publishes as [`Self::publish`] does what was charged as one delivery.
    pub(super) fn publish_charged(&mut self, publish: PublishRequest, now: Instant) -> Outcome {
        match self.context.hooks {
            Some(_) => self.ask(Wished::Publish(publish)),
            None => self.send_publish(publish, now),
        }
    }

    /// Publishes what the application has allowed, unless the right is lost since.
    pub(super) fn publish_unasked(&mut self, publish: PublishRequest) -> Outcome {
        match self.permit_publish(&publish) {
            Ok(()) => self.send_publish(publish, Instant::now()),
            Err(error) => self.wait(Waiting::Refused(error)),
        }
    }

    pub(super) fn permit_publish(
        &self,
        PublishRequest { room, is_member, .. }: &PublishRequest,
    ) -> Result<(), CommandError> {
        if *is_member { self.permit(Action::Publish, room) } else { self.permit_publish_from_outside(room) }
    }

    fn send_publish(&mut self, publish: PublishRequest, now: Instant) -> Outcome {
        let PublishRequest { room, data, request, is_member } = publish;
        let act = if is_member {
            // One delivery was charged already.
            self.owe(self.members_of(&room).saturating_sub(1));
            Act::Publish(data, now)
        } else {
            let publish = Box::new((Arc::clone(&self.identity), data, now));
            Act::PublishFromOutside(publish, self.window.uncharged())
        };
        let from = ReplyTo { address: self.address(), dialect: self.dialect, request };
        self.send_to_room(MemberCommand { room, from, act, permit: None })
    }

    /// Asks a room for a part of its history, as far as the client may cause the deliveries. The room replies.
    pub fn request_page(&mut self, room: &RoomName, page: Page, request: Option<RequestId>) -> Outcome {
        let permitted = self.permit(Action::History, room).and_then(|()| self.require_history(room));
        if let Err(error) = permitted {
            return self.wait(Waiting::Refused(error));
        }
        let messages = page.messages_max.min(self.context.broker.replay_messages_max());
        self.send_charged(self.command(room, Act::Page(page.into(), None), request), messages.max(1), Instant::now())
    }

    /// Refuses to read from a room that retains nothing by its rule, so that nobody takes it for one that is empty.
    fn require_history(&self, room: &RoomName) -> Result<(), CommandError> {
        let is_retaining = self.context.access.retains(room);
        if is_retaining { Ok(()) } else { Err(CommandError::NotAvailable("the room retains no messages")) }
    }

    /// Asks a room for its members as others see them, as far as the client may cause as many deliveries. The room replies.
    pub fn request_presence(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        let act = Act::Presence(None, self.window.uncharged(), PeerAnswers::default());
        self.request_members(room, act, request)
    }

    /// Asks a room for the number of its members, as [`Self::request_presence`] does.
    pub fn count_presence(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        let act = Act::PresenceCount(self.window.uncharged(), PeerAnswers::default());
        self.request_members(room, act, request)
    }

    fn request_members(&mut self, room: &RoomName, act: Act, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit(Action::Presence, room) {
            return self.wait(Waiting::Refused(error));
        }
        self.send_charged(self.command(room, act, request), self.members_of(room), Instant::now())
    }

    /// The members of a room that the client is in; 1 for any other.
    fn members_of(&self, room: &RoomName) -> usize {
        self.membership(room).map_or(1, |membership| membership.joined.member_count.members())
    }

    /// Asks a room that the client is in for its newest publications, as far as the client may cause the deliveries. The
    /// room replies.
    pub fn request_history(&mut self, room: &RoomName, messages: usize, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit(Action::History, room) {
            return self.wait(Waiting::Refused(error));
        }
        let messages = messages.min(self.context.broker.replay_messages_max());
        let command = self.command(room, Act::History(messages, None), request);
        self.send_charged(command, messages, Instant::now())
    }

    /// Asks a room that the client is in for the position up to which the client has everything. The room replies.
    pub fn request_position(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        self.send_to_room(self.command(room, Act::Position, request))
    }

    /// Asks a room that the client is in for the labels of its members. The room replies.
    pub fn list_members(&mut self, room: &RoomName, request: Option<RequestId>) -> Outcome {
        if let Err(error) = self.permit(Action::Presence, room) {
            return self.wait(Waiting::Refused(error));
        }
        let act = Act::Members(Box::new((Instant::now(), PeerAnswers::default())), None);
        self.send_asked(self.command(room, act, request))
    }

    /// Gives the client another label in all rooms that it is in, the last of which replies with it. A name that comes
    /// from a token stays.
    pub fn rename(&mut self, nick: &Label, request: Option<RequestId>) -> Outcome {
        if self.lease.as_ref().is_some_and(|lease| lease.names_client()) {
            let error = format!("{:?}: your name comes from your token", nick.as_str());
            return self.wait(Waiting::Refused(CommandError::Forbidden(error.into())));
        }
        let identity = Arc::make_mut(&mut self.identity);
        identity.label = if self.context.access.has_users() { nick.of_guest() } else { nick.clone() };
        identity.kind = PublisherKind::NamedClient;
        let identity = Arc::clone(&self.identity);
        let Some((last, others)) = self.memberships.split_last() else {
            let named = Event::Named(&identity.label);
            return match request {
                Some(request) => self.reply_to(request, &named),
                None => self.reply(None, &named),
            };
        };
        let rename = |membership: &Membership, request| {
            self.command(&membership.joined.room, Act::Rename(Arc::clone(&identity)), request)
        };
        let mut renames: Vec<_> = others.iter().map(|membership| rename(membership, None)).collect();
        renames.push(rename(last, request));
        self.send_in_order(renames.into_iter())
    }

    /// The nick that a guest has chosen before there were users, and which may be the name of one.
    pub fn unmarked_nick(&self) -> Option<Label> {
        let is_trusted = self.lease.as_ref().is_some_and(|lease| lease.names_client());
        if is_trusted || !self.context.access.has_users() {
            return None;
        }
        // Labels that the server gives, and nicks that are marked, are no nicks that a client could choose.
        Label::nick(self.identity.label.as_str()).ok()
    }

    /// Lists the rooms with members that the client may know of, of all shards, as `Finished::Rooms`.
    pub fn list_rooms(&mut self) -> Outcome {
        if let Err(error) = self.permit_anything() {
            return self.wait(Waiting::Refused(error));
        }
        let broker = self.context.broker.clone();
        let viewer = Viewer::of(Some(&self.identity.user));
        self.wait(Answer::Listing(Box::pin(async move { broker.rooms(viewer).await })))
    }
}
