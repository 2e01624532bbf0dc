//! Each fault in the smallest room that can show it.

mod model;

use super::*;

/// A room whose messages 0, 1, 2, … are due at 10, 20, 30, …; all members joined at 0.
struct Trial(DeliveryChecker);

impl Trial {
    fn of(members: u32, published: u32) -> Self {
        let mut checker = DeliveryChecker::new(members as usize, true);
        (0..members).for_each(|member| checker.join(member, Nanos(0)));
        let mut trial = Self(checker);
        trial.publishes(0..published);
        trial
    }

    fn publishes(&mut self, numbers: std::ops::Range<u32>) {
        numbers.for_each(|number| assert_eq!(self.0.publish(due(number), 0), number));
    }

    fn receives(&mut self, member: u32, numbers: &[u32]) -> Vec<Receipt> {
        let receive = |&number: &u32| self.0.receive(member, payload(number), Nanos(1_000 + u64::from(member)));
        numbers.iter().map(receive).collect()
    }

    /// Numbers of lost, reordered and duplicated deliveries.
    fn faults(mut self, received: &[(u32, &[u32])]) -> (u64, usize, usize) {
        let receipts: Vec<_> = received.iter().flat_map(|(member, numbers)| self.receives(*member, numbers)).collect();
        let is_settled = self.0.early.is_empty();
        self.0.settle_all();
        let count = |receipt| receipts.iter().chain(self.0.late_faults()).filter(|&&other| other == receipt).count();
        assert!(!is_settled || self.0.is_complete() == (self.0.lost_deliveries() == 0));
        (self.0.lost_deliveries(), count(Receipt::Reordered), count(Receipt::Duplicate))
    }
}

fn due(number: u32) -> Nanos {
    Nanos((u64::from(number) + 1) * 10)
}

fn payload(number: u32) -> Payload {
    Payload { room: 0, number, intended: due(number) }
}

#[test]
fn a_room_in_which_all_is_well_is_complete() {
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[0, 1]), (1, &[0, 1, 2]), (0, &[2])]), (0, 0, 0));
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[1, 0, 2]), (1, &[1, 0, 2])]), (0, 0, 0), "any order, if it is one");
}

#[test]
fn a_lost_delivery_is_counted_whoever_comes_first() {
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[0, 1, 2]), (1, &[0, 2])]), (1, 0, 0));
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[0, 2]), (1, &[0, 1, 2])]), (1, 0, 0), "the leader lost it");
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[0, 1]), (1, &[0, 2]), (0, &[2])]), (1, 0, 0), "and is ahead afterwards");
    assert_eq!(Trial::of(3, 3).faults(&[(0, &[0, 2]), (1, &[0, 2]), (2, &[0, 1, 2])]), (2, 0, 0));
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[0, 1]), (1, &[0, 1])]), (2, 0, 0), "the last, for both");
    assert_eq!(Trial::of(2, 3).faults(&[]), (6, 0, 0), "everything");
}

#[test]
fn a_doubled_delivery_is_counted_wherever_it_comes() {
    assert_eq!(Trial::of(2, 2).faults(&[(0, &[0, 0, 1]), (1, &[0, 1])]), (0, 0, 1));
    assert_eq!(Trial::of(2, 2).faults(&[(0, &[0, 1]), (1, &[0, 1, 0, 1])]), (0, 0, 2));
}

#[test]
fn a_different_order_is_counted_once_for_each_message_that_came_late() {
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[0, 1, 2]), (1, &[1, 0, 2])]), (0, 1, 0));
    assert_eq!(Trial::of(2, 3).faults(&[(0, &[0]), (1, &[1, 0, 2]), (0, &[1, 2])]), (0, 1, 0), "by turns");
    assert_eq!(Trial::of(2, 4).faults(&[(0, &[0, 1, 2, 3]), (1, &[3, 0, 1, 2])]), (0, 3, 0));
}

#[test]
fn one_that_joins_late_is_owed_what_was_due_after_it_was_in() {
    let mut trial = Trial::of(2, 5);
    trial.0.ignore(1);
    trial.0.join(1, Nanos(25));
    // Messages 0 and 1 were due before the join. Message 2 was due after it and is lost.
    assert_eq!(trial.faults(&[(0, &[0, 1, 2, 3, 4]), (1, &[3, 4])]), (1, 0, 0));
    let mut trial = Trial::of(2, 5);
    trial.0.join(1, Nanos(25));
    assert_eq!(trial.faults(&[(1, &[2, 3, 4]), (0, &[0, 1, 2, 3, 4])]), (0, 0, 0), "it is ahead of the others");
    let mut trial = Trial::of(2, 5);
    trial.0.join(1, Nanos(25));
    assert_eq!(trial.faults(&[(0, &[0, 1, 2, 3, 4])]), (3, 0, 0), "it hears nothing at all");
}

#[test]
fn one_that_leaves_is_owed_what_others_had_when_it_asked() {
    let mut trial = Trial::of(2, 3);
    trial.receives(0, &[0, 1]);
    trial.receives(1, &[0]);
    trial.0.leave(1, Nanos(1_000));
    trial.receives(0, &[2]);
    assert_eq!(trial.0.lost_deliveries(), 1);
    assert_eq!(trial.receives(1, &[1]), [Receipt::Stray], "nothing may come behind the answer");
}

#[test]
fn one_that_is_cut_is_owed_what_was_due_by_then() {
    let mut trial = Trial::of(2, 3);
    trial.receives(0, &[0, 1, 2]);
    trial.receives(1, &[0]);
    trial.0.disconnect(1, Nanos(25));
    assert!(trial.0.is_complete(), "nothing more will come");
    assert_eq!(trial.0.lost_deliveries(), 1, "number 1; number 2 was due later");
}

#[test]
fn a_message_that_says_another_time_than_it_was_due_is_damaged() {
    let mut trial = Trial::of(2, 1);
    let late = Payload { intended: Nanos(11), ..payload(0) };
    assert_eq!(trial.0.receive(0, late, Nanos(1_000)), Receipt::Damaged);
    assert_eq!(trial.receives(0, &[0]), [Receipt::InOrder]);
    assert_eq!(trial.0.receive(1, late, Nanos(1_000)), Receipt::Damaged, "others have had it as it was");
    assert_eq!(trial.0.receive(1, payload(0), Nanos(9)), Receipt::Damaged, "it was not due yet");
    assert_eq!(trial.0.lost_deliveries(), 1);
}

#[test]
fn what_was_invented_elsewhere_is_known_in_the_end() {
    let mut checker = DeliveryChecker::new(1, false);
    checker.join(0, Nanos(0));
    for number in [0, 1, 7] {
        assert_eq!(checker.receive(0, payload(number), Nanos(1_000)), Receipt::InOrder);
    }
    checker.raise_published(2);
    assert_eq!(checker.unpublished(), 1);
    let mut trial = Trial::of(1, 2);
    assert_eq!(trial.receives(0, &[0, 7, 1]), [Receipt::InOrder, Receipt::Stray, Receipt::InOrder], "at once, here");
}

#[test]
fn a_message_that_cannot_be_is_a_stray() {
    let mut trial = Trial::of(1, 1);
    assert_eq!(trial.receives(0, &[0, u32::MAX]), [Receipt::InOrder, Receipt::Stray]);
    assert_eq!(trial.0.lost_deliveries(), 0);
}

#[test]
fn the_spread_of_a_message_is_from_its_first_to_its_last_receipt() {
    let mut checker = Trial::of(2, 1).0;
    checker.receive(0, payload(0), Nanos(1_000_000));
    checker.receive(1, payload(0), Nanos(5_000_000));
    let mut spreads = Latencies::default();
    checker.record_spreads(|_| true, &mut spreads);
    assert_eq!(spreads.count(), 1);
    assert!((spreads.quantile(0.5) - 4.0).abs() < 0.01);
}

#[test]
fn what_a_sender_had_on_its_way_when_its_connection_ended_is_not_lost_unless_somebody_has_it() {
    let mut trial = Trial::of(2, 1);
    trial.0.publish(due(1), 7);
    trial.0.publish(due(2), 7);
    trial.publishes(3..4);
    trial.receives(0, &[0, 1]);
    trial.0.sender_disconnected(7, due(5));
    let ages: Vec<_> = trial.0.unaccepted().collect();
    assert_eq!(ages, [due(5).since(due(2))], "message 2: message 1 was received");
    trial.receives(0, &[3]);
    assert_eq!(trial.receives(1, &[0, 3]), [Receipt::InOrder; 2]);
    assert_eq!((trial.0.lost_deliveries(), trial.0.is_complete()), (1, false), "message 1 is owed to all");
    assert_eq!(trial.receives(1, &[1]), [Receipt::Reordered]);
    assert_eq!((trial.0.lost_deliveries(), trial.0.is_complete()), (0, true));
}

#[test]
fn what_comes_after_its_sender_has_gone_is_owed_to_all() {
    let mut trial = Trial::of(2, 2);
    trial.0.sender_disconnected(0, due(5));
    assert_eq!(trial.0.unaccepted().count(), 2);
    assert_eq!(trial.faults(&[(0, &[1]), (1, &[])]), (1, 0, 0));
}

#[test]
fn a_refusal_excuses_one_message_of_its_sender_and_no_other() {
    let mut trial = Trial::of(2, 3);
    trial.0.publish(due(3), 7);
    trial.0.refuse(0);
    trial.receives(0, &[0]);
    assert_eq!(trial.0.lost_deliveries(), 2 * 2 + 1, "two of three, for both: one more refusal would be needed");
    trial.receives(0, &[2]);
    assert_eq!(trial.0.lost_deliveries(), 2 + 2, "message 1 was refused; 3 is of another sender");
    trial.receives(0, &[3]);
    assert_eq!(trial.faults(&[(1, &[0, 2, 3])]), (0, 0, 0));
}

#[test]
fn a_later_message_of_the_same_connection_may_not_come_first() {
    let mut trial = Trial::of(1, 2);
    trial.0.publish(due(2), 7);
    trial.receives(0, &[2, 0, 1]);
    assert_eq!(trial.0.overtaken(), 0, "message 2 is of another connection");
    let mut trial = Trial::of(1, 4);
    trial.receives(0, &[0, 3, 1, 2]);
    assert_eq!(trial.0.overtaken(), 2);
}

/// A room of two whose second member received `before` and was cut, while the first received all three messages.
fn cut_after(before: &[u32]) -> Trial {
    let mut trial = Trial::of(2, 3);
    trial.receives(0, &[0, 1, 2]);
    trial.receives(1, before);
    trial.0.cut(1);
    trial
}

impl Trial {
    /// The second member is in the room again, after message 2 was due and before message 3 is.
    fn resumes(mut self) -> Self {
        self.0.resume(1, Nanos(35));
        self
    }
}

#[test]
fn one_that_resumes_is_owed_everything_that_it_missed_once_and_in_order() {
    for (replay, lost, reordered, duplicated, untold) in [
        (&[1, 2][..], 0, 0, 0, 0),
        (&[1], 1, 0, 0, 1),
        (&[2], 1, 0, 0, 1),
        (&[], 2, 0, 0, 2),
        (&[1, 1, 2], 0, 0, 1, 0),
        (&[0, 1, 2], 0, 0, 1, 0),
        (&[2, 1], 0, 1, 0, 0),
    ] {
        let mut trial = cut_after(&[0]).resumes();
        let receipts: Vec<Receipt> =
            replay.iter().map(|&number| trial.0.receive_replayed(1, payload(number), Nanos(1_000))).collect();
        let count = |receipt| receipts.iter().filter(|&&other| other == receipt).count();
        assert_eq!((count(Receipt::Reordered), count(Receipt::Duplicate)), (reordered, duplicated), "{replay:?}");
        assert_eq!((trial.0.lost_deliveries(), trial.0.untold(1)), (lost, untold), "{replay:?}");
        assert_eq!(trial.0.is_complete(), lost == 0, "{replay:?}");
    }
}

#[test]
fn what_is_lost_after_the_return_is_not_untold() {
    let mut trial = cut_after(&[0]).resumes();
    trial.publishes(3..6);
    assert_eq!(trial.receives(0, &[3, 4, 5]), [Receipt::InOrder; 3]);
    assert_eq!(trial.receives(1, &[1, 2, 3, 5]), [Receipt::InOrder; 4]);
    assert_eq!((trial.0.lost_deliveries(), trial.0.untold(1)), (1, 0));
}

#[test]
fn what_was_lost_before_the_cut_is_lost_and_not_untold() {
    let mut trial = cut_after(&[1]).resumes();
    assert_eq!(trial.receives(1, &[2]), [Receipt::InOrder]);
    assert_eq!((trial.0.lost_deliveries(), trial.0.untold(1)), (1, 0));
}

#[test]
fn one_that_is_away_is_owed_nothing_and_may_get_nothing() {
    let mut trial = cut_after(&[0]);
    assert_eq!(trial.receives(1, &[1]), [Receipt::Stray]);
    assert!(trial.0.is_complete());
    assert_eq!(trial.0.lost_deliveries(), 0);
}

#[test]
fn one_that_is_told_of_a_gap_is_owed_what_was_due_after_it_was_in_and_nothing_twice() {
    let mut trial = cut_after(&[0]).resumes();
    trial.0.excuse_missed(1);
    trial.publishes(3..5);
    assert_eq!(trial.receives(0, &[3, 4]), [Receipt::InOrder; 2]);
    assert_eq!(trial.receives(1, &[0, 4]), [Receipt::Duplicate, Receipt::InOrder]);
    assert_eq!((trial.0.lost_deliveries(), trial.0.untold(1)), (1, 0), "message 3 was due after the join");
}

/// A member loses its connection, comes back, and is told of a gap.
fn told_of_a_gap(checker: &mut DeliveryChecker, member: u32, now: Nanos) {
    checker.cut(member);
    checker.resume(member, now);
    checker.excuse_missed(member);
}

/// The first member is in the room throughout and is read last. The two others joined while messages were published, and
/// the one that joined later is read first.
#[test]
fn members_that_join_one_after_the_other_may_be_read_in_any_order() {
    for come in [told_of_a_gap, DeliveryChecker::join] {
        for (second, faults) in [
            (&[2, 3, 4, 5][..], (0, 0, 0)),
            (&[2, 3, 5], (1, 0, 0)),
            (&[2, 2, 3, 4, 5], (0, 0, 1)),
            (&[2, 4, 3, 5], (0, 2, 0)),
        ] {
            let mut trial = Trial::of(3, 6);
            (0..3).for_each(|member| assert_eq!(trial.receives(member, &[0]), [Receipt::InOrder]));
            (1..3).for_each(|member| come(&mut trial.0, member, Nanos(45)));
            let received = [(2, &[3, 4, 5][..]), (1, second), (0, &[1, 2, 3, 4, 5])];
            assert_eq!(trial.faults(&received), faults, "{second:?}");
        }
    }
}

/// Nobody was in the room before, as behind a restart of the server, which has sent 3, 4, 1, 2. The member that joined later
/// is read first.
#[test]
fn the_first_members_of_a_room_may_be_read_in_any_order() {
    for (first, faults) in [
        (&[3, 4, 1, 2][..], (0, 0, 0)),
        (&[3, 3, 4, 1, 2], (0, 0, 1)),
        (&[3, 4, 2], (1, 0, 0)),
        (&[3, 4, 2, 1], (0, 1, 0)),
    ] {
        let mut trial = Trial::of(2, 5);
        (0..2).for_each(|member| assert_eq!(trial.receives(member, &[0]), [Receipt::InOrder]));
        told_of_a_gap(&mut trial.0, 0, Nanos(15));
        told_of_a_gap(&mut trial.0, 1, Nanos(55));
        let received = [(1, &[1, 2][..]), (0, first)];
        assert_eq!(trial.faults(&received), faults, "{first:?}");
    }
}

#[test]
fn one_that_loses_its_connection_again_and_again_is_owed_the_same() {
    let mut trial = cut_after(&[0]).resumes();
    assert_eq!(trial.receives(1, &[1]), [Receipt::InOrder]);
    assert_eq!(trial.0.cut(1), 0, "nothing is skipped");
    trial = trial.resumes();
    assert_eq!(trial.receives(1, &[1, 2]), [Receipt::Duplicate, Receipt::InOrder]);
    assert_eq!((trial.0.lost_deliveries(), trial.0.is_complete()), (0, true));
    let mut trial = cut_after(&[0]).resumes();
    assert_eq!(trial.receives(1, &[2]), [Receipt::InOrder]);
    assert_eq!(trial.0.cut(1), 1, "message 1 was untold");
    assert_eq!(trial.resumes().0.lost_deliveries(), 1);
}

#[test]
fn one_that_was_told_of_a_gap_and_is_cut_before_the_next_message_is_owed_that() {
    let mut trial = cut_after(&[0]).resumes();
    trial.0.excuse_missed(1);
    trial.0.cut(1);
    trial.publishes(3..5);
    trial.receives(0, &[3, 4]);
    trial.0.resume(1, Nanos(100));
    assert_eq!(trial.0.lost_deliveries(), 2);
    assert_eq!(trial.receives(1, &[3, 4]), [Receipt::InOrder; 2]);
    assert!(trial.0.is_complete());
}

#[test]
fn one_that_resumes_first_leads_the_order_of_the_room() {
    let mut trial = Trial::of(2, 3);
    trial.receives(0, &[0]);
    trial.receives(1, &[0]);
    trial.0.cut(1);
    let mut trial = trial.resumes();
    assert_eq!(trial.receives(1, &[1, 2]), [Receipt::InOrder; 2]);
    assert_eq!(trial.receives(0, &[1, 2]), [Receipt::InOrder; 2]);
    assert!(trial.0.is_complete());
}

#[test]
fn a_replay_does_not_count_for_the_spread() {
    let mut trial = cut_after(&[0]).resumes();
    for number in [1, 2] {
        trial.0.receive_replayed(1, payload(number), Nanos(9_000_000));
    }
    let mut spreads = Latencies::default();
    trial.0.record_spreads(|_| true, &mut spreads);
    assert!(spreads.quantile(1.0) < 1.0, "{spreads:?}");
}
