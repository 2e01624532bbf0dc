//! Rooms: who is in which, in what order they hear what. Hashed over shards, each the only owner of its rooms. Knows
//! writers and bytes, never a socket.

mod batch;
mod command;
mod handle;
mod in_flight;
mod listing_cache;
mod metrics;
mod room;
mod room_limiter;
mod shard;
mod task;
mod waiting;

pub use batch::Batch;
pub use command::{Ack, Joined, Publish, Reservation, ShardCommand};
pub use handle::{Broker, ShardMailbox, ShardSenders};
pub use in_flight::{ClientWindow, InFlightPermit};
pub use listing_cache::{AGE_MAX as LIST_AGE_MAX, ListingBudget};
pub use metrics::ShardMetrics;
pub use room::{Audience, Member, MemberCount, Room};
pub use room_limiter::RoomLimiter;
pub use shard::Shard;
pub use task::ShardTask;

/// Which shard, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardIndex(pub u16);
