//! The other nodes: who they are, and what they answer.

use bytes::Bytes;
use harness::{FAILSAFE, NatsServer, until};
use tokio::time::timeout;

use super::common::Node;

/// Waits until the node knows this number of others.
fn until_knows(node: &Node, others: usize) {
    until(|| node.peers.nodes().len() == others);
}

/// Answers all questions.
async fn answer(node: &Node, expected: &str, answer: &'static str) {
    loop {
        let (question, answers) = node.questions.recv_async().await.expect("the thread runs");
        assert_eq!(question, expected);
        // Fails if the thread has not waited for it.
        let _ = answers.send(Bytes::from(answer));
    }
}

#[tokio::test]
async fn a_question_is_answered_by_all_other_nodes_and_not_by_the_one_that_asks() {
    let Some(nats) = NatsServer::start() else { return };
    let [a, b, c] = [Node::start(&nats.url()).await, Node::start(&nats.url()).await, Node::start(&nats.url()).await];
    for node in [&a, &b, &c] {
        until_knows(node, 2);
    }
    let asked = async {
        loop {
            let mut answers = a.peers.ask(Bytes::from("who?")).await;
            answers.sort();
            // Those that come too late are not waited for.
            if answers.len() == 2 {
                return answers;
            }
        }
    };
    let answers = tokio::select! {
        answers = timeout(FAILSAFE, asked) => answers.expect("answers in time"),
        () = answer(&b, "who?", "b") => unreachable!(),
        () = answer(&c, "who?", "c") => unreachable!(),
    };
    assert_eq!(answers, ["b", "c"]);
    assert!(a.questions.is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let Some(nats) = NatsServer::start() else { return };
    let [a, b] = [Node::start(&nats.url()).await, Node::start(&nats.url()).await];
    until_knows(&a, 1);
    assert!(a.peers.ask(Bytes::from("anybody?")).await.is_empty());
    until(|| b.questions.len() == 1);
}

#[tokio::test]
async fn a_node_that_ends_says_goodbye() {
    let Some(nats) = NatsServer::start() else { return };
    let [a, mut b] = [Node::start(&nats.url()).await, Node::start(&nats.url()).await];
    until_knows(&a, 1);
    b.proposer = None;
    b.ended.await.unwrap();
    until_knows(&a, 0);
}
