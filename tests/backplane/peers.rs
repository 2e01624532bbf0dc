//! The other nodes: who they are, and what they answer.

use bytes::Bytes;
use harness::NatsServer;

use super::common::Node;

/// Waits until the node knows this number of others.
async fn until_knows(node: &Node, others: usize) {
    while node.peers.nodes().len() != others {
        tokio::task::yield_now().await;
    }
}

/// Answers the next question.
async fn answer(node: &Node, expected: &str, answer: &'static str) {
    let (question, answers) = node.questions.recv_async().await.expect("the thread runs");
    assert_eq!(question, expected);
    answers.send(Bytes::from(answer)).expect("the thread waits");
}

#[tokio::test]
async fn a_question_is_answered_by_all_other_nodes_and_not_by_the_one_that_asks() {
    let Some(nats) = NatsServer::start() else { return };
    let [a, b, c] = [Node::start(&nats.url()).await, Node::start(&nats.url()).await, Node::start(&nats.url()).await];
    for node in [&a, &b, &c] {
        until_knows(node, 2).await;
    }
    let asked = a.peers.ask(Bytes::from("who?"));
    let (mut answers, (), ()) = tokio::join!(asked, answer(&b, "who?", "b"), answer(&c, "who?", "c"));
    answers.sort();
    assert_eq!(answers, ["b", "c"]);
    assert!(a.questions.is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let Some(nats) = NatsServer::start() else { return };
    let [a, b] = [Node::start(&nats.url()).await, Node::start(&nats.url()).await];
    until_knows(&a, 1).await;
    assert!(a.peers.ask(Bytes::from("anybody?")).await.is_empty());
    assert_eq!(b.questions.len(), 1);
}

#[tokio::test]
async fn a_node_that_ends_says_goodbye() {
    let Some(nats) = NatsServer::start() else { return };
    let [a, mut b] = [Node::start(&nats.url()).await, Node::start(&nats.url()).await];
    until_knows(&a, 1).await;
    b.proposer = None;
    b.ended.await.unwrap();
    until_knows(&a, 0).await;
}
