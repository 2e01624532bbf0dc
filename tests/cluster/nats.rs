//! The NATS servers of these tests do what the tests think they do.

use harness::{
    Forwarder, NATS, NatsClient, NatsCluster, NatsOptions, NatsServer, OLD_NATS, OLDEST_NATS, at_once, until,
};
use serde_json::{Value, json};

fn stream(replicas: u8) -> Value {
    json!({ "name": "said", "subjects": ["said"], "storage": "file", "num_replicas": replicas })
}

#[test]
fn each_version_stores_what_is_published_and_has_it_after_it_was_killed() {
    at_once([NATS, OLDEST_NATS, OLD_NATS], |version| {
        let options = NatsOptions { version, credentials: Some(("ada", "secret")), ..NatsOptions::default() };
        let Some(mut nats) = NatsServer::start_with(options) else { return };
        nats.client().create_stream(&stream(1)).expect("a stream");
        let stored = nats.client().request("said", "hello").expect("an acknowledgement");
        assert_eq!(stored["seq"], 1);
        assert!(NatsClient::connect(nats.address, Some(("ada", "wrong"))).is_err());
        nats.kill();
        nats.restart();
        nats.wait_until_ready();
        let info = nats.client().stream("said").expect("the stream");
        assert_eq!(info["state"]["messages"], 1);
    });
}

#[test]
fn three_servers_choose_another_leader_when_theirs_is_killed() {
    let Some(mut nats) = NatsCluster::start() else { return };
    nats.create_stream(&stream(3));
    let first = nats.leader("said");
    nats.servers[first].kill();
    until(|| nats.leader("said") != first);
    let second = nats.leader("said");
    // One that is stored too late to be acknowledged in time is stored once more.
    until(|| nats.servers[second].try_client().is_ok_and(|mut client| client.request("said", "hello").is_ok()));
}

#[test]
fn a_frozen_forwarder_delays_and_a_closed_one_cuts() {
    let Some(nats) = NatsServer::start() else { return };
    let forwarder = Forwarder::start(nats.address);
    let mut listener = NatsClient::connect(forwarder.address, None).expect("a connection");
    listener.subscribe("said").expect("a connection");
    listener.fence().expect("a connection");
    nats.client().publish("said", b"before").expect("a connection");
    until(|| listener.message().is_ok_and(|(_, text)| text == b"before"));
    forwarder.freeze();
    nats.client().publish("said", b"meanwhile").expect("a connection");
    assert!(listener.message().is_err());
    forwarder.open();
    until(|| listener.message().is_ok_and(|(_, text)| text == b"meanwhile"));
    forwarder.close();
    assert!(listener.message().is_err());
    assert!(NatsClient::connect(forwarder.address, None).is_err());
}
