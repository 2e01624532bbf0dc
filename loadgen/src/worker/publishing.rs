//! Publishing: on a schedule that never waits, or in a closed load after each delivery. A late message is never
//! skipped.

use super::client::{Client, SendResult, Stage};
use super::connecting::reason_of;
use super::{Phase, Worker};
use crate::clock::Nanos;
use crate::payload::{PAYLOAD_BYTES_MIN, Payload};
use crate::schedule::Schedule;
use crate::target::Scheme;
use crate::workload::{Pace, Publishers};

/// Maximum messages before sockets are polled again: less than a millisecond of work.
const MESSAGES_AT_ONCE_MAX: usize = 64;

/// Random draws for a member that is in its room, before the first such member is taken.
const DRAWS_MAX: usize = 8;

impl Worker {
    /// Publishes the messages that are due. Stops after [`MESSAGES_AT_ONCE_MAX`], because sockets must be read
    /// meanwhile.
    pub(super) fn publish_due(&mut self, now: Nanos) {
        let mut now = now;
        for _ in 0..MESSAGES_AT_ONCE_MAX {
            let Some(schedule) = self.schedule.as_mut() else { return };
            let Some(due) = schedule.due().filter(|due| *due <= now) else { return };
            let room = schedule.take();
            self.counters.lags.record(now.since(due));
            self.publish(room, due, 1, now);
            now = Nanos::now();
        }
    }

    /// Publishes the messages that are due, if there are any. Cheap enough to be called after every event.
    pub(super) fn publish_if_due(&mut self) {
        if let Some(due) = self.schedule.as_ref().and_then(Schedule::due) {
            let now = Nanos::now();
            if due <= now {
                self.publish_due(now);
            }
        }
    }

    /// Publishes the first messages of a closed load in each room.
    pub(super) fn start_closed_load(&mut self, now: Nanos) {
        let Pace::InFlight(messages) = self.assignment.pace else { return self.rooms_to_fill = false };
        if !std::mem::take(&mut self.rooms_to_fill) || self.assignment.settings.publishers == Publishers::Target {
            return;
        }
        for room in 0..self.rooms.len() {
            if self.rooms[room].is_published_here {
                self.choose_pacing_member(room);
                self.publish(room, now, messages, now);
            }
        }
    }

    /// Makes the first member that is in the room its pacing member.
    fn choose_pacing_member(&mut self, room: usize) {
        let Self { rooms, clients, .. } = self;
        let room = &mut rooms[room];
        let stays = |client: &u32| clients[*client as usize].stays();
        room.pacing_member = (0..).zip(&room.members).find(|(_, client)| stays(client)).map_or(0, |(member, _)| member);
    }

    /// Replaces a pacing member that is gone, and publishes a new set of messages.
    pub(super) fn replace_pacing_member(&mut self, room: usize) {
        self.choose_pacing_member(room);
        if let Pace::InFlight(messages) = self.assignment.pace {
            self.rooms[room].to_publish = messages;
        }
    }

    /// Publishes one message for each that the pacing member has just received.
    pub(super) fn publish_next(&mut self, index: usize) {
        let room = self.clients[index].room as usize;
        let to_publish = std::mem::take(&mut self.rooms[room].to_publish);
        if to_publish == 0 {
            return;
        }
        let now = Nanos::now();
        let sending = matches!(self.phase, Phase::Sending { end, .. } if now < end);
        if sending && self.assignment.settings.publishers != Publishers::Target {
            self.publish(room, now, to_publish, now);
        }
    }

    /// Publishes `count` messages to a room, all by the same client.
    fn publish(&mut self, room: usize, intended: Nanos, count: u32, now: Nanos) {
        let Some(publisher) = self.publisher(room) else {
            self.counters.result.tally.unsaid += u64::from(count);
            return;
        };
        let mut out = std::mem::take(&mut self.write_buffer);
        out.clear();
        let mut text = Vec::with_capacity(self.assignment.settings.size);
        let (dialect, sender) = (self.dialect(publisher), self.clients[publisher].connection);
        let room = &mut self.rooms[room];
        for _ in 0..count {
            let number = room.checker.publish(intended, sender);
            text.clear();
            Payload { room: room.number, number, intended }.write(self.assignment.settings.size, &mut text);
            text[PAYLOAD_BYTES_MIN..][..self.words.len()].copy_from_slice(&self.words);
            dialect.publish(&room.name, &text, &mut out);
        }
        if self.scheme(publisher) == Scheme::Api {
            self.clients[publisher].unanswered.extend((0..count).map(|_| intended));
        }
        self.counters.result.tally.published += u64::from(count);
        match self.clients[publisher].send(&out) {
            Ok(SendResult::Complete) => {}
            Ok(SendResult::Partial) => self.counters.result.tally.blocked += u64::from(count),
            // The remaining clients will report the message as missing.
            Err(error) => drop(self.end(publisher, reason_of(&error), now)),
        }
        self.write_buffer = out;
    }

    /// Counts the answer to the first publish of a client that was not answered yet.
    pub(super) fn count_answer(&mut self, index: usize, now: Nanos) {
        let due = self.clients[index].unanswered.pop_front();
        due.filter(|due| self.measured.contains(due))
            .into_iter()
            .for_each(|due| self.counters.answers.record(now.since(due)));
    }

    /// Counts a publish that the server has refused because it cannot take any at the moment.
    pub(super) fn count_unavailable(&mut self, index: usize) {
        let client = &self.clients[index];
        self.rooms[client.room as usize].checker.refuse(client.connection);
        self.counters.result.tally.unavailable += 1;
    }

    /// The client that publishes the next message; `None` if none is left.
    fn publisher(&mut self, room: usize) -> Option<usize> {
        let Self { rooms, clients, random, .. } = self;
        let room = &rooms[room];
        let stays = |client: &usize| clients[*client].stays();
        let drawn = match self.assignment.settings.publishers {
            Publishers::Apart => return room.separate_publisher.map(|client| client as usize).filter(stays),
            Publishers::Members => {
                let mut draw = || room.members[random.usize(..room.members.len())] as usize;
                (0..DRAWS_MAX).map(|_| draw()).find(stays)
            }
            Publishers::First | Publishers::Target => None,
        };
        drawn.or_else(|| room.members.iter().map(|&client| client as usize).find(stays))
    }

    /// Makes some clients stop reading, as `--slow` asks. Never the first member of a room or a separate publisher.
    pub(super) fn stall_clients(&mut self) {
        if self.assignment.settings.slow == 0.0 {
            return;
        }
        let Self { clients, random, poll, rooms, counters, assignment, .. } = self;
        let may_stall = |client: &&mut Client| client.stays() && client.member.is_some_and(|member| member > 0);
        for client in clients.iter_mut().filter(may_stall) {
            let room = &mut rooms[client.room as usize];
            let is_apart =
                client.member.is_some_and(|member| room.separate_publisher == Some(room.members[member as usize]));
            if is_apart || random.f64() >= assignment.settings.slow {
                continue;
            }
            // A socket that cannot be deregistered stalls just as well.
            let _ = client.stream_mut().map(|stream| poll.registry().deregister(stream));
            client.stage = Stage::Stalled;
            room.checker.ignore(client.member.unwrap_or_default());
            counters.result.tally.stalled += 1;
        }
    }
}
