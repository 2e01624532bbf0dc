//! Listings of a room: a cheap listing is always exact, and an expensive one is cached.

use std::sync::Arc;
use std::time::Instant;

use roomcast::broker::{LIST_AGE_MAX, ListingBudget, Member, Room};
use roomcast::config::{Config, Settings};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::listing::Listing;
use roomcast::protocol::names::Label;
use roomcast::protocol::position::{Epoch, UnixMillis};
use roomcast::protocol::publication::{ClientId, Publisher};
use roomcast::writer::{Address, Slot, WriterIndex};

/// The number of members that a shard may list within `LIST_AGE_MAX`.
const CROWD: u32 = 10_000;

fn address(index: u32) -> Address {
    Address { writer: WriterIndex(0), slot: Slot { index, generation: 0 } }
}

fn join(room: &mut Room, index: u32) {
    let publisher = Publisher::anonymous(ClientId(0), Label::generated(index)).into();
    room.join(Member { address: address(index), dialect: Dialect::TextLines, publisher });
}

fn room_of(members: u32) -> Room {
    let limits = Config::try_from(Settings::default()).expect("valid settings").access.default_limits;
    let mut room = Room::new(Epoch::new(UnixMillis(0), 0), limits.into());
    (0..members).for_each(|index| join(&mut room, index));
    room
}

fn exact(members: u32) -> Listing<Label> {
    Listing::new((0..members).map(Label::generated).collect())
}

#[test]
fn a_listing_that_has_not_changed_is_not_built_again() {
    let (mut room, mut budget, now) = (room_of(5), ListingBudget::default(), Instant::now());
    let first = room.labels(now, &mut budget);
    assert!(Arc::ptr_eq(&first, &room.labels(now + 9 * LIST_AGE_MAX, &mut budget)));
}

#[test]
fn listings_are_exact_as_long_as_they_cost_little() {
    let (mut room, mut budget, now) = (room_of(0), ListingBudget::default(), Instant::now());
    for members in 1..100 {
        join(&mut room, members - 1);
        assert_eq!(*room.labels(now, &mut budget), exact(members));
    }
}

#[test]
fn a_large_listing_is_rebuilt_only_when_it_is_old_even_if_it_is_requested_often() {
    let (mut room, mut budget, now) = (room_of(CROWD), ListingBudget::default(), Instant::now());
    let first = room.labels(now, &mut budget);
    join(&mut room, CROWD);
    assert!(Arc::ptr_eq(&first, &room.labels(now + LIST_AGE_MAX / 2, &mut budget)));
    assert_eq!(*room.labels(now + LIST_AGE_MAX, &mut budget), exact(CROWD + 1));
}

#[test]
fn an_old_listing_is_rebuilt_even_after_others_have_spent_the_budget() {
    let (mut quiet, mut busy, mut budget) = (room_of(1), room_of(CROWD), ListingBudget::default());
    let now = Instant::now();
    quiet.labels(now, &mut budget);
    join(&mut quiet, 1);
    busy.labels(now + LIST_AGE_MAX, &mut budget);
    assert_eq!(*quiet.labels(now + LIST_AGE_MAX, &mut budget), exact(2));
}
