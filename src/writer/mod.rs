//! All output of one worker: its slots, what is pending for each, and the writes. Knows slots and bytes, never a room or a
//! command of a client. `Writer` is a synchronous state machine over a `Wire`; `task` receives, steps it and waits.

mod budget;
mod closing;
mod flush;
mod frames;
mod gaps;
pub mod handle;
mod load;
mod metrics;
mod outbox;
mod shared;
mod slots;
mod slow;
mod socket;
mod spread;
mod state;
pub mod task;
mod wire;

pub use closing::CLOSE_LINGER;
pub use frames::{ENTRY_BYTES, Entry, EntryNumber, Frames, Kind, Targets};
pub use load::{LoadLimits, WriterLoad};
pub(crate) use metrics::OtherConnections;
pub use metrics::{Counts, WriterMetrics};
pub use state::{Input, Writer, WriterCommand};
pub use wire::{Sent, Wire};

/// The name of a client's row in its worker's table, which means nothing once the client is gone. A name comes back after 2³²
/// clients of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The row.
    pub index: u32,
    /// The number of clients that had the row before.
    pub generation: u32,
}

/// The index of a worker and its writer, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterIndex(pub u16);

/// The name of a client among all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The writer that owns the slot.
    pub writer: WriterIndex,
    /// The slot there.
    pub slot: Slot,
}
