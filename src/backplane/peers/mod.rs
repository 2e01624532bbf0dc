//! The other nodes: who they are, and questions to all of them over NATS, without the stream.

pub(super) mod asking;
pub(super) mod known;
pub(super) mod task;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::envelope::NodeId;

/// The time for answers to a question.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_millis(200);

/// Questions of this node that wait for the thread.
const QUESTIONS_MAX: usize = 64;

/// Questions of other nodes that wait to be answered. One more is not answered.
const OTHERS_QUESTIONS_MAX: usize = 64;

/// The other nodes of the cluster.
#[derive(Clone, Debug)]
pub struct Peers {
    questions: flume::Sender<Question>,
    nodes: watch::Receiver<Arc<[PeerNode]>>,
}

/// The questions of other nodes, each with the way for the answer. A clone takes from the same questions.
pub type PeerMailbox = flume::Receiver<(Bytes, oneshot::Sender<Bytes>)>;

/// Another node, as it told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNode {
    /// This life of its process.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// The version of its server.
    pub version: String,
    /// The last message of the stream that it had followed.
    pub sequence: u64,
}

/// A question of this node.
pub(super) struct Question {
    pub text: Bytes,
    pub answers: oneshot::Sender<Vec<Bytes>>,
}

/// The ends of the thread.
pub(super) struct PeerChannels {
    pub questions: flume::Receiver<Question>,
    pub nodes: watch::Sender<Arc<[PeerNode]>>,
    pub others_questions: flume::Sender<(Bytes, oneshot::Sender<Bytes>)>,
}

/// The ways between the thread, those who ask, and those who answer.
pub(super) fn channels() -> (Peers, PeerMailbox, PeerChannels) {
    let (questions, asked) = flume::bounded(QUESTIONS_MAX);
    let (others_questions, mailbox) = flume::bounded(OTHERS_QUESTIONS_MAX);
    let (node_sender, nodes) = watch::channel(Arc::from([]));
    let channels = PeerChannels { questions: asked, nodes: node_sender, others_questions };
    (Peers { questions, nodes }, mailbox, channels)
}

impl Peers {
    /// Asks all other nodes, and returns what those have answered that did so within 200 ms. Returns earlier when all
    /// known nodes have answered. Without NATS nobody answers.
    pub async fn ask(&self, question: Bytes) -> Vec<Bytes> {
        let (answers, answered) = oneshot::channel();
        let asking = async {
            self.questions.send_async(Question { text: question, answers }).await.ok()?;
            answered.await.ok()
        };
        // Twice the time: the thread counts from when it sends the question.
        timeout(ANSWERS_WITHIN * 2, asking).await.ok().flatten().unwrap_or_default()
    }

    /// The other nodes that were heard of lately, by name.
    pub fn nodes(&self) -> Arc<[PeerNode]> {
        Arc::clone(&self.nodes.borrow())
    }
}
