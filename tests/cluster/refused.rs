//! Starts that are refused, with what would be right.

use harness::{Client, Ended, NatsOptions, NatsServer, OLD_NATS, Program, Transport, until};
use serde_json::{Value, json};

use crate::nodes::Nodes;

/// Runs a node that does not start. Returns what it says.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let Ended { code, err, .. } = Program::run(arguments);
    assert_eq!(code, Some(2), "{err}");
    assert!(!err.contains("secret"), "{err}");
    err
}

#[test]
fn a_server_of_nats_that_is_too_old_is_refused_with_the_version_that_would_do() {
    let options = NatsOptions { version: OLD_NATS, ..NatsOptions::default() };
    let Some(nats) = NatsServer::start_with(options) else { return };
    let said = refused(&["--cluster", &nats.url()]);
    assert!(said.contains(OLD_NATS) && said.contains("2.11"), "{said}");
}

#[test]
fn a_stream_of_that_name_that_is_not_a_clusters_own_is_refused_and_left_as_it_is() {
    let Some(nats) = NatsServer::start() else { return };
    for (name, config) in [
        ("orders", json!({ "name": "orders", "subjects": ["orders.>"], "storage": "file" })),
        ("plain", json!({ "name": "plain", "subjects": ["plain.log"], "storage": "file", "allow_direct": true })),
        (
            "queue",
            json!({
                "name": "queue", "subjects": ["queue.log"], "storage": "file", "retention": "workqueue",
                "allow_direct": true, "metadata": { "roomcast.format": "1" },
            }),
        ),
        (
            "future",
            json!({
                "name": "future", "subjects": ["future.log"], "storage": "file", "allow_direct": true,
                "republish": { "src": "future.log", "dest": "future.feed" }, "metadata": { "roomcast.format": "2" },
            }),
        ),
    ] {
        let before: Value = nats.client().create_stream(&config).expect("a stream")["config"].take();
        let said = refused(&["--cluster", &nats.url(), "--cluster-name", name]);
        assert!(said.contains(name) && said.contains("cluster-name"), "{said}");
        let after = nats.client().stream(name).expect("a stream")["config"].take();
        assert_eq!(before, after);
    }
}

#[test]
fn wrong_credentials_are_refused_and_never_shown() {
    let options = NatsOptions { credentials: Some(("ada", "secret-right")), ..NatsOptions::default() };
    let Some(nats) = NatsServer::start_with(options) else { return };
    for credentials in ["", "ada:secret-wrong@", "secret-token@"] {
        let said = refused(&["--cluster", &format!("nats://{credentials}{}", nats.address)]);
        assert!(said.contains(&nats.address.to_string()), "{said}");
    }
    let served = Program::start(&["--cluster", &nats.url()]);
    let log = served.stop_and_read_log();
    assert!(!log.iter().any(|line| line.contains("secret")), "{log:?}");
}

/// The permissions of a node in docs/cluster.md.
fn documented_permissions() -> String {
    let document = include_str!("../../docs/cluster.md");
    let (_, behind) = document.split_once("permissions: {").expect("permissions");
    let (permissions, _) = behind.split_once("\n        }").expect("an end");
    format!("permissions: {{{permissions}\n }}")
}

fn with_permissions(permissions: &str) -> Option<NatsServer> {
    let (credentials, permissions) = (Some(("ada", "secret")), permissions.to_owned());
    NatsServer::start_with(NatsOptions { credentials, permissions, ..NatsOptions::default() })
}

#[test]
fn a_node_does_with_the_rights_that_the_document_gives_it_and_not_with_fewer() {
    let documented = documented_permissions();
    let Some(nats) = with_permissions(&documented) else { return };
    let nodes = Nodes::start(&nats, 2);
    let mut member = Client::member(&nodes.nodes[0], Transport::Tcp, "a", "member");
    nodes.backend(1).publish("a", "hello");
    member.expect("[backend] hello");
    member.request_until("LIST", r#"Rooms: ["a"]"#);
    until(|| nodes.backend(1).result("presence_stats", json!({ "channel": "a" }))["num_clients"] == 1);
    for (right, fewer) in [
        ("subscribe", documented.replace("subscribe: { allow: [\"roomcast.>\", ", "subscribe: { allow: [")),
        ("create", documented.replace("\"$JS.API.STREAM.CREATE.roomcast\", ", "")),
    ] {
        assert_ne!(fewer, documented, "{right}");
        let Some(nats) = with_permissions(&fewer) else { return };
        let said = refused(&["--cluster", &nats.url()]);
        assert!(said.contains("roomcast"), "{right}: {said}");
    }
}

#[test]
#[ignore = "slow: a node waits 30 seconds for NATS"]
fn without_nats_a_node_does_not_start() {
    let address = NatsServer::free_address();
    let said = refused(&["--cluster", &format!("nats://{address}")]);
    assert!(said.contains(&address.to_string()), "{said}");
}

#[test]
fn settings_of_a_cluster_that_cannot_be_are_refused() {
    for (arguments, rule) in [
        (&["--cluster", "http://127.0.0.1:4222"][..], "nats://"),
        (&["--cluster", "nats://127.0.0.1:4222", "--cluster-name", "two words"], "cluster-name"),
        (&["--cluster", "nats://127.0.0.1:4222", "--cluster-name", "a.b"], "cluster-name"),
        (&["--cluster", "nats://127.0.0.1:4222", "--cluster-replicas", "2"], "cluster-replicas"),
        (&["--cluster", "nats://ada:secret@"], "cluster"),
        (&["--cluster", "nats://127.0.0.1:4222", "--cluster-ca", "/nowhere"], "/nowhere"),
    ] {
        let said = refused(arguments);
        assert!(said.contains(rule), "{said}");
    }
}
