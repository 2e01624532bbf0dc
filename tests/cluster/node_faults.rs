//! A node is killed, stopped, restarted or cut off from NATS under load. What its members miss meanwhile they hear
//! elsewhere, or later.

use std::thread;
use std::time::Duration;

use harness::{Forwarder, NatsServer, Signal, at_once, until};

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
#[ignore = "slow: a node stands still for 20 seconds"]
fn members_of_a_node_that_has_stood_still_miss_nothing() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Nodes::start(&nats, 2);
    let summary = survive(&mut nodes, |nodes, _| {
        nodes.nodes[1].while_stopped(|| thread::sleep(Duration::from_secs(20)));
    });
    assert_eq!(summary.gaps, 0, "{summary:?}");
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
