//! The busiest rooms of a shard, for an operator who watches: those with the most members, and those with the most
//! publications since the last look. A look is linear in the rooms and stalls its shard for that long, so the sampler
//! spaces looks by what they take. A publish pays nothing: its offset is its count.

use std::time::{Duration, Instant};

use super::now::Now;
use super::shard::Shard;
use crate::protocol::names::RoomName;

/// Rooms in each of the two lists.
pub const BUSIEST_ROOMS_MAX: usize = 10;

/// The busiest rooms of one shard or of several.
#[derive(Debug, Default)]
pub struct BusiestRooms {
    /// Those with the most members, most first.
    pub by_members: Vec<RoomActivity>,
    /// Those with the most publications since the last look, most first; none without any.
    pub by_published: Vec<RoomActivity>,
    /// How long ago the last look was; `None` for the first.
    pub since: Option<Duration>,
    /// How long this look took.
    pub took: Duration,
}

/// What is going on in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomActivity {
    /// The room.
    pub room: RoomName,
    /// Its members.
    pub members: usize,
    /// Publications with an offset since the last look.
    pub published: u64,
}

impl BusiestRooms {
    /// The busiest rooms of both.
    pub fn merge(mut self, other: Self) -> Self {
        for room in other.by_members {
            offer(&mut self.by_members, members_of, members_of(&room), || room);
        }
        for room in other.by_published {
            offer(&mut self.by_published, published_of, published_of(&room), || room);
        }
        Self { since: self.since.or(other.since), took: self.took.max(other.took), ..self }
    }
}

impl Shard {
    /// The busiest rooms. The next look counts publications from here on.
    pub(super) fn busiest(&mut self, now: Now) -> BusiestRooms {
        let begun = Instant::now();
        let last_look = self.last_look.replace(now.instant);
        let mut found = BusiestRooms::default();
        for (room, state) in &mut self.rooms {
            let offset = state.log.position().offset.0;
            let published = offset - std::mem::replace(&mut state.offset_at_look, offset);
            let members = state.members_len();
            let activity = || RoomActivity { room: room.clone(), members, published };
            if members > 0 {
                offer(&mut found.by_members, members_of, members as u64, activity);
            }
            if published > 0 {
                offer(&mut found.by_published, published_of, published, activity);
            }
        }
        found.since = last_look.map(|last_look| now.instant.saturating_duration_since(last_look));
        found.took = begun.elapsed();
        found
    }
}

fn members_of(room: &RoomActivity) -> u64 {
    room.members as u64
}

fn published_of(room: &RoomActivity) -> u64 {
    room.published
}

/// Puts a room into a list by its count, if it is among the first there.
fn offer(
    list: &mut Vec<RoomActivity>,
    count_of: fn(&RoomActivity) -> u64,
    count: u64,
    room: impl FnOnce() -> RoomActivity,
) {
    let place = list.partition_point(|other| count_of(other) >= count);
    if place < BUSIEST_ROOMS_MAX {
        list.truncate(BUSIEST_ROOMS_MAX - 1);
        list.insert(place, room());
    }
}
