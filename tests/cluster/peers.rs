//! What nodes ask each other and tell each other: who is in a room, lists of rooms, join and leave events, orders of the
//! application, revoked tokens.

use std::fs;

use harness::{Centrifuge, Client, Encoding, NatsServer, Signal, Transport, until};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nodes::Nodes;

const SECRET: &[u8] = b"a secret of the tests that is long enough";

/// Nodes that verify tokens.
struct Guarded {
    nodes: Nodes,
    _nats: NatsServer,
    _folder: TempDir,
}

impl Guarded {
    fn start(count: usize) -> Option<Self> {
        let nats = NatsServer::start()?;
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("main.secret");
        fs::write(&secret, SECRET).expect("a file");
        let nodes = Nodes::start_with(&nats.url(), count, &["--token-secret-file", secret.to_str().expect("a path")]);
        Some(Self { nodes, _nats: nats, _folder: folder })
    }

    /// A client of a user on this node.
    #[track_caller]
    fn connect(&self, node: usize, claims: &Value) -> Centrifuge {
        Centrifuge::connect(self.nodes.nodes[node].http, Some(&token(claims)))
    }
}

fn token(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).expect("a token")
}

fn id(client: &Centrifuge) -> &str {
    client.connected["client"].as_str().expect("an id")
}

#[test]
fn members_rooms_and_counts_are_those_of_all_nodes() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 3);
    let mut members: Vec<Client> = (0..3)
        .map(|node| Client::member(&nodes.nodes[node], Transport::ALL[node % 2], "a", &format!("m{node}")))
        .collect();
    let _elsewhere = Client::member(&nodes.nodes[1], Transport::Tcp, "b", "elsewhere");
    let sdk = Centrifuge::member(nodes.nodes[2].http, "a");
    for member in &mut members {
        // What has just happened on another node may be as old as a list may be.
        member.request_until("LIST", r#"Rooms: ["a", "b"]"#);
        until(|| {
            let who = member.request("WHO");
            ["m0", "m1", "m2"].iter().all(|label| who.contains(&format!("{label:?}"))) && who.matches('"').count() == 8
        });
    }
    for node in 0..3 {
        let mut backend = nodes.backend(node);
        let of_room = json!({ "channel": "a" });
        // A node that does not answer in time is left out, here and below.
        until(|| backend.result("presence_stats", of_room.clone())["num_clients"] == 4);
        until(|| {
            let members = backend.result("presence", of_room.clone())["presence"].take();
            members.as_object().map(|members| members.len()) == Some(4) && members[id(&sdk)].is_object()
        });
        until(|| {
            let channels = backend.result("channels", json!({}))["channels"].clone();
            channels == json!({ "a": { "num_clients": 4 }, "b": { "num_clients": 1 } })
        });
        until(|| {
            let info = backend.result("info", json!({}));
            let clients = |node: &Value| node["num_clients"].as_u64().unwrap_or(0);
            let nodes = info["nodes"].as_array().expect("a list");
            nodes.len() == 3 && nodes.iter().map(clients).sum::<u64>() == 5
        });
        let mut client = Centrifuge::connect(nodes.nodes[node].http, None);
        client.subscribe("c");
        until(|| client.result("presence_stats", of_room.clone())["num_clients"] == 4);
        until(|| client.result("presence", of_room.clone())["presence"][id(&sdk)].is_object());
    }
    drop(members.pop());
    until(|| nodes.backend(0).result("presence_stats", json!({ "channel": "a" }))["num_clients"] == 3);
}

#[test]
fn members_of_a_node_that_was_killed_are_gone_from_the_lists_of_the_others() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Nodes::start(&nats, 2);
    let mut stays = Client::member(&nodes.nodes[0], Transport::Tcp, "a", "stays");
    let goes = Client::member(&nodes.nodes[1], Transport::Tcp, "a", "goes");
    stays.request_until("WHO", r#"Members of a: ["goes", "stays"]"#);
    nodes.nodes[1].signal_until_end(Signal::KILL);
    drop(goes);
    stays.request_until("WHO", r#"Members of a: ["stays"]"#);
    until(|| nodes.backend(0).result("info", json!({}))["nodes"].as_array().map(Vec::len) == Some(1));
}

#[test]
fn members_are_told_who_joins_and_leaves_on_other_nodes() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start_with(&nats.url(), 2, &["--presence-events=true"]);
    let mut text = Client::member(&nodes.nodes[0], Transport::Tcp, "a", "text");
    text.expect("JOINED text");
    let mut sdk = Centrifuge::member(nodes.nodes[1].http, "a");
    let label = text.line();
    assert!(label.starts_with("JOINED client-"), "{label}");
    let other = Client::member(&nodes.nodes[1], Transport::WebSocket, "a", "other");
    text.expect("JOINED other");
    drop(other);
    text.expect("LEFT other");
    text.leave();
    // Those of other nodes come in no fixed order.
    let leaves = std::iter::from_fn(|| Some(sdk.push())).filter(|push| push["leave"].is_object()).take(2);
    assert_eq!(leaves.count(), 2);
}

#[test]
fn an_order_of_the_application_reaches_the_node_that_has_the_client() {
    let Some(guarded) = Guarded::start(2) else { return };
    let mut client = guarded.connect(1, &json!({ "sub": "ada" }));
    let mut other = guarded.connect(1, &json!({ "sub": "bob" }));
    let mut backend = guarded.nodes.backend(0);
    backend.order("subscribe", &json!({ "channel": "a", "user": "ada", "data": { "d": 1 } }));
    assert_eq!(client.push()["subscribe"]["data"]["d"], 1);
    backend.publish("a", "hello");
    assert_eq!(client.publication("a")["text"], "hello");
    backend.order("unsubscribe", &json!({ "channel": "a", "user": "ada" }));
    assert_eq!(client.push()["unsubscribe"]["code"], 2000);
    until(|| backend.result("presence_stats", json!({ "channel": "a" }))["num_clients"] == 0);
    backend.order("disconnect", &json!({ "user": "ada", "disconnect": { "code": 4501, "reason": "banned" } }));
    client.expect_closed(4501);
    other.expect_nothing();
}

#[test]
fn a_revoked_token_is_refused_by_all_nodes() {
    let Some(guarded) = Guarded::start(2) else { return };
    let claims = json!({ "sub": "ada", "jti": "token-7" });
    let mut client = guarded.connect(1, &claims);
    guarded.nodes.backend(0).order("revoke_token", &json!({ "uid": "token-7" }));
    client.expect_closed(3503);
    for node in &guarded.nodes.nodes {
        let mut client = Centrifuge::open(node.http, Encoding::Json);
        client.send(json!({ "id": 1, "connect": { "token": token(&claims) } }).to_string());
        client.expect_closed(3500);
    }
}
