//! The metrics of the whole server, summed when they are requested, and the counters of the transports: HTTP
//! connections and refused clients.

use std::sync::Arc;

use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::api::ApiMetrics;
use crate::backplane::BackplaneMetrics;
use crate::broker::ShardMetrics;
use crate::config::COMMIT;
use crate::hooks::HookMetrics;
use crate::log;
use crate::metrics::{Counter, Exposition};
use crate::net::NoPermit;
use crate::protocol::dialect::Transport;
use crate::protocol::disconnect::Disconnect;
use crate::session::access::AccessMetrics;
use crate::stats::{Limits, Refused, Totals};
use crate::writer::{OtherConnections, WriterMetrics};

/// The counters of all workers.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// By `WriterIndex`.
    pub writers: Vec<Arc<WriterMetrics>>,
    /// By `ShardIndex`.
    pub shards: Vec<Arc<ShardMetrics>>,
    /// By the index of the worker.
    pub transports: Vec<Arc<TransportMetrics>>,
    /// By the index of the worker.
    pub access: Vec<Arc<AccessMetrics>>,
    /// By the index of the worker.
    pub hooks: Vec<Arc<HookMetrics>>,
    /// `None` where the server is alone.
    pub backplane: Option<Arc<BackplaneMetrics>>,
    /// By the index of the worker: nanoseconds for which its thread was busy, as of the last second.
    pub busy: Vec<Arc<Counter>>,
    /// What the configuration and the system allow.
    pub limits: Limits,
    /// 1 if the last reload has changed nothing, because something was wrong.
    pub last_reload_failed: Arc<Counter>,
    /// When the certificate ends, in Unix seconds; 0 without TLS.
    pub certificate_not_after: Arc<Counter>,
}

impl ServerMetrics {
    /// Counters of a server that is alone, at zero.
    pub fn new(workers: u16, shards: u16, limits: Limits) -> Self {
        Self {
            backplane: None,
            writers: (0..workers).map(|_| Arc::default()).collect(),
            shards: (0..shards).map(|_| Arc::default()).collect(),
            transports: (0..workers).map(|_| Arc::default()).collect(),
            access: (0..workers).map(|_| Arc::default()).collect(),
            hooks: (0..workers).map(|_| Arc::default()).collect(),
            busy: (0..workers).map(|_| Arc::default()).collect(),
            limits,
            last_reload_failed: Arc::default(),
            certificate_not_after: Arc::default(),
        }
    }

    /// The sums of all counters. Linear in workers and shards, constant in clients.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            rooms: ShardMetrics::rooms(&self.shards),
            published: ShardMetrics::published(&self.shards),
            history_bytes: ShardMetrics::history_bytes(&self.shards),
            hooks: HookMetrics::unanswered(&self.hooks),
            log_lines_dropped: log::lines_dropped(),
            certificate_not_after: self.certificate_not_after.get(),
            cluster: self.backplane.as_deref().map(BackplaneMetrics::figures),
            ..Totals::default()
        };
        WriterMetrics::add_to(&self.writers, &mut totals);
        TransportMetrics::add_to(&self.transports, &mut totals);
        totals
    }

    /// The clients that are connected now.
    pub fn clients(&self) -> u64 {
        self.totals().clients()
    }

    /// Appends what `GET /metrics` shows of the server. Linear in workers and shards, constant in clients.
    pub fn expose(&self, out: &mut Exposition) {
        let totals = self.totals();
        out.gauge(
            "active_connections",
            "Clients that are connected now, over whichever transport; no plain HTTP.",
            totals.clients(),
        );
        // Untyped, since a counter's name would have to end with `_total`.
        let published = [(String::new(), totals.published)];
        out.family("untyped", "total_messages", "Messages published to rooms since the server started.", published);
        out.gauge("active_rooms", "Rooms that have members now.", totals.rooms);
        self.expose_limits(out);
        self.expose_workers(&totals, out);
        let build = format!("version=\"{}\",commit=\"{COMMIT}\"", env!("CARGO_PKG_VERSION"));
        out.gauges("roomcast_build_info", "Always 1; the labels say what runs.", [(build, 1)]);
        WriterMetrics::expose(&self.writers, TransportMetrics::connections(&self.transports), out);
        TransportMetrics::expose(&self.transports, out);
        AccessMetrics::expose(&self.access, out);
        HookMetrics::expose(&self.hooks, out);
        ShardMetrics::expose(&self.shards, out);
        if let Some(backplane) = &self.backplane {
            backplane.expose(out);
        }
        out.gauge(
            "roomcast_tls_certificate_not_after_seconds",
            "When the certificate ends, in seconds since 1970; 0 without TLS.",
            totals.certificate_not_after,
        );
        out.gauge(
            "roomcast_last_reload_failed",
            "1 if the last SIGHUP has changed nothing, because a file or a setting was wrong; 0 otherwise.",
            self.last_reload_failed.get(),
        );
        out.counter(
            "roomcast_log_lines_dropped_total",
            "Log lines lost since nobody read the log fast enough.",
            totals.log_lines_dropped,
        );
        out.process();
    }

    fn expose_workers(&self, totals: &Totals, out: &mut Exposition) {
        let by_transport = Transport::VARIANTS.iter().zip(totals.clients);
        out.gauges(
            "roomcast_clients",
            "Clients that are connected now, by transport.",
            by_transport.map(|(transport, clients)| (format!("transport=\"{}\"", transport.word()), clients)),
        );
        out.gauges(
            "roomcast_worker_clients",
            "Clients that are connected now, by the worker that serves them.",
            by_worker(totals.clients_by_worker.iter().copied()),
        );
        let seconds = self.busy.iter().map(|busy| busy.get() as f64 / 1e9);
        let help =
            "Seconds for which the thread of each worker was busy; a rise of 1 per second is all that it can do.";
        out.family("counter", "roomcast_worker_busy_seconds_total", help, by_worker(seconds));
    }

    fn expose_limits(&self, out: &mut Exposition) {
        let Limits { clients_max, rooms_max, outbox_budget, history_budget } = self.limits;
        let help = "Connections that the server allows at once: max-clients, or what the file descriptors allow.";
        out.gauge("roomcast_clients_max", help, clients_max);
        let help = "Rooms that may have members at once: the setting rooms, the limit of active_rooms.";
        out.gauge("roomcast_rooms_max", help, rooms_max);
        let help = "Bytes of memory that outboxes may hold: outbox-budget, the limit of roomcast_outbox_held_bytes.";
        out.gauge("roomcast_outbox_limit_bytes", help, outbox_budget);
        let help = "Bytes of memory that rooms may retain: history-budget, the limit of roomcast_history_bytes.";
        out.gauge("roomcast_history_limit_bytes", help, history_budget);
    }
}

/// Values with the label of their worker.
fn by_worker<V>(values: impl Iterator<Item = V>) -> impl Iterator<Item = (String, V)> {
    values.enumerate().map(|(worker, value)| (format!("worker=\"{worker}\""), value))
}

/// Why a client or its request was refused. The word in logs and metric labels is the variant's name in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub(super) enum RefusalReason {
    /// The connection limit is reached.
    Full,
    /// The address has too many clients, or connects too fast.
    Address,
    /// The connection limit allows it, but there is no file descriptor.
    Descriptors,
    Draining,
    /// The node has not caught up with its cluster yet.
    CatchingUp,
    Origin,
    Path,
    /// The path does not support the method.
    Method,
    /// A handshake of HTTP/1.0.
    HttpVersion,
    /// A handshake without `Upgrade: websocket`.
    Upgrade,
    /// A handshake for another version of WebSocket.
    Version,
    /// A handshake without its key, or with a malformed one.
    Key,
    /// A token that is refused, or that stands where none may.
    Token,
    /// No key of the server API, or one that is not valid.
    ApiKey,
    /// A body where none is allowed, or one that is too long or malformed.
    Body,
    /// Commands for a session that is not there.
    Session,
    /// A client that has not the right to what it asks for.
    Rights,
    /// A parameter that breaks its rule, or a position from which nothing can be continued.
    Query,
    /// More deliveries than the address may cause.
    Rate,
    /// No `Host`, or several.
    Host,
    HeadTooLong,
    /// Bytes that are not HTTP, or not a PROXY header where one is required.
    Malformed,
    Timeout,
}

impl RefusalReason {
    /// The reasons for which a line client may be refused.
    const OF_LINES: [Self; 3] = [Self::Full, Self::Address, Self::Descriptors];

    fn label(self) -> String {
        format!("reason=\"{}\"", self.into_str())
    }
}

impl From<NoPermit> for RefusalReason {
    fn from(no_permit: NoPermit) -> Self {
        match no_permit {
            NoPermit::Full => Self::Full,
            NoPermit::TooManyOfAddress => Self::Address,
            NoPermit::OutOfDescriptors => Self::Descriptors,
        }
    }
}

/// The classes of statuses of answers.
const RESPONSE_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why a TLS handshake may fail.
const HANDSHAKE_FAILURES: [Disconnect; 6] = [
    Disconnect::ProtocolError,
    Disconnect::HandshakeTimeout,
    Disconnect::ClosedByPeer,
    Disconnect::IoError,
    Disconnect::TooManyConnections,
    Disconnect::Shutdown,
];

/// How an HTTP connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpEnd {
    /// It became a client.
    Upgraded,
    /// It was answered; either side may have closed it then.
    Done,
    /// It was not answered, or did not take its answers.
    Failed(Disconnect),
}

/// The counters of one worker's transports, on cache lines of their own: no two workers write to one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TransportMetrics {
    /// Connections that are open now and are no clients.
    pub(super) open: Counter,
    /// Connections that had an answer which did not make them clients, or ended without one.
    pub(super) opened: Counter,
    upgraded: Counter,
    done: Counter,
    failed: [Counter; Disconnect::VARIANTS.len()],
    http_refused: [Counter; RefusalReason::COUNT],
    lines_refused: [Counter; RefusalReason::COUNT],
    handshakes_done: Counter,
    handshakes_failed: [Counter; Disconnect::VARIANTS.len()],
    pub(super) requests: Counter,
    responses: [Counter; RESPONSE_CLASSES.len()],
    pub(super) scrapes: Counter,
    /// Requests for the figures of the dashboard, by which the server knows that somebody watches.
    pub(super) requests_for_figures: Counter,
    pub(super) api: ApiMetrics,
}

impl TransportMetrics {
    /// Counts the end of a connection. One that became a client with its first request is counted as a client alone;
    /// one that `was_plain`, and had answers before, as both.
    pub(super) fn count_closed(&self, end: HttpEnd, was_plain: bool) {
        match (end, was_plain) {
            (HttpEnd::Upgraded, false) => return,
            (_, false) => self.opened.add(1),
            _ => {}
        }
        let count = match end {
            HttpEnd::Upgraded => &self.upgraded,
            HttpEnd::Done => &self.done,
            HttpEnd::Failed(reason) => &self.failed[reason as usize],
        };
        count.add(1);
    }

    /// Counts an answer by its status.
    pub(super) fn count_response(&self, status: u16) {
        self.responses[usize::from(status / 100).clamp(1, RESPONSE_CLASSES.len()) - 1].add(1);
    }

    pub(super) fn count_http_refused(&self, reason: RefusalReason) {
        self.http_refused[reason as usize].add(1);
    }

    /// Counts a refused line client.
    pub fn count_line_client_refused(&self, no_permit: NoPermit) {
        self.lines_refused[RefusalReason::from(no_permit) as usize].add(1);
    }

    /// Counts a TLS handshake.
    pub fn count_handshake(&self, outcome: Result<(), Disconnect>) {
        let count = match outcome {
            Ok(()) => &self.handshakes_done,
            Err(reason) => &self.handshakes_failed[reason as usize],
        };
        count.add(1);
    }

    /// The samples of HTTP in the families that count all connections.
    fn connections(all: &[Arc<Self>]) -> OtherConnections {
        let sum = |count: &dyn Fn(&Self) -> &Counter| all.iter().map(|one| count(one).get()).sum::<u64>();
        let failed =
            Disconnect::VARIANTS.iter().map(|&reason| (reason.reason(), sum(&|one| &one.failed[reason as usize])));
        let ends = [("upgraded", sum(&|one| &one.upgraded)), ("done", sum(&|one| &one.done))];
        let ends = ends.into_iter().chain(failed);
        let closed = ends.map(|(reason, count)| (format!("transport=\"http\",reason=\"{reason}\""), count)).collect();
        OtherConnections { opened: vec![("transport=\"http\"".to_owned(), sum(&|one| &one.opened))], closed }
    }

    /// Adds the sums of all workers.
    fn add_to(all: &[Arc<Self>], totals: &mut Totals) {
        let sum = |count: &dyn Fn(&Self) -> u64| all.iter().map(|one| count(one)).sum::<u64>();
        let refused = |reason: RefusalReason| {
            sum(&|one| one.http_refused[reason as usize].get() + one.lines_refused[reason as usize].get())
        };
        totals.http_connections = sum(&|one| one.open.get());
        totals.requests_for_figures = sum(&|one| one.requests_for_figures.get());
        totals.refused = Refused {
            full: refused(RefusalReason::Full),
            address: refused(RefusalReason::Address),
            descriptors: refused(RefusalReason::Descriptors),
        };
    }

    /// Appends the counters of HTTP requests and refused clients, summed over all workers.
    fn expose(all: &[Arc<Self>], out: &mut Exposition) {
        let sum = |count: &dyn Fn(&Self) -> &Counter| all.iter().map(|one| count(one).get()).sum::<u64>();
        out.counter(
            "roomcast_http_requests_total",
            "HTTP requests that came whole, WebSocket handshakes among them, whatever the answer.",
            sum(&|one| &one.requests),
        );
        out.gauge(
            "roomcast_http_connections",
            "HTTP connections that are open now and are no clients: no WebSockets and no streams.",
            all.iter().map(|one| one.open.get()).sum(),
        );
        let responses = (0..).zip(RESPONSE_CLASSES);
        out.counters(
            "roomcast_http_responses_total",
            "Answers to HTTP requests by the class of their status; a WebSocket handshake that succeeds is 1xx.",
            responses.map(|(class, name): (usize, _)| (format!("class=\"{name}\""), sum(&|one| &one.responses[class]))),
        );
        let http_refused = |&reason: &RefusalReason| (reason.label(), sum(&|one| &one.http_refused[reason as usize]));
        out.counters(
            "roomcast_http_refused_total",
            "HTTP requests and WebSocket handshakes that were refused, by reason. At log level debug each has a line.",
            RefusalReason::VARIANTS.iter().map(http_refused),
        );
        out.counters(
            "roomcast_tcp_refused_total",
            "Line clients that were not let in, by reason: full is the server, address is too many or too fast from \
             one address, descriptors is a lack of file descriptors.",
            RefusalReason::OF_LINES.map(|reason| (reason.label(), sum(&|one| &one.lines_refused[reason as usize]))),
        );
        let handshakes_failed =
            HANDSHAKE_FAILURES.map(|reason| (reason.reason(), sum(&|one| &one.handshakes_failed[reason as usize])));
        let handshakes = [("done", sum(&|one| &one.handshakes_done))].into_iter().chain(handshakes_failed);
        out.counters(
            "roomcast_tls_handshakes_total",
            "TLS handshakes by outcome: done, or why there is none; protocol-error is another protocol, or TLS that has \
             no version in common.",
            handshakes.map(|(outcome, count)| (format!("outcome=\"{outcome}\""), count)),
        );
        ApiMetrics::expose(all.iter().map(|one| &one.api), out);
        let scrapes = "Times that this text was made; requests to one worker within 100 ms of each other share it.";
        out.counter("roomcast_scrapes_total", scrapes, sum(&|one| &one.scrapes));
    }
}
