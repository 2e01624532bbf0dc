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
    /// Those with the most publications per second since the last look, most first; none without any.
    pub by_rate: Vec<RoomActivity>,
    /// How long this look took.
    pub took: Duration,
}

/// What is going on in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomActivity {
    /// The room.
    pub room: RoomName,
    /// Its members.
    pub members: usize,
    /// Publications per second since the last look of its shard; 0 at the first.
    pub rate: f64,
}

impl BusiestRooms {
    /// The busiest rooms of both.
    pub fn merge(mut self, other: Self) -> Self {
        for room in other.by_members {
            offer(&mut self.by_members, members_of, members_of(&room), || room);
        }
        for room in other.by_rate {
            offer(&mut self.by_rate, rate_of, rate_of(&room), || room);
        }
        Self { took: self.took.max(other.took), ..self }
    }
}

impl Shard {
    /// The busiest rooms. The next look counts publications from here on.
    pub(super) fn busiest(&mut self, now: Now) -> BusiestRooms {
        let begun = Instant::now();
        let last_look = self.last_look.replace(now.instant);
        let seconds = last_look.map(|last_look| now.instant.saturating_duration_since(last_look).as_secs_f64());
        let mut found = BusiestRooms::default();
        for (room, state) in &mut self.rooms {
            let so_far = state.log.published();
            let published = so_far - std::mem::replace(&mut state.published_at_look, so_far);
            let rate = seconds.filter(|&seconds| seconds > 0.0).map_or(0.0, |seconds| published as f64 / seconds);
            let members = state.members_len();
            let activity = || RoomActivity { room: room.clone(), members, rate };
            if members > 0 {
                offer(&mut found.by_members, members_of, members as f64, activity);
            }
            if rate > 0.0 {
                offer(&mut found.by_rate, rate_of, rate, activity);
            }
        }
        found.took = begun.elapsed();
        found
    }
}

fn members_of(room: &RoomActivity) -> f64 {
    room.members as f64
}

fn rate_of(room: &RoomActivity) -> f64 {
    room.rate
}

/// Puts a room into a list by its number, if it is among the first there.
fn offer(
    list: &mut Vec<RoomActivity>,
    number_of: fn(&RoomActivity) -> f64,
    number: f64,
    room: impl FnOnce() -> RoomActivity,
) {
    let place = list.partition_point(|other| number_of(other) >= number);
    if place < BUSIEST_ROOMS_MAX {
        list.truncate(BUSIEST_ROOMS_MAX - 1);
        list.insert(place, room());
    }
}
