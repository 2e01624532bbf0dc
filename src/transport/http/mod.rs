//! HTTP: health, readiness, metrics, the WebSocket handshake and the streams of clients without WebSocket, over hyper
//! inside our own accept loop. A socket whose handshake succeeded goes on as a WebSocket client, raw, and hyper is gone;
//! so does one whose answer is a stream, behind the head.

mod bearer;
mod cors;
mod extensions;
mod forwarded;
mod handshake;
mod origin;
mod refusals;
mod requests;
mod routes;
mod streams;
mod subprotocol;
mod unsent;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{timeout, timeout_at};

pub use self::forwarded::forwarded_for;
pub use self::origin::{OriginRules, Reached};
use self::requests::{Admitted, HttpConnection};
use self::routes::router;
use self::unsent::Watched;
use super::connection::{Client, ReadBuffer};
use super::emulation::Streams;
use super::metrics::{HttpEnd, RefusalReason, ServerMetrics, TransportMetrics};
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
use crate::session::access::WorkerAccess;
use crate::shutdown::Drain;
use crate::writer::CLOSE_LINGER;

/// Connections that a worker serves beside its clients when the server is full.
pub const SPARE_CONNECTIONS: usize = 16;

/// Memory of a connection with hyper's state and the head of its request, in bytes: 21 KiB were measured.
const CONNECTION_BYTES: usize = 20 * 1024;

/// A connection on a spare permit has one request, and this long for all of it.
const SPARE_TIME_MAX: Duration = Duration::from_secs(1);

/// A connection that neither sends a request nor takes its answers for this long is closed.
const STALL_TIME_MAX: Duration = Duration::from_secs(60);

/// Headers of a request; one more is answered with 431.
const HEADERS_MAX: usize = 64;

/// Bytes of a request's head; more are answered with 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the HTTP server of a worker works with.
pub struct HttpContext {
    /// Says whether the server stops.
    pub drain: Drain,
    /// The connection limit of the worker.
    pub connection_limit: ConnectionLimit,
    /// Limits clients behind trusted proxies, and connections of others, by address.
    pub address_limiter: AddressLimiter,
    /// What `/metrics` shows.
    pub metrics: ServerMetrics,
    /// The counters of this worker.
    pub counts: Arc<TransportMetrics>,
    /// The worker's buffer, into which input behind the last answer is read and discarded.
    pub buffer: Rc<ReadBuffer>,
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// The first request after this time is the last of its connection; `None` is no limit.
    pub connection_time_max: Option<Duration>,
    /// Which web pages may open a WebSocket.
    pub origins: OriginRules,
    /// The proxies whose word is taken for the client's address and the host.
    pub proxies: TrustedProxies,
    /// The handshakes of the worker.
    pub handshakes: Rc<Handshakes>,
    /// What makes a token valid.
    pub access: Rc<WorkerAccess>,
    /// The shortest message that is compressed, in bytes; `None` turns compression off.
    pub deflate_bytes_min: Option<NonZeroU16>,
    /// The streams for which commands come.
    pub streams: Rc<Streams>,
}

/// The HTTP server of a worker.
pub struct HttpServer {
    context: HttpContext,
    router: Router,
    /// The newest text of the metrics, and when it was made.
    metrics_text: RefCell<Option<(Instant, Bytes)>>,
    spare: RevocablePermits,
    origin_refusals: LogThrottle,
    on_upgrade: Box<dyn Fn(Client, Dialect)>,
}

/// A connection of which nothing was read, or only the PROXY header.
struct HttpSocket {
    stream: Stream,
    peer: SocketAddr,
    /// A trusted proxy has named the peer in a PROXY header.
    is_proxied: bool,
}

impl HttpServer {
    /// Sockets that were switched to WebSocket, or go on as streams, go to `on_upgrade`.
    pub fn new(context: HttpContext, on_upgrade: impl Fn(Client, Dialect) + 'static) -> Self {
        Self {
            router: router(context.drain.clone(), context.connection_limit.clone()),
            context,
            metrics_text: RefCell::default(),
            spare: RevocablePermits::new(SPARE_CONNECTIONS),
            origin_refusals: LogThrottle::new(),
            on_upgrade: Box::new(on_upgrade),
        }
    }

    /// Serves one connection until it closes, or until it becomes a client.
    pub async fn serve(self: Rc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, permit } = accepted;
        self.context.counts.opened.add(1);
        let socket = HttpSocket { stream, peer, is_proxied: false };
        let end = match permit {
            Ok(permit) => self.serve_client(socket, permit).await,
            // Boxed, so that silent connections stay small.
            Err(no_permit) => Box::pin(self.serve_spare(socket, no_permit)).await,
        };
        self.context.counts.count_closed(end);
    }

    /// Serves a connection that has a permit, unless its address has too many clients.
    async fn serve_client(&self, socket: HttpSocket, permit: ConnectionPermit) -> HttpEnd {
        let header_timeout = self.context.header_timeout;
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
            Ok(Ok(true)) => Box::pin(self.answer(socket, Ok(permit), None)).await,
            Ok(Ok(false)) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Ok(Err(_)) => HttpEnd::Failed(Disconnect::IoError),
            Err(_) => self.timed_out(),
        }
    }

    /// Answers one request of a connection without a permit: a full server still says so. The oldest of these gives way
    /// to a new one.
    async fn serve_spare(&self, socket: HttpSocket, no_permit: NoPermit) -> HttpEnd {
        let revoked = self.spare.take();
        tokio::select! {
            biased;
            _ = revoked => {
                self.refuse_connection(no_permit.into());
                HttpEnd::Failed(Disconnect::TooManyConnections)
            }
            end = self.answer_spare(socket, no_permit) => end,
        }
    }

    async fn answer_spare(&self, socket: HttpSocket, no_permit: NoPermit) -> HttpEnd {
        let deadline = Instant::now() + SPARE_TIME_MAX;
        let socket = match self.behind_proxy(socket, SPARE_TIME_MAX).await {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match self.secured(socket, left, Some(no_permit)).await {
            Ok(socket) => self.answer(socket, Err(no_permit), Some(deadline)).await,
            Err(end) => end,
        }
    }

    /// Answers the requests of a connection to its end, or one where there is no permit.
    async fn answer(
        &self,
        socket: HttpSocket,
        permit: Result<ConnectionPermit, NoPermit>,
        deadline: Option<Instant>,
    ) -> HttpEnd {
        let mut memory = self.context.buffer.memory.share();
        memory.set(CONNECTION_BYTES);
        let no_permit = permit.as_ref().err().copied();
        let connection = &HttpConnection::new(&socket, no_permit, self.context.connection_time_max);
        let service = service_fn(|request| Box::pin(self.respond(request, connection)));
        let mut served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.context.header_timeout)
            .keep_alive(permit.is_ok())
            // A client that ends its output behind its last request still gets the answer.
            .half_close(true)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(
                TokioIo::new(Watched { stream: socket.stream, has_unsent: &connection.has_unsent }),
                service,
            );
        let answered = poll_fn(|context| match served.poll_without_shutdown(context) {
            // hyper has sent the head of an answer that goes on, and all answers before it.
            Poll::Pending if connection.goes_on.get() && !connection.has_unsent.get() => Poll::Ready(Ok(())),
            polled => polled,
        });
        let ended = self.unless_stalled(connection, deadline, answered).await;
        let Parts { io, read_buf, .. } = served.into_parts();
        let stream = io.into_inner().stream;
        match (&ended, connection.admitted.take(), permit) {
            (Some(Ok(())), Some(admitted), Ok(permit)) => {
                let Admitted { address, permit: address_permit, token, dialect, first_frame } = admitted;
                let permit = permit.with(address_permit);
                // What is read behind the request of a stream is no input of the client.
                let already_read = if connection.goes_on.get() { first_frame } else { read_buf.to_vec() };
                (self.on_upgrade)(Client { stream, permit, address, already_read, token }, dialect);
                HttpEnd::Upgraded
            }
            // The permit is held for as long as the connection has its descriptor.
            (_, _, _permit) => {
                let end = self.end_of(ended, connection.requests.get() > 0);
                drop(read_buf);
                self.close(stream, no_permit).await;
                end
            }
        }
    }

    /// Returns `None` if the client has stalled, so that it does not hold a permit forever.
    async fn unless_stalled<T>(
        &self,
        connection: &HttpConnection,
        deadline: Option<Instant>,
        answered: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answered = pin!(answered);
        if let Some(deadline) = deadline {
            return timeout_at(deadline.into(), answered).await.ok();
        }
        let period = STALL_TIME_MAX.max(self.context.header_timeout * 2);
        loop {
            let before = connection.requests.get();
            match timeout(period, &mut answered).await {
                Ok(ended) => return Some(ended),
                Err(_) if connection.requests.get() == before => return None,
                Err(_) => {}
            }
        }
    }

    /// An error is the client's: a malformed request was answered, a broken connection cannot be.
    fn end_of(&self, ended: Option<hyper::Result<()>>, was_answered: bool) -> HttpEnd {
        let failed = |reason| {
            self.refuse_connection(reason);
            HttpEnd::Failed(Disconnect::ProtocolError)
        };
        match ended {
            None if was_answered => HttpEnd::Failed(Disconnect::SlowConsumer),
            None => self.timed_out(),
            Some(Ok(())) if was_answered => HttpEnd::Done,
            Some(Ok(())) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Some(Err(error)) if error.is_timeout() && was_answered => HttpEnd::Done,
            Some(Err(error)) if error.is_timeout() => self.timed_out(),
            Some(Err(error)) if error.is_parse_too_large() => failed(RefusalReason::HeadTooLong),
            Some(Err(error)) if error.is_parse() => failed(RefusalReason::Malformed),
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
    async fn behind_proxy(&self, socket: HttpSocket, within: Duration) -> Result<HttpSocket, HttpEnd> {
        let HttpSocket { stream, peer, is_proxied } = socket;
        if is_proxied || !self.context.proxies.sends_header(peer) {
            return Ok(HttpSocket { stream, peer, is_proxied });
        }
        match Box::pin(self.context.proxies.client(&stream, peer, within)).await {
            Ok(peer) => Ok(HttpSocket { stream, peer, is_proxied: true }),
            Err(reason) => Err(self.failed_before_http(reason)),
        }
    }

    /// Completes the TLS handshake, where the port speaks TLS.
    async fn secured(
        &self,
        mut socket: HttpSocket,
        within: Duration,
        no_permit: Option<NoPermit>,
    ) -> Result<HttpSocket, HttpEnd> {
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
