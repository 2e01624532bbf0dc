//! HTTP: health, readiness, metrics, the WebSocket handshake, the streams of clients without WebSocket, rooms as history
//! and as events, and the server API, over hyper inside our own accept loop. A socket whose handshake succeeded goes on as
//! a WebSocket client, raw, and hyper is gone; so does one whose answer is a stream, behind the head.

mod activity;
mod api;
mod bearer;
mod body;
mod cors;
mod dashboard;
mod extensions;
mod forwarded;
mod framing;
mod handshake;
mod origin;
mod pages;
mod probes;
mod refusals;
mod requests;
mod room_list;
mod room_request;
mod rooms;
mod routes;
mod spare;
mod streams;
mod subprotocol;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

pub use self::activity::HttpTimes;
use self::activity::{Phase, Watched};
use self::dashboard::WholeFigures;
pub use self::forwarded::forwarded_for;
pub use self::origin::{OriginRules, Reached};
use self::requests::{Admitted, HttpConnection};
pub use self::room_request::{RoomQuery, WrongRequest, room_of};
use self::rooms::{ANSWERS_MAX, SHARES};
use self::spare::{SPARE_TIME_MAX, Spare};
use super::connection::{Client, ReadBuffer};
use super::emulation::Streams;
use super::metrics::{HttpEnd, RefusalReason, ServerMetrics, TransportMetrics};
use crate::api::Node;
use crate::backplane::CaughtUp;
use crate::config::WebPages;
use crate::log::LogThrottle;
use crate::net::NoPermit;
use crate::net::accept::Accepted;
use crate::net::address_limiter::AddressLimiter;
use crate::net::connection_limit::{ConnectionLimit, ConnectionPermit};
use crate::net::handshakes::{Handshakes, Port};
use crate::net::proxy::TrustedProxies;
use crate::net::revocable::RevocablePermits;
use crate::net::stream::Stream;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::session::SessionContext;
use crate::session::access::WorkerAccess;
use crate::session::reader::Reading;
use crate::shutdown::Drain;
use crate::stats::Stats;
use crate::writer::CLOSE_LINGER;

/// Connections that a worker serves beside its clients when the server is full.
pub const SPARE_CONNECTIONS: usize = 16;

/// Memory of a connection with hyper's state and the head of its request, in bytes: 21 KiB were measured.
const CONNECTION_BYTES: usize = 20 * 1024;

/// Headers of a request; one more is answered with 431.
const HEADERS_MAX: usize = 64;

/// Bytes of a request's head; more are answered with 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the HTTP server of a worker works with.
pub struct HttpContext {
    /// Says whether the server stops.
    pub drain: Drain,
    /// Whether a node of a cluster has rooms; `None` where the server is alone, and always has.
    pub caught_up: Option<CaughtUp>,
    /// The connection limit of the worker.
    pub connection_limit: ConnectionLimit,
    /// Limits clients behind trusted proxies, and connections of others, by address.
    pub address_limiter: AddressLimiter,
    /// What `/metrics` shows.
    pub metrics: ServerMetrics,
    /// The figures of the dashboard, renewed each second.
    pub stats: watch::Receiver<Arc<Stats>>,
    /// The counters of this worker.
    pub counts: Arc<TransportMetrics>,
    /// The worker's buffer, into which input behind the last answer is read and discarded.
    pub buffer: Rc<ReadBuffer>,
    /// How long a client may take.
    pub times: HttpTimes,
    /// The server's own web pages.
    pub pages: WebPages,
    /// Which web pages may open a WebSocket.
    pub origins: OriginRules,
    /// The proxies whose word is taken for the client's address and the host.
    pub proxies: TrustedProxies,
    /// The handshakes of the worker.
    pub handshakes: Rc<Handshakes>,
    /// What makes a token valid.
    pub access: Rc<WorkerAccess>,
    /// What the sessions share; gone once the worker has no clients and does not let any in.
    pub sessions: Weak<SessionContext>,
    /// The shortest message that is compressed, in bytes; `None` turns compression off.
    pub deflate_bytes_min: Option<NonZeroU16>,
    /// The streams for which commands come.
    pub streams: Rc<Streams>,
    /// What the server API says of this process.
    pub node: Node,
}

/// The HTTP server of a worker.
pub struct HttpServer {
    context: HttpContext,
    /// The newest text of the metrics, and when it was made.
    metrics_text: RefCell<Option<(Instant, Bytes)>>,
    /// The figures with all samples in JSON, for every page that is opened within the same second.
    whole_figures: RefCell<Option<WholeFigures>>,
    spare: RevocablePermits,
    /// Permits of calls of the server API that a full server answers for as long as they take.
    spare_calls: Arc<Semaphore>,
    origin_refusals: LogThrottle,
    /// The memory of answers with history.
    history: Arc<Semaphore>,
    api_description: OnceCell<Bytes>,
    on_upgrade: Box<dyn Fn(Client, Upgrade)>,
}

/// What a socket goes on as, once it is without hyper.
pub enum Upgrade {
    /// A client that sends commands.
    Client(Dialect),
    /// A client that reads one room.
    Reader(Box<Reading>),
}

/// A connection of which nothing was read, or only the PROXY header.
struct HttpSocket<'a> {
    stream: Stream,
    peer: SocketAddr,
    /// A trusted proxy has named the peer in a PROXY header.
    is_proxied: bool,
    /// It has had an answer that did not make it a client.
    is_plain: &'a Cell<bool>,
    /// What it is served on, if it has no permit.
    spare: Option<&'a Spare>,
}

impl HttpServer {
    /// Sockets that were switched to WebSocket, or go on as streams, go to `on_upgrade`.
    pub fn new(context: HttpContext, on_upgrade: impl Fn(Client, Upgrade) + 'static) -> Self {
        Self {
            api_description: OnceCell::new(),
            context,
            metrics_text: RefCell::default(),
            whole_figures: RefCell::default(),
            spare: RevocablePermits::new(SPARE_CONNECTIONS),
            spare_calls: Arc::new(Semaphore::new(SPARE_CONNECTIONS)),
            origin_refusals: LogThrottle::new(),
            history: Arc::new(Semaphore::new(ANSWERS_MAX * SHARES)),
            on_upgrade: Box::new(on_upgrade),
        }
    }

    /// Serves one connection until it closes, or until it becomes a client.
    pub async fn serve(self: Rc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, permit } = accepted;
        self.context.counts.open.add(1);
        let is_plain = Cell::new(false);
        let socket = HttpSocket { stream, peer, is_proxied: false, is_plain: &is_plain, spare: None };
        let end = match permit {
            Ok(permit) => self.serve_client(socket, permit).await,
            // Boxed, so that silent connections stay small.
            Err(no_permit) => Box::pin(self.serve_spare(socket, no_permit)).await,
        };
        self.context.counts.open.subtract(1);
        self.context.counts.count_closed(end, is_plain.get());
    }

    /// Serves a connection that has a permit, unless its address has too many clients.
    async fn serve_client(&self, socket: HttpSocket<'_>, permit: ConnectionPermit) -> HttpEnd {
        let header_timeout = self.context.times.header_timeout;
        let socket = match self.behind_proxy(socket, header_timeout).await {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let address = socket.peer.ip();
        // The client behind a trusted proxy is known once there is a request.
        let permit = match self.context.proxies.trusts(address) {
            true => Ok(permit),
            false => permit.for_address(&self.context.address_limiter, address),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(no_permit) => return Box::pin(self.serve_spare(socket, no_permit)).await,
        };
        let socket = match self.secured(socket, header_timeout, None).await {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        // Nothing is built for a silent client: until here it costs no more than a line client.
        match timeout(header_timeout, socket.stream.has_begun()).await {
            Ok(Ok(true)) => Box::pin(self.answer(socket, Ok(permit))).await,
            Ok(Ok(false)) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Ok(Err(_)) => HttpEnd::Failed(Disconnect::IoError),
            Err(_) => self.timed_out(),
        }
    }

    /// Answers one request of a connection without a permit: a full server still says so. The oldest of these gives way
    /// to a new one; but a call with a valid key is answered for as long as it takes.
    async fn serve_spare(&self, socket: HttpSocket<'_>, no_permit: NoPermit) -> HttpEnd {
        let spare = &Spare::new(self.spare.take());
        tokio::select! {
            biased;
            () = spare.revoked() => {
                self.refuse_connection(no_permit.into());
                HttpEnd::Failed(Disconnect::TooManyConnections)
            }
            end = self.answer_spare(HttpSocket { spare: Some(spare), ..socket }, no_permit, spare.deadline) => end,
        }
    }

    async fn answer_spare(&self, socket: HttpSocket<'_>, no_permit: NoPermit, deadline: Instant) -> HttpEnd {
        let socket = match self.behind_proxy(socket, SPARE_TIME_MAX).await {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.secured(socket, left, Some(no_permit)).await {
            Ok(socket) => self.answer(socket, Err(no_permit)).await,
            Err(end) => end,
        }
    }

    /// Answers the requests of a connection to its end, or one where there is no permit.
    async fn answer(&self, socket: HttpSocket<'_>, permit: Result<ConnectionPermit, NoPermit>) -> HttpEnd {
        let mut memory = self.context.buffer.memory.share();
        memory.set(CONNECTION_BYTES);
        let no_permit = permit.as_ref().err().copied();
        let connection = &HttpConnection::new(&socket, no_permit, self.context.times);
        let service = service_fn(|request| Box::pin(self.respond(request, connection)));
        let mut served = http1::Builder::new()
            // `Activity` has the times of a connection.
            .header_read_timeout(None)
            .keep_alive(permit.is_ok())
            // A client that ends its output behind its last request still gets the answer.
            .half_close(true)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Watched { stream: socket.stream, activity: &connection.activity }), service);
        let answered = poll_fn(|context| match served.poll_without_shutdown(context) {
            // hyper has sent the head of an answer that goes on, and all answers before it.
            Poll::Pending if connection.goes_on.get() && !connection.activity.has_unsent() => Poll::Ready(Ok(())),
            polled => polled,
        });
        let ended = connection.activity.within_times(answered).await;
        let Parts { io, read_buf, .. } = served.into_parts();
        let stream = io.into_inner().stream;
        match (&ended, connection.admitted.take(), permit) {
            (Some(Ok(())), Some(admitted), Ok(permit)) => {
                let Admitted { address, permit: address_permit, token, upgrade, first_frame } = admitted;
                let permit = permit.with(address_permit);
                // What is read behind the request of a stream is no input of the client.
                let already_read = if connection.goes_on.get() { first_frame } else { read_buf.to_vec() };
                (self.on_upgrade)(Client { stream, permit, address, already_read, token }, upgrade);
                HttpEnd::Upgraded
            }
            // The permit is held for as long as the connection has its descriptor.
            (_, _, _permit) => {
                let end = self.end_of(ended, connection);
                drop(read_buf);
                self.close(stream, no_permit).await;
                end
            }
        }
    }

    /// An error is the client's: a malformed request was answered, a broken connection cannot be.
    fn end_of(&self, ended: Option<hyper::Result<()>>, connection: &HttpConnection<'_>) -> HttpEnd {
        let failed = |reason, status| {
            self.refuse_connection(reason);
            // hyper has answered with it.
            self.context.counts.count_response(status);
            HttpEnd::Failed(Disconnect::ProtocolError)
        };
        let was_answered = connection.requests.get() > 0;
        match ended {
            None if connection.activity.has_unsent() => HttpEnd::Failed(Disconnect::SlowConsumer),
            Some(Ok(())) if was_answered => HttpEnd::Done,
            Some(Ok(())) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Some(Err(error)) if error.is_parse_too_large() => failed(RefusalReason::HeadTooLong, 431),
            Some(Err(error)) if error.is_parse() => failed(RefusalReason::Malformed, 400),
            // Some clients reset the connection once they have their answer.
            None | Some(Err(_)) if connection.activity.phase() == Phase::Idle => HttpEnd::Done,
            None => self.timed_out(),
            Some(Err(error)) if error.is_incomplete_message() => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Some(Err(_)) => HttpEnd::Failed(Disconnect::IoError),
        }
    }

    fn timed_out(&self) -> HttpEnd {
        self.refuse_connection(RefusalReason::Timeout);
        HttpEnd::Failed(Disconnect::HandshakeTimeout)
    }

    /// Ends the output, and reads on for a while so that the last answer arrives; not where a listener needs the
    /// descriptor.
    async fn close(&self, stream: Stream, no_permit: Option<NoPermit>) {
        // Fails for one that was reset, and for one that takes nothing.
        let _ = stream.try_finish();
        if no_permit == Some(NoPermit::OutOfDescriptors) {
            let _ = self.context.buffer.discard(&stream);
        } else {
            let _ = timeout(CLOSE_LINGER, self.context.buffer.discard_input(&stream)).await;
        }
    }

    /// Reads the PROXY header, if the peer is a proxy that sends one and has not yet.
    async fn behind_proxy<'a>(&self, socket: HttpSocket<'a>, within: Duration) -> Result<HttpSocket<'a>, HttpEnd> {
        if socket.is_proxied || !self.context.proxies.sends_header(socket.peer) {
            return Ok(socket);
        }
        match Box::pin(self.context.proxies.client(&socket.stream, socket.peer, within)).await {
            Ok(peer) => Ok(HttpSocket { peer, is_proxied: true, ..socket }),
            Err(reason) => Err(self.failed_before_http(reason)),
        }
    }

    /// Completes the TLS handshake, where the port speaks TLS.
    async fn secured<'a>(
        &self,
        mut socket: HttpSocket<'a>,
        within: Duration,
        no_permit: Option<NoPermit>,
    ) -> Result<HttpSocket<'a>, HttpEnd> {
        if !self.context.handshakes.are_on(Port::Http) {
            return Ok(socket);
        }
        let outcome = Box::pin(self.context.handshakes.shake_hands(&mut socket.stream, Port::Http, within)).await;
        self.context.counts.count_handshake(outcome);
        match outcome {
            Ok(()) => Ok(socket),
            Err(reason) => {
                Box::pin(self.close(socket.stream, no_permit)).await;
                Err(self.failed_before_http(reason))
            }
        }
    }

    fn failed_before_http(&self, reason: Disconnect) -> HttpEnd {
        match reason {
            Disconnect::HandshakeTimeout => return self.timed_out(),
            Disconnect::ProtocolError => self.refuse_connection(RefusalReason::Malformed),
            _ => {}
        }
        HttpEnd::Failed(reason)
    }
}
