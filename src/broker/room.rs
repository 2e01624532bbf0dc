//! One room: its members, grouped into audiences, and the offset of its latest message. Plain synchronous code; knows no task.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::listing_cache::{ListingBudget, ListingCache};
use super::log::RoomLog;
use crate::config::LimitsOfRoom;
use crate::protocol::dialect::Dialect;
use crate::protocol::listing::Listing;
use crate::protocol::names::Label;
use crate::protocol::position::Epoch;
use crate::protocol::publication::Publisher;
use crate::writer::{Address, Slot, WriterIndex};

/// The tables of a room keep space for this many members, however few there are.
const MEMBERS_KEPT: usize = 64;

/// A client that joins a room.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where its output goes.
    pub address: Address,
    /// How its output is encoded.
    pub dialect: Dialect,
    /// The client as others see it.
    pub publisher: Arc<Publisher>,
}

/// The members that share a writer and a dialect: one entry reaches them all.
#[derive(Debug)]
pub struct Audience {
    /// The writer of all of them.
    pub writer: WriterIndex,
    /// The dialect of all of them.
    pub dialect: Dialect,
    /// In no order: a leave fills the gap with the last one.
    slots: Vec<Slot>,
    /// `slots` sorted, until the next join or leave.
    targets: Option<Arc<[Slot]>>,
}

/// The number of members of a room, which sessions can read without a request. Written by the room alone.
#[derive(Clone, Debug, Default)]
pub struct MemberCount(Arc<AtomicUsize>);

impl MemberCount {
    /// A count that starts with this many members.
    pub fn of(members: usize) -> Self {
        Self(Arc::new(members.into()))
    }

    /// The latest number of members.
    pub fn members(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Membership {
    publisher: Arc<Publisher>,
    dialect: Dialect,
    /// The member's index in the `slots` of its audience.
    index: usize,
}

/// A room. Join and leave cost the same in a large room as in a small one.
#[derive(Debug)]
pub struct Room {
    members: FxHashMap<Address, Membership>,
    /// Sorted by dialect, so that audiences that share an encoding are adjacent.
    audiences: Vec<Audience>,
    /// The publications so far when somebody last looked for the busiest rooms.
    pub(super) published_at_look: u64,
    /// Places that are reserved for clients that leave another room first.
    pub(super) reserved: usize,
    member_count: MemberCount,
    /// Created by the first request.
    listing_cache: Option<Box<ListingCache<Label>>>,
    /// The order of what was published, and what is remembered of it.
    pub(super) log: RoomLog,
}

impl Audience {
    /// The number of members.
    pub(super) fn members(&self) -> usize {
        self.slots.len()
    }

    /// The members in slot order. It is the same list until a member joins or leaves, and is then rebuilt once. Slot order is
    /// accept order, in which walking the sockets costs 3 % less than at random.
    pub fn targets(&mut self) -> &Arc<[Slot]> {
        self.targets.get_or_insert_with(|| {
            let mut targets: Arc<[Slot]> = self.slots.as_slice().into();
            Arc::get_mut(&mut targets).expect("it is not shared yet").sort_unstable();
            targets
        })
    }
}

impl Room {
    /// A room without members that remembers nothing.
    pub fn new(epoch: Epoch, limits: Arc<LimitsOfRoom>) -> Self {
        Self::with_log(RoomLog::new(epoch, limits))
    }

    /// A room without members.
    pub(super) fn with_log(log: RoomLog) -> Self {
        Self {
            members: FxHashMap::default(),
            audiences: Vec::new(),
            published_at_look: 0,
            reserved: 0,
            member_count: MemberCount::default(),
            listing_cache: None,
            log,
        }
    }

    /// The limits of the room.
    pub(super) fn limits(&self) -> &LimitsOfRoom {
        &self.log.limits
    }

    /// The number of places that members and reservations take.
    pub(super) fn places_taken(&self) -> usize {
        self.members.len() + self.reserved
    }

    /// The number of members, kept up to date.
    pub fn member_count(&self) -> MemberCount {
        self.member_count.clone()
    }

    pub(super) fn contains(&self, address: Address) -> bool {
        self.members.contains_key(&address)
    }

    pub(super) fn members_len(&self) -> usize {
        self.members.len()
    }

    /// Whether the room has members.
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Adds a member. False if it was in already; then only what others see of it changes.
    pub fn join(&mut self, member: Member) -> bool {
        let Member { address, dialect, publisher } = member;
        let vacant = match self.members.entry(address) {
            Entry::Occupied(mut membership) => {
                membership.get_mut().publisher = publisher;
                self.invalidate_listing();
                return false;
            }
            Entry::Vacant(vacant) => vacant,
        };
        let audience = audience(&mut self.audiences, address.writer, dialect);
        vacant.insert(Membership { publisher, dialect, index: audience.slots.len() });
        audience.slots.push(address.slot);
        audience.targets = None;
        self.members_changed();
        true
    }

    /// Removes a member, and returns what others saw of it. `None` if it was not in.
    pub fn leave(&mut self, address: Address) -> Option<Arc<Publisher>> {
        let Membership { publisher, dialect, index } = self.members.remove(&address)?;
        self.members_changed();
        if self.members.capacity() > 4 * kept(self.members.len()) {
            self.members.shrink_to(kept(self.members.len()));
        }
        let audience = audience(&mut self.audiences, address.writer, dialect);
        audience.slots.swap_remove(index);
        if audience.slots.capacity() > 4 * kept(audience.slots.len()) {
            audience.slots.shrink_to(kept(audience.slots.len()));
        }
        audience.targets = None;
        if let Some(&slot) = audience.slots.get(index) {
            let moved = Address { writer: address.writer, slot };
            self.members.get_mut(&moved).expect("each slot of an audience has a membership").index = index;
        } else if audience.slots.is_empty() {
            self.audiences.retain(|audience| !audience.slots.is_empty());
        }
        Some(publisher)
    }

    /// Removes all members.
    pub(super) fn remove_members(&mut self) {
        self.members = FxHashMap::default();
        self.audiences = Vec::new();
        self.members_changed();
    }

    /// Changes what others see of a member, but for what the application says about it in this room. Does nothing if it
    /// is not in.
    pub fn rename(&mut self, address: Address, mut publisher: Arc<Publisher>) {
        if let Some(membership) = self.members.get_mut(&address) {
            if publisher.room_info != membership.publisher.room_info {
                Arc::make_mut(&mut publisher).room_info.clone_from(&membership.publisher.room_info);
            }
            membership.publisher = publisher;
            self.invalidate_listing();
        }
    }

    /// A member as others see it. `None` if it is not in.
    pub fn member(&self, address: Address) -> Option<&Arc<Publisher>> {
        self.members.get(&address).map(|membership| &membership.publisher)
    }

    /// All members as others see them, in no order.
    pub(super) fn publishers(&self) -> impl Iterator<Item = &Arc<Publisher>> {
        self.members.values().map(|membership| &membership.publisher)
    }

    pub(super) fn audiences(&self) -> &[Audience] {
        &self.audiences
    }

    /// The audiences, grouped by dialect.
    pub fn audiences_by_dialect(&mut self) -> impl Iterator<Item = &mut [Audience]> {
        self.audiences.chunk_by_mut(|a, b| a.dialect == b.dialect)
    }

    /// The labels of all members; up to `LIST_AGE_MAX` old if the budget is spent. Linear in the members if rebuilt.
    pub fn labels(&mut self, now: Instant, budget: &mut ListingBudget) -> Arc<Listing<Label>> {
        let labels = || self.members.values().map(|membership| membership.publisher.label.clone()).collect();
        self.listing_cache.get_or_insert_default().get(now, budget, labels)
    }

    fn members_changed(&mut self) {
        self.member_count.0.store(self.members.len(), Ordering::Relaxed);
        self.invalidate_listing();
    }

    fn invalidate_listing(&mut self) {
        if let Some(listing_cache) = &mut self.listing_cache {
            listing_cache.invalidate();
        }
    }
}

/// The capacity that a table of this many members shrinks to.
fn kept(members: usize) -> usize {
    MEMBERS_KEPT.max(2 * members)
}

/// The audience of a writer and a dialect, created if there is none. Linear in the audiences: workers times dialects.
fn audience(audiences: &mut Vec<Audience>, writer: WriterIndex, dialect: Dialect) -> &mut Audience {
    let place = audiences.binary_search_by_key(&(dialect, writer), |audience| (audience.dialect, audience.writer));
    let place = place.unwrap_or_else(|place| {
        audiences.insert(place, Audience { writer, dialect, slots: Vec::new(), targets: None });
        place
    });
    &mut audiences[place]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::position::UnixMillis;
    use crate::protocol::publication::ClientId;

    #[test]
    fn the_tables_of_a_room_shrink_after_a_peak_though_a_member_stays() {
        const CROWD: u32 = 10_000;
        let address = |index| Address { writer: WriterIndex(0), slot: Slot { index, generation: 0 } };
        let limits = LimitsOfRoom {
            members_max: CROWD as usize,
            history_messages_max: 0,
            history_age_max: Duration::ZERO,
            presence_events: false,
            joined_by: crate::config::Who::Anyone,
        };
        let mut room = Room::new(Epoch::new(UnixMillis(0), 0), limits.into());
        for index in 0..CROWD {
            let publisher = Publisher::anonymous(ClientId(0), Label::generated(index)).into();
            room.join(Member { address: address(index), dialect: Dialect::TextLines, publisher });
        }
        (1..CROWD).for_each(|index| assert!(room.leave(address(index)).is_some()));
        let kept = [room.members.capacity(), room.audiences[0].slots.capacity()];
        assert!(kept.iter().all(|&kept| kept <= 8 * MEMBERS_KEPT), "{kept:?}");
    }
}
