//! Merges the results of all processes of one group of rooms.

use std::collections::BTreeMap;

use crate::clock::Nanos;
use crate::comebacks::Comebacks;
use crate::latency::Latencies;
use crate::messages::{ReconnectCounts, ReconnectResult, Tally, WorkerResult};
use crate::reasons::{Reasons, add_reasons};
use crate::report::{ComebackReport, ReconnectReport};
use crate::room_order::RoomOrder;

/// The merged result of one group of rooms.
#[derive(Default)]
pub struct Merged {
    /// Time from the intended time of a message to each delivery.
    pub latencies: Latencies,
    /// Time from the first to the last delivery of each message.
    pub spreads: Latencies,
    /// How late messages were sent.
    pub lags: Latencies,
    /// Time from the intended time of a message to the answer to its publish.
    pub answers: Latencies,
    /// Time from the intended time of a message that nobody received until its sender lost its connection.
    pub unaccepted: Latencies,
    pub tally: Tally,
    pub disconnected: Reasons,
    /// Refused commands by reason.
    pub refused: Reasons,
    /// Clients that were cut and came back; `None` if none was to be cut.
    pub reconnects: Option<MergedReconnects>,
    /// The message orders of split rooms, one for each process.
    room_orders: BTreeMap<u32, Vec<RoomOrder>>,
}

impl Merged {
    /// Adds the result of one process. Its latencies have already arrived with its progress.
    pub fn add(&mut self, result: WorkerResult) {
        self.tally += result.tally;
        self.spreads.add(&result.spreads);
        self.lags.add(&result.lags);
        self.answers.add(&result.answers);
        self.unaccepted.add(&result.unaccepted);
        add_reasons(&mut self.disconnected, &result.disconnected);
        add_reasons(&mut self.refused, &result.refused);
        if let Some(reconnects) = result.reconnects {
            self.reconnects.get_or_insert_default().add(reconnects);
        }
        for (room, order) in result.room_orders {
            self.room_orders.entry(room).or_default().push(order);
        }
    }

    /// Compares the message orders of each split room, which must be equal.
    pub fn compare(&mut self) {
        for room_orders in std::mem::take(&mut self.room_orders).into_values() {
            let mut room_orders = room_orders.into_iter();
            let Some(first) = room_orders.next() else { continue };
            let mut receipts = first.receipts_by_number();
            for order in room_orders {
                self.tally.reordered += first.differs_from(&order);
                for (number, (earliest, latest)) in order.receipts_by_number() {
                    let known = receipts.entry(number).or_insert((earliest, latest));
                    *known = (known.0.min(earliest), known.1.max(latest));
                }
            }
            receipts.into_values().for_each(|(earliest, latest)| self.spreads.record(latest.since(earliest)));
        }
    }
}

/// The merged cuts and reconnects of one group of rooms.
#[derive(Default)]
pub struct MergedReconnects {
    counts: ReconnectCounts,
    disconnected: Reasons,
    failed: Reasons,
    /// When the first client was due to reconnect and when the last one was back.
    returned: Option<(Nanos, Nanos)>,
    times: Latencies,
    connects: Latencies,
    comebacks: Comebacks,
    beside_before: Latencies,
    beside_during: Latencies,
}

impl MergedReconnects {
    fn add(&mut self, result: ReconnectResult) {
        self.counts += result.counts;
        add_reasons(&mut self.disconnected, &result.disconnected);
        add_reasons(&mut self.failed, &result.failed);
        self.times.add(&result.times);
        self.connects.add(&result.connects);
        self.comebacks += result.comebacks;
        self.beside_before.add(&result.beside_before);
        self.beside_during.add(&result.beside_during);
        let returned = self.returned.into_iter().chain(result.returned);
        self.returned = returned.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    }

    pub fn report(&self) -> ReconnectReport {
        let are_all_back = self.counts.away == 0;
        let (before, during) = (self.beside_before.quantiles(), self.beside_during.quantiles());
        ReconnectReport {
            counts: self.counts,
            disconnected: self.disconnected.clone(),
            failed: self.failed.clone(),
            all_back_seconds: self.returned.filter(|_| are_all_back).map(|(begin, end)| end.since(begin).as_secs_f64()),
            times: self.times.quantiles(),
            connects: self.connects.quantiles(),
            comebacks: ComebackReport::of(&self.comebacks, are_all_back),
            beside_ratio: (before.count > 0 && during.count > 0).then(|| during.p99 / before.p99),
            beside_before: before,
            beside_during: during,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(order: &[u32], receipts: &[(u64, u64)]) -> WorkerResult {
        let receipts = receipts.iter().map(|&(first, last)| Some((Nanos(first), Nanos(last)))).collect();
        WorkerResult {
            room_orders: vec![(0, RoomOrder { order: order.to_vec(), receipts })],
            ..WorkerResult::default()
        }
    }

    #[test]
    fn a_room_in_pieces_has_one_order_and_one_spread() {
        let mut merged = Merged::default();
        merged.add(result(&[0, 1], &[(1_000_000, 2_000_000), (3_000_000, 4_000_000)]));
        merged.add(result(&[0, 1], &[(1_500_000, 6_000_000), (3_000_000, 8_000_000)]));
        merged.compare();
        assert_eq!(merged.tally.reordered, 0);
        assert_eq!(merged.spreads.count(), 2);
        assert!((merged.spreads.quantile(1.0) - 5.0).abs() < 0.01, "each message once, over both pieces");
    }

    #[test]
    fn another_order_in_another_piece_is_found() {
        let mut merged = Merged::default();
        merged.add(result(&[0, 1, 2, 3], &[]));
        merged.add(result(&[0, 3, 1], &[]));
        merged.compare();
        assert_eq!(merged.tally.reordered, 2, "2 was lost there, 1 and 3 changed places");
    }
}
