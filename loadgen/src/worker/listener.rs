//! A client that hears messages: what each of them counts as. Every delivery passes here, so whatever is the same for all that
//! one read brings is looked up once. Never does I/O.

use std::ops::Range;

use super::room::Receipt;
use super::{Counted, Lobby, Worker};
use crate::clock::Nanos;
use crate::dialect::{Dialect, Heard};
use crate::mark::Mark;
use crate::plan::Pace;

/// One client while it is read.
pub(super) struct Listener<'a> {
    seat: Option<u32>,
    lobby: &'a mut Lobby,
    counted: &'a mut Counted,
    measured: &'a Range<Nanos>,
    /// Of every message, in bytes.
    size: usize,
    /// Whether this is the member whose deliveries call for the next message.
    is_witness: bool,
    now: Nanos,
    /// Whether what comes now is measured.
    is_measured: bool,
}

impl Worker {
    pub(super) fn listener(&mut self, index: usize, now: Nanos) -> Listener<'_> {
        let client = &self.clients[index];
        let lobby = &mut self.rooms[client.room as usize];
        let is_closed_loop = matches!(self.share.pace, Pace::InFlight(_)) && lobby.is_published_here;
        Listener {
            seat: client.seat,
            is_witness: is_closed_loop && client.seat == Some(lobby.witness),
            lobby,
            counted: &mut self.counted,
            measured: &self.measured,
            size: self.share.manner.size,
            now,
            is_measured: self.measured.contains(&now),
        }
    }
}

impl Listener<'_> {
    /// All messages up to whatever else there is; returns their length.
    pub fn receive_all(&mut self, dialect: &impl Dialect, input: &[u8]) -> usize {
        let mut used = 0;
        while let Ok(Some((length, Heard::Message(text)))) = dialect.hear(true, &input[used..]) {
            used += length;
            self.receive(text);
        }
        used
    }

    /// A message.
    pub fn receive(&mut self, text: &[u8]) {
        // What others say in our rooms is no concern of ours.
        let Some((mark, size)) = Mark::find(text, self.size) else { return };
        let tally = &mut self.counted.outcome.tally;
        let Some(seat) = self.seat.filter(|_| mark.room == self.lobby.number) else {
            tally.stray += 1;
            return;
        };
        tally.damaged += u64::from(size != self.size);
        match self.lobby.room.receive(seat, mark, self.now) {
            Receipt::InOrder => {}
            Receipt::Reordered => tally.reordered += 1,
            Receipt::Duplicate => return tally.duplicated += 1,
            Receipt::Stray => return tally.stray += 1,
            Receipt::Damaged => return tally.damaged += 1,
        }
        tally.received += 1;
        tally.received_in_time += u64::from(self.is_measured);
        if self.measured.contains(&mark.intended) {
            self.counted.latencies.record(self.now.since(mark.intended));
        }
        self.lobby.owed += u32::from(self.is_witness);
    }
}
