//! The slot table: one row per client of a worker, hot and cold parts apart. A slot names its generation, so that a name
//! that outlives its client reaches nobody else.

use std::task::Waker;
use std::time::Instant;

use super::Slot;
use super::frames::EntryNumber;
use super::outbox::{Backlog, Head, PendingSize};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;

/// The stages of a client's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No client has the row.
    Vacant,
    /// Takes replies and deliveries.
    Open,
    /// Gets its pending bytes and its last line, nothing more.
    Closing,
    /// Everything is sent, the end of the stream included; waits for the end of the client's input.
    Finished,
}

/// The state of a client's socket and outbox. Only the writer's `flush`, `push` and `writable` change it.
///
/// Bytes that wait in one of the writer's lists are the server's own backlog, however often the socket was blocked before:
/// they count for backpressure and never against the client. Only a blocked client ages, overflows and gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketState {
    /// Nothing is pending.
    Empty,
    /// Pending, in the small list.
    WaitsSmall,
    /// Pending, in the large list.
    WaitsLarge,
    /// Pending, in the large list: the socket was blocked, is writable again and was not written to since.
    Resumed,
    /// Pending, and the socket took nothing at the last offer. It is watched until it is writable.
    Blocked,
}

/// A list of slots that wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Clients that wait for something small, and perhaps for more.
    Small,
    /// Clients that wait only for a share of a large fan-out, or that were blocked.
    Large,
}

impl SocketState {
    pub fn waits_in(self, list: List) -> bool {
        match list {
            List::Small => self == Self::WaitsSmall,
            List::Large => matches!(self, Self::WaitsLarge | Self::Resumed),
        }
    }

    /// Whether the client has a [`Stall`].
    pub fn is_stalled(self) -> bool {
        matches!(self, Self::Resumed | Self::Blocked)
    }
}

/// What every delivery touches: two rows to a cache line.
#[derive(Debug)]
pub(super) struct Hot {
    pub outbox: Head,
    pub generation: u32,
    pub state: SocketState,
    pub phase: Phase,
}

/// What only a backlog, a stall or an ending touches.
#[derive(Debug)]
pub(super) struct Cold {
    pub backlog: Backlog,
    pub dialect: Dialect,
    /// Boxed, as is the next: most clients never have either.
    pub stall: Option<Box<Stall>>,
    pub closing: Option<Box<Closing>>,
    /// The row is in the list that the sweep walks.
    pub swept: bool,
    /// Why the connection should end.
    pub disconnect: Option<Disconnect>,
    /// Wakes the connection when `disconnect` is set.
    pub waker: Option<Waker>,
}

/// Bytes that a socket did not take. Its dates leave out the time in which the socket was writable and the server had not
/// yet written to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    /// When the bytes within `until` were first not taken. Later ones are dated when these are taken, so that the age of
    /// the oldest is known within a factor of two, for the price of one date per client and not one per entry.
    pub since: Instant,
    /// The number of bytes left of those that `since` dates, in the outbox and sealed in front of it.
    pub until: usize,
    /// Sealed bytes that the client's stream holds.
    pub sealed: usize,
    /// When the socket last took anything.
    pub taken_at: Instant,
    /// When the socket last took nothing of an offer that only tested whether it is still blocked.
    pub offered_at: Option<Instant>,
    /// When the socket became writable, while the slot waits to be written.
    pub resumed_at: Instant,
    /// The pong that came since: the next one replaces it.
    pub pong: Option<EntryNumber>,
    /// The next bytes to be taken are of a long reply.
    pub is_in_long_reply: bool,
}

/// The ending of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub reason: Disconnect,
    /// When it is closed if its socket is blocked, or if everything is sent and its input has not ended.
    pub deadline: Instant,
    /// The connection has read its input to the end.
    pub input_ended: bool,
}

impl Hot {
    fn vacant(generation: u32) -> Self {
        Self { outbox: Head::default(), generation, state: SocketState::Empty, phase: Phase::Vacant }
    }
}

impl Cold {
    fn new(dialect: Dialect) -> Self {
        Self {
            backlog: Backlog::default(),
            dialect,
            stall: None,
            closing: None,
            swept: false,
            disconnect: None,
            waker: None,
        }
    }
}

/// One row, both parts.
pub(super) struct Row<'a> {
    pub hot: &'a mut Hot,
    pub cold: &'a mut Cold,
}

impl Row<'_> {
    pub fn pending(&self) -> PendingSize {
        self.hot.outbox.pending(&self.cold.backlog)
    }

    /// The part of the pending output that counts against the bounds.
    pub fn weight(&self) -> PendingSize {
        self.hot.outbox.weight(&self.cold.backlog)
    }

    /// Has the connection end. The first reason stays.
    pub fn disconnect(&mut self, reason: Disconnect) {
        self.cold.disconnect.get_or_insert(reason);
        if let Some(waker) = self.cold.waker.take() {
            waker.wake();
        }
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Slots {
    hot: Vec<Hot>,
    cold: Vec<Cold>,
    vacant: Vec<u32>,
}

impl Slots {
    /// A row for a new client. Constant time, amortised.
    pub fn open(&mut self, dialect: Dialect) -> Slot {
        let index = self.vacant.pop().unwrap_or_else(|| self.grow(dialect));
        self.cold[index as usize] = Cold::new(dialect);
        let hot = &mut self.hot[index as usize];
        hot.phase = Phase::Open;
        Slot { index, generation: hot.generation }
    }

    fn grow(&mut self, dialect: Dialect) -> u32 {
        self.hot.push(Hot::vacant(0));
        self.cold.push(Cold::new(dialect));
        u32::try_from(self.hot.len() - 1).expect("fewer clients than descriptors")
    }

    /// The client's row; `None` when the client is gone.
    pub fn row(&mut self, slot: Slot) -> Option<Row<'_>> {
        let hot = self.hot.get_mut(slot.index as usize)?;
        (hot.generation == slot.generation && hot.phase != Phase::Vacant)
            .then(|| Row { hot, cold: &mut self.cold[slot.index as usize] })
    }

    /// Makes the row vacant and its name invalid. The caller has counted what was pending.
    pub fn free(&mut self, slot: Slot) {
        self.hot[slot.index as usize] = Hot::vacant(slot.generation.wrapping_add(1));
        self.cold[slot.index as usize] = Cold::new(self.cold[slot.index as usize].dialect);
        self.vacant.push(slot.index);
    }

    /// The number of clients.
    pub fn len(&self) -> usize {
        self.hot.len() - self.vacant.len()
    }

    /// The names of all clients.
    pub fn all(&self) -> Vec<Slot> {
        let named = |(index, hot): (usize, &Hot)| Slot { index: index as u32, generation: hot.generation };
        self.hot.iter().enumerate().filter(|(_, hot)| hot.phase != Phase::Vacant).map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_costs_112_bytes_and_its_hot_part_less_than_half_a_cache_line() {
        assert_eq!((size_of::<Hot>(), size_of::<Cold>()), (24, 88));
    }
}
