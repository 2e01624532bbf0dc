//! Which envelopes were there before. A node sends an envelope again until it sees it, so the stream may hold it twice.

use std::collections::HashMap;

use super::envelope::NodeId;

/// Nodes that are remembered. Each start of a server process is one more.
const NODES_MAX: usize = 1_024;

/// The last envelope of each node.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<NodeId, Last>);

#[derive(Debug)]
struct Last {
    number: u64,
    sequence: u64,
}

impl Repeats {
    /// Whether the envelope of this number, at this place in the stream, is the first of its kind: the numbers of a node
    /// rise. Costs a look-up; a new node beyond the limit costs a look at all, and the one that was silent for the
    /// longest time is forgotten. All nodes forget the same one.
    pub fn is_new(&mut self, node: NodeId, number: u64, sequence: u64) -> bool {
        if let Some(last) = self.0.get_mut(&node) {
            let is_new = number > last.number;
            *last = Last { number: last.number.max(number), sequence };
            return is_new;
        }
        if self.0.len() >= NODES_MAX {
            let silent = self.0.iter().min_by_key(|(_, last)| last.sequence).map(|(&node, _)| node);
            silent.and_then(|node| self.0.remove(&node));
        }
        self.0.insert(node, Last { number, sequence });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_new_once_and_those_before_it_no_more() {
        let mut repeats = Repeats::default();
        let found = [(1, 1), (1, 1), (2, 1), (1, 2), (1, 1), (1, 4), (1, 3)];
        let found = (1..).zip(found).map(|(sequence, (node, number))| repeats.is_new(NodeId(node), number, sequence));
        assert_eq!(found.collect::<Vec<_>>(), [true, false, true, true, false, true, false]);
    }

    #[test]
    fn the_node_that_was_silent_for_the_longest_time_is_forgotten_first() {
        let mut repeats = Repeats::default();
        for node in 0..NODES_MAX as u64 {
            assert!(repeats.is_new(NodeId(node), 1, node + 1));
        }
        assert!(!repeats.is_new(NodeId(0), 1, 2_000));
        assert!(repeats.is_new(NodeId(9_999), 1, 2_001));
        assert_eq!(repeats.0.len(), NODES_MAX);
        assert!(!repeats.is_new(NodeId(0), 1, 2_002));
        assert!(repeats.is_new(NodeId(1), 1, 2_003));
    }
}
