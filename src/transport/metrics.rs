//! The metrics of the whole server, summed when they are asked for. Counts nothing itself, and nobody waits for it.

use std::sync::Arc;

use crate::broker::ShardMetrics;
use crate::log;
use crate::metrics::Exposition;
use crate::writer::WriterMetrics;

/// What every worker counts.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// By `WriterIndex`.
    pub writers: Vec<Arc<WriterMetrics>>,
    /// By `ShardIndex`.
    pub shards: Vec<Arc<ShardMetrics>>,
}

impl ServerMetrics {
    /// Nothing counted yet.
    pub fn new(workers: u16, shards: u16) -> Self {
        Self {
            writers: (0..workers).map(|_| Arc::default()).collect(),
            shards: (0..shards).map(|_| Arc::default()).collect(),
        }
    }

    /// The text of `GET /metrics`. Linear in workers and shards, whatever the clients.
    pub fn expose(&self) -> String {
        let mut out = Exposition::default();
        let clients = WriterMetrics::clients(&self.writers);
        out.gauge("active_connections", "TCP and WebSocket clients.", clients);
        out.untyped("total_messages", "Messages published.", ShardMetrics::published(&self.shards));
        out.gauge("active_rooms", "Rooms with members.", ShardMetrics::rooms(&self.shards));
        WriterMetrics::expose(&self.writers, &mut out);
        ShardMetrics::expose(&self.shards, &mut out);
        out.counter(
            "roomcast_log_lines_dropped_total",
            "Log lines lost since nobody read the log.",
            log::lines_dropped(),
        );
        out.into_text()
    }
}
