//! What a writer counts. (message, member) pairs keep a law: fanned out = delivered + dropped + queued.

use crate::metrics::{Count, Exposition, Times};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;

/// The counts of one writer, on cache lines of their own: two workers are not to write to one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WriterMetrics {
    pub(super) opened: [Count; Dialect::ALL.len()],
    pub(super) closed: [[Count; Disconnect::ALL.len()]; Dialect::ALL.len()],
    pub(super) fanned_out: Count,
    pub(super) delivered: Count,
    pub(super) dropped_slow: Count,
    pub(super) dropped_gap: Count,
    pub(super) dropped_gone: Count,
    pub(super) writes: Count,
    pub(super) sent_bytes: Count,
    pub(super) owed_bytes: Count,
    pub(super) held_bytes: Count,
    pub(super) cut: Count,
    /// From the read of a message to the write that completes it, of the oldest message of each write.
    pub(super) written: Times,
}

impl WriterMetrics {
    /// A client was turned away before it had a slot. To be called on the writer's own thread.
    pub fn count_refused(&self, dialect: Dialect, reason: Disconnect) {
        self.opened[dialect as usize].add(1);
        self.closed[dialect as usize][reason as usize].add(1);
    }

    /// All writers together.
    pub fn expose(all: &[impl AsRef<Self>], out: &mut Exposition) {
        let sum = |count: fn(&Self) -> &Count| all.iter().map(|one| count(one.as_ref()).get()).sum::<u64>();
        let opened = |dialect: Dialect| all.iter().map(|one| one.as_ref().opened[dialect as usize].get()).sum();
        let closed = |dialect: Dialect, reason: Disconnect| {
            all.iter().map(|one| one.as_ref().closed[dialect as usize][reason as usize].get()).sum::<u64>()
        };
        let transport = |dialect: Dialect| format!("transport=\"{}\"", dialect.transport());
        let ends = Dialect::ALL.into_iter().flat_map(|dialect| Disconnect::ALL.map(|reason| (dialect, reason)));
        let ends = ends.map(|(dialect, reason)| {
            (format!("{},reason=\"{}\"", transport(dialect), reason.reason()), closed(dialect, reason))
        });
        out.counters(
            "roomcast_connections_opened_total",
            "Clients that came, by transport.",
            Dialect::ALL.map(|dialect| (transport(dialect), opened(dialect))),
        );
        out.counters("roomcast_connections_closed_total", "Clients gone, by transport and reason.", ends);
        let delivered = sum(|one| &one.delivered);
        let dropped = [
            ("slow", sum(|one| &one.dropped_slow)),
            ("gap", sum(|one| &one.dropped_gap)),
            ("gone", sum(|one| &one.dropped_gone)),
        ];
        // Read last: what is counted meanwhile is queued, never less than nothing.
        let fanned_out = sum(|one| &one.fanned_out);
        let ended = delivered + dropped.iter().map(|(_, count)| count).sum::<u64>();
        let queued = fanned_out.saturating_sub(ended);
        out.counter("roomcast_fanned_out_total", "Deliveries due: messages times members.", fanned_out);
        out.counter("roomcast_deliveries_total", "Deliveries handed whole to the kernel.", delivered);
        out.counters(
            "roomcast_dropped_total",
            "Deliveries not made, by reason.",
            dropped.map(|(reason, count)| (format!("reason=\"{reason}\""), count)),
        );
        out.gauge("roomcast_queued_deliveries", "Deliveries in outboxes.", queued);
        out.counter("roomcast_sent_bytes_total", "Bytes handed to the kernel.", sum(|one| &one.sent_bytes));
        out.counter("roomcast_writes_total", "Write calls that took bytes.", sum(|one| &one.writes));
        out.gauge("roomcast_outbox_bytes", "Bytes owed to all clients.", sum(|one| &one.owed_bytes));
        out.gauge(
            "roomcast_outbox_held_bytes",
            "Memory held for what is owed, each entry counted once on a worker.",
            sum(|one| &one.held_bytes),
        );
        out.times(
            "roomcast_write_seconds",
            "From the read of a message to its delivery, by the oldest message of a write.",
            all.iter().map(|one| &one.as_ref().written),
        );
    }

    /// Clients closed so far while something was owed to them, over all writers.
    pub fn cut(all: &[impl AsRef<Self>]) -> u64 {
        all.iter().map(|one| one.as_ref().cut.get()).sum()
    }

    /// Clients that are there now, over all writers.
    pub fn clients(all: &[impl AsRef<Self>]) -> u64 {
        let total = |counts: &[Count]| counts.iter().map(Count::get).sum::<u64>();
        let opened: u64 = all.iter().map(|one| total(&one.as_ref().opened)).sum();
        let closed: u64 = all.iter().flat_map(|one| &one.as_ref().closed).map(|reasons| total(reasons)).sum();
        opened.saturating_sub(closed)
    }
}
