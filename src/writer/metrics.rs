//! What a writer counts. (message, member) pairs keep a law: fanned out = delivered + dropped + queued.

use crate::metrics::{Counter, Exposition, Histogram};
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::error_code::ErrorCode;

/// The counts of one writer, on cache lines of their own: two workers are not to write to one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WriterMetrics {
    pub(super) opened: [Counter; Dialect::ALL.len()],
    pub(super) closed: [[Counter; Disconnect::ALL.len()]; Dialect::ALL.len()],
    errors: [Counter; ErrorCode::ALL.len()],
    received_bytes: Counter,
    pub(super) fanned_out: Counter,
    pub(super) delivered: Counter,
    pub(super) dropped_slow: Counter,
    pub(super) dropped_gap: Counter,
    pub(super) dropped_gone: Counter,
    pub(super) writes: Counter,
    pub(super) sent_bytes: Counter,
    pub(super) pending_bytes: Counter,
    pub(super) held_bytes: Counter,
    pub(super) cut: Counter,
    /// From the read of a message to the write that completes it, of the oldest message of each write.
    pub(super) written: Histogram,
}

/// Samples of connections that no writer serves, for the families that count all connections: labels and numbers.
#[derive(Clone, Debug, Default)]
pub struct OtherConnections {
    /// Those that came.
    pub opened: Vec<(String, u64)>,
    /// Those that ended.
    pub closed: Vec<(String, u64)>,
}

impl WriterMetrics {
    /// A client was turned away before it had a slot. To be called on the writer's own thread.
    pub fn count_refused(&self, dialect: Dialect, reason: Disconnect) {
        self.opened[dialect as usize].add(1);
        self.closed[dialect as usize][reason as usize].add(1);
    }

    /// A command was answered with an error. To be called on the writer's own thread.
    pub fn count_error(&self, error: &CommandError) {
        self.errors[error.code() as usize].add(1);
    }

    /// A client's socket was read. To be called on the writer's own thread.
    pub fn count_received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
    }

    /// All writers together, and the connections that no writer serves.
    pub fn expose(all: &[impl AsRef<Self>], others: OtherConnections, out: &mut Exposition) {
        let sum = |count: fn(&Self) -> &Counter| all.iter().map(|one| count(one.as_ref()).get()).sum::<u64>();
        let opened = |dialect: Dialect| all.iter().map(|one| one.as_ref().opened[dialect as usize].get()).sum();
        let closed = |dialect: Dialect, reason: Disconnect| {
            all.iter().map(|one| one.as_ref().closed[dialect as usize][reason as usize].get()).sum::<u64>()
        };
        let errors = |code: ErrorCode| all.iter().map(|one| one.as_ref().errors[code as usize].get()).sum::<u64>();
        let transport = |dialect: Dialect| format!("transport=\"{}\"", dialect.transport());
        let ends = Dialect::ALL.into_iter().flat_map(|dialect| Disconnect::ALL.map(|reason| (dialect, reason)));
        let ends = ends.map(|(dialect, reason)| {
            (format!("{},reason=\"{}\"", transport(dialect), reason.reason()), closed(dialect, reason))
        });
        out.counters(
            "roomcast_connections_opened_total",
            "Connections that came, by transport. An HTTP connection that becomes a WebSocket client counts as both.",
            Dialect::ALL.map(|dialect| (transport(dialect), opened(dialect))).into_iter().chain(others.opened),
        );
        out.counters(
            "roomcast_connections_closed_total",
            "Connections that ended, by transport and reason. For http, done is the normal end of a connection that had its \
             answers, upgraded one that became a WebSocket client.",
            ends.chain(others.closed),
        );
        out.counters(
            "roomcast_errors_total",
            "Commands that were answered with ERR, by the code behind it. A rise means that clients send what breaks a rule.",
            ErrorCode::ALL.map(|code| (format!("code=\"{}\"", code.word()), errors(code))),
        );
        Self::expose_deliveries(all, out);
        out.counter(
            "roomcast_received_bytes_total",
            "Bytes read from TCP and WebSocket clients, framing included, handshakes and HTTP requests not.",
            sum(|one| &one.received_bytes),
        );
        out.counter(
            "roomcast_sent_bytes_total",
            "Bytes of messages, replies and framing that the kernel took for TCP and WebSocket clients.",
            sum(|one| &one.sent_bytes),
        );
        out.counter(
            "roomcast_writes_total",
            "System calls that wrote to TCP and WebSocket clients; deliveries per write say how much they merge.",
            sum(|one| &one.writes),
        );
        out.gauge(
            "roomcast_outbox_bytes",
            "Bytes that wait for clients whose sockets do not take them yet, over all clients; what two wait for counts twice.",
            sum(|one| &one.pending_bytes),
        );
        out.gauge(
            "roomcast_outbox_held_bytes",
            "Memory in bytes of what waits for clients, which outbox-budget limits; a message that many on one worker wait for \
             counts once.",
            sum(|one| &one.held_bytes),
        );
        out.histogram(
            "roomcast_write_seconds",
            "Seconds from the read of a message off its sender's socket until the kernel took it whole for a member; one \
             sample per write, of the oldest message in it.",
            all.iter().map(|one| &one.as_ref().written),
        );
    }

    /// What became of the deliveries that were due.
    fn expose_deliveries(all: &[impl AsRef<Self>], out: &mut Exposition) {
        let sum = |count: fn(&Self) -> &Counter| all.iter().map(|one| count(one.as_ref()).get()).sum::<u64>();
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
        out.counter(
            "roomcast_fanned_out_total",
            "Deliveries that were due: one for each member of the room of each published message.",
            fanned_out,
        );
        out.counter(
            "roomcast_deliveries_total",
            "Deliveries made: messages that the kernel took whole for a member.",
            delivered,
        );
        out.counters(
            "roomcast_dropped_total",
            "Deliveries that will never be made, by reason: slow members that were cut, gap for messages that a slow member \
             lost and was told of, gone for members that had left.",
            dropped.map(|(reason, count)| (format!("reason=\"{reason}\""), count)),
        );
        out.gauge("roomcast_queued_deliveries", "Deliveries that wait in outboxes now.", queued);
    }

    /// Clients closed so far while something was owed to them, over all writers.
    pub fn cut(all: &[impl AsRef<Self>]) -> u64 {
        all.iter().map(|one| one.as_ref().cut.get()).sum()
    }

    /// Clients that are there now, over all writers.
    pub fn clients(all: &[impl AsRef<Self>]) -> u64 {
        let total = |counts: &[Counter]| counts.iter().map(Counter::get).sum::<u64>();
        let opened: u64 = all.iter().map(|one| total(&one.as_ref().opened)).sum();
        let closed: u64 = all.iter().flat_map(|one| &one.as_ref().closed).map(|reasons| total(reasons)).sum();
        opened.saturating_sub(closed)
    }
}
