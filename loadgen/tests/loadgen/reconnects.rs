//! Clients that are cut and come back: what the server did to each of them is counted exactly, and nothing else is.

use std::time::Duration;

use harness::{Process, Signal, at_once};

use crate::fake::{Fake, Fault, Seen};
use crate::load::{Measured, RETURNING, loadgen, loadgen_within, measure, measure_with, short};
use crate::servers::Server;

/// Gives up soon where a fault may keep something from coming.
const IMPATIENT: [&str; 2] = ["--patience", "2s"];

/// Measures a server with these faults.
#[track_caller]
fn measure_fake(script: &[Fault], arguments: &[&str]) -> Measured {
    let fake = Fake::start(script);
    let patience = if script.is_empty() { &[][..] } else { &IMPATIENT };
    measure(&fake.target(), &[arguments, patience].concat())
}

/// The clients that were cut are these, and all of them came back with what they had missed.
#[track_caller]
fn expect_recovered(measured: &Measured, cut: u64) {
    measured.expect_clean();
    expect_returns(measured, [cut, cut, 0, 0, 0]);
    let number = |of: &str| measured.number(&format!("/rooms/reconnects/{of}"));
    assert!(number("replayed") > 0.0 && number("all_back_seconds") > 0.0, "{measured:?}");
    assert_eq!([number("times/count") as u64, number("untold") as u64, number("doubled") as u64], [cut, 0, 0]);
}

/// Numbers of clients that were cut, have what they missed, were told of a gap, were deceived, and are still away.
#[track_caller]
fn expect_returns(measured: &Measured, counts: [u64; 5]) {
    let number = |of| measured.number(&format!("/rooms/reconnects/{of}")) as u64;
    assert_eq!(["cut", "recovered", "told", "deceived", "away"].map(number), counts, "{measured:?}");
}

#[test]
fn clients_that_are_cut_get_what_they_have_missed_exactly_once() {
    let measured = measure_fake(&[], &RETURNING);
    measured.expect_all(4);
    expect_recovered(&measured, 3);
    assert_eq!(measured.number("/rooms/tally/published"), 100.0);
    let (replayed, live) = (measured.number("/rooms/reconnects/replayed"), measured.number("/rooms/latency/count"));
    assert_eq!(replayed + live, 400.0, "a replayed delivery is none of the live ones: {measured:?}");
    for words in ["3 clients cut: 3 have what they missed, 0 told of a gap, 0 deceived, 0 still away", "all back after"]
    {
        assert!(measured.ended.out.contains(words), "{words}: {measured:?}");
    }
}

#[test]
fn each_fault_of_a_replay_is_counted_and_no_other() {
    let lost = (&[Fault::LoseTheLastOfTheFirstReplay][..], "lost", "untold", [3, 2, 0, 1, 0]);
    let doubled = (&[Fault::DoubleTheLastOfTheFirstReplay][..], "duplicated", "doubled", [3, 3, 0, 0, 0]);
    at_once([lost, doubled], |(script, fault, counted, returns)| {
        let measured = measure_fake(script, &RETURNING);
        measured.expect_only(fault, 1);
        assert_eq!(measured.number(&format!("/rooms/reconnects/{counted}")), 1.0, "{measured:?}");
        expect_returns(&measured, returns);
    });
}

#[test]
fn a_gap_that_is_not_told_is_counted_with_all_of_its_messages() {
    let measured = measure_fake(&[Fault::ConcealTheFirstGap], &RETURNING);
    let lost = measured.number("/rooms/tally/lost") as u64;
    assert!(lost > 1, "{measured:?}");
    measured.expect_only("lost", lost);
    assert_eq!(measured.number("/rooms/reconnects/untold") as u64, lost);
    expect_returns(&measured, [3, 2, 0, 1, 0]);
    let fault = format!("{lost} of the lost deliveries untold: neither replayed nor told as a gap");
    assert!(measured.ended.out.contains(&fault), "{measured:?}");
}

#[test]
fn a_gap_that_is_told_is_no_fault() {
    let measured = measure_fake(&[Fault::TellTheFirstToResumeOfAGap], &RETURNING);
    measured.expect_clean();
    expect_returns(&measured, [3, 2, 1, 0, 0]);
    assert!(measured.number("/rooms/expected") < 400.0, "what was missed behind the gap is not owed: {measured:?}");
}

#[test]
fn a_client_that_does_not_come_back_is_a_fault_with_its_reason() {
    let measured = measure_fake(&[Fault::RefuseTheFirstToResume], &RETURNING);
    expect_returns(&measured, [3, 2, 0, 0, 1]);
    measured.expect_fault("1 of 3 clients did not come back: closed without a word (1)");
    assert!(measured.report["rooms"]["reconnects"]["all_back_seconds"].is_null(), "{measured:?}");
}

#[test]
fn a_server_without_positions_is_found_out_before_anybody_is_cut() {
    let measured = measure_fake(&[Fault::AnswerNoPosition], &RETURNING);
    expect_returns(&measured, [0, 0, 0, 0, 0]);
    measured.expect_fault("3 of 4 clients did not get in: no answer to JOIN and POSITION within 2s (3)");
}

#[test]
fn the_time_to_come_back_counts_from_the_due_time() {
    const DELAY: Duration = Duration::from_millis(100);
    let measured = measure_fake(&[Fault::Delay(DELAY)], &RETURNING);
    expect_recovered(&measured, 3);
    let milliseconds = measured.number("/rooms/reconnects/times/p50");
    assert!(milliseconds >= DELAY.as_secs_f64() * 1e3, "{milliseconds}: {measured:?}");
}

#[test]
fn rooms_beside_are_not_cut_and_their_latencies_stand_apart() {
    let load = ["--clients", "16", "--rooms", "4", "--rate", "400", "--reconnect", "0.5", "--away", "100ms"];
    let measured = measure_fake(&[], &load);
    expect_recovered(&measured, 6);
    assert_eq!(measured.number("/generator/processes"), 2.0, "those that come back do not delay those beside");
    let number = |of: &str| measured.number(&format!("/rooms/reconnects/{of}"));
    assert_eq!(number("beside_before/count"), 50.0 * 4.0, "until the cut, two rooms of four members: {measured:?}");
    assert!(number("beside_during/count") <= 30.0 * 4.0, "only while clients come back: {measured:?}");
}

#[test]
fn members_of_every_room_are_cut_at_random_moments() {
    let cuts = ["--reconnect", "0.5@100ms", "--cut", "members", "--cut-over", "300ms", "--away", "50ms"];
    let measured = measure_fake(&[], &[&["--clients", "40", "--rooms", "2", "--rate", "200"], &cuts[..]].concat());
    let cut = measured.number("/rooms/reconnects/cut") as u64;
    assert!((2..=38).contains(&cut), "{measured:?}");
    expect_recovered(&measured, cut);
    measured.expect_all(20);
    assert!(measured.report["rooms"]["reconnects"]["beside_ratio"].is_null(), "no room is beside");
}

#[test]
fn clients_of_several_processes_are_cut() {
    let fake = Fake::start(&[]);
    let target = fake.target();
    let load = [&target, "--clients", "130", "--rooms", "1", "--rate", "40", "--reconnect", "1", "--away", "100ms"];
    // A process may have 60 connections, and the first member in each process is not cut.
    let measured = measure_with(&mut loadgen_within(160, &short(&load)));
    assert_eq!(measured.number("/generator/processes"), 3.0);
    expect_recovered(&measured, 127);
    measured.expect_all(130);
}

#[test]
fn a_load_that_is_interrupted_cuts_nobody_any_more_and_waits_for_those_that_are_away() {
    let fake = Fake::start(&[]);
    let cuts = ["--reconnect", "1@100ms", "--cut-over", "12m", "--away", "10ms", "--duration", "1h"];
    let target = fake.target();
    let load =
        [&[&target[..], "--clients", "100", "--rooms", "1", "--rate", "20", "--warmup", "0s"], &cuts[..]].concat();
    let running = Process::start_piped(&mut loadgen(&load));
    // The first client that is gone was cut.
    fake.wait_for(1, |seen| *seen == Seen::Gone);
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    for words in ["told of a gap, 0 deceived, 0 still away", "lost 0, duplicated 0, reordered 0, stray 0, damaged 0"] {
        assert!(ended.out.contains(words), "{words}: {ended:?}");
    }
}

#[test]
fn servers_without_the_text_dialect_are_refused_with_the_reason() {
    for target in ["nats://127.0.0.1:4222", "redis://127.0.0.1:6379", "echo://127.0.0.1:1"] {
        let ended = Process::run(&mut loadgen(&[target, "--reconnect", "0.5"]));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let rule = format!("{target} has no positions to resume from; tcp://, tls://, ws://,");
        assert!(ended.err.contains(&rule), "{ended:?}");
    }
}

/// Runs a load on this server over each transport, and over all of them at once.
fn on_each_transport(server: &Server, load: &[&str], check: impl Fn(&Measured) + Sync) {
    let (tcp, websocket) = (server.tcp(), server.websocket());
    let (json, protobuf) = (server.centrifuge(), server.centrifuge_protobuf());
    let mixed = [websocket, json, protobuf, "--mix", "tcp=3,ws=2,centrifuge+ws=3,centrifuge-protobuf+ws=2"];
    at_once([(tcp, &[][..]), (websocket, &[]), (json, &[]), (protobuf, &[]), (tcp, &mixed)], |(target, more)| {
        check(&measure(target, &[more, load, &["--duration", "1s"]].concat()));
    });
}

#[test]
fn roomcast_replays_what_was_missed() {
    let server = Server::roomcast();
    let load = ["--clients", "200", "--rooms", "4", "--rate", "80"];
    on_each_transport(&server, &[&load[..], &["--reconnect", "0.5", "--away", "200ms"]].concat(), |measured| {
        expect_recovered(measured, 98);
        measured.expect_all(50);
    });
    let spread = ["--reconnect", "0.3@100ms", "--cut", "members", "--cut-over", "600ms", "--away", "100ms"];
    on_each_transport(&server, &[&load[..], &spread].concat(), |measured| {
        expect_recovered(measured, measured.number("/rooms/reconnects/cut") as u64);
        measured.expect_all(50);
    });
}

#[test]
fn roomcast_tells_of_a_gap_when_too_much_was_missed() {
    // 400 messages are published meanwhile, and one is kept: a starved server may have read few of them when the
    // clients come back, and it is right to replay those if it has kept them.
    let server = Server::roomcast_with(&["--history-messages", "1"]);
    let load = ["--clients", "4", "--rooms", "1", "--rate", "1000", "--reconnect", "1", "--away", "400ms"];
    on_each_transport(&server, &load, |measured| {
        measured.expect_clean();
        expect_returns(measured, [3, 0, 3, 0, 0]);
    });
}
