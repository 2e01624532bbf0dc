//! What the processes of one group have found, put together.

use std::collections::BTreeMap;

use crate::latency::Latencies;
use crate::messages::{Outcome, Reasons, Tally, add_reasons};
use crate::record::Record;

/// What one group of rooms came to.
#[derive(Default)]
pub struct Merged {
    /// From when a message was due to each delivery.
    pub latencies: Latencies,
    /// From the first to the last delivery of each message.
    pub spreads: Latencies,
    /// By how much messages were sent late.
    pub lags: Latencies,
    /// What was counted.
    pub tally: Tally,
    /// Disconnects by reason.
    pub disconnected: Reasons,
    /// What the target did not accept, by reason.
    pub refused: Reasons,
    /// Rooms that lie in several processes, as each has seen them.
    records: BTreeMap<u32, Vec<Record>>,
}

impl Merged {
    /// Adds what one process has found; its latencies have come with its progress.
    pub fn add(&mut self, outcome: Outcome) {
        self.tally += outcome.tally;
        self.spreads.add(&outcome.spreads);
        self.lags.add(&outcome.lags);
        add_reasons(&mut self.disconnected, &outcome.disconnected);
        add_reasons(&mut self.refused, &outcome.refused);
        for (room, record) in outcome.records {
            self.records.entry(room).or_default().push(record);
        }
    }

    /// Compares what several processes have seen of one room: the order must have been the same.
    pub fn compare(&mut self) {
        for records in std::mem::take(&mut self.records).into_values() {
            let mut records = records.into_iter();
            let Some(first) = records.next() else { continue };
            let mut receipts = first.receipts_by_number();
            for record in records {
                self.tally.reordered += first.differs_from(&record);
                for (number, (earliest, latest)) in record.receipts_by_number() {
                    let known = receipts.entry(number).or_insert((earliest, latest));
                    *known = (known.0.min(earliest), known.1.max(latest));
                }
            }
            receipts.into_values().for_each(|(earliest, latest)| self.spreads.record(latest.since(earliest)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;

    fn outcome(order: &[u32], receipts: &[(u64, u64)]) -> Outcome {
        let receipts = receipts.iter().map(|&(first, last)| Some((Nanos(first), Nanos(last)))).collect();
        Outcome { records: vec![(0, Record { order: order.to_vec(), receipts })], ..Outcome::default() }
    }

    #[test]
    fn a_room_in_pieces_has_one_order_and_one_spread() {
        let mut merged = Merged::default();
        merged.add(outcome(&[0, 1], &[(1_000_000, 2_000_000), (3_000_000, 4_000_000)]));
        merged.add(outcome(&[0, 1], &[(1_500_000, 6_000_000), (3_000_000, 8_000_000)]));
        merged.compare();
        assert_eq!(merged.tally.reordered, 0);
        assert_eq!(merged.spreads.count(), 2);
        assert!((merged.spreads.quantile(1.0) - 5.0).abs() < 0.01, "each message once, over both pieces");
    }

    #[test]
    fn another_order_in_another_piece_is_found() {
        let mut merged = Merged::default();
        merged.add(outcome(&[0, 1, 2, 3], &[]));
        merged.add(outcome(&[0, 3, 1], &[]));
        merged.compare();
        assert_eq!(merged.tally.reordered, 2, "2 was lost there, 1 and 3 changed places");
    }
}
