//! What happens to NATS, and what nodes do: nothing that was acknowledged is lost, nothing comes twice, and the order of a
//! sender stays.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Forwarder, NatsCluster, NatsOptions, NatsServer};
use roomcast::backplane::entry::ProposalError;
use serde_json::json;

use super::traffic::traffic;

const STREAM: &str = "roomcast";

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let Some(mut nats) = NatsServer::start() else { return };
    let url = nats.url();
    let told = traffic([&url, &url], move |watch| {
        nats.kill();
        watch.until_unavailable();
        nats.restart();
        watch.until_both_go_on();
        nats.kill();
        nats.restart();
        watch.until_both_go_on();
        nats
    });
    let told = told.await;
    told.check_whole();
    assert!(told.failed(ProposalError::Unavailable) > 0);
}

#[tokio::test]
#[ignore = "slow: the server is stopped for longer than a proposal waits"]
async fn what_a_stopped_server_has_or_has_not_is_unknown_and_comes_once() {
    let Some(nats) = NatsServer::start() else { return };
    let url = nats.url();
    let told = traffic([&url, &url], move |watch| {
        nats.stop();
        watch.until_unavailable();
        nats.go_on();
        watch.until_both_go_on();
        nats
    });
    told.await.check_whole();
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_made_anew_and_followed_from_its_beginning() {
    let Some(nats) = NatsServer::start() else { return };
    let url = nats.url();
    let told = traffic([&url, &url], move |watch| {
        nats.client().request(&format!("$JS.API.STREAM.DELETE.{STREAM}"), "").unwrap();
        watch.until_both_go_on();
        nats
    });
    let told = told.await;
    told.check_segments();
    assert_eq!(told.publisher.len(), 2);
    assert_ne!(told.publisher[0].epoch, told.publisher[1].epoch);
    assert_eq!(told.publisher[1], told.follower[1]);
}

#[tokio::test]
async fn a_stream_that_was_emptied_is_followed_where_it_goes_on() {
    let Some(nats) = NatsServer::start() else { return };
    let url = nats.url();
    let told = traffic([&url, &url], move |watch| {
        nats.client().request(&format!("$JS.API.STREAM.PURGE.{STREAM}"), "").unwrap();
        watch.until_both_go_on();
        nats
    });
    told.await.check_segments();
}

#[tokio::test]
async fn a_node_that_is_cut_off_reads_what_it_has_missed() {
    let Some(nats) = NatsServer::start() else { return };
    let forwarder = Forwarder::start(nats.address);
    let (url, behind) = (nats.url(), format!("nats://{}", forwarder.address));
    let told = traffic([&url, &behind], move |watch| {
        for _ in 0..3 {
            forwarder.close();
            watch.until_connected(false);
            forwarder.open();
            watch.until_both_go_on();
        }
        (nats, forwarder)
    });
    told.await.check_whole();
}

#[tokio::test]
#[ignore = "slow: three servers, and the death of a leader takes seconds"]
async fn the_death_of_the_leader_of_three_loses_and_doubles_nothing() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let url = cluster.url();
    let told = traffic([&url, &url], move |watch| {
        for _ in 0..2 {
            cluster.until_replicated(STREAM);
            let leader = cluster.leader(STREAM);
            cluster.servers[leader].kill();
            watch.until_both_go_on();
            cluster.servers[leader].restart();
            watch.until_both_go_on();
        }
        cluster
    });
    told.await.check_whole();
}

#[tokio::test]
#[ignore = "slow: three servers, and a leader that is stopped is replaced after seconds"]
async fn a_leader_that_is_stopped_and_goes_on_loses_and_doubles_nothing() {
    let Some(cluster) = NatsCluster::start() else { return };
    let url = cluster.url();
    let told = traffic([&url, &url], move |watch| {
        for _ in 0..2 {
            cluster.until_replicated(STREAM);
            let leader = cluster.leader(STREAM);
            cluster.servers[leader].stop();
            watch.until_both_go_on();
            cluster.servers[leader].go_on();
            watch.until_both_go_on();
        }
        cluster
    });
    told.await.check_whole();
}

#[tokio::test]
async fn a_server_that_has_lost_what_it_had_stored_is_followed_from_its_beginning_in_another_epoch() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = NatsOptions { store: Some(folder.path().join("store")), ..Default::default() };
    let Some(mut nats) = NatsServer::start_with(options) else { return };
    let url = nats.url();
    let told = traffic([&url, &url], move |watch| {
        let copy = |from: &Path, to: &Path| {
            let copied = Command::new("cp").arg("-a").arg(from.join("store")).arg(to).status();
            assert!(copied.unwrap().success());
        };
        nats.kill();
        copy(folder.path(), backup.path());
        nats.restart();
        watch.until_both_go_on();
        nats.kill();
        fs::remove_dir_all(folder.path().join("store")).unwrap();
        copy(backup.path(), folder.path());
        nats.restart();
        watch.until_both_go_on();
        (nats, folder)
    });
    let told = told.await;
    told.check_segments();
    for segments in [&told.publisher, &told.follower] {
        assert_eq!(segments.len(), 2);
        assert_ne!(segments[0].epoch, segments[1].epoch);
    }
    assert_eq!(told.publisher[1].followed, told.follower[1].followed);
}

#[tokio::test]
async fn a_full_store_refuses_and_takes_again() {
    let Some(nats) = NatsServer::start() else { return };
    let url = nats.url();
    let told = traffic([&url, &url], move |watch| {
        let mut client = nats.client();
        let mut config = client.stream(STREAM).unwrap()["config"].clone();
        let limits = [json!({ "discard": "new", "max_msgs": 1 }), json!({ "discard": "old", "max_msgs": -1 })];
        for limit in limits {
            for (key, value) in limit.as_object().unwrap() {
                config[key] = value.clone();
            }
            client.request(&format!("$JS.API.STREAM.UPDATE.{STREAM}"), &config).unwrap();
            if limit["discard"] == "new" {
                watch.until_unavailable();
            }
        }
        watch.until_both_go_on();
        nats
    });
    told.await.check_segments();
}
