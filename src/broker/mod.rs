//! Rooms: who is in which, in what order they hear what. Hashed over shards, each the only owner of its rooms. Knows
//! writers and bytes, never a socket.

mod batch;
mod capacity;
mod command;
mod handle;
mod in_flight;
mod metrics;
mod picture;
mod room;
mod shard;
mod task;
mod waiting;

pub use batch::Batch;
pub use capacity::Capacity;
pub use command::{Ack, Joined, Publish, Seat, ShardCommand};
pub use handle::{Broker, BrokerSeed, ShardMailbox};
pub use in_flight::{ClientWindow, Permit};
pub use metrics::ShardMetrics;
pub use picture::{AGE_MAX as LIST_AGE_MAX, Effort};
pub use room::{Audience, Member, Population, Room};
pub use shard::Shard;
pub use task::ShardTask;

/// Which shard, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardIndex(pub u16);
