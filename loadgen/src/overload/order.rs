//! Compares the messages that several members of one room received with one common order. Never does I/O.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// The messages of one member, compared with the common order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCheck {
    /// Messages received, each counted once.
    pub received: u64,
    /// Messages received again.
    pub doubled: u64,
    /// Messages received behind one that comes later in the common order.
    pub reordered: u64,
    /// Messages missing before the last one that this member received.
    pub lost: u64,
    /// Messages of the common order behind the last one that this member received.
    pub behind: u64,
}

impl AddAssign for OrderCheck {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.lost += other.lost;
        self.behind += other.behind;
    }
}

/// Compares the received message numbers, all below `messages`. Returns one comparison per member, and the numbers that
/// no member received.
pub fn compare(received: &[Vec<u32>], messages: u32) -> (Vec<OrderCheck>, Vec<u32>) {
    let places = places(received, messages);
    let accepted = places.iter().flatten().count() as u64;
    let compared = received.iter().map(|numbers| compare_one(numbers, &places, accepted)).collect();
    let unheard = (0..messages).filter(|&number| places[number as usize].is_none()).collect();
    (compared, unheard)
}

/// Position of each message in the common order: the order of the member that received most, then what others received.
fn places(received: &[Vec<u32>], messages: u32) -> Vec<Option<u32>> {
    let mut places = vec![None; messages as usize];
    let longest = received.iter().rev().max_by_key(|numbers| numbers.len());
    let mut next = 0;
    for &number in longest.into_iter().chain(received).flatten() {
        let place = &mut places[number as usize];
        if place.is_none() {
            *place = Some(next);
            next += 1;
        }
    }
    places
}

fn compare_one(numbers: &[u32], places: &[Option<u32>], accepted: u64) -> OrderCheck {
    let mut compared = OrderCheck::default();
    let mut has_heard = vec![false; places.len()];
    // Position behind the farthest message received.
    let mut reached = 0;
    for &number in numbers {
        let place = u64::from(places[number as usize].unwrap_or_default());
        if std::mem::replace(&mut has_heard[number as usize], true) {
            compared.doubled += 1;
            continue;
        }
        compared.received += 1;
        compared.reordered += u64::from(place < reached);
        reached = reached.max(place + 1);
    }
    compared.lost = reached - compared.received;
    compared.behind = accepted - reached;
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_counted_for_the_member_that_met_it() {
        let received = [vec![2, 0, 1, 3, 4], vec![2, 1, 3, 4], vec![2, 0, 0, 1], vec![2, 1, 0, 3, 4], vec![]];
        let (compared, unheard) = compare(&received, 6);
        assert_eq!(compared[0], OrderCheck { received: 5, ..OrderCheck::default() });
        assert_eq!(compared[1], OrderCheck { received: 4, lost: 1, ..OrderCheck::default() });
        assert_eq!(compared[2], OrderCheck { received: 3, doubled: 1, behind: 2, ..OrderCheck::default() });
        assert_eq!(compared[3], OrderCheck { received: 5, reordered: 1, ..OrderCheck::default() });
        assert_eq!(compared[4], OrderCheck { behind: 5, ..OrderCheck::default() });
        assert_eq!(unheard, [5]);
    }
}
