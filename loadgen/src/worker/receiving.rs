//! Receiving: decodes the messages of one client and counts each of them. Every delivery passes here, so whatever is
//! constant for one read is looked up once. Never does I/O.

use std::ops::Range;

use super::delivery_checker::Receipt;
use super::reconnecting::Reconnects;
use super::resumption::Resumption;
use super::{Counters, Room, Worker};
use crate::clock::Nanos;
use crate::dialect::{Dialect, Incoming};
use crate::payload::Payload;
use crate::workload::Pace;

/// One client while its input is processed.
pub(super) struct MessageReceiver<'a> {
    member: Option<u32>,
    room: &'a mut Room,
    counters: &'a mut Counters,
    reconnects: &'a mut Reconnects,
    /// Only of a client that comes back when it has lost its connection.
    resumption: Option<&'a mut Resumption>,
    measured: &'a Range<Nanos>,
    /// Bytes of every message.
    size: usize,
    /// Whether deliveries to this client trigger the next messages.
    is_pacing: bool,
    now: Nanos,
    /// Whether the current time is within the measured time.
    is_measured: bool,
}

impl Worker {
    pub(super) fn receiver(&mut self, index: usize, now: Nanos) -> MessageReceiver<'_> {
        let client = &mut self.clients[index];
        let room = &mut self.rooms[client.room as usize];
        let is_closed_loop = matches!(self.assignment.pace, Pace::InFlight(_)) && room.is_published_here;
        MessageReceiver {
            member: client.member,
            is_pacing: is_closed_loop && client.member == Some(room.pacing_member),
            room,
            counters: &mut self.counters,
            reconnects: &mut self.reconnects,
            resumption: client.resumption.as_deref_mut(),
            measured: &self.measured,
            size: self.assignment.settings.size,
            now,
            is_measured: self.measured.contains(&now),
        }
    }
}

impl MessageReceiver<'_> {
    /// Receives all leading messages of the input and returns their length.
    pub fn receive_all(&mut self, dialect: &impl Dialect, input: &[u8]) -> usize {
        let mut used = 0;
        loop {
            match dialect.decode(true, &input[used..]) {
                Ok(Some((length, Incoming::Message(text)))) => {
                    used += length;
                    self.receive(text, None);
                }
                Ok(Some((length, Incoming::Publication(text, offset)))) => {
                    used += length;
                    self.receive(text, Some(offset));
                }
                _ => return used,
            }
        }
    }

    /// Receives one message, with its offset if it has one.
    pub fn receive(&mut self, text: &[u8], offset: Option<u64>) {
        if let Some(resumption) = &mut self.resumption {
            if resumption.has_already() {
                return;
            }
            if let Some(offset) = offset {
                resumption.advance(offset);
            }
        }
        // Messages of other programs in the same room are not checked.
        let Some((payload, size)) = Payload::find(text, self.size) else { return };
        let tally = &mut self.counters.result.tally;
        let Some(member) = self.member.filter(|_| payload.room == self.room.number) else {
            tally.stray += 1;
            return;
        };
        tally.damaged += u64::from(size != self.size);
        let is_replay = self.resumption.as_ref().is_some_and(|resumption| resumption.is_replaying());
        let receipt = if is_replay {
            self.room.checker.receive_replayed(member, payload, self.now)
        } else {
            self.room.checker.receive(member, payload, self.now)
        };
        match receipt {
            Receipt::InOrder => {}
            Receipt::Reordered => tally.reordered += 1,
            Receipt::Duplicate => {
                let has_returned = self.resumption.as_ref().is_some_and(|resumption| resumption.has_returned());
                self.reconnects.result.counts.doubled += u64::from(has_returned);
                return tally.duplicated += 1;
            }
            Receipt::Stray => return tally.stray += 1,
            Receipt::Damaged => return tally.damaged += 1,
        }
        tally.received += 1;
        tally.received_in_time += u64::from(self.is_measured);
        if is_replay {
            return self.reconnects.result.counts.replayed += 1;
        }
        if self.measured.contains(&payload.intended) {
            self.counters.latencies.record(self.now.since(payload.intended));
            if self.room.is_beside {
                self.reconnects.record_beside(payload.intended, self.now);
            }
        }
        self.room.to_publish += u32::from(self.is_pacing);
    }
}
