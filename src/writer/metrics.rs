//! The metrics of a writer. Its (message, member) pairs obey a law: fanned out = delivered + dropped + queued.

use strum::VariantArray;

use crate::metrics::{BucketCounts, Counter, Exposition, Histogram};
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Transport;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::error_code::ErrorCode;
use crate::stats::{Dropped, Totals};

/// The metrics of one writer, on cache lines of their own, so that two workers never write to the same one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WriterMetrics {
    pub(super) opened: [Counter; Transport::VARIANTS.len()],
    pub(super) closed: [[Counter; Disconnect::VARIANTS.len()]; Transport::VARIANTS.len()],
    errors: [Counter; ErrorCode::VARIANTS.len()],
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
    /// From the read of a message to the write that completes it, for the oldest message of each write.
    pub(super) written: Histogram,
}

/// Counts of (message, member) pairs over some writers, at one moment; and two more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries that came to the writers.
    pub fanned_out: u64,
    /// Deliveries handed whole to the kernel.
    pub delivered: u64,
    /// Deliveries dropped because their client was too slow.
    pub dropped_slow: u64,
    /// Deliveries dropped in favour of later ones; their client is sent the number.
    pub dropped_gap: u64,
    /// Deliveries dropped because their client was gone or closing.
    pub dropped_gone: u64,
    /// Writes of which a socket took bytes.
    pub writes: u64,
    /// Clients closed while output was pending for them.
    pub cut: u64,
}

impl Counts {
    /// The counts of these writers together.
    pub fn of(all: &[impl AsRef<WriterMetrics>]) -> Self {
        let sum = |count: fn(&WriterMetrics) -> &Counter| all.iter().map(|one| count(one.as_ref()).get()).sum();
        Self {
            delivered: sum(|one| &one.delivered),
            dropped_slow: sum(|one| &one.dropped_slow),
            dropped_gap: sum(|one| &one.dropped_gap),
            dropped_gone: sum(|one| &one.dropped_gone),
            writes: sum(|one| &one.writes),
            cut: sum(|one| &one.cut),
            // Read last, so that a delivery counted meanwhile is queued, and never fewer than none.
            fanned_out: sum(|one| &one.fanned_out),
        }
    }
}

/// Samples of connections that no writer serves, for the metrics that count all connections: labels and numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct OtherConnections {
    pub opened: Vec<(String, u64)>,
    pub closed: Vec<(String, u64)>,
}

impl WriterMetrics {
    /// Counts a client that was turned away before it had a slot. For the writer's own thread.
    pub(crate) fn count_refused(&self, transport: Transport, reason: Disconnect) {
        self.opened[transport as usize].add(1);
        self.closed[transport as usize][reason as usize].add(1);
    }

    /// Counts a command that was answered with an error. For the writer's own thread.
    pub(crate) fn count_error(&self, error: &CommandError) {
        self.errors[error.code() as usize].add(1);
    }

    /// Counts bytes read from a client. For the writer's own thread.
    pub(crate) fn count_received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
    }

    /// Appends the metrics of all writers together, and those of the connections that no writer serves.
    pub(crate) fn expose(all: &[impl AsRef<Self>], others: OtherConnections, out: &mut Exposition) {
        let sum = |count: fn(&Self) -> &Counter| all.iter().map(|one| count(one.as_ref()).get()).sum::<u64>();
        let opened = |transport: Transport| all.iter().map(|one| one.as_ref().opened[transport as usize].get()).sum();
        let closed = |transport: Transport, reason: Disconnect| {
            all.iter().map(|one| one.as_ref().closed[transport as usize][reason as usize].get()).sum::<u64>()
        };
        let errors = |code: ErrorCode| all.iter().map(|one| one.as_ref().errors[code as usize].get()).sum::<u64>();
        let label = |transport: Transport| format!("transport=\"{}\"", transport.word());
        let transports = Transport::VARIANTS.iter().copied();
        let ends = transports.clone().flat_map(|transport| {
            let end = move |&reason: &Disconnect| {
                (format!("{},reason=\"{}\"", label(transport), reason.reason()), closed(transport, reason))
            };
            Disconnect::VARIANTS.iter().map(end)
        });
        out.counters(
            "roomcast_connections_opened_total",
            "Connections that came, by transport. An HTTP connection counts as http once it had an answer or has ended, and \
             as a client alone if its first request made it one.",
            transports.map(|transport| (label(transport), opened(transport))).chain(others.opened),
        );
        out.counters(
            "roomcast_connections_closed_total",
            "Connections that ended, by transport and reason. For http, done is the normal end of a connection that had its \
             answers, upgraded one that became a client after it.",
            ends.chain(others.closed),
        );
        out.counters(
            "roomcast_errors_total",
            "Commands that were answered with ERR, by the code behind it. A rise means that clients send what breaks a rule.",
            ErrorCode::VARIANTS.iter().map(|&code| (format!("code=\"{}\"", code.word()), errors(code))),
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

    fn expose_deliveries(all: &[impl AsRef<Self>], out: &mut Exposition) {
        let counts = Counts::of(all);
        let dropped = [("slow", counts.dropped_slow), ("gap", counts.dropped_gap), ("gone", counts.dropped_gone)];
        let ended = counts.delivered + dropped.iter().map(|(_, count)| count).sum::<u64>();
        let queued = counts.fanned_out.saturating_sub(ended);
        out.counter(
            "roomcast_fanned_out_total",
            "Deliveries that were due: one for each member of the room of each published message.",
            counts.fanned_out,
        );
        out.counter(
            "roomcast_deliveries_total",
            "Deliveries made: messages that the kernel took whole for a member.",
            counts.delivered,
        );
        out.counters(
            "roomcast_dropped_total",
            "Deliveries that will never be made, by reason: slow members that were cut, gap for messages that a slow member \
             lost and was told of, gone for members that had left.",
            dropped.map(|(reason, count)| (format!("reason=\"{reason}\""), count)),
        );
        out.gauge("roomcast_queued_deliveries", "Deliveries that wait in outboxes now.", queued);
    }

    /// Adds the clients of all writers, and the ends of those that are gone.
    fn add_clients(all: &[impl AsRef<Self>], totals: &mut Totals) {
        for one in all {
            let Self { opened, closed, .. } = one.as_ref();
            let mut clients_of_worker = 0;
            for (transport, opened) in opened.iter().enumerate() {
                let ended = closed[transport].each_ref().map(Counter::get);
                // The worker may count another end meanwhile.
                let clients = opened.get().saturating_sub(ended.iter().sum());
                totals.clients[transport] += clients;
                totals.ended[transport].iter_mut().zip(ended).for_each(|(sum, ended)| *sum += ended);
                clients_of_worker += clients;
            }
            totals.clients_by_worker.push(clients_of_worker);
        }
    }

    /// Adds the sums of all writers.
    pub(crate) fn add_to(all: &[impl AsRef<Self>], totals: &mut Totals) {
        let sum = |count: fn(&Self) -> &Counter| all.iter().map(|one| count(one.as_ref()).get()).sum();
        Self::add_clients(all, totals);
        let Counts { delivered, dropped_slow: slow, dropped_gap: gap, dropped_gone: gone, .. } = Counts::of(all);
        (totals.delivered, totals.dropped) = (delivered, Dropped { slow, gap, gone });
        totals.pending_bytes = sum(|one| &one.pending_bytes);
        totals.held_bytes = sum(|one| &one.held_bytes);
        totals.written = BucketCounts::of(all.iter().map(|one| &one.as_ref().written));
    }
}
