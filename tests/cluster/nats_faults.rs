//! NATS is killed, stopped, full, or loses its stream, while members of all kinds on all nodes hear publishers of all kinds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use harness::{Client, Http, NatsCluster, NatsOptions, NatsServer, Transport, at_once, metrics, until};
use serde_json::{Value, json};

use crate::load::{Load, Summary};
use crate::nodes::Nodes;

/// The stream of a cluster with the default name.
const STREAM: &str = "roomcast";

/// Texts that each member hears, and each publisher has acknowledged, before and after a fault.
const TEXTS: usize = 20;

/// Runs a fault under load on two nodes. All go on when it is over.
#[track_caller]
fn survive(nodes: &Nodes, fault: impl FnOnce(&Load)) -> Summary {
    let load = Load::start(nodes);
    load.until_all_go_on(TEXTS);
    fault(&load);
    load.until_all_go_on(TEXTS);
    load.end()
}

/// Nobody was cut, and nobody has missed anything.
#[track_caller]
fn expect_nobody_cut(summary: Summary) {
    assert_eq!((summary.recovered, summary.gaps), (0, 0), "{summary:?}");
}

#[test]
#[ignore = "slow: NATS is away for seconds"]
fn what_was_acknowledged_is_there_after_nats_was_killed() {
    let Some(mut nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let summary = survive(&nodes, |load| {
        nats.kill();
        load.until_refused();
        nats.restart();
    });
    expect_nobody_cut(summary);
    assert!(summary.refused > 0, "{summary:?}");
}

#[test]
#[ignore = "slow: NATS stands still for up to 30 seconds"]
fn what_was_acknowledged_is_there_after_nats_has_stood_still() {
    at_once([2, 30], |seconds| {
        let Some(nats) = NatsServer::start() else { return };
        let nodes = Nodes::start(&nats, 2);
        let summary = survive(&nodes, |_| {
            nats.stop();
            thread::sleep(Duration::from_secs(seconds));
            nats.go_on();
        });
        expect_nobody_cut(summary);
    });
}

#[test]
#[ignore = "slow: a leader is chosen"]
fn what_was_acknowledged_is_there_after_the_leader_of_the_stream_was_killed() {
    let Some(mut nats) = NatsCluster::start() else { return };
    let nodes = Nodes::start_with(&nats.url(), 2, &[]);
    let info = nats.servers[0].client().stream(STREAM).expect("a stream");
    assert_eq!(info["config"]["num_replicas"], 3);
    let summary = survive(&nodes, |load| {
        for _ in 0..2 {
            let leader = nats.leader(STREAM);
            nats.servers[leader].kill();
            load.until_all_go_on(TEXTS);
            nats.servers[leader].restart();
            nats.until_replicated(STREAM);
        }
    });
    expect_nobody_cut(summary);
}

#[test]
#[ignore = "slow: a leader stands still for seconds"]
fn late_copies_of_a_leader_that_has_stood_still_are_passed_over() {
    let Some(nats) = NatsCluster::start() else { return };
    let nodes = Nodes::start_with(&nats.url(), 2, &[]);
    let summary = survive(&nodes, |load| {
        let leader = nats.leader(STREAM);
        nats.servers[leader].stop();
        load.until_all_go_on(TEXTS);
        nats.servers[leader].go_on();
        nats.until_replicated(STREAM);
    });
    expect_nobody_cut(summary);
}

#[test]
#[ignore = "slow: servers are restarted one by one"]
fn nodes_go_on_while_each_server_of_nats_is_killed_in_turn() {
    let Some(mut nats) = NatsCluster::start() else { return };
    let nodes = Nodes::start_with(&nats.url(), 2, &[]);
    let summary = survive(&nodes, |load| {
        for server in 0..3 {
            nats.servers[server].kill();
            load.until_all_go_on(TEXTS);
            nats.servers[server].restart();
            nats.until_replicated(STREAM);
        }
    });
    expect_nobody_cut(summary);
}

#[test]
#[ignore = "slow: members come back after a pause"]
fn members_come_back_with_a_gap_after_the_stream_was_deleted() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let summary = survive(&nodes, |_| {
        let deleted = nats.client().request(&format!("$JS.API.STREAM.DELETE.{STREAM}"), "");
        assert_eq!(deleted.expect("an answer")["success"], true);
    });
    assert!(summary.gaps > 0, "{summary:?}");
}

#[test]
#[ignore = "slow: NATS is away for seconds"]
fn members_come_back_with_a_gap_after_nats_has_lost_its_store() {
    let store = tempfile::tempdir().expect("a folder");
    let options = NatsOptions { store: Some(store.path().to_owned()), ..NatsOptions::default() };
    let Some(mut nats) = NatsServer::start_with(options) else { return };
    let nodes = Nodes::start(&nats, 2);
    let summary = survive(&nodes, |_| {
        nats.kill();
        fs::remove_dir_all(store.path().join("jetstream")).expect("a store");
        nats.restart();
    });
    assert!(summary.gaps > 0, "{summary:?}");
}

#[test]
#[ignore = "slow: NATS is away for seconds"]
fn the_metrics_say_when_nats_is_away_and_how_far_a_node_is_behind() {
    let Some(mut nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let metric = |name: &str| metrics(nodes.nodes[0].http)[&format!("roomcast_backplane_{name}")];
    nodes.backend(1).publish("a", "hello");
    until(|| metric("publications_followed_total") == 1.0 && metric("peers") == 1.0);
    assert_eq!(["connected", "following", "connects_total", "lag_messages"].map(metric), [1.0, 1.0, 1.0, 0.0]);
    let ready = || Http::get(nodes.nodes[0].http, "/ready").1;
    let shown = || {
        let figures = Http::get(nodes.nodes[0].http, "/dashboard/stats").1;
        serde_json::from_str::<Value>(&figures).expect("figures")["cluster"].clone()
    };
    until(|| shown()["state"] == "following" && shown()["nodes"] == 2);
    assert_eq!(ready().trim_end(), "ready");
    nats.kill();
    until(|| metric("connected") == 0.0 && metric("following") == 0.0);
    until(|| ready().trim_end() == "degraded: NATS is unavailable" && shown()["state"] == "unavailable");
    assert_eq!(nodes.backend(0).error("publish", json!({ "channel": "a", "data": 1 })).0, 100);
    until(|| metric("refused_total{reason=\"unavailable\"}") == 1.0);
    nats.restart();
    until(|| metric("connected") == 1.0 && metric("following") == 1.0);
    assert_eq!((metric("connects_total"), metric("restarts_total")), (2.0, 0.0));
    until(|| metric("peers") == 1.0);
}

#[test]
#[ignore = "slow: NATS is away for seconds"]
fn without_nats_rooms_can_be_joined_and_read_and_nothing_is_published() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let mut member = Client::member(&nodes.nodes[0], Transport::Tcp, "a", "member");
    member.send("before");
    member.expect("[member] before");
    nats.stop();
    until(|| member.request("meanwhile").starts_with("ERR unavailable "));
    let mut other = Client::member(&nodes.nodes[0], Transport::WebSocket, "a", "other");
    other.send("HISTORY");
    other.expect("[member] before");
    assert!(other.line().starts_with("END HISTORY "));
    let refused = nodes.backend(0).error("publish", json!({ "channel": "a", "data": 1 }));
    assert_eq!(refused.0, 100);
    nats.go_on();
    until(|| {
        other.send("after");
        other.fence().iter().any(|line| line == "[other] after")
    });
}

#[test]
fn what_is_no_envelope_is_passed_over() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let summary = survive(&nodes, |_| {
        let mut client = nats.client();
        for garbage in [&b""[..], b"hello", &[0xff; 1000], &[0; 8], b"\x01\x0a\xff\xff\xff\xff\x0f"] {
            for subject in ["log", "feed", "questions", "signals", "nodes"] {
                client.publish(&format!("{STREAM}.{subject}"), garbage).expect("a connection");
            }
        }
    });
    expect_nobody_cut(summary);
}

/// A small file system in memory. Unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with a message, if this process may not mount one.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: this user may not mount a file system");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space that is left. Returns the file that has it.
    fn fill(&self) -> PathBuf {
        let file = self.path().join("ballast");
        fs::write(&file, vec![0; 64 << 20]).expect_err("more than fits");
        file
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server that has files open ends later.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[test]
#[ignore = "slow: NATS is away for seconds"]
fn what_was_acknowledged_is_there_after_the_disk_of_nats_was_full() {
    let Some(disk) = SmallDisk::mount("16m") else { return };
    let options = NatsOptions { store: Some(disk.path().join("store")), ..NatsOptions::default() };
    let Some(mut nats) = NatsServer::start_with(options) else { return };
    let nodes = Nodes::start(&nats, 2);
    let summary = survive(&nodes, |load| {
        let ballast = disk.fill();
        load.until_refused();
        // NATS turns JetStream off when its disk is full, until it starts again.
        nats.kill();
        fs::remove_file(ballast).expect("a file");
        nats.restart();
    });
    expect_nobody_cut(summary);
}
