//! What a node says that cannot be one of a cluster.

use harness::{NatsOptions, NatsServer, OLD_NATS};
use roomcast::config::ClusterRules;
use serde_json::json;

use super::common::{Node, rules};

async fn refusal(rules: ClusterRules) -> String {
    match Node::try_start(rules, 1).await {
        Ok(_) => panic!("it has started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let Some(nats) = NatsServer::start_with(NatsOptions { version: OLD_NATS, ..Default::default() }) else { return };
    let text = refusal(rules(&nats.url())).await;
    assert_eq!(text, format!("NATS at {} has version 2.9.10, and a cluster needs 2.11 or later", nats.url()));
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_not_told() {
    let credentials = Some(("roomcast", "secret"));
    let Some(nats) = NatsServer::start_with(NatsOptions { credentials, ..Default::default() }) else { return };
    let text = refusal(rules(&nats.url().replace("secret", "wrongpass"))).await;
    assert!(text.contains("refuses the credentials") && !text.contains("wrongpass"), "{text}");
    Node::start(&nats.url()).await;
}

#[tokio::test]
async fn what_the_user_may_not_do_is_told() {
    let credentials = Some(("roomcast", "secret"));
    let permissions = "permissions: { subscribe: \"_INBOX.>\" }".to_owned();
    let options = NatsOptions { credentials, permissions, ..Default::default() };
    let Some(nats) = NatsServer::start_with(options) else { return };
    let text = refusal(rules(&nats.url())).await;
    assert!(text.contains("does not permit") && text.contains("roomcast.feed"), "{text}");
}

#[tokio::test]
async fn a_stream_of_somebody_else_is_refused() {
    let Some(nats) = NatsServer::start() else { return };
    nats.client().create_stream(&json!({ "name": "roomcast", "subjects": ["roomcast.log"] })).unwrap();
    let text = refusal(rules(&nats.url())).await;
    assert!(text.contains("it has no roomcast.format in its metadata"), "{text}");
}

#[tokio::test]
async fn a_stream_that_does_not_publish_again_is_refused() {
    let Some(nats) = NatsServer::start() else { return };
    let metadata = json!({ "roomcast.format": "1" });
    let config = json!({ "name": "roomcast", "subjects": ["roomcast.log"], "metadata": metadata });
    nats.client().create_stream(&config).unwrap();
    let text = refusal(rules(&nats.url())).await;
    assert!(text.contains("its republish is null, and should be"), "{text}");
}

#[tokio::test]
async fn messages_that_nats_does_not_take_are_refused() {
    let Some(nats) = NatsServer::start() else { return };
    let text = refusal(ClusterRules { message_bytes_max: 1024 * 1024, ..rules(&nats.url()) }).await;
    assert!(text.contains("takes messages of at most 1048576 bytes"), "{text}");
}

#[tokio::test]
async fn a_stream_that_forgets_too_soon_is_made_to_keep_its_messages_for_longer() {
    let Some(nats) = NatsServer::start() else { return };
    let age = |seconds| ClusterRules { stream_age: std::time::Duration::from_secs(seconds), ..rules(&nats.url()) };
    for (seconds, kept) in [(400, 400), (900, 900), (500, 900)] {
        Node::try_start(age(seconds), 1).await.unwrap();
        let info = nats.client().stream("roomcast").unwrap();
        assert_eq!(info["config"]["max_age"], json!(kept * 1_000_000_000_u64));
    }
}
