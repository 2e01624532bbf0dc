//! Which other nodes there are. Each tells of itself every two seconds; one that is silent for three of these is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::PeerNode;
use crate::backplane::envelope::NodeId;

/// The time from one announcement to the next.
pub(in crate::backplane) const ANNOUNCE_PERIOD: Duration = Duration::from_secs(2);

/// A node that has missed three is gone.
const SILENCE_MAX: Duration = Duration::from_millis(6_500);

/// Nodes that are remembered. Others are as if they were not there.
const NODES_MAX: usize = 256;

/// The longest name of a node that is remembered, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// What a node tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::backplane) struct Announcement {
    /// In hexadecimal: numbers of JSON are exact only up to 2^53.
    id: String,
    name: String,
    version: String,
    sequence: u64,
    /// The node ends.
    #[serde(default)]
    is_leaving: bool,
}

/// What an announcement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backplane) enum Heard {
    /// Nothing new.
    Known,
    /// A node that does not know this one either.
    New,
    /// A node has gone.
    Left,
    /// It is this node's own, or makes no sense.
    Nothing,
}

/// The other nodes.
#[derive(Debug)]
pub(in crate::backplane) struct KnownNodes {
    own: NodeId,
    nodes: HashMap<NodeId, (PeerNode, Instant)>,
}

impl Announcement {
    pub(in crate::backplane) fn new(node: &PeerNode, is_leaving: bool) -> Self {
        let PeerNode { id, name, version, sequence } = node.clone();
        Self { id: id.to_string(), name, version, sequence, is_leaving }
    }

    fn node(self) -> Option<PeerNode> {
        let Self { id, name, version, sequence, .. } = self;
        let id = NodeId(u64::from_str_radix(&id, 16).ok()?);
        let is_short = name.len() <= NAME_BYTES_MAX && version.len() <= NAME_BYTES_MAX;
        is_short.then_some(PeerNode { id, name, version, sequence })
    }
}

impl KnownNodes {
    pub(in crate::backplane) fn new(own: NodeId) -> Self {
        Self { own, nodes: HashMap::new() }
    }

    /// The number of other nodes.
    pub(in crate::backplane) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no other node than these.
    pub(in crate::backplane) fn are_all(&self, nodes: &HashSet<NodeId>) -> bool {
        self.nodes.keys().all(|node| nodes.contains(node))
    }

    /// All of them, by name.
    pub(in crate::backplane) fn all(&self) -> Arc<[PeerNode]> {
        let mut nodes: Vec<_> = self.nodes.values().map(|(node, _)| node.clone()).collect();
        nodes.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        nodes.into()
    }

    /// A node tells of itself, in JSON.
    pub(in crate::backplane) fn hear(&mut self, json: &[u8], now: Instant) -> Heard {
        let Ok(announcement) = serde_json::from_slice::<Announcement>(json) else { return Heard::Nothing };
        let is_leaving = announcement.is_leaving;
        let Some(node) = announcement.node().filter(|node| node.id != self.own) else { return Heard::Nothing };
        if is_leaving {
            return if self.nodes.remove(&node.id).is_some() { Heard::Left } else { Heard::Nothing };
        }
        let is_known = self.nodes.contains_key(&node.id);
        if !is_known && self.nodes.len() >= NODES_MAX {
            return Heard::Nothing;
        }
        self.nodes.insert(node.id, (node, now));
        if is_known { Heard::Known } else { Heard::New }
    }

    /// Forgets nodes that have been silent for too long. Returns whether there were any.
    pub(in crate::backplane) fn forget_silent(&mut self, now: Instant) -> bool {
        let before = self.nodes.len();
        self.nodes.retain(|_, (_, heard_at)| now.duration_since(*heard_at) < SILENCE_MAX);
        self.nodes.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn node(id: u64, name: &str) -> PeerNode {
        PeerNode { id: NodeId(id), name: name.to_owned(), version: "1".to_owned(), sequence: 7 }
    }

    fn json(node: &PeerNode, is_leaving: bool) -> Vec<u8> {
        serde_json::to_vec(&Announcement::new(node, is_leaving)).unwrap()
    }

    #[test]
    fn a_node_is_known_from_its_first_announcement_until_it_leaves_or_is_silent() {
        let mut known = KnownNodes::new(NodeId(1));
        let start = Instant::now();
        let (a, b) = (node(2, "b"), node(u64::MAX, "a"));
        assert_eq!(known.hear(&json(&a, false), start), Heard::New);
        assert_eq!(known.hear(&json(&b, false), start), Heard::New);
        assert_eq!(known.hear(&json(&b, false), start + ANNOUNCE_PERIOD), Heard::Known);
        assert_eq!(*known.all(), [b.clone(), a]);
        assert!(known.forget_silent(start + SILENCE_MAX));
        assert_eq!(*known.all(), *slice::from_ref(&b));
        assert_eq!(known.hear(&json(&b, true), start), Heard::Left);
        assert_eq!(known.hear(&json(&b, true), start), Heard::Nothing);
    }

    #[test]
    fn a_node_does_not_hear_itself_nor_what_makes_no_sense() {
        let mut known = KnownNodes::new(NodeId(1));
        let now = Instant::now();
        assert_eq!(known.hear(&json(&node(1, "self"), false), now), Heard::Nothing);
        assert_eq!(known.hear(&json(&node(2, &"x".repeat(300)), false), now), Heard::Nothing);
        assert_eq!(known.hear(b"{}", now), Heard::Nothing);
        assert_eq!(known.hear(b"\xff", now), Heard::Nothing);
    }

    #[test]
    fn more_nodes_than_are_remembered_are_as_if_they_were_not_there() {
        let mut known = KnownNodes::new(NodeId(0));
        let heard = (1..=300).map(|id| known.hear(&json(&node(id, "n"), false), Instant::now()));
        assert_eq!(heard.filter(|heard| *heard == Heard::New).count(), NODES_MAX);
    }
}
