//! Readers of rooms over plain HTTP, and publishers by the server API: each fault that a server can have is counted as
//! over the text protocol, and the answers to publishes are measured.

use harness::{Program, at_once};

use crate::fake::{At, Fake, Fault, Seen, Wire};
use crate::load::{Measured, RETURNING, measure};
use crate::servers::Server;

/// One room of four, to which another connection publishes ten messages.
const ONE_ROOM: [&str; 6] = ["--clients", "4", "--rooms", "1", "--rate", "20"];

/// Gives up soon when something never comes.
const IMPATIENT: [&str; 2] = ["--patience", "2s"];

/// A delivery in the middle, to a reader: the publisher connects last.
const HERE: At = At { client: 2, delivery: 4 };

const KEY: &str = "rck_secret";

/// Measures readers of a server, to which publishers by the server API publish.
#[track_caller]
fn measure_on(fake: &Fake, arguments: &[&str]) -> Measured {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, KEY).expect("a folder");
    let (over, key) = (format!("api://{}", fake.address()), path.to_str().expect("a path in Unicode"));
    measure(&fake.target(), &[arguments, &IMPATIENT, &["--publish-over", &over, "--api-key-file", key]].concat())
}

#[track_caller]
fn measure_with(script: &[Fault], arguments: &[&str]) -> Measured {
    measure_on(&Fake::start_speaking(Wire::Http, script), arguments)
}

/// Numbers of readers that were cut, have what they missed, were told of a gap, were deceived, and are still away.
#[track_caller]
fn expect_returns(measured: &Measured, counts: [u64; 5]) {
    let number = |of| measured.number(&format!("/rooms/reconnects/{of}")) as u64;
    assert_eq!(["cut", "recovered", "told", "deceived", "away"].map(number), counts, "{measured:?}");
}

#[test]
fn readers_get_what_others_publish_and_each_answer_is_measured() {
    let fake = Fake::start_speaking(Wire::Http, &[]);
    let measured = measure_on(&fake, &["--clients", "6", "--rooms", "2", "--rate", "20"]);
    measured.expect_clean();
    measured.expect_all(3);
    assert_eq!(measured.number("/connects/connected"), 8.0, "each room has a publisher that is no member");
    assert_eq!(measured.number("/rooms/answers/count"), 10.0, "{measured:?}");
    assert!(fake.wait_for(10, |seen| matches!(seen, Seen::Presented(_))).contains(&Seen::Presented(KEY.to_owned())));
    assert!(!measured.report.to_string().contains(KEY), "a report has no keys: {measured:?}");
}

#[test]
fn publishes_are_pipelined_to_the_depth_of_a_closed_load() {
    let measured = measure_with(&[], &["--clients", "2", "--rooms", "2", "--in-flight", "8"]);
    measured.expect_clean();
    measured.expect_all(1);
    assert_eq!(measured.number("/rooms/answers/count"), measured.number("/rooms/tally/published"), "{measured:?}");
}

#[test]
fn each_fault_is_counted_and_no_other() {
    let cases = [(Fault::Lose(HERE), "lost"), (Fault::Double(HERE), "duplicated"), (Fault::Cut(HERE), "damaged")];
    at_once(cases, |(fault, counted)| measure_with(&[fault], &ONE_ROOM).expect_only(counted, 1));
}

#[test]
fn readers_that_are_cut_recover_what_they_have_missed_exactly_once() {
    let measured = measure_with(&[], &RETURNING);
    measured.expect_clean();
    measured.expect_all(4);
    expect_returns(&measured, [3, 3, 0, 0, 0]);
    assert!(measured.number("/rooms/reconnects/replayed") > 0.0, "{measured:?}");
}

#[test]
fn each_fault_of_a_recovery_is_counted_and_no_other() {
    let lost = (Fault::LoseTheLastOfTheFirstReplay, "lost", "untold", [3, 2, 0, 1, 0]);
    let doubled = (Fault::DoubleTheLastOfTheFirstReplay, "duplicated", "doubled", [3, 3, 0, 0, 0]);
    at_once([lost, doubled], |(fault, counted, of_returns, returns)| {
        let measured = measure_with(&[fault], &RETURNING);
        measured.expect_only(counted, 1);
        assert_eq!(measured.number(&format!("/rooms/reconnects/{of_returns}")), 1.0, "{measured:?}");
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
fn a_publish_that_is_refused_is_a_fault_with_its_reason() {
    let measured = measure_with(&[Fault::RefuseTokens], &ONE_ROOM);
    let refused = measured.report.pointer("/rooms/refused/HTTP~11.1 401 Unauthorized");
    assert_eq!(refused, Some(&10.into()), "{measured:?}");
    measured.expect_code(1);
}

#[test]
fn roomcast_sends_readers_everything_and_replays_what_they_missed() {
    let server = Server::roomcast();
    let load = ["--clients", "200", "--rooms", "4", "--rate", "80", "--duration", "1s"];
    let mixed = ["--mix", "sse=1,centrifuge+ws=1", server.centrifuge()];
    let cases = [(&[][..], 0.0), (&["--reconnect", "0.5", "--away", "200ms"], 98.0), (&mixed, 0.0)];
    at_once(cases, |(more, cut)| {
        let measured = measure(server.readers(), &[&load, more].concat());
        measured.expect_clean();
        measured.expect_all(51);
        if cut > 0.0 {
            assert_eq!(measured.number("/rooms/reconnects/recovered"), cut, "{measured:?}");
        }
    });
}

#[test]
fn roomcast_publishes_what_comes_by_its_api() {
    let key = Program::run(&["gen-key", "application"]).out;
    let line = |begins: &str| key.lines().find(|line| line.starts_with(begins)).expect("a key and its line");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a folder");
        path.to_str().expect("a path in Unicode").to_owned()
    };
    let (key, keys) = (file("key", line("rck_")), file("keys", line("application")));
    let server = Server::roomcast_with(&["--api-keys-file", &keys]);
    let targets = [server.tcp(), server.websocket(), server.centrifuge(), server.readers()];
    at_once(targets, |target| {
        for pace in ["--rate", "--in-flight"] {
            let load = ["--clients", "8", "--rooms", "4", pace, "40", "--api-key-file", &key];
            let measured = measure(target, &[&load[..], &["--publish-over", server.api()]].concat());
            measured.expect_clean();
            measured.expect_all(2);
            assert!(measured.number("/rooms/answers/count") > 0.0, "{measured:?}");
        }
    });
}
