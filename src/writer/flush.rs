//! Flushing: one write per dirty slot with all it is owed, in chunks, so that nothing waits long behind a large fan-out.

use std::time::Instant;

use super::address::Slot;
use super::outbox::Whole;
use super::slots::{Mark, Phase, Refusal};
use super::state::Writer;
use super::wire::{Sent, Wire};
use crate::protocol::disconnect::Disconnect;

/// Writes between two looks at the mailbox, about half a millisecond of system calls.
const CHUNK_WRITES: usize = 64;

/// The share of a chunk that slots owed something small have while both kinds wait.
const CHUNK_WRITES_SMALL: usize = CHUNK_WRITES / 2;

/// What came of writing one slot out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Emptied,
    Refused,
    Broken,
}

impl Writer {
    /// Writes one chunk: first the small share, then the large fan-outs, then whatever small is left.
    pub(super) fn flush(&mut self, now: Instant, wire: &mut impl Wire) {
        let mut writes = 0;
        while writes < CHUNK_WRITES_SMALL
            && let Some(slot) = self.small.pop_front()
        {
            writes += self.write_if_marked(now, slot, Mark::Small, wire);
        }
        while writes < CHUNK_WRITES
            && let Some((slot, mark)) = self.pop_large_first()
        {
            writes += self.write_if_marked(now, slot, mark, wire);
        }
    }

    /// A watched socket takes bytes again.
    pub(super) fn writable(&mut self, slot: Slot) {
        if let Some(row) = self.slots.row(slot)
            && row.hot.mark == Mark::Watched
        {
            row.hot.mark = Mark::Large;
            self.large.push_back(slot);
        }
    }

    fn pop_large_first(&mut self) -> Option<(Slot, Mark)> {
        let large = self.large.pop_front().map(|slot| (slot, Mark::Large));
        large.or_else(|| self.small.pop_front().map(|slot| (slot, Mark::Small)))
    }

    /// Writes the slot out if it still waits in the list it was found in; returns how many writes that took. The mark is
    /// cleared first, so that whatever comes meanwhile marks it anew.
    fn write_if_marked(&mut self, now: Instant, slot: Slot, mark: Mark, wire: &mut impl Wire) -> usize {
        let Some(row) = self.slots.row(slot).filter(|row| row.hot.mark == mark) else {
            return 0;
        };
        row.hot.mark = Mark::Clean;
        let before = self.metrics.writes.get();
        match self.write_out(now, slot, wire) {
            Outcome::Emptied => self.emptied(now, slot, wire),
            Outcome::Refused => self.refused(now, slot, wire),
            Outcome::Broken => self.close(slot, Disconnect::IoError, wire),
        }
        // A refusal is a system call as well.
        (self.metrics.writes.get() - before).max(1) as usize
    }

    fn write_out(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) -> Outcome {
        let row = self.slots.row(slot).expect("the caller has found the row");
        loop {
            if row.hot.refused {
                let notice = row.hot.outbox.word_notice(row.cold.dialect);
                self.metrics.owed_bytes.add(notice as u64);
            }
            let Some(bytes) = row.hot.outbox.next_write(&row.cold.backlog, &mut self.scratch) else {
                return Outcome::Emptied;
            };
            let taken = match wire.send(slot.index, bytes) {
                Sent::Taken(taken) => taken,
                Sent::Refused => return Outcome::Refused,
                Sent::Broken => return Outcome::Broken,
            };
            let Whole { messages: whole, read_at } = row.hot.outbox.advance(taken, &mut row.cold.backlog);
            self.metrics.writes.add(1);
            self.metrics.sent_bytes.add(taken as u64);
            self.metrics.owed_bytes.subtract(taken as u64);
            self.metrics.delivered.add(whole.deliveries as u64);
            if let Some(read_at) = read_at {
                // `now` is that of the chunk: at most half a millisecond too early.
                self.metrics.written.record(now.saturating_duration_since(read_at), whole.deliveries as u64);
            }
            if row.hot.refused {
                row.cold.refusal.as_mut().expect("a refusal is dated").taken(now, taken);
            } else {
                self.owed -= whole.messages();
            }
            if row.hot.phase == Phase::Closing {
                row.cold.closing.as_mut().expect("a closing slot has a reason").extend(now);
            }
        }
    }

    fn emptied(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        let row = self.slots.row(slot).expect("the caller has found the row");
        if row.hot.refused {
            row.hot.refused = false;
            row.cold.refusal = None;
        }
        if row.hot.phase == Phase::Closing {
            self.finish(now, slot, wire);
        }
    }

    /// From here on the delay is the client's own, and so is its backlog.
    fn refused(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        let row = self.slots.row(slot).expect("the caller has found the row");
        let owed = row.owed();
        row.hot.mark = Mark::Watched;
        if !row.hot.refused {
            row.hot.refused = true;
            self.owed -= owed.messages;
        }
        match &mut row.cold.refusal {
            Some(refusal) if refusal.until > 0 => {}
            Some(refusal) => (refusal.since, refusal.until) = (now, owed.bytes),
            none => *none = Some(Box::new(Refusal { since: now, until: owed.bytes, taken_at: now, pong: None })),
        }
        wire.watch(slot);
        self.sweep_later(slot);
        self.drop_to_bounds(now, slot);
    }
}
