//! Roomcast under every kind of load, on each transport and in each protocol, and on all of them at once: nothing is
//! lost, duplicated or out of order.

use harness::{Process, Turn, at_once};

use crate::fake::{At, Fake, Fault};
use crate::load::{Measured, loadgen, loadgen_within, measure, measure_with, short};
use crate::servers::{Server, free_port, roomcast_at};

const CLIENTS: [&str; 4] = ["--clients", "200", "--rooms", "4"];

/// With these descriptors a process may have 60 connections.
const DESCRIPTORS: u64 = 160;

/// Puts one load on each transport, and on all of them at once, and checks each report.
fn on_each_transport(arguments: &[&str], check: impl Fn(&Measured) + Sync) {
    let server = Server::roomcast();
    let (tcp, websocket) = (server.tcp(), server.websocket());
    let (json, protobuf) = (server.centrifuge(), server.centrifuge_protobuf());
    let mixed = [websocket, json, protobuf, "--mix", "tcp=3,ws=2,centrifuge+ws=3,centrifuge-protobuf+ws=2"];
    at_once([(tcp, &[][..]), (websocket, &[]), (json, &[]), (protobuf, &[]), (tcp, &mixed)], |(target, more)| {
        let measured = measure(target, &[&CLIENTS, more, arguments].concat());
        measured.expect_clean();
        check(&measured);
    });
}

#[test]
fn every_member_gets_every_message() {
    on_each_transport(&["--rate", "40"], |measured| {
        measured.expect_all(50);
        assert_eq!(measured.number("/rooms/tally/published"), 20.0);
        assert!(measured.number("/server/nanos_per_delivery") > 0.0, "{measured:?}");
        assert!(measured.number("/server/bytes_per_client") > 0.0, "{measured:?}");
    });
}

#[test]
fn every_member_gets_every_message_at_the_highest_rate() {
    on_each_transport(&["--in-flight", "8"], |measured| {
        measured.expect_all(50);
        assert!(measured.report["rooms"]["offered"].is_null(), "{measured:?}");
    });
}

#[test]
fn the_first_member_publishes_everything() {
    on_each_transport(&["--publishers", "first", "--rate", "40"], |measured| measured.expect_all(50));
}

#[test]
fn one_more_connection_publishes_everything() {
    on_each_transport(&["--publishers", "apart", "--rate", "40"], |measured| {
        measured.expect_all(51);
        assert_eq!(measured.number("/connects/connected"), 204.0, "a publisher must be a member");
    });
}

#[test]
fn members_come_and_go() {
    on_each_transport(&["--churn", "200", "--rate", "40"], |measured| {
        assert!(measured.number("/rooms/tally/churned") > 2.0, "{measured:?}");
    });
}

#[test]
fn members_stop_reading() {
    on_each_transport(&["--slow", "0.2", "--rate", "40"], |measured| {
        assert!(measured.number("/rooms/tally/stalled") > 0.0, "{measured:?}");
    });
}

#[test]
fn a_giant_room_is_reported_apart() {
    on_each_transport(&["--giant", "300@4"], |measured| {
        measured.expect_all(50);
        assert_eq!(measured.number("/giant/members"), 300.0);
        assert_eq!(measured.number("/giant/tally/published"), 2.0);
        assert_eq!(measured.number("/giant/tally/received"), 600.0);
        assert_eq!(measured.number("/giant/tally/lost"), 0.0);
        assert_eq!(measured.number("/generator/processes"), 2.0);
    });
}

#[test]
fn a_room_may_lie_in_several_processes() {
    let server = Server::roomcast();
    at_once([server.tcp(), server.websocket()], |target| {
        let load = [&[target, "--clients", "200", "--rooms", "1", "--rate", "20"], &short(&[])[..]].concat();
        let measured = measure_with(&mut loadgen_within(DESCRIPTORS, &load));
        measured.expect_clean();
        measured.expect_all(200);
        assert_eq!(measured.number("/generator/processes"), 4.0);
        assert_eq!(measured.number("/rooms/spread/count"), 10.0, "each message once, over all processes");
    });
}

#[test]
fn what_is_lost_in_one_of_several_processes_is_counted_once() {
    let fake = Fake::start(&[Fault::Lose(At { client: 100, delivery: 4 })]);
    let target = fake.target();
    let load = [&target, "--clients", "130", "--rooms", "1", "--rate", "20", "--patience", "2s"];
    let measured = measure_with(&mut loadgen_within(DESCRIPTORS, &short(&load)));
    assert_eq!(measured.number("/generator/processes"), 3.0);
    measured.expect_only("lost", 1);
}

#[test]
fn each_process_has_an_address_of_its_own() {
    let fake = Fake::start(&[]);
    let target = fake.target();
    let load = [&[&target[..], "--clients", "130", "--rooms", "1", "--rate", "20"], &short(&[])[..]].concat();
    let measured = measure_with(&mut loadgen_within(DESCRIPTORS, &load));
    measured.expect_all(130);
    let mut addresses: Vec<String> = fake.wait_for_joins(130).iter().map(|join| join.ip().to_string()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
}

#[test]
fn a_second_load_measures_memory_against_what_was_before_the_first() {
    let server = Server::roomcast();
    let load = ["--clients", "300", "--rooms", "3", "--rate", "30"];
    let (first, second) = (measure(server.tcp(), &load), measure(server.tcp(), &load));
    assert_eq!(
        (&first.report["server"]["is_fresh"], &second.report["server"]["is_fresh"]),
        (&true.into(), &false.into())
    );
    assert_eq!(first.number("/server/bytes_before"), second.number("/server/bytes_before"));
    assert!(second.number("/server/bytes_per_client") > 0.5 * first.number("/server/bytes_per_client"), "{second:?}");
    assert!(second.ended.out.contains("not fresh") && !first.ended.out.contains("not fresh"), "{second:?}");
}

#[test]
fn the_other_port_is_named() {
    let server = Server::roomcast();
    let http = server.websocket().replace("ws://", "tcp://").replace("/ws", "");
    let lines = server.tcp().replace("tcp://", "ws://");
    for (target, question) in [(http, "is this the HTTP port?"), (lines, "is this the port for lines?")] {
        let ended = Process::run(&mut loadgen(&[&target, "--clients", "2"]));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(question), "{ended:?}");
    }
}

#[test]
fn a_search_ends_where_the_server_is_full_and_says_so() {
    // Not beside a load of real-time priority, which keeps a server and its clients from running.
    let _turn = Turn::take();
    let address = format!("127.0.0.1:{}", free_port());
    let command = roomcast_at(&address, "127.0.0.1:0") + " --max-clients 25";
    let target = format!("tcp://{address}");
    let search = ["find-capacity", &target, "--slo", "p50=1h", "--from", "10", "--spawn", &command, "--rate", "20"];
    let ended = Process::run(&mut loadgen(&[&search, &short(&[])[..]].concat()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let rows = ended.out.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    assert_eq!(rows.collect::<Vec<_>>(), [10, 20, 40, 25], "{ended:?}");
    assert!(ended.out.contains("no knee: 25 clients are carried, and the server is full at 25 clients"), "{ended:?}");
}

#[test]
fn the_server_is_started_and_stopped() {
    let address = format!("127.0.0.1:{}", free_port());
    let command = roomcast_at(&address, "127.0.0.1:0");
    let measured = measure(&format!("tcp://{address}"), &["--clients", "50", "--rate", "20", "--spawn", &command]);
    measured.expect_clean();
    measured.expect_all(50);
    assert!(measured.ended.err.contains("stopped"), "{measured:?}");
}
