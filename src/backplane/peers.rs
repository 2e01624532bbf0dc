//! The other nodes, as those see them who ask and answer. (A stand-in until the backplane has one.)

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

/// The other nodes. Clones lead to the same ones.
#[derive(Clone, Debug)]
pub struct Peers {
    questions: mpsc::Sender<(Bytes, oneshot::Sender<Vec<Bytes>>)>,
    nodes: watch::Receiver<Arc<[PeerNode]>>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNode {
    /// Names this life of the node.
    pub id: String,
    /// The name of its host.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The questions of other nodes.
#[derive(Debug)]
pub struct PeerMailbox(pub mpsc::Receiver<(Bytes, oneshot::Sender<Bytes>)>);

impl Peers {
    /// The other nodes, whose questions come through the receiver.
    #[expect(clippy::type_complexity, reason = "a stand-in")]
    pub fn new(
        nodes: watch::Receiver<Arc<[PeerNode]>>,
    ) -> (Self, mpsc::Receiver<(Bytes, oneshot::Sender<Vec<Bytes>>)>) {
        let (questions, asked) = mpsc::channel(64);
        (Self { questions, nodes }, asked)
    }

    /// The answers of all other nodes, gathered for at most 200 ms.
    pub async fn ask(&self, question: Bytes) -> Vec<Bytes> {
        let (answer, answered) = oneshot::channel();
        let _ = self.questions.send((question, answer)).await;
        answered.await.unwrap_or_default()
    }

    /// The other nodes that are known.
    pub fn nodes(&self) -> Arc<[PeerNode]> {
        Arc::clone(&self.nodes.borrow())
    }
}

impl PeerMailbox {
    /// The next question of another node.
    pub async fn next(&mut self) -> Option<(Bytes, oneshot::Sender<Bytes>)> {
        self.0.recv().await
    }
}
