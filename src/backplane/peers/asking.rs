//! Questions of this node that are not answered by all others yet. Plain bookkeeping.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::oneshot;

use super::ANSWERS_WITHIN;
use crate::backplane::envelope::NodeId;

/// Questions at once. One more has no answer.
const QUESTIONS_MAX: usize = 256;

/// The most bytes of the answers to one question.
const ANSWERS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The questions that are not answered by all others yet.
#[derive(Debug, Default)]
pub(in crate::backplane) struct Asking {
    last_number: u64,
    questions: HashMap<u64, Asked>,
}

#[derive(Debug)]
struct Asked {
    until: Instant,
    bytes: usize,
    answered: HashSet<NodeId>,
    answers: Vec<Bytes>,
    asker: oneshot::Sender<Vec<Bytes>>,
}

/// A question or answer behind the node that it comes from.
pub(in crate::backplane) fn from_node(node: NodeId, text: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(size_of::<u64>() + text.len());
    bytes.put_u64(node.0);
    bytes.extend_from_slice(text);
    bytes.freeze()
}

/// The node that a question or answer comes from, and what it says.
pub(in crate::backplane) fn of_node(mut bytes: Bytes) -> Option<(NodeId, Bytes)> {
    (bytes.len() >= size_of::<u64>()).then(|| (NodeId(bytes.get_u64()), bytes))
}

impl Asking {
    /// Notes a question that is sent now. Returns its number; `None` if there are too many.
    pub(in crate::backplane) fn ask(&mut self, asker: oneshot::Sender<Vec<Bytes>>, now: Instant) -> Option<u64> {
        if self.questions.len() >= QUESTIONS_MAX {
            return None;
        }
        self.last_number += 1;
        let until = now + ANSWERS_WITHIN;
        let asked = Asked { until, bytes: 0, answered: HashSet::new(), answers: Vec::new(), asker };
        self.questions.insert(self.last_number, asked);
        Some(self.last_number)
    }

    /// An answer has come. Tells the asker if `is_complete` says so of those who have answered.
    pub(in crate::backplane) fn answered(
        &mut self,
        number: u64,
        node: NodeId,
        answer: Bytes,
        is_complete: impl FnOnce(&HashSet<NodeId>) -> bool,
    ) {
        let Some(asked) = self.questions.get_mut(&number) else { return };
        asked.bytes += answer.len();
        if asked.bytes <= ANSWERS_BYTES_MAX && asked.answered.insert(node) {
            asked.answers.push(answer);
        }
        if is_complete(&asked.answered) {
            self.end(number);
        }
    }

    /// Nobody is there to answer.
    pub(in crate::backplane) fn end(&mut self, number: u64) {
        if let Some(Asked { asker, answers, .. }) = self.questions.remove(&number) {
            // Fails if the asker waits no more.
            let _ = asker.send(answers);
        }
    }

    /// Tells the askers whose time is over what has come.
    pub(in crate::backplane) fn end_late(&mut self, now: Instant) {
        let late = self.questions.extract_if(|_, asked| now >= asked.until);
        for (_, Asked { asker, answers, .. }) in late {
            let _ = asker.send(answers);
        }
    }

    /// When the time of the next is over.
    pub(in crate::backplane) fn due_at(&self) -> Option<Instant> {
        self.questions.values().map(|asked| asked.until).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_asker_is_told_when_all_have_answered_or_when_the_time_is_over() {
        let mut asking = Asking::default();
        let now = Instant::now();
        let ((one, mut first), (two, mut second)) = (oneshot::channel(), oneshot::channel());
        let (one, two) = (asking.ask(one, now).unwrap(), asking.ask(two, now).unwrap());
        let both = |answered: &HashSet<NodeId>| answered.len() == 2;
        asking.answered(one, NodeId(1), Bytes::from("a"), both);
        asking.answered(one, NodeId(1), Bytes::from("again"), both);
        asking.answered(two, NodeId(2), Bytes::from("b"), both);
        assert!(first.try_recv().is_err());
        asking.answered(one, NodeId(2), Bytes::from("c"), both);
        assert_eq!(first.try_recv().unwrap(), ["a", "c"]);
        asking.end_late(now + ANSWERS_WITHIN - Duration::from_millis(1));
        assert!(second.try_recv().is_err());
        asking.end_late(asking.due_at().unwrap());
        assert_eq!(second.try_recv().unwrap(), ["b"]);
        assert_eq!(asking.due_at(), None);
    }

    #[test]
    fn too_many_questions_have_no_answer() {
        let mut asking = Asking::default();
        let asked = (0..300).filter(|_| asking.ask(oneshot::channel().0, Instant::now()).is_some());
        assert_eq!(asked.count(), QUESTIONS_MAX);
    }

    #[test]
    fn what_a_node_says_is_read_back_and_too_short_texts_are_nothing() {
        assert_eq!(of_node(from_node(NodeId(7), b"text")), Some((NodeId(7), Bytes::from("text"))));
        assert_eq!(of_node(Bytes::from("short")), None);
    }
}
