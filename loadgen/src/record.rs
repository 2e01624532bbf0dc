//! What one process has seen of a room that lies in several: compared at the end with what the others have.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;

/// What happened in a room that lies in several processes, for comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The numbers in the order in which they came.
    pub order: Vec<u32>,
    /// The first and the last receipt of each, in that order, if it counts.
    pub receipts: Vec<Option<(Nanos, Nanos)>>,
}

impl Record {
    /// The first and the last receipt of each message that counts.
    pub fn receipts_by_number(&self) -> HashMap<u32, (Nanos, Nanos)> {
        let receipts = self.order.iter().zip(&self.receipts);
        receipts.filter_map(|(&number, receipts)| Some((number, (*receipts)?))).collect()
    }

    /// At how many places the order differs, among the messages that both have seen.
    pub fn differs_from(&self, other: &Self) -> u64 {
        let ours: HashSet<u32> = self.order.iter().copied().collect();
        let theirs: HashSet<u32> = other.order.iter().copied().collect();
        let common = |number: &&u32| ours.contains(number) && theirs.contains(number);
        let pairs = self.order.iter().filter(common).zip(other.order.iter().filter(common));
        pairs.filter(|(ours, theirs)| ours != theirs).count() as u64
    }
}
