//! One room: its members, in audiences, and the place its stream has reached. Plain synchronous code; knows no task.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::listing_cache::{ListingBudget, ListingCache};
use crate::protocol::dialect::Dialect;
use crate::protocol::event::{Listing, Offset};
use crate::protocol::names::Label;
use crate::writer::{Address, Slot, WriterIndex};

/// The tables of a room keep space for this many members, however few there are.
const MEMBERS_KEPT: usize = 64;

/// Who joins.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is written to.
    pub address: Address,
    /// How events are written for it.
    pub dialect: Dialect,
    /// What stands in front of its messages.
    pub label: Label,
}

/// The members that share a writer and a dialect: one entry reaches them all.
#[derive(Debug)]
pub struct Audience {
    /// The writer of all of them.
    pub writer: WriterIndex,
    /// The dialect of all of them.
    pub dialect: Dialect,
    /// In no order: a leave fills the gap with the last.
    slots: Vec<Slot>,
    /// `slots` sorted, until the next join or leave.
    targets: Option<Arc<[Slot]>>,
}

/// How many members a room has, for whoever wants to know without asking. Only the room says so.
#[derive(Clone, Debug, Default)]
pub struct MemberCount(Arc<AtomicUsize>);

impl MemberCount {
    /// Of so many.
    pub fn of(members: usize) -> Self {
        Self(Arc::new(members.into()))
    }

    /// How many there were a moment ago.
    pub fn members(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn tell(&self, members: usize) {
        self.0.store(members, Ordering::Relaxed);
    }
}

/// What the room knows of a member.
#[derive(Debug)]
struct Membership {
    label: Label,
    dialect: Dialect,
    /// Its place in the `slots` of its audience.
    place: usize,
}

/// A room. Join and leave cost the same in a large room as in a small one.
#[derive(Debug, Default)]
pub struct Room {
    members: HashMap<Address, Membership>,
    /// Sorted by dialect, so that those who read the same bytes stand together.
    audiences: Vec<Audience>,
    /// Seats of those who are on their way.
    reserved: usize,
    member_count: MemberCount,
    /// Made when somebody asks for the first time.
    listing_cache: Option<Box<ListingCache<Label>>>,
    last: Offset,
}

impl Audience {
    fn new(writer: WriterIndex, dialect: Dialect) -> Self {
        Self { writer, dialect, slots: Vec::new(), targets: None }
    }

    /// How many members it has.
    pub fn members(&self) -> usize {
        self.slots.len()
    }

    /// The members in slot order. The same list, not only an equal one, as long as nobody joins or leaves; rebuilt at the
    /// first call after that. Slot order is accept order, in which walking the sockets costs 3 % less than at random.
    pub fn targets(&mut self) -> &Arc<[Slot]> {
        self.targets.get_or_insert_with(|| {
            let mut targets: Arc<[Slot]> = self.slots.as_slice().into();
            Arc::get_mut(&mut targets).expect("nobody shares it yet").sort_unstable();
            targets
        })
    }
}

impl Room {
    /// Holds a seat for one who is on its way.
    pub fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// The seat is no longer held.
    pub fn release(&mut self) {
        self.reserved -= 1;
    }

    /// The seats that are taken or held.
    pub fn places_taken(&self) -> usize {
        self.members.len() + self.reserved
    }

    /// How many members there are, from now on.
    pub fn member_count(&self) -> MemberCount {
        self.member_count.clone()
    }

    /// Whether it is a member.
    pub fn contains(&self, address: Address) -> bool {
        self.members.contains_key(&address)
    }

    /// Lets a member in. False if it was in already; then only its label is new.
    pub fn join(&mut self, member: Member) -> bool {
        let Member { address, dialect, label } = member;
        let vacant = match self.members.entry(address) {
            Entry::Occupied(mut membership) => {
                membership.get_mut().label = label;
                invalidate(&mut self.listing_cache);
                return false;
            }
            Entry::Vacant(vacant) => vacant,
        };
        let audience = audience(&mut self.audiences, address.writer, dialect);
        vacant.insert(Membership { label, dialect, place: audience.slots.len() });
        audience.slots.push(address.slot);
        audience.targets = None;
        self.member_count.tell(self.members.len());
        invalidate(&mut self.listing_cache);
        true
    }

    /// Lets a member out. False if it was not in.
    pub fn leave(&mut self, address: Address) -> bool {
        let Some(Membership { dialect, place, .. }) = self.members.remove(&address) else {
            return false;
        };
        self.member_count.tell(self.members.len());
        invalidate(&mut self.listing_cache);
        if self.members.capacity() > 4 * MEMBERS_KEPT.max(2 * self.members.len()) {
            self.members.shrink_to(MEMBERS_KEPT.max(2 * self.members.len()));
        }
        let audience = audience(&mut self.audiences, address.writer, dialect);
        audience.slots.swap_remove(place);
        if audience.slots.capacity() > 4 * MEMBERS_KEPT.max(2 * audience.slots.len()) {
            audience.slots.shrink_to(MEMBERS_KEPT.max(2 * audience.slots.len()));
        }
        audience.targets = None;
        if let Some(&slot) = audience.slots.get(place) {
            let moved = Address { writer: address.writer, slot };
            self.members.get_mut(&moved).expect("who contains a slot contains a membership").place = place;
        } else if audience.slots.is_empty() {
            self.audiences.retain(|audience| !audience.slots.is_empty());
        }
        true
    }

    /// A member's new label. Nothing happens if it is not in.
    pub fn rename(&mut self, address: Address, label: Label) {
        if let Some(membership) = self.members.get_mut(&address) {
            membership.label = label;
            invalidate(&mut self.listing_cache);
        }
    }

    /// A member speaks: the place of its message, and its label. `None` if it is no member.
    pub fn publish(&mut self, address: Address) -> Option<(Offset, Label)> {
        let label = self.members.get(&address)?.label.clone();
        self.last.0 += 1;
        Some((self.last, label))
    }

    /// The audiences.
    pub fn audiences(&self) -> &[Audience] {
        &self.audiences
    }

    /// The audiences, those of one dialect together.
    pub fn audiences_by_dialect(&mut self) -> impl Iterator<Item = &mut [Audience]> {
        self.audiences.chunk_by_mut(|a, b| a.dialect == b.dialect)
    }

    /// The labels of all members, as they were a moment ago if too many were asked for of late. Linear where they are not.
    pub fn labels(&mut self, now: Instant, listing_budget: &mut ListingBudget) -> Arc<Listing<Label>> {
        let members = &self.members;
        let labels = || members.values().map(|membership| membership.label.clone()).collect();
        self.listing_cache.get_or_insert_default().get(now, listing_budget, labels)
    }

    /// Whether it has members.
    pub fn has_members(&self) -> bool {
        !self.members.is_empty()
    }
}

fn invalidate(listing_cache: &mut Option<Box<ListingCache<Label>>>) {
    listing_cache.iter_mut().for_each(|listing_cache| listing_cache.invalidate());
}

/// The audience of a writer and a dialect, made if there is none. Linear in the audiences: workers times dialects.
fn audience(audiences: &mut Vec<Audience>, writer: WriterIndex, dialect: Dialect) -> &mut Audience {
    let at = match audiences.binary_search_by_key(&(dialect, writer), |audience| (audience.dialect, audience.writer)) {
        Ok(at) => at,
        Err(at) => {
            audiences.insert(at, Audience::new(writer, dialect));
            at
        }
    };
    &mut audiences[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_a_room_shrink_after_a_peak_though_a_member_stays() {
        const CROWD: u32 = 10_000;
        let address = |index| Address { writer: WriterIndex(0), slot: Slot { index, generation: 0 } };
        let mut room = Room::default();
        for index in 0..CROWD {
            room.join(Member { address: address(index), dialect: Dialect::Lines, label: Label::generated(index) });
        }
        (1..CROWD).for_each(|index| assert!(room.leave(address(index))));
        let kept = [room.members.capacity(), room.audiences[0].slots.capacity()];
        assert!(kept.iter().all(|&kept| kept <= 8 * MEMBERS_KEPT), "{kept:?}");
        assert_eq!(room.audiences[0].targets().as_ref(), [address(0).slot]);
    }
}
