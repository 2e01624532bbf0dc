//! What a shard of a cluster retains, and from where its clients resume.

use std::time::Duration;

use roomcast::auth::rules::RoomRules;
use roomcast::backplane::entry::{Entry, ProposalError};
use roomcast::config::LimitsOfRoom;
use roomcast::protocol::position::Offset;

use crate::cluster_node::{
    ClusterNode, EPOCH, ON_FIRST, ON_SECOND, OTHER_EPOCH, client, keyed, position, published, say,
};
use crate::common::{ROOM_LIMITS, room, rule};

const NO_HISTORY: LimitsOfRoom = LimitsOfRoom { history_messages_max: 0, ..ROOM_LIMITS };

#[test]
fn a_client_that_has_seen_more_than_its_node_waits_for_the_node_and_then_resumes() {
    let mut node = ClusterNode::new();
    let ahead = client(ON_FIRST, 1);
    node.place(5_000, say(0, "one"));
    node.join(0, ahead, Some(6_000));
    assert!(node.received(ahead).is_empty() && node.shard.is_behind());
    node.place(6_000, say(0, "two"));
    node.go_on();
    assert_eq!(node.received(ahead), ["Joined room-0"]);
    node.place(7_000, say(0, "three"));
    assert_eq!(node.received(ahead), ["[other] three"]);
}

#[test]
fn a_client_that_has_waited_for_its_node_for_8_s_is_told_that_it_cannot_resume() {
    let mut node = ClusterNode::new();
    let ahead = client(ON_FIRST, 1);
    node.join(0, ahead, Some(6_000));
    node.now.instant += Duration::from_millis(7_999);
    node.go_on();
    assert!(node.received(ahead).is_empty());
    node.now.instant += Duration::from_millis(1);
    node.go_on();
    assert_eq!(node.received(ahead), ["Joined room-0", "GAP unknown"]);
    assert!(!node.shard.is_behind());
}

#[test]
fn a_client_that_waits_for_its_node_goes_on_when_the_stream_is_made_anew() {
    let mut node = ClusterNode::new();
    let ahead = client(ON_FIRST, 1);
    node.join(0, ahead, Some(6_000));
    node.restart(OTHER_EPOCH, 4_095);
    node.go_on();
    assert_eq!(node.received(ahead), ["Joined room-0", "GAP unknown"]);
}

#[test]
fn whoever_joins_while_an_entry_waits_for_a_writer_gets_it_once() {
    let mut node = ClusterNode::new();
    let (slow, joiner, resumed) = (client(ON_FIRST, 1), client(ON_SECOND, 2), client(ON_SECOND, 3));
    node.join(0, slow, None);
    node.is_full.set(true);
    node.place(5_000, say(0, "waits"));
    node.place(6_000, say(1, "elsewhere"));
    node.join(0, joiner, None);
    assert_eq!(node.told_position(0, joiner), 4_999);
    // It has got the entry on another node.
    node.join(0, resumed, Some(5_000));
    assert!(node.received(resumed).is_empty());
    node.is_full.set(false);
    node.go_on();
    node.go_on();
    assert_eq!(node.received(joiner), ["[other] waits"]);
    assert_eq!(node.received(resumed), ["Joined room-0"]);
    assert_eq!(node.told_position(0, resumed), 6_000);
}

#[test]
fn entries_that_wait_are_applied_before_the_stream_goes_on_in_another_epoch() {
    let mut node = ClusterNode::new();
    let slow = client(ON_FIRST, 1);
    node.join(0, slow, None);
    node.say(0, slow, "own");
    let own = node.proposal().expect("it is proposed");
    node.is_full.set(true);
    node.place(5_000, say(0, "other"));
    node.place_own(6_000, own);
    assert_eq!(node.received(slow), ["Joined room-0"]);
    node.restart(OTHER_EPOCH, 4_095);
    assert_eq!(node.received(slow), ["[other] other", "[L] own"]);
    assert_eq!(node.shard.retained().messages, 0);
}

#[test]
fn no_member_gets_what_follows_a_hole() {
    for epoch in [EPOCH, OTHER_EPOCH] {
        let mut node = ClusterNode::new();
        let member = client(ON_FIRST, 1);
        node.join(0, member, None);
        node.place(5_000, say(0, "before"));
        node.restart(epoch, 9_000);
        node.place(10_000, say(0, "behind"));
        assert_eq!(node.received(member), ["Joined room-0", "[other] before"]);
        assert_eq!(node.shard.active_rooms(), 0);
        // It comes back to find that it has missed something.
        node.join(0, member, Some(5_000));
        assert_eq!(node.received(member), ["Joined room-0", "GAP unknown"]);
    }
}

#[test]
fn what_is_retained_is_removed_at_one_place_of_the_stream() {
    let mut node = ClusterNode::new();
    let mut removed = node.remove_history(0);
    let removal = node.proposal().expect("it is proposed");
    node.place(5_000, say(0, "before"));
    node.place(6_000, say(0, "before, too"));
    assert!(removed.try_recv().is_err());
    node.place_own(7_000, removal);
    assert_eq!(removed.try_recv(), Ok(Ok(())));
    node.place(8_000, say(0, "behind"));
    let page = node.page(0, None).expect("a page");
    assert_eq!(page.publications.iter().map(|publication| publication.offset).collect::<Vec<_>>(), [Offset(8_000)]);
    assert!(!page.follows(Offset(5_000)) && page.follows(Offset(6_000)));
    let mut refused = node.remove_history(0);
    let removal = node.proposal().expect("it is proposed");
    assert_eq!(removal.entry, Entry::RemoveHistory(room(0)));
    node.fail(&removal, ProposalError::Unavailable);
    assert!(matches!(refused.try_recv(), Ok(Err(_))));
}

#[test]
fn a_key_is_too_old_by_the_times_of_the_stream_alone() {
    let (first, late) = (Duration::ZERO, Duration::from_millis(299_999));
    let mut node = ClusterNode::new();
    let member = client(ON_SECOND, 1);
    node.join(0, member, None);
    node.place_at(5_000, first, keyed(0, "text"), None);
    // Another room is ahead of this one, since its writers have room.
    node.place_at(7_000, Duration::from_secs(300), keyed(1, "text"), None);
    node.place_at(6_000, late, keyed(0, "text"), None);
    assert_eq!(node.received(member), ["Joined room-0", "[other] text"]);
    node.place_at(8_000, Duration::from_secs(300), keyed(0, "text"), None);
    assert_eq!(node.received(member), ["[other] text"]);
    // The key is that of the newer publish now.
    node.place_at(9_000, Duration::from_secs(599), keyed(0, "text"), None);
    assert!(node.received(member).is_empty());
}

#[test]
fn a_key_is_remembered_where_no_room_is() {
    let mut node = ClusterNode::with_limits(NO_HISTORY);
    node.place(5_000, keyed(0, "text"));
    let member = client(ON_FIRST, 1);
    node.join(0, member, None);
    node.place(6_000, keyed(0, "text"));
    assert_eq!(node.received(member), ["Joined room-0"]);
}

#[test]
fn a_publish_to_a_room_that_is_nowhere_has_a_place() {
    let mut node = ClusterNode::with_limits(NO_HISTORY);
    let mut answer = node.publish(0, "text");
    let proposal = node.proposal().expect("it is proposed");
    assert!(answer.try_recv().is_err());
    node.place_own(5_000, proposal);
    assert_eq!(answer.try_recv(), Ok(Ok(Some(position(5_000)))));
}

#[test]
fn a_client_resumes_in_a_room_that_is_not_there_unless_something_may_be_lost() {
    let mut node = ClusterNode::new();
    let (silent, late) = (client(ON_FIRST, 1), client(ON_FIRST, 2));
    node.place(5_000, say(1, "elsewhere"));
    node.join(0, silent, Some(4_500));
    assert_eq!(node.received(silent), ["Joined room-0"]);
    assert_eq!(node.told_position(0, silent), 5_000);
    assert!(node.page(2, Some(4_500)).expect("a page").follows(Offset(4_500)));
    // A room drops everything and is removed with it. Whoever comes back to any room with less may have missed that.
    node.place(6_000, say(3, "dropped"));
    node.place(7_000, Entry::RemoveHistory(room(3)));
    node.join(3, late, Some(5_000));
    assert_eq!(node.received(late), ["Joined room-3", "GAP unknown"]);
    node.join(4, late, Some(5_999));
    assert_eq!(node.received(late), ["Joined room-4", "GAP unknown"]);
    node.join(5, late, Some(6_000));
    assert_eq!(node.received(late), ["Joined room-5"]);
}

#[test]
fn a_rule_under_which_rooms_retain_more_does_not_bring_back_what_was_dropped() {
    let mut node = ClusterNode::with_limits(NO_HISTORY);
    let (first, second) = (client(ON_FIRST, 1), client(ON_FIRST, 2));
    node.place(5_000, say(0, "dropped"));
    node.apply_rules(RoomRules::new(Vec::new(), ROOM_LIMITS));
    node.join(0, first, Some(4_500));
    assert_eq!(node.received(first), ["Joined room-0", "GAP unknown"]);
    node.place(6_000, say(0, "retained"));
    node.join(0, second, Some(5_000));
    assert_eq!(node.received(second), ["Joined room-0", "[other] retained"]);
}

#[test]
fn a_room_that_a_new_rule_has_not_reached_drops_what_it_cannot_bring_back() {
    const ROOMS: usize = 2_000;
    let mut node = ClusterNode::with_limits(NO_HISTORY);
    (0..ROOMS).for_each(|number| node.join(number, client(ON_FIRST, number as u32), None));
    node.apply_rules(RoomRules::new(vec![rule("nowhere", NO_HISTORY)], ROOM_LIMITS));
    // The rule has reached a few of the rooms.
    for number in 0..ROOMS {
        node.place(5_000 + number as u64, say(number, "text"));
    }
    let retained = node.shard.retained().messages;
    assert!(retained < ROOMS, "the rule has reached all rooms");
    let dropping: Vec<usize> =
        (0..ROOMS).filter(|&number| node.page(number, None).expect("a page").publications.is_empty()).collect();
    let number = *dropping.first().expect("one drops what is published");
    drop(node.leave(number, client(ON_FIRST, number as u32)));
    let back = client(ON_SECOND, 0);
    node.join(number, back, Some(4_999));
    assert_eq!(node.received(back), [format!("Joined room-{number}"), "GAP unknown".to_owned()]);
}

#[test]
fn a_message_without_an_offset_is_delivered_and_changes_no_position() {
    let mut node = ClusterNode::new();
    let member = client(ON_FIRST, 1);
    node.join(0, member, None);
    let entry = Entry::Publish(roomcast::backplane::entry::Publish { is_retained: false, ..published(0, "passing") });
    node.place(5_000, entry);
    assert_eq!(node.received(member), ["Joined room-0", "[other] passing"]);
    assert_eq!(node.shard.retained().messages, 0);
}
