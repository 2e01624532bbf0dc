//! Loads over several nodes that have the same rooms: one checker compares what the members on all of them receive, and
//! clients that a node disconnects come back at another one and miss nothing.

use harness::at_once;

use crate::fake::{At, Fake, Fault, Wire};
use crate::load::{Measured, measure};
use crate::servers::Server;

/// One room of four over two nodes. Its first member publishes 50 messages.
const ONE_ROOM: [&str; 8] = ["--clients", "4", "--rooms", "1", "--rate", "100", "--publishers", "first"];

/// Twelve rooms of six, in which any member publishes.
const ROOMS: [&str; 6] = ["--clients", "72", "--rooms", "12", "--rate", "240"];

/// Gives up soon when something never comes.
const IMPATIENT: [&str; 2] = ["--patience", "2s"];

/// A delivery in the middle, to the member that came last and does not set the pace.
const HERE: At = At { client: 3, delivery: 4 };

/// Measures nodes with these faults.
#[track_caller]
fn measure_nodes(count: usize, wire: Wire, script: &[Fault], arguments: &[&[&str]]) -> Measured {
    let nodes = Fake::start_nodes(count, wire, script);
    let targets = format!("--targets={}", nodes.targets().join(","));
    measure(&targets, &arguments.concat())
}

/// Numbers of clients that were disconnected, came back to another node, have what they missed, and are still away.
#[track_caller]
fn expect_moved(measured: &Measured, counts: [u64; 4]) {
    let number = |of| measured.number(&format!("/rooms/reconnects/{of}")) as u64;
    assert_eq!(["disconnected", "moved", "recovered", "away"].map(number), counts, "{measured:?}");
}

#[test]
fn each_fault_over_two_nodes_is_counted_and_no_other() {
    let cases = [(Fault::Lose(HERE), "lost"), (Fault::Double(HERE), "duplicated")];
    at_once(cases, |(fault, counted)| {
        measure_nodes(2, Wire::Lines, &[fault], &[&ONE_ROOM, &IMPATIENT]).expect_only(counted, 1);
        measure_nodes(2, Wire::Lines, &[fault], &[&ONE_ROOM, &IMPATIENT, &["--failover"]]).expect_only(counted, 1);
    });
    let closed = ["--clients", "4", "--rooms", "1", "--in-flight", "1"];
    let swapped = [Fault::Swap(HERE), Fault::Delay(std::time::Duration::from_millis(20))];
    measure_nodes(2, Wire::Lines, &swapped, &[&closed]).expect_only("reordered", 1);
}

#[test]
fn clients_that_a_node_disconnects_come_back_at_another_one_and_miss_nothing() {
    at_once([Wire::Lines, Wire::Centrifuge], |wire| {
        let measured = measure_nodes(3, wire, &[Fault::StopNode(20)], &[&ROOMS, &["--failover"]]);
        measured.expect_clean();
        measured.expect_all(6);
        expect_moved(&measured, [24, 24, 24, 0]);
        assert_eq!(measured.number("/rooms/reconnects/times/count"), 24.0, "{measured:?}");
        let reasons = measured.report["rooms"]["reconnects"]["reasons"].as_object().expect("reasons");
        assert!(reasons.keys().all(|reason| reason.contains("shutdown")), "{measured:?}");
    });
}

#[test]
fn clients_come_back_as_often_as_they_are_disconnected() {
    let stops = [20, 50, 80].map(Fault::StopNode);
    let measured = measure_nodes(3, Wire::Lines, &stops, &[&ROOMS, &["--failover"]]);
    measured.expect_clean();
    measured.expect_all(6);
    let disconnected = measured.number("/rooms/reconnects/disconnected") as u64;
    assert!(disconnected > 24, "{measured:?}");
    expect_moved(&measured, [disconnected, disconnected, disconnected, 0]);
}

#[test]
fn without_failover_a_disconnect_is_a_fault() {
    let measured = measure_nodes(2, Wire::Lines, &[Fault::StopNode(20)], &[&ONE_ROOM, &IMPATIENT]);
    measured.expect_code(1);
    assert_eq!(measured.number("/rooms/disconnected/shutdown"), 2.0, "{measured:?}");
}

#[test]
fn each_fault_of_a_replay_on_another_node_is_counted_and_no_other() {
    let lost = (Fault::LoseTheLastOfTheFirstReplay, "lost", "untold");
    let doubled = (Fault::DoubleTheLastOfTheFirstReplay, "duplicated", "doubled");
    at_once([lost, doubled], |(fault, counted, of_return)| {
        // The member that is disconnected misses the very message with which that happens.
        let script = [fault, Fault::CloseAReader(7)];
        let measured = measure_nodes(2, Wire::Lines, &script, &[&ONE_ROOM, &IMPATIENT, &["--failover"]]);
        measured.expect_only(counted, 1);
        assert_eq!(measured.number(&format!("/rooms/reconnects/{of_return}")), 1.0, "{measured:?}");
    });
}

#[test]
fn a_message_that_the_server_refuses_for_now_is_not_lost() {
    let measured = measure_nodes(2, Wire::Lines, &[Fault::RefuseMessage(7)], &[&ONE_ROOM]);
    measured.expect_clean();
    assert_eq!(measured.number("/rooms/tally/unavailable"), 1.0, "{measured:?}");
    assert_eq!(measured.number("/rooms/expected"), 49.0 * 4.0, "{measured:?}");
    assert!(measured.ended.out.contains("1 refused as unavailable"), "{measured:?}");
}

#[test]
fn a_message_on_its_way_to_a_node_that_ends_is_not_accepted_and_not_lost() {
    let swallowed = [Fault::SwallowMessageAndClose(7)];
    let measured = measure_nodes(2, Wire::Lines, &swallowed, &[&ONE_ROOM, &["--failover"]]);
    measured.expect_clean();
    expect_moved(&measured, [1, 1, 1, 0]);
    // A generator that is late sends those behind it as well before it sees the end.
    let unaccepted = measured.number("/rooms/tally/unaccepted");
    assert!(unaccepted >= 1.0, "{measured:?}");
    assert_eq!(measured.number("/rooms/expected"), (50.0 - unaccepted) * 4.0, "{measured:?}");
}

#[test]
fn a_client_that_nobody_takes_back_is_a_fault() {
    let script = [Fault::CloseAReader(7), Fault::RefuseAllToResume];
    let measured = measure_nodes(2, Wire::Lines, &script, &[&ONE_ROOM, &IMPATIENT, &["--failover"]]);
    measured.expect_fault("1 of 1 clients did not come back: closed without a word (1)");
    expect_moved(&measured, [1, 0, 0, 1]);
}

#[test]
fn a_client_that_one_node_does_not_take_back_tries_the_next() {
    let script = [Fault::CloseAReader(7), Fault::RefuseTheFirstToResume];
    let measured = measure_nodes(3, Wire::Lines, &script, &[&ONE_ROOM, &["--failover"]]);
    measured.expect_clean();
    measured.expect_all(4);
    expect_moved(&measured, [1, 1, 1, 0]);
}

#[test]
fn clients_that_are_cut_come_back_at_another_node() {
    let cuts = ["--reconnect", "1@200ms", "--away", "100ms", "--failover"];
    let measured = measure_nodes(2, Wire::Lines, &[], &[&ROOMS, &cuts]);
    measured.expect_clean();
    measured.expect_all(6);
    let number = |of: &str| measured.number(&format!("/rooms/reconnects/{of}"));
    assert_eq!(["cut", "moved", "recovered"].map(number), [60.0; 3], "{measured:?}");
}

#[test]
fn clients_change_their_transport_if_no_other_target_has_the_same() {
    let server = Server::roomcast();
    let targets = format!("--targets={},{}", server.tcp(), server.websocket());
    let cuts = ["--reconnect", "1@200ms", "--away", "100ms", "--failover"];
    let measured = measure(&targets, &[&ROOMS[..], &cuts].concat());
    measured.expect_clean();
    measured.expect_all(6);
    let number = |of: &str| measured.number(&format!("/rooms/reconnects/{of}"));
    assert_eq!(["cut", "moved", "recovered"].map(number), [60.0; 3], "{measured:?}");
}
