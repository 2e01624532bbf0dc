//! Each fault that a server can have is counted exactly, and nothing else is.

use std::time::Duration;

use harness::{Process, Turn, at_once};

use crate::fake::{At, Fake, Fault};
use crate::load::{Measured, loadgen, measure};

/// One room of four, with a first member that publishes ten messages.
const ONE_ROOM: [&str; 8] = ["--clients", "4", "--rooms", "1", "--rate", "20", "--publishers", "first"];

/// Two rooms of three, with ten messages by any of them.
const TWO_ROOMS: [&str; 6] = ["--clients", "6", "--rooms", "2", "--rate", "20"];

/// Gives up soon when something never comes.
const IMPATIENT: [&str; 2] = ["--patience", "2s"];

/// A delivery in the middle, to a member that never publishes.
const HERE: At = At { client: 2, delivery: 4 };

/// Measures a server with these faults.
#[track_caller]
fn measure_with(script: &[Fault], arguments: &[&[&str]]) -> Measured {
    let fake = Fake::start(script);
    measure(&fake.target(), &arguments.concat())
}

#[test]
fn a_server_that_does_everything_right_has_no_fault() {
    let measured = measure_with(&[], &[&TWO_ROOMS]);
    measured.expect_clean();
    measured.expect_all(3);
    assert_eq!(measured.number("/rooms/tally/published"), 10.0);
    assert_eq!(measured.number("/rooms/latency/count"), 30.0);
    assert_eq!(measured.number("/connects/connected"), 6.0);
}

#[test]
fn each_fault_is_counted_and_no_other() {
    let last = |client| At { client, delivery: 9 };
    let lost = [HERE, At { client: 2, delivery: 5 }, At { client: 1, delivery: 0 }, last(0), last(1), last(2), last(3)];
    let lost = lost.map(Fault::Lose);
    // The second message is published when the first member has had the first, so that their order is certain.
    let closed = ["--clients", "4", "--rooms", "1", "--in-flight", "1"];
    let swapped = [Fault::Swap(HERE), Fault::Delay(Duration::from_millis(20))];
    let churn = [&ONE_ROOM[..], &["--churn", "40", "--duration", "1s"]].concat();
    let cases: [(&[Fault], &[&str], &str, u64); 7] = [
        (&[Fault::Lose(HERE)], &ONE_ROOM, "lost", 1),
        (&lost, &ONE_ROOM, "lost", 7),
        (&[Fault::Double(HERE)], &ONE_ROOM, "duplicated", 1),
        (&swapped, &closed, "reordered", 1),
        (&[Fault::Cut(HERE)], &ONE_ROOM, "damaged", 1),
        (&[Fault::Misroute(At { client: 2, delivery: 1 })], &TWO_ROOMS, "stray", 1),
        (&[Fault::HauntTheFirstToLeave], &churn, "stray", 1),
    ];
    at_once(cases, |(script, arguments, fault, count)| {
        let measured = measure_with(script, &[arguments, &IMPATIENT]);
        measured.expect_only(fault, count);
        assert!(
            fault != "lost" || measured.ended.out.contains(&format!("{count} of 40 deliveries lost")),
            "{measured:?}"
        );
    });
}

#[test]
fn a_closed_connection_and_what_it_missed_are_counted() {
    let measured = measure_with(&[Fault::Close(At { client: 2, delivery: 9 })], &[&ONE_ROOM]);
    measured.expect_only("lost", 1);
    assert_eq!(measured.number("/rooms/disconnected/closed without a word"), 1.0);
    assert!(measured.ended.out.contains("1 disconnects: closed without a word (1)"), "{measured:?}");
}

#[test]
fn the_reason_of_a_disconnect_is_reported() {
    let words = "ERR closed slow-consumer\n";
    let measured = measure_with(&[Fault::Dismiss(At { client: 3, delivery: 9 }, words)], &[&ONE_ROOM]);
    measured.expect_only("lost", 1);
    assert_eq!(measured.number("/rooms/disconnected/slow-consumer"), 1.0);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let fake = Fake::start(&[Fault::AnswerNothing]);
    let ended = Process::run(&mut loadgen(&[&[&fake.target()[..]], &ONE_ROOM[..], &IMPATIENT].concat()));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.err, "loadgen: no client got in: no answer within 2s (4)\n");
}

#[test]
fn members_that_come_and_go_are_no_fault() {
    let measured = measure_with(&[], &[&TWO_ROOMS, &["--churn", "200"]]);
    measured.expect_clean();
    assert!(measured.number("/rooms/tally/churned") > 2.0, "{measured:?}");
}

#[test]
fn members_that_stop_reading_are_no_fault() {
    let measured = measure_with(&[], &[&["--clients", "20", "--rooms", "2", "--rate", "20", "--slow", "0.5"]]);
    measured.expect_clean();
    let stalled = measured.number("/rooms/tally/stalled");
    assert!((1.0..=18.0).contains(&stalled), "{measured:?}");
}

#[test]
fn a_known_delay_comes_back_as_the_median() {
    const DELAY: Duration = Duration::from_millis(500);
    // Not beside loads that take the processor before everybody else.
    let _turn = Turn::take();
    let measured = measure_with(&[Fault::Delay(DELAY)], &[&TWO_ROOMS, &["--duration", "1s"]]);
    measured.expect_clean();
    let ratio = measured.number("/rooms/latency/p50") / 1e3 / DELAY.as_secs_f64();
    assert!((0.95..=1.05).contains(&ratio), "{ratio}: {measured:?}");
}

#[test]
fn a_server_that_stalls_for_a_second_shows_it() {
    let stall = Fault::Stall { message: 10, time: Duration::from_secs(1) };
    // 50 messages are due during the stall. If the load waited for the server, only one would be late.
    let load = ["--clients", "4", "--rooms", "1", "--rate", "50", "--duration", "1500ms"];
    let measured = measure_with(&[stall], &[&load]);
    measured.expect_clean();
    assert_eq!(measured.number("/rooms/tally/published"), 75.0);
    assert!(measured.number("/rooms/latency/p99") >= 800.0, "{measured:?}");
}
