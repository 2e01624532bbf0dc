//! Compares `Room` with a map from address to label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use roomcast::broker::{ListingBudget, Room};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::listing::Listing;
use roomcast::protocol::names::Label;
use roomcast::protocol::position::{Epoch, UnixMillis};
use roomcast::writer::{Address, Slot, WriterIndex};

use crate::common::{ROOM_LIMITS, address, label, member, publisher};

/// An operation on a room.
#[derive(Clone, Debug)]
enum Act {
    Join(Address, Label),
    Leave(Address),
    Rename(Address, Label),
}

/// The target list of each audience.
type Lists = BTreeMap<(WriterIndex, Dialect), Arc<[Slot]>>;

/// The model of a room.
#[derive(Default)]
struct Model {
    members: BTreeMap<Address, (Label, Dialect)>,
}

fn addresses() -> impl Strategy<Value = Address> {
    (0..3u16, 0..5u32, 0..2u32).prop_map(|(writer, index, generation)| address(writer, Slot { index, generation }))
}

fn labels() -> impl Strategy<Value = Label> {
    (0..4u8).prop_map(label)
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (addresses(), labels()).prop_map(|(address, label)| Act::Join(address, label)),
        2 => addresses().prop_map(Act::Leave),
        1 => (addresses(), labels()).prop_map(|(address, label)| Act::Rename(address, label)),
    ];
    vec(act, 0..120)
}

/// Applies the act to the room and to the model. Returns whether the room must build a new target list.
fn act_on_both(act: Act, room: &mut Room, model: &mut Model) -> bool {
    match act {
        Act::Join(address, label) => {
            let dialect = Dialect::TextLines;
            let is_new = model.members.insert(address, (label.clone(), dialect)).is_none();
            assert_eq!(room.join(member(address, label)), is_new);
            is_new
        }
        Act::Leave(address) => {
            let was_in = model.members.remove(&address).is_some();
            assert_eq!(room.leave(address).is_some(), was_in);
            was_in
        }
        Act::Rename(address, label) => {
            room.rename(address, publisher(label.clone()));
            model.members.entry(address).and_modify(|member| member.0 = label);
            false
        }
    }
}

impl Model {
    fn listing(&self) -> Listing<Label> {
        Listing::new(self.members.values().map(|(label, _)| label.clone()).collect())
    }

    fn audience_of(act: &Act) -> (WriterIndex, Dialect) {
        let (Act::Join(address, _) | Act::Leave(address) | Act::Rename(address, _)) = act;
        (address.writer, Dialect::TextLines)
    }
}

/// The target lists of all audiences. Checks that there is one for each writer and dialect, grouped by dialect.
fn lists(room: &mut Room) -> Lists {
    let mut lists = Lists::new();
    let mut dialects = BTreeSet::new();
    for audiences in room.audiences_by_dialect() {
        assert!(dialects.insert(audiences[0].dialect), "one dialect in two places");
        for audience in audiences {
            assert!(dialects.contains(&audience.dialect), "two dialects together");
            let before = lists.insert((audience.writer, audience.dialect), Arc::clone(audience.targets()));
            assert!(before.is_none(), "two audiences of one writer and dialect");
        }
    }
    lists
}

fn check_targets(lists: &Lists, model: &Model) {
    let mut targets = BTreeSet::new();
    for (&(writer, dialect), slots) in lists {
        assert!(slots.is_sorted_by(|a, b| a < b), "{slots:?}");
        assert!(!slots.is_empty(), "an audience without members");
        targets.extend(slots.iter().map(|&slot| (Address { writer, slot }, dialect)));
    }
    let members = model.members.iter().map(|(&address, &(_, dialect))| (address, dialect));
    assert_eq!(targets, members.collect());
}

fn check_same_lists(before: &Lists, after: &Lists, changed: Option<(WriterIndex, Dialect)>) {
    for (audience, slots) in after {
        if let Some(earlier) = before.get(audience) {
            assert_eq!(Arc::ptr_eq(earlier, slots), changed != Some(*audience), "{audience:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_room_is_a_map_from_address_to_label(acts in acts()) {
        let mut room = Room::new(Epoch::new(UnixMillis(0), 0), ROOM_LIMITS.into());
        let mut model = Model::default();
        let mut before = lists(&mut room);
        for act in acts {
            let audience = Model::audience_of(&act);
            let changed = act_on_both(act, &mut room, &mut model).then_some(audience);
            let after = lists(&mut room);
            check_targets(&after, &model);
            check_same_lists(&before, &after, changed);
            prop_assert_eq!(room.labels(Instant::now(), &mut ListingBudget::default()), Arc::new(model.listing()));
            prop_assert_eq!(room.member_count().members(), model.members.len());
            for (&address, (label, _)) in &model.members {
                prop_assert_eq!(room.member(address).map(|member| &member.label), Some(label));
            }
            prop_assert_eq!(room.has_members(), !model.members.is_empty());
            before = after;
        }
    }
}
