//! What a worker process reports: its progress, and its result at the end.

use super::{Phase, Worker};
use crate::clock::{Nanos, processor_time};
use crate::latency::Latencies;
use crate::messages::{Progress, WorkerEvent};

impl Worker {
    pub(super) fn send_progress(&mut self) -> anyhow::Result<()> {
        let received = self.counters.result.tally.received;
        let deliveries = received - std::mem::replace(&mut self.counters.received_before, received);
        let latencies = self.counters.latencies.take();
        let now = Nanos::now();
        let over = now.since(std::mem::replace(&mut self.progress_told, now));
        self.coordinator.send(&WorkerEvent::Progress(Progress {
            clients: self.counters.clients,
            deliveries,
            over,
            latencies,
        }))
    }

    pub(super) fn send_result(&mut self) -> anyhow::Result<()> {
        self.phase = Phase::Over;
        // No progress follows the result, which has taken all counters.
        self.next_progress = Nanos(u64::MAX);
        let mut result = std::mem::take(&mut self.counters.result);
        result.tally.unanswered = self.waiting_for_answer();
        let measured = |intended| self.measured.contains(&intended);
        let (mut spreads, mut unaccepted) = (Latencies::default(), Latencies::default());
        for room in &mut self.rooms {
            room.checker.settle_all();
            room.checker.late_faults().iter().for_each(|fault| fault.correct(&mut result.tally));
            result.tally.lost += room.checker.lost_deliveries();
            result.tally.stray += room.checker.unpublished();
            result.tally.received -= room.checker.unpublished();
            room.checker.unaccepted().for_each(|age| unaccepted.record(age));
            result.tally.overtaken += room.checker.overtaken();
            if room.is_whole {
                room.checker.record_spreads(measured, &mut spreads);
            } else {
                result.room_orders.push((room.number, room.checker.room_order(measured)));
            }
        }
        result.reconnects = self.take_reconnects();
        result.spreads = spreads.counts();
        result.tally.unaccepted = unaccepted.count();
        result.unaccepted = unaccepted.counts();
        result.lags = self.counters.lags.counts();
        result.answers = self.counters.answers.counts();
        result.processor_nanos = processor_time().saturating_sub(self.counters.processor_before).as_nanos() as u64;
        self.coordinator.send(&WorkerEvent::Result(Box::new(result)))
    }
}
