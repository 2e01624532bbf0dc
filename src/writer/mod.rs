//! All output of one worker: its slots, what is owed to each, and the writes. Knows slots and bytes, never a room or a
//! command. `Writer` is a synchronous state machine over a `Wire`; `task` receives, steps it and waits, nothing more.

mod closing;
mod flush;
mod frames;
pub mod handle;
mod outbox;
mod slots;
mod socket;
mod state;
pub mod task;
mod wire;

pub use frames::{Entry, Frames, Kind, Targets};
pub use outbox::{Backlog, Head};
pub use slots::Slot;
pub use state::{Counts, Input, Writer, WriterCommand};
pub use wire::{Sent, Wire};

/// Which worker's writer, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterIndex(pub u16);

/// Where one client is written to, among all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The writer that owns the slot.
    pub writer: WriterIndex,
    /// The slot there.
    pub slot: Slot,
}
