//! The message order that one process observed in a split room. At the end it is compared with the orders of the other
//! processes.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;

/// The message order that one process observed in a split room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoomOrder {
    /// Message numbers in the order of their arrival.
    pub order: Vec<u32>,
    /// The first and last receipt of each message in that order; `None` if it is not measured.
    pub receipts: Vec<Option<(Nanos, Nanos)>>,
}

impl RoomOrder {
    /// The first and last receipt of each measured message.
    pub fn receipts_by_number(&self) -> HashMap<u32, (Nanos, Nanos)> {
        let receipts = self.order.iter().zip(&self.receipts);
        receipts.filter_map(|(&number, receipts)| Some((number, (*receipts)?))).collect()
    }

    /// Number of positions at which the two orders differ, among the messages that both have seen.
    pub fn differs_from(&self, other: &Self) -> u64 {
        let ours: HashSet<u32> = self.order.iter().copied().collect();
        let theirs: HashSet<u32> = other.order.iter().copied().collect();
        let common = |number: &&u32| ours.contains(number) && theirs.contains(number);
        let pairs = self.order.iter().filter(common).zip(other.order.iter().filter(common));
        pairs.filter(|(ours, theirs)| ours != theirs).count() as u64
    }
}
