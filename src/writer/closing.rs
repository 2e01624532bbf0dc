//! Endings, one path for every reason: the message partly sent, what is still pending, the last line, the end of the stream,
//! the end of the input or one second, the slot. Nothing else frees a slot.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Slot;
use super::flush::WAITS;
use super::frames::{Frames, Kind};
use super::outbox::MessageCounts;
use super::slots::{Closing, Phase, SocketState};
use super::state::Writer;
use super::wire::Wire;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::{Disconnect, RetrySeconds};

/// How long a closing client may take nothing, and how long its input may go on after the end of the stream. Closed with
/// unread input, a socket answers with a reset that may destroy the last line (RFC 9112 §9.6 has the same of HTTP).
pub const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// The last bytes for clients. Those of a stop, which ends thousands at once, are encoded once for each dialect.
#[derive(Debug)]
pub(super) struct LastBytes {
    retry: RetrySeconds,
    of_stop: BTreeMap<Dialect, Bytes>,
}

impl LastBytes {
    /// Nothing is encoded yet. Clients are told to come back so long after a stop.
    pub fn new(retry: RetrySeconds) -> Self {
        Self { retry, of_stop: BTreeMap::new() }
    }

    /// What a client is sent last; `None` if it cannot be told, or was told already.
    fn of(&mut self, dialect: Dialect, reason: Disconnect) -> Option<Bytes> {
        if reason != Disconnect::Shutdown {
            return dialect.closing(reason, self.retry);
        }
        let bytes = match self.of_stop.entry(dialect) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(dialect.closing(reason, self.retry)?),
        };
        Some(bytes.clone())
    }
}

impl Closing {
    /// Restarts the deadline: the socket has taken something, or was not offered anything until now.
    pub fn extend(&mut self, now: Instant) {
        self.deadline = now + CLOSE_LINGER;
    }

    /// Moves the deadline by the time in which the server itself did not run.
    pub fn put_off(&mut self, now: Instant, time: Duration) {
        self.deadline = (self.deadline + time).min(now + CLOSE_LINGER);
    }
}

impl Writer {
    /// Begins to close an open client. The caller sees to it that the connection knows.
    pub(super) fn begin_close(&mut self, now: Instant, slot: Slot, reason: Disconnect) {
        let Some(row) = self.slots.row(slot).filter(|row| row.hot.phase == Phase::Open) else {
            return;
        };
        row.hot.phase = Phase::Closing;
        row.cold.closing = Some(Box::new(Closing { reason, deadline: now + CLOSE_LINGER, input_ended: false }));
        let last = self.last_bytes.of(row.cold.dialect, reason).map(|bytes| self.share(Frames::reply(bytes)));
        let added = usize::from(last.is_some());
        let dropped = self.change_outbox(slot, |row| {
            let dropped = if reason.keeps_deliveries() {
                MessageCounts::default()
            } else {
                row.hot.outbox.drop_unless(|kind| kind == Kind::Reply, &mut row.cold.backlog)
            };
            last.into_iter().for_each(|last| row.hot.outbox.push(last, &mut row.cold.backlog));
            dropped
        });
        let dropped = dropped.expect("the row was found");
        let row = self.slots.row(slot).expect("the row was found");
        if row.hot.state != SocketState::Blocked {
            self.waiting = (self.waiting + added).checked_sub(dropped.messages()).expect(WAITS);
        }
        let bytes = row.pending().bytes;
        if let Some(stall) = &mut row.cold.stall {
            // Whatever ends the connection, the client has time anew for what is left. One that was cut for the age of its
            // output would otherwise be closed at the next sweep, in the middle of a line.
            (stall.since, stall.until) = (now, bytes + stall.sealed);
        }
        // Waits even if nothing is pending: the end of the stream is sent where the outbox is found empty.
        if matches!(row.hot.state, SocketState::Empty | SocketState::WaitsLarge) {
            row.hot.state = SocketState::WaitsSmall;
            self.small.push_back(slot);
        }
        self.count_dropped(dropped.deliveries, reason);
        self.sweep_later(slot);
    }

    /// Ends the stream of a closing slot whose outbox is empty, once its socket takes the end.
    pub(super) fn finish(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        if !wire.finish(slot.index) {
            return self.blocked(now, slot, wire);
        }
        let row = self.slots.row(slot).expect("the caller has found the row");
        row.hot.phase = Phase::Finished;
        let closing = row.cold.closing.as_mut().expect("a closing slot has a reason");
        closing.extend(now);
        let Closing { reason, input_ended, .. } = **closing;
        if input_ended {
            self.close(slot, reason, wire);
        }
    }

    /// The connection has read its input to the end: nothing is left to wait for once all is sent.
    pub(super) fn input_ended(&mut self, now: Instant, slot: Slot, wire: &mut impl Wire) {
        // Without an earlier reason it was the peer that ended the connection.
        self.begin_close(now, slot, Disconnect::ClosedByPeer);
        let Some(row) = self.slots.row(slot) else { return };
        let closing = row.cold.closing.as_mut().expect("a closing slot has a reason");
        closing.input_ended = true;
        let reason = closing.reason;
        if row.hot.phase == Phase::Finished {
            self.close(slot, reason, wire);
        }
    }

    /// Frees the slot. What is still pending is dropped and counted; so is a client that has not left by itself and was
    /// not sent everything, its last line included.
    pub(super) fn close(&mut self, slot: Slot, reason: Disconnect, wire: &mut impl Wire) {
        let Some(mut row) = self.slots.row(slot) else { return };
        let pending = row.pending();
        if row.hot.state != SocketState::Blocked {
            self.waiting = self.waiting.checked_sub(pending.messages).expect(WAITS);
        }
        self.metrics.pending_bytes.subtract(pending.bytes as u64);
        let reason = row.cold.closing.as_ref().map_or(reason, |closing| closing.reason);
        let has_left = matches!(reason, Disconnect::ClosedByPeer | Disconnect::IoError);
        let is_owed = row.hot.phase == Phase::Open || !row.hot.outbox.is_empty() || wire.held(slot.index) > 0;
        self.metrics.cut.add(u64::from(is_owed && !has_left));
        let dropped = row.hot.outbox.drop_all(&mut row.cold.backlog);
        row.disconnect(reason);
        self.metrics.closed[row.cold.dialect.transport() as usize][reason as usize].add(1);
        self.count_dropped(dropped.deliveries, reason);
        wire.close(slot.index);
        self.slots.free(slot);
    }

    pub(super) fn disconnect_all(&mut self, reason: Disconnect) {
        self.all_disconnected = Some(reason);
        for slot in self.slots.all() {
            self.disconnect(slot, reason);
        }
    }

    pub(super) fn cut_all(&mut self, wire: &mut impl Wire) {
        for slot in self.slots.all() {
            self.close(slot, Disconnect::Shutdown, wire);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_of_a_stop_are_encoded_once_for_each_dialect() {
        let mut last = LastBytes::new(RetrySeconds(11));
        let dialects = [Dialect::TextLines, Dialect::RoomEvents, Dialect::TextLines];
        let [first, event, again] = dialects.map(|dialect| last.of(dialect, Disconnect::Shutdown).unwrap());
        assert_eq!(first, "ERR closed shutdown retry=11\n");
        assert_eq!((again.as_ptr(), again.len()), (first.as_ptr(), first.len()));
        assert!(event.starts_with(b"43\r\nevent: closed\nretry: 11000\n"), "{event:?}");
        assert_eq!(last.of(Dialect::TextLines, Disconnect::Quit).unwrap(), "Bye\n");
        assert_eq!(last.of(Dialect::TextLines, Disconnect::ClosedByPeer), None);
    }
}
