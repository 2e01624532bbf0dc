//! How messages are sent: on a schedule that waits for nobody, or one for each that has come. A late message is never left out.

use super::client::{Client, Sent, Stage};
use super::opening::reason_of;
use super::{Phase, Worker};
use crate::clock::Nanos;
use crate::mark::Mark;
use crate::plan::{Pace, Publishers};

/// So many messages are sent before sockets are looked at again: less than a millisecond.
const MESSAGES_AT_ONCE_MAX: usize = 64;

/// So often a member is drawn that happens to be in no room just now, before the first that is takes its place.
const DRAWS_MAX: usize = 8;

impl Worker {
    /// What is due by now; the rest in a moment, if that is much: sockets have to be read meanwhile.
    pub(super) fn publish_due(&mut self, now: Nanos) {
        let mut now = now;
        for _ in 0..MESSAGES_AT_ONCE_MAX {
            let Some(schedule) = self.schedule.as_mut() else { return };
            let Some(due) = schedule.due().filter(|due| *due <= now) else { return };
            let room = schedule.take();
            self.counted.lags.record(now.since(due));
            self.publish(room, due, 1, now);
            now = Nanos::now();
        }
    }

    /// A closed load begins: so many in each room.
    pub(super) fn fill_rooms(&mut self, now: Nanos) {
        let Pace::InFlight(messages) = self.share.pace else { return self.rooms_to_fill = false };
        if !std::mem::take(&mut self.rooms_to_fill) || self.share.manner.publishers == Publishers::Target {
            return;
        }
        for room in 0..self.rooms.len() {
            if self.rooms[room].is_published_here {
                self.choose_witness(room);
                self.publish(room, now, messages, now);
            }
        }
    }

    /// The first member who is there.
    fn choose_witness(&mut self, room: usize) {
        let Self { rooms, clients, .. } = self;
        let lobby = &mut rooms[room];
        let is_ready = |client: &u32| clients[*client as usize].stage == Stage::Ready;
        lobby.witness = (0..).zip(&lobby.members).find(|(_, client)| is_ready(client)).map_or(0, |(seat, _)| seat);
    }

    /// Somebody else takes the place of a witness who is gone, and the room begins anew.
    pub(super) fn replace_witness(&mut self, room: usize) {
        self.choose_witness(room);
        if let Pace::InFlight(messages) = self.share.pace {
            self.rooms[room].owed = messages;
        }
    }

    /// One message for each that a witness has just had.
    pub(super) fn follow_up(&mut self, index: usize) {
        let room = self.clients[index].room as usize;
        let owed = std::mem::take(&mut self.rooms[room].owed);
        if owed == 0 {
            return;
        }
        let now = Nanos::now();
        let sending = matches!(self.phase, Phase::Sending { end, .. } if now < end);
        if sending && self.share.manner.publishers != Publishers::Target {
            self.publish(room, now, owed, now);
        }
    }

    /// So many messages to a room; one publisher says those of one moment at once.
    fn publish(&mut self, room: usize, intended: Nanos, count: u32, now: Nanos) {
        let Some(publisher) = self.publisher(room) else {
            self.counted.outcome.tally.unsaid += u64::from(count);
            return;
        };
        let mut out = std::mem::take(&mut self.write_buffer);
        out.clear();
        let mut text = Vec::with_capacity(self.share.manner.size);
        let dialect = self.dialect(publisher);
        let lobby = &mut self.rooms[room];
        for _ in 0..count {
            let number = lobby.room.publish(intended);
            text.clear();
            Mark { room: lobby.number, number, intended }.write(self.share.manner.size, &mut text);
            dialect.publish(&lobby.name, &text, &mut out);
        }
        self.counted.outcome.tally.published += u64::from(count);
        match self.clients[publisher].send(&out) {
            Ok(Sent::Whole) => {}
            Ok(Sent::InPart) => self.counted.outcome.tally.blocked += u64::from(count),
            // The clients that remain will say that it is missing.
            Err(error) => drop(self.end(publisher, reason_of(&error), now)),
        }
        self.write_buffer = out;
    }

    /// Who says the next message; `None` if nobody is left.
    fn publisher(&mut self, room: usize) -> Option<usize> {
        let Self { rooms, clients, random, .. } = self;
        let lobby = &rooms[room];
        let is_ready = |client: &usize| clients[*client].stage == Stage::Ready;
        let drawn = match self.share.manner.publishers {
            Publishers::Apart => return lobby.publisher_apart.map(|client| client as usize).filter(is_ready),
            Publishers::Members => {
                let mut draw = || lobby.members[random.usize(..lobby.members.len())] as usize;
                (0..DRAWS_MAX).map(|_| draw()).find(is_ready)
            }
            Publishers::First | Publishers::Target => None,
        };
        drawn.or_else(|| lobby.members.iter().map(|&client| client as usize).find(is_ready))
    }

    /// As asked for, some clients stop reading: never the witness of a room, never a publisher apart.
    pub(super) fn stall_some(&mut self) {
        if self.share.manner.slow == 0.0 {
            return;
        }
        let Self { clients, random, poll, rooms, counted, share, .. } = self;
        let may_stall = |client: &&mut Client| client.stage == Stage::Ready && client.seat.is_some_and(|seat| seat > 0);
        for client in clients.iter_mut().filter(may_stall) {
            let lobby = &mut rooms[client.room as usize];
            let is_apart = client.seat.is_some_and(|seat| lobby.publisher_apart == Some(lobby.members[seat as usize]));
            if is_apart || random.f64() >= share.manner.slow {
                continue;
            }
            // A socket that cannot be watched any less stalls just as well.
            let _ = client.stream_mut().map(|stream| poll.registry().deregister(stream));
            client.stage = Stage::Stalled;
            lobby.room.forget(client.seat.unwrap_or_default());
            counted.outcome.tally.stalled += 1;
        }
    }
}
