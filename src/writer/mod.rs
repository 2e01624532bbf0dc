//! All output of one worker: its slots, what is owed to each, and the writes. Knows slots and bytes, never a room or a
//! command. `Writer` is a synchronous state machine over a `Wire`; `task` receives, steps it and waits, nothing more.

mod address;
mod budget;
mod closing;
mod flush;
mod frames;
mod gaps;
pub mod handle;
mod load;
mod metrics;
mod outbox;
mod queued;
mod slots;
mod slow;
mod socket;
mod state;
pub mod task;
mod wire;

pub use address::{Address, Slot, WriterIndex};
pub use closing::CLOSE_LINGER;
pub use frames::{Entry, Frames, Kind, Targets};
pub use load::WriterLoad;
pub use metrics::{OtherConnections, WriterMetrics};
pub use queued::{ENTRY_BYTES, EntryNumber};
pub use state::{Counts, Input, Writer, WriterCommand};
pub use wire::{Sent, Wire};
