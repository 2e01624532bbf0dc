//! Each fault that a server can have is counted over the Centrifuge protocol as over the text protocol, and clients
//! that come back recover by their offsets. Compressed messages are measured like others.

use std::time::Duration;

use harness::{Process, at_once};

use crate::fake::{At, Fake, Fault, Seen, Wire};
use crate::load::{Measured, RETURNING, loadgen, measure};

/// One room of four, with a first member that publishes ten messages.
const ONE_ROOM: [&str; 8] = ["--clients", "4", "--rooms", "1", "--rate", "20", "--publishers", "first"];

/// Gives up soon where a fault may keep something from coming.
const IMPATIENT: [&str; 2] = ["--patience", "2s"];

/// A delivery in the middle, to a member that never publishes.
const HERE: At = At { client: 2, delivery: 4 };

/// Measures a server with these faults.
#[track_caller]
fn measure_with(script: &[Fault], arguments: &[&str]) -> Measured {
    let fake = Fake::start_speaking(Wire::Centrifuge, script);
    let patience = if script.is_empty() { &[][..] } else { &IMPATIENT };
    measure(&fake.target(), &[arguments, patience].concat())
}

/// Numbers of clients that were cut, have what they missed, were told of a gap, were deceived, and are still away.
#[track_caller]
fn expect_returns(measured: &Measured, counts: [u64; 5]) {
    let number = |of| measured.number(&format!("/rooms/reconnects/{of}")) as u64;
    assert_eq!(["cut", "recovered", "told", "deceived", "away"].map(number), counts, "{measured:?}");
}

#[test]
fn a_server_that_does_everything_right_has_no_fault() {
    let fake = Fake::start_speaking(Wire::Centrifuge, &[]);
    let measured = measure(&fake.target(), &["--clients", "6", "--rooms", "2", "--rate", "20"]);
    measured.expect_clean();
    measured.expect_all(3);
    fake.wait_for(6, |seen| *seen == Seen::Ponged);
}

#[test]
fn each_fault_is_counted_and_no_other() {
    let closed = ["--clients", "4", "--rooms", "1", "--in-flight", "1"];
    let swapped = [Fault::Swap(HERE), Fault::Delay(Duration::from_millis(20))];
    let two_rooms = ["--clients", "6", "--rooms", "2", "--rate", "20"];
    let churn = [&ONE_ROOM[..], &["--churn", "40", "--duration", "1s"]].concat();
    let cases: [(&[Fault], &[&str], &str); 6] = [
        (&[Fault::Lose(HERE)], &ONE_ROOM, "lost"),
        (&[Fault::Double(HERE)], &ONE_ROOM, "duplicated"),
        (&swapped, &closed, "reordered"),
        (&[Fault::Cut(HERE)], &ONE_ROOM, "damaged"),
        (&[Fault::Misroute(At { client: 2, delivery: 1 })], &two_rooms, "stray"),
        (&[Fault::HauntTheFirstToLeave], &churn, "stray"),
    ];
    at_once(cases, |(script, arguments, fault)| measure_with(script, arguments).expect_only(fault, 1));
}

#[test]
fn clients_that_are_cut_recover_what_they_have_missed_exactly_once() {
    let measured = measure_with(&[], &RETURNING);
    measured.expect_clean();
    measured.expect_all(4);
    expect_returns(&measured, [3, 3, 0, 0, 0]);
    let (replayed, live) = (measured.number("/rooms/reconnects/replayed"), measured.number("/rooms/latency/count"));
    assert_eq!(replayed + live, 400.0, "a replayed delivery is none of the live ones: {measured:?}");
    assert!(replayed > 0.0, "{measured:?}");
}

#[test]
fn each_fault_of_a_recovery_is_counted_and_no_other() {
    let lost = (&[Fault::LoseTheLastOfTheFirstReplay][..], "lost", "untold", [3, 2, 0, 1, 0]);
    let doubled = (&[Fault::DoubleTheLastOfTheFirstReplay][..], "duplicated", "doubled", [3, 3, 0, 0, 0]);
    at_once([lost, doubled], |(script, fault, counted, returns)| {
        let measured = measure_with(script, &RETURNING);
        measured.expect_only(fault, 1);
        assert_eq!(measured.number(&format!("/rooms/reconnects/{counted}")), 1.0, "{measured:?}");
        expect_returns(&measured, returns);
    });
}

#[test]
fn a_recovery_that_fails_is_told_and_no_fault() {
    let measured = measure_with(&[Fault::TellTheFirstToResumeOfAGap], &RETURNING);
    measured.expect_clean();
    expect_returns(&measured, [3, 2, 1, 0, 0]);
}

#[test]
fn a_connect_command_that_is_refused_is_the_end_of_its_client() {
    let fake = Fake::start_speaking(Wire::Centrifuge, &[Fault::RefuseTokens]);
    let ended = Process::run(&mut loadgen(&[&[&fake.target()[..]], &ONE_ROOM[..]].concat()));
    assert_eq!(ended.err, "loadgen: no client got in: unauthorized, error 101 (4)\n", "{ended:?}");
}

#[test]
fn compressed_messages_are_measured_and_cost_fewer_bytes() {
    let load = [&ONE_ROOM[..], &["--size", "1024"]].concat();
    let bytes = |more: &[&str]| {
        let measured = measure_with(&[], &[&load, more].concat());
        measured.expect_clean();
        measured.expect_all(4);
        measured.number("/generator/bytes_per_delivery")
    };
    let (plain, compressed) = (bytes(&[]), bytes(&["--deflate"]));
    assert!((1_024.0..1_200.0).contains(&plain), "{plain}");
    assert!(compressed < plain * 0.7, "{compressed} of {plain}");
}

#[test]
fn compressed_recoveries_are_checked_like_others() {
    let measured = measure_with(&[], &[&RETURNING[..], &["--deflate"]].concat());
    measured.expect_clean();
    expect_returns(&measured, [3, 3, 0, 0, 0]);
}
