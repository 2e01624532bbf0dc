//! What clients read of a room without changing it: a part of its history, who is in it. They need not be members.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::batch::Batch;
use super::command::{Page, PresenceCount, ReplyTo};
use super::in_flight::LongReplyTurn;
use super::peers::{PeerAnswers, RoomUsers};
use super::room::Room;
use super::shard::Shard;
use crate::protocol::command::CommandError;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::publication::{Publication, Publisher, UserId};

/// What a member takes in a list of members beside its texts, in bytes: at least what any dialect writes.
const MEMBER_BYTES: usize = 96;

impl Shard {
    /// Replies with a part of what a room retains. A room that does not exist has no position, and a client may resume
    /// there from its first publication; in a cluster it has one.
    pub(super) fn page(
        &mut self,
        name: &RoomName,
        to: ReplyTo,
        page: Page,
        turn: Option<LongReplyTurn>,
        batch: &mut Batch,
    ) {
        let Some(room) = self.rooms.get(name) else {
            return match self.page_of_nothing(name, &page) {
                Ok(nothing) => batch.reply(to, &Event::History(&[], nothing.position)),
                Err(error) => batch.reply(to, &Event::Error(&error)),
            };
        };
        match self.publications(name, room, &page) {
            Ok(publications) => {
                let position = self.position_of(name);
                batch.reply_in_turn(to, &Event::History(&publications, Some(position)), turn);
            }
            Err(error) => batch.reply(to, &Event::Error(&error)),
        }
    }

    /// A part of what a room retains, as much as one client gets at once.
    ///
    /// # Errors
    /// The client names another life of the room.
    pub(super) fn publications<'r>(
        &self,
        name: &RoomName,
        room: &'r Room,
        page: &Page,
    ) -> Result<Vec<&'r Publication>, CommandError> {
        let epoch = room.log.position().epoch;
        if page.since.is_some_and(|since| since.epoch.is_some_and(|since| since != epoch)) {
            return Err(CommandError::Unrecoverable { room: name.clone() });
        }
        let messages_max = page.messages_max.min(self.recovery_messages_max);
        let since = page.since.map(|since| since.offset);
        Ok(room.log.page(since, page.is_reverse, messages_max, self.replay_bytes_max))
    }

    /// Replies with all members, or refuses a list that is too long for one reply.
    pub(super) fn presence(
        &self,
        name: &RoomName,
        to: ReplyTo,
        turn: Option<LongReplyTurn>,
        peers: &PeerAnswers,
        batch: &mut Batch,
    ) {
        match self.members_of(name, peers) {
            Ok(members) => batch.reply_in_turn(to, &Event::Presence(&members), turn),
            Err(error) => batch.reply(to, &Event::Error(&error)),
        }
    }

    /// The members of a room, with those of other nodes.
    ///
    /// # Errors
    /// The list is longer than what one client gets at once, or than what a node gives at once.
    pub(super) fn members_of(&self, name: &RoomName, peers: &PeerAnswers) -> Result<Vec<Arc<Publisher>>, CommandError> {
        let own = || self.rooms.get(name).into_iter().flat_map(Room::publishers).chain(peers.members());
        let (bytes, bytes_max): (usize, _) = (own().map(bytes_of).sum(), self.replay_bytes_max);
        let left_out = peers.members_left_out();
        if bytes > bytes_max || left_out > 0 {
            return Err(CommandError::PresenceTooLong { members: own().count() + left_out, bytes_max });
        }
        Ok(own().cloned().collect())
    }

    /// The number of the members, and of the users that they are, with those of other nodes.
    pub(super) fn presence_count(&self, name: &RoomName, peers: &PeerAnswers) -> PresenceCount {
        let room = self.rooms.get(name);
        let users: FxHashSet<&UserId> =
            room.into_iter().flat_map(Room::publishers).map(|member| &member.user).collect();
        peers.count(room.map_or(0, Room::members_len), &users)
    }

    /// The users of a room, each once, and the number of its members.
    pub(super) fn users(&self, name: &RoomName) -> RoomUsers {
        let Some(room) = self.rooms.get(name) else { return RoomUsers::default() };
        let users: FxHashSet<&UserId> = room.publishers().map(|member| &member.user).collect();
        RoomUsers { clients: room.members_len(), users: users.into_iter().cloned().collect() }
    }
}

/// About the length of a member in a list, in bytes: at least what any dialect writes.
fn bytes_of(member: &Arc<Publisher>) -> usize {
    let info = [&member.info, &member.room_info].into_iter().flatten().map(|info| info.len()).sum::<usize>();
    MEMBER_BYTES + member.user.as_str().len() + member.label.as_str().len() + info
}
