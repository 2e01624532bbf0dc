//! A node is killed, stopped, restarted or cut off from NATS under load. What its members miss meanwhile they hear
//! elsewhere, or later.

use std::thread;
use std::time::Duration;

use harness::{Centrifuge, Client, Disconnect, Forwarder, NatsServer, Signal, Transport, at_once, metrics, until};

use crate::load::{Load, Summary};
use crate::nodes::Nodes;

/// Texts that each member hears, and each publisher has acknowledged, before and after a fault.
const TEXTS: usize = 20;

#[track_caller]
fn survive(nodes: &mut Nodes, fault: impl FnOnce(&mut Nodes, &Load)) -> Summary {
    let load = Load::start(nodes);
    load.until_all_go_on(TEXTS);
    fault(nodes, &load);
    load.until_all_go_on(TEXTS);
    load.end()
}

#[test]
fn members_of_a_node_that_is_killed_resume_on_another_and_miss_nothing() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Nodes::start(&nats, 3);
    let summary = survive(&mut nodes, |nodes, load| {
        nodes.nodes[1].signal_until_end(Signal::KILL);
        load.until_all_go_on(TEXTS);
        nodes.restart(1);
    });
    assert!(summary.recovered > 0 && summary.gaps == 0, "{summary:?}");
}

#[test]
#[ignore = "slow: three nodes are restarted one after the other"]
fn members_miss_nothing_while_all_nodes_are_restarted_one_after_the_other() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Nodes::start(&nats, 3);
    let summary = survive(&mut nodes, |nodes, load| {
        for node in 0..3 {
            nodes.nodes[node].signal(Signal::TERM);
            until(|| nodes.nodes[node].has_ended());
            load.until_all_go_on(TEXTS);
            nodes.restart(node);
        }
    });
    assert!(summary.recovered > 0 && summary.gaps == 0, "{summary:?}");
}

#[test]
fn members_that_a_node_ends_one_after_another_go_on_elsewhere_and_miss_nothing() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Nodes::start_with(&nats.url(), 2, &["--drain-spread=2s"]);
    let summary = survive(&mut nodes, |nodes, load| {
        nodes.nodes[1].signal(Signal::TERM);
        until(|| nodes.nodes[1].has_ended());
        load.until_all_go_on(TEXTS);
        nodes.restart(1);
    });
    assert!(summary.recovered > 0 && summary.gaps == 0, "{summary:?}");
}

#[test]
#[ignore = "slow: a node stands still for 20 seconds"]
fn members_of_a_node_that_has_stood_still_miss_nothing() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Nodes::start(&nats, 2);
    let summary = survive(&mut nodes, |nodes, _| {
        nodes.nodes[1].while_stopped(|| thread::sleep(Duration::from_secs(20)));
    });
    assert_eq!(summary.gaps, 0, "{summary:?}");
}

#[test]
#[ignore = "slow: says more than the stream keeps"]
fn members_of_a_node_that_has_missed_more_than_the_stream_keeps_come_back_with_a_gap() {
    let Some(nats) = NatsServer::start() else { return };
    let settings = ["--cluster-stream-bytes=16MiB", "--ping-interval=1h", "--pong-timeout=2h"];
    let forwarder = Forwarder::start(nats.address);
    // The first node has one worker, which ends all its clients at one moment: where there are two, a client that is
    // back at once may meet the other before that.
    let mut nodes = Nodes::start_with(&format!("nats://{}", forwarder.address), 1, &settings);
    nodes.add_at(&nats.url());
    let mut text = Client::member(&nodes.nodes[0], Transport::Tcp, "a", "text");
    let mut sdk = Centrifuge::member(nodes.nodes[0].http, "a");
    let position = text.request("POSITION").strip_prefix("Position ").expect("a position").to_owned();
    let mut backend = nodes.backend(1);
    let long = "x".repeat(60_000);
    forwarder.close();
    until(|| metrics(nodes.nodes[0].http)["roomcast_backplane_connected"] == 0.0);
    (0..400).for_each(|_| drop(backend.publish("a", &long)));
    forwarder.open();
    let (_, (code, reason)) = sdk.until_closed();
    assert_eq!((code, reason.as_str()), (3010, "insufficient state"));
    assert_eq!(text.lines_until_closed(Disconnect::InsufficientState).len(), 0);
    let mut text = Client::connect(&nodes.nodes[0], Transport::Tcp);
    text.send(&format!("JOIN a since={position}"));
    text.expect("Joined a");
    text.expect("GAP unknown");
    backend.publish("a", "on");
    // What the stream still has comes first.
    until(|| text.line() == "[backend] on");
}

/// How a node is cut off from NATS.
#[derive(Clone, Copy, Debug)]
enum Partition {
    /// Packets are lost.
    Frozen,
    /// Connections are refused.
    Closed,
}

#[test]
#[ignore = "slow: a node is cut off for seconds"]
fn members_of_a_node_that_was_cut_off_from_nats_miss_nothing() {
    at_once([Partition::Frozen, Partition::Closed], |partition| {
        let Some(nats) = NatsServer::start() else { return };
        let mut nodes = Nodes::start(&nats, 1);
        let forwarder = Forwarder::start(nats.address);
        nodes.add_at(&format!("nats://{}", forwarder.address));
        let summary = survive(&mut nodes, |_, load| {
            match partition {
                Partition::Frozen => forwarder.freeze(),
                Partition::Closed => forwarder.close(),
            }
            load.until_refused();
            forwarder.open();
        });
        assert!(summary.refused > 0, "{summary:?}");
        assert_eq!(summary.gaps, 0, "{summary:?}");
    });
}
