//! What members do in their rooms: publishing, asking for what is remembered, resuming.

use std::sync::Arc;

use super::batch::Batch;
use super::cluster::{Outstanding, Waiter};
use super::command::{Act, Join, JoinReply, MemberCommand, PresenceCount, ReplyTo};
use super::in_flight::{LongReplyTurn, Uncharged};
use super::log::Unrecovered;
use super::now::Now;
use super::order::{Proposal, RoomOrder};
use super::replays::Form;
use super::shard::Shard;
use crate::backplane::entry::Publish;
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::{Event, JoinedAt, Recovery};
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;
use crate::writer::{Address, Frames};

impl Shard {
    /// Handles a command of a member. One that is in the room no more is told so.
    pub(super) fn member(&mut self, now: Now, command: MemberCommand, batch: &mut Batch) {
        let MemberCommand { room: name, from, act, permit } = command;
        let (act, permit) = match act {
            Act::PublishFromOutside(publish, uncharged) => {
                self.charge_outsider(&name, from.address, &uncharged);
                return self.publish_for_client(now, name, *publish, (from, permit), batch);
            }
            act => (act, permit),
        };
        let Some(act) = self.act_from_outside(&name, from, act, batch) else { return };
        let room = self.rooms.get_mut(&name);
        let Some((member, room)) = room.and_then(|room| Some((Arc::clone(room.member(from.address)?), room))) else {
            return batch.reply(from, &Event::JoinFirst);
        };
        match act {
            Act::Publish(data, read_at) => {
                let proposal = Proposal { publisher: member, data, read_at };
                if self.cluster.is_some() {
                    let outstanding = Outstanding { waiter: Waiter::Member(from), read_at, _permit: permit };
                    return self.propose(Publish::of(name, proposal), outstanding, batch);
                }
                let order = RoomOrder { name: &name, room, history: &mut self.history };
                order.publish(now, proposal, batch);
                if from.request.is_some() {
                    batch.reply_position(from, &Event::Accepted);
                }
                self.reclaim_excess(now);
            }
            Act::Rename(publisher) => {
                batch.reply(from, &Event::Named(&publisher.label));
                room.rename(from.address, publisher);
            }
            Act::Authenticate(publisher) => {
                batch.reply(from, &Event::Authenticated(&publisher.user));
                room.rename(from.address, publisher);
            }
            Act::Members(request, turn) => {
                let (asked_at, peers) = *request;
                let labels = room.labels(asked_at, &mut self.listing_budget);
                let labels = peers.labels(labels).including(&member.label);
                let prefix_bytes = "Members of : ".len() + name.as_str().len();
                let labels = labels.truncated_to(self.message_bytes_max.saturating_sub(prefix_bytes));
                batch.reply_in_turn(from, &Event::Members(&name, &labels), turn);
            }
            Act::Position => {
                let position = self.position_of(&name);
                batch.reply_position(from, &Event::Position(&name, position));
            }
            Act::History(messages, turn) => self.newest(&name, from, messages, turn, batch),
            Act::Reply(_)
            | Act::PublishFromOutside(..)
            | Act::Page(..)
            | Act::Presence(..)
            | Act::PresenceCount(..) => {
                unreachable!("it was handled above")
            }
        }
    }

    /// Replies with the newest publications, as many of them as fit, and with the position behind them.
    fn newest(
        &mut self,
        name: &RoomName,
        from: ReplyTo,
        messages: usize,
        turn: Option<LongReplyTurn>,
        batch: &mut Batch,
    ) {
        let log = &self.rooms[name].log;
        let mut messages = messages.min(self.recovery_messages_max);
        let bytes_max = self.replay_bytes_max;
        while messages > 0
            && let newest = log.latest(messages, bytes_max)
            && newest.len() > 0
        {
            messages = newest.len() / 2;
            let frames = self.replays.newest(name, (from.dialect, Form::Messages), log, newest);
            // What is encoded may be longer than its data, by a label for each line.
            if frames.bytes().len() <= bytes_max {
                batch.reply_frames(from.address, frames.holding(turn.map(|turn| turn.0)));
                break;
            }
        }
        let position = self.position_of(name);
        batch.reply_position(from, &Event::HistoryEnd(name, position));
    }

    /// Handles an act for which its client need not be a member. Returns any other act.
    fn act_from_outside(&mut self, name: &RoomName, from: ReplyTo, act: Act, batch: &mut Batch) -> Option<Act> {
        match act {
            Act::Reply(bytes) => batch.reply_encoded(from.address, bytes),
            Act::Page(page, turn) => self.page(name, from, *page, turn, batch),
            Act::Presence(turn, uncharged, peers) => {
                self.charge_outsider(name, from.address, &uncharged);
                self.presence(name, from, turn, &peers, batch);
            }
            Act::PresenceCount(uncharged, peers) => {
                self.charge_outsider(name, from.address, &uncharged);
                let PresenceCount { clients, users } = self.presence_count(name, &peers);
                batch.reply(from, &Event::PresenceCount { clients, users });
            }
            act => return Some(act),
        }
        None
    }

    /// Charges a client that is no member for all members of the room.
    fn charge_outsider(&self, room: &RoomName, address: Address, uncharged: &Uncharged) {
        if let Some(room) = self.rooms.get(room).filter(|room| !room.contains(address)) {
            uncharged.add(room.member_count().members());
        }
    }

    /// Tells a client that it joins, and what it has missed since a position, or that this cannot be had: never a part of
    /// it. What follows is live, without a gap and without a double, since all of it is one turn.
    ///
    /// # Errors
    /// What was missed cannot be had, and the client wants all or nothing.
    pub(super) fn welcome(&mut self, name: &RoomName, join: &mut Join, batch: &mut Batch) -> Result<(), CommandError> {
        let turn = join.turn.take().map(|turn| turn.0);
        let Join { member, reply, since, may_recover, .. } = &*join;
        let (reply, since) = (*reply, *since);
        let missed = since.map(|since| self.missed(name, member.dialect, reply, since));
        if join.must_recover && matches!(missed, Some(Err(_))) {
            return Err(CommandError::Unrecoverable { room: name.clone() });
        }
        let request = if let JoinReply::Requested(request) = reply { request } else { None };
        let to = ReplyTo { address: member.address, dialect: member.dialect, request };
        match reply {
            JoinReply::Requested(_) if member.dialect.has_offsets() => {
                let recovery = match (since, &missed) {
                    // In a room that retains nothing, this is a client that has missed nothing.
                    (Some(since), Some(Ok(frames))) if *may_recover => {
                        let missed = frames.as_ref().map_or(&[][..], Frames::bytes);
                        Recovery::Recovered { since: since.offset, missed }
                    }
                    (Some(_), _) => Recovery::Unrecovered,
                    (None, _) => Recovery::NotRequested,
                };
                batch.reply_in_turn(
                    to,
                    &Event::JoinedAt(&self.joined_at(name, join, recovery)),
                    turn.map(LongReplyTurn),
                );
                return Ok(());
            }
            JoinReply::Pushed if member.dialect.has_offsets() => {
                batch.reply(to, &Event::JoinedAt(&self.joined_at(name, join, Recovery::NotRequested)));
            }
            JoinReply::Requested(_) | JoinReply::Pushed => batch.reply(to, &Event::Joined(name)),
            JoinReply::Told => {}
        }
        match missed {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(frames))) => batch.reply_frames(to.address, frames.holding(turn)),
            Some(Err(_)) if reply == JoinReply::Told => {}
            Some(Err(_)) => batch.reply(to, &Event::Unrecovered(name)),
        }
        Ok(())
    }

    /// What a client that joins is told of its room, in a dialect that counts offsets.
    fn joined_at<'a>(&self, name: &'a RoomName, join: &'a Join, recovery: Recovery<'a>) -> JoinedAt<'a> {
        let log = &self.rooms[name].log;
        JoinedAt {
            room: name,
            position: self.position_of(name),
            is_recoverable: log.is_retaining() && join.may_recover,
            recovery,
            expires_in: join.expires_in,
            data: join.data.as_deref(),
        }
    }

    /// What a client has missed since a position, encoded; `None` if that is nothing.
    fn missed(
        &mut self,
        name: &RoomName,
        dialect: Dialect,
        reply: JoinReply,
        since: Since,
    ) -> Result<Option<Frames>, Unrecovered> {
        let since = self.within_log(name, since);
        let log = &self.rooms.get(name).expect("the room that is joined").log;
        let bytes_max = self.replay_bytes_max;
        let missed = log.missed_since(since, self.recovery_messages_max, bytes_max);
        let encoded = missed.and_then(|missed| {
            if missed.len() == 0 {
                return Ok(None);
            }
            let form = if matches!(reply, JoinReply::Requested(_)) { Form::Parts } else { Form::Messages };
            let frames = self.replays.newest(name, (dialect, form), log, missed);
            // What is encoded may be longer than its data, by a label for each line.
            if frames.bytes().len() > bytes_max { Err(Unrecovered::TooLong) } else { Ok(Some(frames)) }
        });
        match (&encoded, reply) {
            // It was counted when its place was reserved.
            (_, JoinReply::Told) => {}
            (Ok(_), _) => self.recoveries.recovered += 1,
            (Err(_), _) => self.recoveries.unrecovered += 1,
        }
        encoded
    }

    pub(super) fn reclaim_excess(&mut self, now: Now) {
        if self.history.is_over_budget() {
            self.reclaim(now);
        }
    }
}
