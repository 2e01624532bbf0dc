//! Rooms: their members, and the order of what each member gets. Hashed over shards, each the only owner of its rooms. Knows
//! writers and bytes, never a socket.

mod acts;
mod admission;
mod answers;
mod backend;
mod batch;
mod busiest;
mod cluster;
mod command;
mod following;
mod for_peers;
mod handle;
mod history;
mod idempotency;
mod in_flight;
mod limits;
mod listing_cache;
mod log;
mod metrics;
mod now;
mod order;
mod peers;
mod presence;
mod reading;
mod replays;
mod room;
mod room_limiter;
mod shard;
mod task;
mod waiting;

pub use answers::PublishError;
pub use batch::Batch;
pub use busiest::{BUSIEST_ROOMS_MAX, BusiestRooms, RoomActivity};
pub use command::{
    Act, Farewell, Join, JoinReply, Joined, MemberCommand, Page, PageOfRoom, PresenceCount, ReplyTo, Reservation,
    Reserved, RoomCounts, ServerPublish, ShardCommand, Viewer,
};
pub use handle::{Broker, Request, ShardMailbox, ShardSenders, WeakShards};
pub use history::{Evicted, History, RECLAIM_STEPS_MAX, Reclaimed};
pub use idempotency::{FirstPublish, KEY_AGE_MAX, KEY_BYTES, KEYS_BYTES_MAX, KeyReused, SeenKeys};
pub use in_flight::{ClientWindow, InFlightPermit, LongReplyTurn, Uncharged};
pub use limits::ShardRules;
pub use listing_cache::{AGE_MAX as LIST_AGE_MAX, ListingBudget};
pub use log::{PUBLICATION_BYTES, ROOM_BYTES, Retained, RoomLog, Unrecovered};
pub use metrics::ShardMetrics;
pub use now::Now;
pub use peers::{Asking, PeerAnswers, PeerCommand, RoomUsers};
pub use room::{Audience, Member, MemberCount, Room};
pub use room_limiter::RoomLimiter;
pub use shard::{Recoveries, Shard};
pub use task::ShardTask;

/// The index of a shard, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardIndex(pub u16);
