//! Servers that end the connections of their clients: these wait as long as they are told, come back to the server that has
//! taken the place of the old one, and try again where nobody listens.

use harness::at_once;
use serde_json::json;

use crate::fake::{Fake, Fault, Wire};
use crate::load::{Measured, Running, loadgen, measure, short};
use crate::servers::{Server, free_port};

/// Twelve rooms of six, in which any member publishes.
const ROOMS: [&str; 6] = ["--clients", "72", "--rooms", "12", "--rate", "240"];

/// Numbers of clients that were disconnected, have what they missed, were told of a gap, and are still away.
#[track_caller]
fn expect_back(measured: &Measured, counts: [u64; 4]) {
    let number = |of| measured.number(&format!("/rooms/reconnects/{of}")) as u64;
    assert_eq!(["disconnected", "recovered", "told", "away"].map(number), counts, "{measured:?}");
}

#[track_caller]
fn comebacks(measured: &Measured, of: &str) -> f64 {
    measured.number(&format!("/rooms/reconnects/comebacks/{of}"))
}

/// The load on a server, of which every transport has clients.
fn load_on(server: &Server, arguments: &[&str]) -> Running {
    let mix = ["--mix", "tcp=3,ws=2,centrifuge+ws=3,centrifuge-protobuf+ws=2"];
    let targets = [server.tcp(), server.websocket(), server.centrifuge(), server.centrifuge_protobuf()];
    Running::start(&mut loadgen(&[&targets[..], &mix, &ROOMS, &short(arguments)[..]].concat()))
}

#[test]
fn clients_wait_as_long_as_the_server_tells_them() {
    at_once([Wire::Lines, Wire::Centrifuge], |wire| {
        let fake = Fake::start_speaking(wire, &[Fault::StopNode(20), Fault::Hint(1)]);
        let measured = measure(&fake.target(), &[&ROOMS[..], &["--failover=same", "--duration", "2s"]].concat());
        measured.expect_clean();
        measured.expect_all(6);
        expect_back(&measured, [72, 72, 0, 0]);
        assert_eq!(comebacks(&measured, "hinted"), 72.0, "{measured:?}");
        assert_eq!(measured.report["rooms"]["reconnects"]["comebacks"]["hint_seconds"], json!([1.0, 1.0]));
        assert!(comebacks(&measured, "outage_seconds") >= 1.0, "{measured:?}");
        assert_eq!(measured.number("/rooms/reconnects/connects/count"), 72.0, "{measured:?}");
        assert!(measured.ended.out.contains("72 told to wait 1 s"), "{measured:?}");
    });
}

#[test]
fn clients_of_a_node_wait_before_they_come_back_at_another_one() {
    let nodes = Fake::start_nodes(3, Wire::Lines, &[Fault::StopNode(20), Fault::Hint(1)]);
    let targets = format!("--targets={}", nodes.targets().join(","));
    let measured = measure(&targets, &[&ROOMS[..], &["--failover", "--duration", "2s"]].concat());
    measured.expect_clean();
    measured.expect_all(6);
    expect_back(&measured, [24, 24, 0, 0]);
    assert_eq!(measured.number("/rooms/reconnects/moved"), 24.0, "{measured:?}");
    assert!(comebacks(&measured, "outage_seconds") >= 1.0, "{measured:?}");
}

#[test]
fn the_wait_behind_the_end_of_the_load_is_no_lack_of_progress() {
    // The clients are told to wait for longer than the patience.
    let fake = Fake::start(&[Fault::StopNode(20), Fault::Hint(4)]);
    let measured = measure(&fake.target(), &[&ROOMS[..], &["--patience", "3s", "--failover=same"]].concat());
    measured.expect_clean();
    expect_back(&measured, [72, 72, 0, 0]);
}

#[test]
fn a_restart_in_place_is_told_as_a_gap_and_loses_nothing() {
    at_once([("0s", 1.0), ("1s", 2.0)], |(spread, hint)| {
        let ports = [free_port(), free_port()];
        let server = Server::roomcast_on(ports, &["--drain-spread", spread]);
        let running = load_on(&server, &["--failover=same", "--duration", "8s"]);
        server.wait_for_deliveries(100.0);
        server.stop();
        let _second = Server::roomcast_on(ports, &[]);
        let measured = running.end();
        measured.expect_clean();
        expect_back(&measured, [72, 0, 72, 0]);
        let told = &measured.report["rooms"]["reconnects"]["comebacks"];
        // A client whose handshake the stopping server refuses is told again.
        assert!(comebacks(&measured, "hinted") >= 72.0, "{measured:?}");
        assert_eq!(told["hint_seconds"], json!([hint, hint]), "{measured:?}");
        assert!(comebacks(&measured, "outage_seconds") >= hint, "{measured:?}");
        for times in ["times", "connects"] {
            assert_eq!(measured.number(&format!("/rooms/reconnects/{times}/count")), 72.0, "{times}: {measured:?}");
        }
        let timeline = told["timeline"].as_array().expect("a list");
        let sum = |of: &str| timeline.iter().filter_map(|sample| sample[of].as_f64()).sum::<f64>() / 10.0;
        assert_eq!([sum("ended").round(), sum("back").round()], [72.0, 72.0], "{measured:?}");
    });
}

#[test]
fn a_server_that_nobody_replaces_is_tried_again_and_again() {
    let server = Server::roomcast_on([free_port(), free_port()], &[]);
    // The load is far from over when the server has been stopped.
    let running = load_on(&server, &["--patience", "2s", "--failover=same", "--duration", "8s"]);
    server.wait_for_deliveries(100.0);
    server.stop();
    let measured = running.end();
    measured.expect_code(1);
    expect_back(&measured, [72, 0, 0, 72]);
    let refused = "Connection refused (os error 111)";
    assert_eq!(measured.number(&format!("/rooms/reconnects/failed/{refused}")), 72.0, "{measured:?}");
    assert!(comebacks(&measured, &format!("failed_attempts/{refused}")) >= 72.0, "{measured:?}");
    assert!(measured.report["rooms"]["reconnects"]["comebacks"]["outage_seconds"].is_null(), "{measured:?}");
}
