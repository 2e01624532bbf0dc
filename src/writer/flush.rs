//! Flushing: one write per dirty slot with all its pending output, in chunks, so that nothing waits long behind a large
//! fan-out. Never waits for a socket.

use std::time::{Duration, Instant};

use super::Slot;
use super::outbox::Completed;
use super::slots::{List, Phase, SocketState, Stall};
use super::state::Writer;
use super::wire::{Sent, Wire};
use crate::protocol::disconnect::Disconnect;

/// Writes between two looks at the mailbox, about half a millisecond of system calls.
const CHUNK_WRITES: usize = 64;

/// The share of a chunk for slots with something small pending while both kinds wait.
const CHUNK_WRITES_SMALL: usize = CHUNK_WRITES / 2;

/// A blocked client that gets more and more output is offered it this often, not with a system call for each message.
const OFFER_EVERY: Duration = Duration::from_millis(10);

/// The count of what the writer has to write never wraps: the writer would seem full forever.
pub(super) const WAITS: &str = "nothing is written that does not wait";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteOutcome {
    Emptied,
    Blocked,
    Broken,
}

impl Writer {
    /// Writes one chunk: first the small share, then the large fan-outs, then whatever small is left.
    pub(super) fn flush(&mut self, now: Instant, wire: &mut impl Wire) {
        let mut writes = 0;
        while writes < CHUNK_WRITES_SMALL
            && let Some(slot) = self.small.pop_front()
        {
            writes += self.write_if_waiting(now, slot, List::Small, wire);
        }
        while writes < CHUNK_WRITES
            && let Some((slot, list)) = self.pop_large_first()
        {
            writes += self.write_if_waiting(now, slot, list, wire);
        }
    }

    /// A watched socket takes bytes again. From here on its backlog is the server's own until it is blocked again.
    pub(super) fn writable(&mut self, now: Instant, slot: Slot) {
        if let Some(row) = self.slots.row(slot)
            && row.hot.state == SocketState::Blocked
        {
            row.hot.state = SocketState::Resumed;
            row.cold.stall.as_mut().expect("a stall is dated").resumed_at = now;
            self.waiting += row.pending().messages;
            self.large.push_back(slot);
        }
    }

    fn pop_large_first(&mut self) -> Option<(Slot, List)> {
        let large = self.large.pop_front().map(|slot| (slot, List::Large));
        large.or_else(|| self.small.pop_front().map(|slot| (slot, List::Small)))
    }

    /// Writes the slot out if it still waits in the list it was found in; returns the number of writes.
    fn write_if_waiting(&mut self, now: Instant, slot: Slot, list: List, wire: &mut impl Wire) -> usize {
        if self.slots.row(slot).is_none_or(|row| !row.hot.state.waits_in(list)) {
            return 0;
        }
        if let Some(left) = &mut self.turns_before_shedding {
            *left = left.saturating_sub(1);
        }
        let before = self.metrics.writes.get();
        match self.write_out(now, slot, wire) {
            WriteOutcome::Emptied => self.emptied(now, slot, wire),
            WriteOutcome::Blocked => {
                self.blocked(now, slot, wire);
                if self.metrics.writes.get() == before {
                    self.drop_to_bounds(now, slot);
                }
            }
            WriteOutcome::Broken => self.close(slot, Disconnect::IoError, wire),
        }
        // A write of which the socket took nothing is a system call as well.
        (self.metrics.writes.get() - before).max(1) as usize
    }

    /// Offers a blocked client its bytes once more, since it may have read since the last offer. True if its socket took
    /// nothing at all: only then may the client be judged. One write, as long as the socket stays blocked.
    #[cold]
    pub(super) fn is_still_blocked(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) -> bool {
        let Some(row) = self.slots.row(slot).filter(|row| row.hot.state == SocketState::Blocked) else {
            return false;
        };
        let is_recent = |stall: &Stall| stall.offered_at.is_some_and(|at| now < at + OFFER_EVERY);
        if row.cold.stall.as_deref().is_some_and(is_recent) {
            return true;
        }
        let before = self.metrics.writes.get();
        match self.write_out(now, slot, wire) {
            WriteOutcome::Emptied => self.emptied(now, slot, wire),
            WriteOutcome::Blocked => {
                let has_taken = self.metrics.writes.get() > before;
                let row = self.slots.row(slot).expect("a blocked socket ends nothing");
                let bytes = row.pending().bytes;
                let stall = row.cold.stall.as_mut().expect("a stall is dated");
                stall.sealed = wire.held(slot.index);
                stall.date(now, bytes + stall.sealed);
                stall.offered_at = (!has_taken).then_some(now);
                return !has_taken;
            }
            WriteOutcome::Broken => self.close(slot, Disconnect::IoError, wire),
        }
        false
    }

    /// Inlined, since all deliveries come through it: the call would cost 3 % of their instructions.
    #[inline(always)]
    fn write_out(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) -> WriteOutcome {
        let mut row = self.slots.row(slot).expect("the caller has found the row");
        let (is_stalled, is_blocked) = (row.hot.state.is_stalled(), row.hot.state == SocketState::Blocked);
        if is_stalled {
            match self.flush_sealed(now, slot, wire) {
                WriteOutcome::Emptied => row = self.slots.row(slot).expect("a flush ends nothing"),
                outcome => return outcome,
            }
        }
        loop {
            if is_stalled {
                let notice = row.hot.outbox.encode_notice(row.cold.dialect);
                self.metrics.pending_bytes.add(notice as u64);
                // A client that is closing has no time beyond that of its connection.
                row.cold.stall.as_mut().expect("a stall is dated").is_in_long_reply = row.hot.phase == Phase::Open
                    && row.hot.outbox.first.as_ref().is_some_and(|first| first.is_long_reply());
            }
            let Some(bytes) = row.hot.outbox.next_write(&row.cold.backlog, &mut self.scratch) else {
                return WriteOutcome::Emptied;
            };
            let (taken, held) = match wire.send(slot.index, bytes) {
                Sent::Taken(taken) => (taken, 0),
                Sent::Held(taken) => (taken, wire.held(slot.index)),
                Sent::WouldBlock => return WriteOutcome::Blocked,
                Sent::Broken => return WriteOutcome::Broken,
            };
            let Completed { messages, read_at } = row.hot.outbox.advance(taken, &mut row.cold.backlog);
            self.metrics.writes.add(1);
            self.metrics.sent_bytes.add(taken as u64);
            self.metrics.pending_bytes.subtract(taken as u64);
            self.metrics.delivered.add(messages.deliveries as u64);
            if let Some(read_at) = read_at {
                // `now` is that of the chunk: at most half a millisecond too early.
                self.metrics.written.record(now.saturating_duration_since(read_at), messages.deliveries as u64);
            }
            if !is_blocked {
                self.waiting = self.waiting.checked_sub(messages.messages()).expect(WAITS);
            }
            if is_stalled {
                row.cold.stall.as_mut().expect("a stall is dated").taken(now, taken.saturating_sub(held));
            }
            if row.hot.phase == Phase::Closing {
                row.cold.closing.as_mut().expect("a closing slot has a reason").extend(now);
            }
            if held > 0 {
                return WriteOutcome::Blocked;
            }
        }
    }

    /// Offers the socket of a stalled client the sealed bytes that its stream holds. They are no longer in the outbox, and
    /// count for the client's age as if they were.
    #[cold]
    fn flush_sealed(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) -> WriteOutcome {
        let (taken, outcome) = match wire.flush(slot.index) {
            Sent::Taken(0) => return WriteOutcome::Emptied,
            Sent::Taken(taken) => (taken, WriteOutcome::Emptied),
            Sent::Held(taken) => (taken, WriteOutcome::Blocked),
            Sent::WouldBlock => return WriteOutcome::Blocked,
            Sent::Broken => return WriteOutcome::Broken,
        };
        self.metrics.writes.add(1);
        let row = self.slots.row(slot).expect("the caller has found the row");
        let stall = row.cold.stall.as_mut().expect("a stall is dated");
        stall.sealed = wire.held(slot.index);
        stall.taken(now, taken);
        if row.hot.phase == Phase::Closing {
            row.cold.closing.as_mut().expect("a closing slot has a reason").extend(now);
        }
        outcome
    }

    #[inline(always)]
    fn emptied(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        let row = self.slots.row(slot).expect("the caller has found the row");
        if row.hot.state.is_stalled() {
            row.cold.stall = None;
        }
        row.hot.state = SocketState::Empty;
        if row.hot.phase == Phase::Closing {
            self.finish(now, slot, wire);
        }
    }

    /// The socket took nothing more. From here on the delay is the client's own, and so is its backlog.
    pub(super) fn blocked(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        let row = self.slots.row(slot).expect("the caller has found the row");
        let pending = row.pending();
        self.waiting = self.waiting.checked_sub(pending.messages).expect(WAITS);
        row.hot.state = SocketState::Blocked;
        let sealed = wire.held(slot.index);
        match &mut row.cold.stall {
            Some(stall) => stall.go_on(now, pending.bytes + sealed),
            none => *none = Some(Box::new(Stall::new(now, pending.bytes + sealed))),
        }
        row.cold.stall.iter_mut().for_each(|stall| stall.sealed = sealed);
        if let Some(closing) = &mut row.cold.closing {
            closing.extend(now);
        }
        wire.watch(slot);
        self.sweep_later(slot);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::config::{OutboxLimits, SlowPolicy};
    use crate::protocol::dialect::Dialect;
    use crate::writer::{Entry, Frames, Input, Targets, WriterCommand};

    const LIMITS: OutboxLimits = OutboxLimits {
        bytes_max: 1_000,
        messages_max: 10,
        slow_after: Duration::from_secs(1),
        policy: SlowPolicy::Disconnect,
        budget: 1_000_000,
    };

    /// A socket that takes everything, or nothing.
    struct AllOrNothing(bool);

    impl Wire for AllOrNothing {
        fn send(&mut self, _index: u32, bytes: &[u8]) -> Sent {
            if self.0 { Sent::Taken(bytes.len()) } else { Sent::WouldBlock }
        }

        fn watch(&mut self, _slot: Slot) {}

        fn finish(&mut self, _index: u32) -> bool {
            true
        }

        fn close(&mut self, _index: u32) {}
    }

    /// A writer with two messages for one client, of which it has lost count.
    fn miscounting(wire: &mut AllOrNothing) -> (Writer, Slot) {
        let mut writer = Writer::new(LIMITS);
        let slot = writer.open(Dialect::TextLines);
        let frames = Frames::delivery("a\nb\n".into(), vec![2]);
        let entry = Entry { targets: Targets::Audience([slot].into()), frames };
        writer.step(Instant::now(), Input::Command(WriterCommand::Entry(entry)), wire);
        assert_eq!(std::mem::take(&mut writer.waiting), 2);
        (writer, slot)
    }

    #[test]
    fn a_count_that_would_wrap_ends_the_process_in_every_profile() {
        let inputs: [(bool, fn(Slot) -> Input); 4] = [
            (true, |_| Input::Flush),
            (false, |_| Input::Flush),
            (true, |slot| Input::Command(WriterCommand::Close(slot, Disconnect::SlowConsumer))),
            (true, |_| Input::Cut),
        ];
        for (takes, input) in inputs {
            let mut wire = AllOrNothing(takes);
            let (mut writer, slot) = miscounting(&mut wire);
            let step = AssertUnwindSafe(|| writer.step(Instant::now(), input(slot), &mut wire));
            let panic = catch_unwind(step).expect_err("it goes on with a wrong count");
            assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some(WAITS));
        }
    }
}
