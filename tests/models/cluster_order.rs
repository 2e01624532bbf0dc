//! The order of what one client sends to a shard of a cluster, while its publications have no place yet.

use futures_util::FutureExt;
use roomcast::backplane::entry::{Entry, ProposalError};
use roomcast::broker::{Act, ClientWindow, PublishError};

use crate::cluster_node::{ClusterNode, ON_FIRST, client};
use crate::common::{self, label, publisher, room};

#[test]
fn what_a_client_sends_behind_a_publication_waits_for_its_echo_and_publications_do_not() {
    let mut node = ClusterNode::new();
    let member = client(ON_FIRST, 1);
    node.join(0, member, None);
    node.say(0, member, "one");
    node.say(0, member, "two");
    let (one, two) = (node.proposal().expect("proposed"), node.proposal().expect("proposed at once"));
    node.ping(0, member);
    node.say(0, member, "three");
    node.act(0, member, Act::Rename(publisher(label("N"))));
    node.say(0, member, "four");
    let mut left = node.leave(0, member);
    assert_eq!(node.received(member), ["Joined room-0"]);
    assert!(node.proposal().is_none(), "it keeps its place behind the ping");
    node.place_own(5_000, one);
    assert_eq!(node.received(member), ["[L] one"]);
    node.place_own(5_001, two);
    assert_eq!(node.received(member), ["[L] two", "PONG here"]);
    let three = node.proposal().expect("it has waited");
    assert!(node.proposal().is_none(), "it waits for the new name");
    node.place_own(5_002, three);
    assert_eq!(node.received(member), ["[L] three", "You are N"]);
    let four = node.proposal().expect("it has waited");
    assert!(left.try_recv().is_err());
    node.place_own(5_003, four);
    assert_eq!(node.received(member), ["[N] four"]);
    left.try_recv().expect("it has left behind its last message");
    node.place(5_004, crate::cluster_node::say(0, "alone"));
    assert!(node.received(member).is_empty());
}

#[test]
fn a_client_is_told_what_came_of_its_publication_before_what_it_has_sent_behind_it() {
    for (error, end) in [(ProposalError::Unavailable, "try again later"), (ProposalError::Unknown, "published yet")] {
        let mut node = ClusterNode::new();
        let member = client(ON_FIRST, 1);
        node.join(0, member, None);
        node.say(0, member, "lost");
        node.ping(0, member);
        let lost = node.proposal().expect("proposed");
        node.received(member);
        node.fail(&lost, error);
        let lines = node.received(member);
        assert!(lines[0].starts_with("ERR unavailable") && lines[0].ends_with(end), "{lines:?}");
        assert_eq!(lines[1..], ["PONG here"]);
        // It comes after all.
        node.place_own(5_000, lost);
        assert_eq!(node.received(member), ["[L] lost"]);
        node.ping(0, member);
        assert_eq!(node.received(member), ["PONG here"]);
    }
}

#[test]
fn the_commands_of_one_client_do_not_wait_for_publications_of_another() {
    let mut node = ClusterNode::new();
    let (speaker, other) = (client(ON_FIRST, 1), client(ON_FIRST, 2));
    node.join(0, speaker, None);
    node.join(0, other, None);
    node.say(0, speaker, "one");
    node.ping(0, other);
    assert_eq!(node.received(other), ["Joined room-0", "PONG here"]);
}

#[test]
fn an_echo_that_waits_for_a_writer_holds_back_what_was_sent_behind_it() {
    let mut node = ClusterNode::new();
    let member = client(ON_FIRST, 1);
    node.join(0, member, None);
    node.say(0, member, "one");
    let one = node.proposal().expect("proposed");
    node.is_full.set(true);
    node.place_own(5_000, one);
    node.ping(0, member);
    assert_eq!(node.received(member), ["Joined room-0"]);
    node.is_full.set(false);
    node.go_on();
    assert_eq!(node.received(member), ["[L] one", "PONG here"]);
}

#[test]
fn a_publication_is_refused_while_too_many_wait_for_the_backplane() {
    let mut node = ClusterNode::new();
    let mut answers = Vec::new();
    let mut refused = loop {
        let mut answer = node.publish(0, "text");
        match answer.try_recv() {
            Ok(refused) => break refused,
            Err(_) => answers.push(answer),
        }
        assert!(answers.len() < 100_000, "nothing is ever refused");
    };
    assert!(matches!(refused, Err(PublishError::Unavailable(_))), "{refused:?}");
    let member = client(ON_FIRST, 1);
    node.join(0, member, None);
    node.say(0, member, "text");
    node.ping(0, member);
    let lines = node.received(member);
    assert!(lines[1].starts_with("ERR unavailable"), "{lines:?}");
    assert_eq!(lines[2..], ["PONG here"]);
    let first = node.proposal().expect("proposed");
    node.place_own(5_000, first);
    refused = answers.remove(0).try_recv().expect("it has a place");
    assert!(refused.is_ok());
    assert!(node.publish(0, "text").try_recv().is_err(), "there is room for one more");
}

#[test]
fn all_that_waits_is_answered_when_the_backplane_ends() {
    let mut node = ClusterNode::new();
    let member = client(ON_FIRST, 1);
    node.join(0, member, None);
    node.say(0, member, "one");
    node.ping(0, member);
    let (mut published, mut removed) = (node.publish(0, "text"), node.remove_history(0));
    let mut left = node.leave(0, member);
    node.lose_backplane();
    let lines = node.received(member);
    assert!(lines[1].starts_with("ERR unavailable"), "{lines:?}");
    assert_eq!(lines[2..], ["PONG here"]);
    left.try_recv().expect("it has left");
    assert!(matches!(published.try_recv(), Ok(Err(_))) && matches!(removed.try_recv(), Ok(Err(_))));
}

#[test]
fn a_publication_is_in_flight_until_it_has_its_place() {
    let mut node = ClusterNode::new();
    let (member, mut window) = (client(ON_FIRST, 1), ClientWindow::default());
    node.join(0, member, None);
    for text in ["one", "two"] {
        node.broker.try_send(common::publish(room(0), member, text), &mut window).expect("the window has room");
        let command = node.mailbox.try_next().expect("it was sent");
        node.send(command);
    }
    let (one, two) = (node.proposal().expect("proposed"), node.proposal().expect("proposed"));
    node.place_own(5_000, one);
    assert!(window.emptied().now_or_never().is_none());
    node.fail(&two, ProposalError::Unavailable);
    assert!(window.emptied().now_or_never().is_some());
    assert!(matches!(two.entry, Entry::Publish(_)));
}

#[test]
fn a_position_is_told_behind_all_entries_that_have_waited() {
    let mut node = ClusterNode::new();
    let member = client(ON_FIRST, 1);
    node.join(0, member, None);
    node.say(0, member, "own");
    let own = node.proposal().expect("proposed");
    node.is_full.set(true);
    node.place_own(5_000, own);
    node.place(6_000, crate::cluster_node::say(0, "other"));
    node.act(0, member, Act::Position);
    node.restart(crate::cluster_node::OTHER_EPOCH, 4_095);
    let lines = node.received(member);
    assert_eq!(lines[..3], ["Joined room-0", "[L] own", "[other] other"]);
    assert!(lines[3].ends_with("6000"), "{lines:?}");
}
