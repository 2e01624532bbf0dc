//! The metrics of the whole server, summed when they are asked for, and what the ways in count: HTTP connections, and who is
//! turned away. Nobody waits for it.

use std::sync::Arc;

use crate::broker::ShardMetrics;
use crate::log;
use crate::metrics::{Counter, Exposition};
use crate::protocol::disconnect::Disconnect;
use crate::writer::{OtherConnections, WriterMetrics};

/// What every worker counts.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// By `WriterIndex`.
    pub writers: Vec<Arc<WriterMetrics>>,
    /// By `ShardIndex`.
    pub shards: Vec<Arc<ShardMetrics>>,
    /// By the index of the worker.
    pub transports: Vec<Arc<TransportMetrics>>,
    /// The connection limit.
    clients_max: usize,
}

impl ServerMetrics {
    /// Nothing counted yet.
    pub fn new(workers: u16, shards: u16, clients_max: usize) -> Self {
        Self {
            writers: (0..workers).map(|_| Arc::default()).collect(),
            shards: (0..shards).map(|_| Arc::default()).collect(),
            transports: (0..workers).map(|_| Arc::default()).collect(),
            clients_max,
        }
    }

    /// The text of `GET /metrics`. Linear in workers and shards, whatever the clients.
    pub fn expose(&self) -> String {
        let mut out = Exposition::default();
        let clients = WriterMetrics::clients(&self.writers);
        out.gauge("active_connections", "TCP and WebSocket clients that are connected now; no plain HTTP.", clients);
        let published = ShardMetrics::published(&self.shards);
        out.untyped("total_messages", "MessageDecoder published to rooms since the server started.", published);
        out.gauge("active_rooms", "Rooms that have members now.", ShardMetrics::rooms(&self.shards));
        let max =
            "TCP and WebSocket clients that the server lets in at most: max-clients, or what the descriptors allow.";
        out.gauge("roomcast_clients_max", max, self.clients_max as u64);
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        out.gauges("roomcast_build_info", "Always 1; the label says which version runs.", [(version, 1)]);
        WriterMetrics::expose(&self.writers, TransportMetrics::connections(&self.transports), &mut out);
        TransportMetrics::expose(&self.transports, &mut out);
        ShardMetrics::expose(&self.shards, &mut out);
        out.counter(
            "roomcast_log_lines_dropped_total",
            "Log lines lost since nobody read the log fast enough.",
            log::lines_dropped(),
        );
        out.process();
        out.into_text()
    }
}

/// Why a client was turned away, or its request refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// Every place is taken.
    Full,
    /// Its address has too many clients, or connects too fast.
    Address,
    /// There are places, but no descriptors.
    Descriptors,
    /// The server is stopping.
    Draining,
    /// A page of another origin.
    Origin,
    /// No such path.
    Path,
    /// The path has other methods.
    Method,
    /// A handshake of HTTP/1.0.
    HttpVersion,
    /// A handshake without `Upgrade: websocket`.
    Upgrade,
    /// A handshake of another version of WebSocket.
    Version,
    /// A handshake without its key.
    Key,
    /// A body where none is taken, or one that is too long.
    Body,
    /// No `Host`, or several.
    Host,
    /// The head of a request is too long.
    HeadTooLong,
    /// What came is no HTTP.
    Malformed,
    /// The request did not come in time.
    Timeout,
}

impl RefusalReason {
    /// Every reason, in the order of its index; those that line clients have too come first.
    pub const ALL: [Self; 16] = [
        Self::Full,
        Self::Address,
        Self::Descriptors,
        Self::Draining,
        Self::Origin,
        Self::Path,
        Self::Method,
        Self::HttpVersion,
        Self::Upgrade,
        Self::Version,
        Self::Key,
        Self::Body,
        Self::Host,
        Self::HeadTooLong,
        Self::Malformed,
        Self::Timeout,
    ];

    /// Why a line client may be turned away.
    const OF_LINES: [Self; 3] = [Self::Full, Self::Address, Self::Descriptors];

    /// The constant phrase for logs and metric labels.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
            Self::Descriptors => "descriptors",
            Self::Draining => "draining",
            Self::Origin => "origin",
            Self::Path => "path",
            Self::Method => "method",
            Self::HttpVersion => "http-version",
            Self::Upgrade => "upgrade",
            Self::Version => "version",
            Self::Key => "key",
            Self::Body => "body",
            Self::Host => "host",
            Self::HeadTooLong => "head-too-long",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
        }
    }
}

/// How an HTTP connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpEnd {
    /// It became a WebSocket client.
    Upgraded,
    /// It had its answers, whoever closed it then.
    Done,
    /// It had none, or did not take them.
    Failed(Disconnect),
}

impl HttpEnd {
    const ALL: [Self; 2 + Disconnect::ALL.len()] = {
        let mut all = [Self::Upgraded; 2 + Disconnect::ALL.len()];
        all[1] = Self::Done;
        let mut index = 0;
        while index < Disconnect::ALL.len() {
            all[2 + index] = Self::Failed(Disconnect::ALL[index]);
            index += 1;
        }
        all
    };

    fn index(self) -> usize {
        match self {
            Self::Upgraded => 0,
            Self::Done => 1,
            Self::Failed(reason) => 2 + reason as usize,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Upgraded => "upgraded",
            Self::Done => "done",
            Self::Failed(reason) => reason.reason(),
        }
    }
}

/// What the ways into one worker count. On cache lines of its own: two workers are not to write to one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TransportMetrics {
    opened: Counter,
    closed: [Counter; HttpEnd::ALL.len()],
    http_refused: [Counter; RefusalReason::ALL.len()],
    lines_refused: [Counter; RefusalReason::OF_LINES.len()],
    requests: Counter,
    scrapes: Counter,
}

impl TransportMetrics {
    /// An HTTP connection came.
    pub fn count_opened(&self) {
        self.opened.add(1);
    }

    /// An HTTP connection ended.
    pub fn count_closed(&self, end: HttpEnd) {
        self.closed[end.index()].add(1);
    }

    /// An HTTP request came.
    pub fn count_request(&self) {
        self.requests.add(1);
    }

    /// An HTTP request or connection was refused.
    pub fn count_refused(&self, reason: RefusalReason) {
        self.http_refused[reason as usize].add(1);
    }

    /// A line client was turned away.
    pub fn count_line_client_refused(&self, reason: RefusalReason) {
        if let Some(count) = self.lines_refused.get(reason as usize) {
            count.add(1);
        }
    }

    /// The text of the metrics is made.
    pub fn count_scrape(&self) {
        self.scrapes.add(1);
    }

    /// The samples of HTTP in the families that count all connections.
    fn connections(all: &[Arc<Self>]) -> OtherConnections {
        let sum = |count: &dyn Fn(&Self) -> u64| all.iter().map(|one| count(one)).sum::<u64>();
        let ends = HttpEnd::ALL.map(|end| {
            let labels = format!("transport=\"http\",reason=\"{}\"", end.reason());
            (labels, sum(&|one| one.closed[end.index()].get()))
        });
        let opened = sum(&|one| one.opened.get());
        OtherConnections { opened: vec![("transport=\"http\"".to_owned(), opened)], closed: ends.to_vec() }
    }

    /// All workers together.
    fn expose(all: &[Arc<Self>], out: &mut Exposition) {
        let sum = |count: &dyn Fn(&Self) -> &Counter| all.iter().map(|one| count(one).get()).sum::<u64>();
        let label = |reason: RefusalReason| format!("reason=\"{}\"", reason.reason());
        out.counter(
            "roomcast_http_requests_total",
            "HTTP requests that came whole, WebSocket handshakes among them, whatever the answer.",
            sum(&|one| &one.requests),
        );
        out.counters(
            "roomcast_http_refused_total",
            "HTTP requests and WebSocket handshakes that were refused, by reason. At log level debug each has a line.",
            RefusalReason::ALL.map(|reason| (label(reason), sum(&|one| &one.http_refused[reason as usize]))),
        );
        out.counters(
            "roomcast_tcp_refused_total",
            "Line clients that were not let in, by reason: full is the server, address is too many or too fast from one \
             address, descriptors is a lack of file descriptors.",
            RefusalReason::OF_LINES.map(|reason| (label(reason), sum(&|one| &one.lines_refused[reason as usize]))),
        );
        let scrapes = "Histogram that this text was made; requests to one worker within 100 ms of each other share it.";
        out.counter("roomcast_scrapes_total", scrapes, sum(&|one| &one.scrapes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_in_its_table_at_its_index() {
        assert!(RefusalReason::ALL.into_iter().enumerate().all(|(index, reason)| reason as usize == index));
        assert!(RefusalReason::OF_LINES.into_iter().enumerate().all(|(index, reason)| reason as usize == index));
        assert!(HttpEnd::ALL.into_iter().enumerate().all(|(index, end)| end.index() == index));
    }
}
