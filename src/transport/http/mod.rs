//! HTTP: health, readiness, metrics and the WebSocket handshake, over hyper inside our own accept loop. Its responses are hyper's own
//! output; a socket whose handshake succeeded goes on as a WebSocket client, raw, and hyper is gone.

mod forwarded;
mod handshake;
mod origin;
mod refusals;
mod requests;
mod routes;
mod spare;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use self::origin::OriginRules;
use self::refusals::RefusalLog;
use self::requests::HttpConnection;
use self::routes::{MetricsCache, PermitStatus, router};
use self::spare::SparePermits;
use super::connection::ReadBuffer;
use super::metrics::{HttpEnd, RefusalReason, ServerMetrics, TransportMetrics};
use crate::config::{HttpLimits, Origins};
use crate::net::accept::Accepted;
use crate::net::address_limiter::AddressLimiter;
use crate::net::connection_limit::{ConnectionLimit, ConnectionPermit, NoPermit};
use crate::net::proxy::TrustedProxies;
use crate::protocol::disconnect::Disconnect;
use crate::shutdown::Drain;
use crate::writer::CLOSE_LINGER;

/// Connections that a worker serves beside its clients when the server is full.
pub const SPARE_CONNECTIONS: usize = 16;

/// What a connection takes with hyper's state and the head of its request, in bytes: 21 KiB were measured.
const CONNECTION_BYTES: usize = 20 * 1024;

/// On a spare place a connection has one request and this long for all of it, silent or not.
const SPARE_TIME_MAX: Duration = Duration::from_secs(1);

/// A connection that in this time neither asks anything nor takes its answers is closed.
const STALL_TIME_MAX: Duration = Duration::from_secs(60);

/// A request has at most so many headers; one more is answered with 431.
const HEADERS_MAX: usize = 64;

/// A request's head has at most so many bytes; more are answered with 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What answers depend on.
#[derive(Clone)]
pub struct HttpState {
    /// Whether the server stops.
    pub drain: Drain,
    /// Whether there is a place.
    pub connection_limit: ConnectionLimit,
    /// Who is here, by address.
    pub address_limiter: AddressLimiter,
    /// What was counted.
    pub metrics: ServerMetrics,
}

/// A socket that was switched to WebSocket.
pub struct Upgraded {
    /// The socket, raw again.
    pub stream: TcpStream,
    /// Its place among the clients.
    pub permit: ConnectionPermit,
    /// The client's, behind the proxies that are believed.
    pub address: IpAddr,
    /// What the client sent behind its handshake.
    pub already_read: Vec<u8>,
}

/// What applies to the HTTP connections of a worker.
pub struct HttpRules {
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// How long a connection is kept, and under which names the server is reached.
    pub limits: HttpLimits,
    /// Which web pages may open a WebSocket.
    pub origins: Origins,
    /// Who is believed for whom it asks.
    pub proxies: TrustedProxies,
}

/// The HTTP server of a worker.
pub struct HttpServer {
    router: Router,
    state: HttpState,
    metrics_cache: MetricsCache,
    spare: Rc<SparePermits>,
    /// Of this worker.
    counts: Arc<TransportMetrics>,
    refusals: RefusalLog,
    header_timeout: Duration,
    connection_time: Option<Duration>,
    origins: OriginRules,
    proxies: TrustedProxies,
    /// Of the worker: what comes behind the last answer is read into it, and forgotten.
    buffer: ReadBuffer,
    on_upgrade: Box<dyn Fn(Upgraded)>,
}

/// A connection of which nothing was read, or only the header of its proxy.
struct HttpSocket {
    stream: TcpStream,
    peer: SocketAddr,
    /// The proxy in front of it has announced it.
    is_announced: bool,
}

impl HttpServer {
    /// Answers from `state`; sockets switched to WebSocket go to `on_upgrade`.
    pub fn new(
        state: HttpState,
        counts: Arc<TransportMetrics>,
        rules: HttpRules,
        buffer: ReadBuffer,
        on_upgrade: impl Fn(Upgraded) + 'static,
    ) -> Self {
        let HttpRules { header_timeout, limits, origins, proxies } = rules;
        Self {
            router: router(state.clone()),
            state,
            metrics_cache: MetricsCache::default(),
            spare: SparePermits::new(SPARE_CONNECTIONS),
            refusals: RefusalLog::new(Arc::clone(&counts)),
            counts,
            header_timeout,
            connection_time: limits.connection_time,
            origins: OriginRules { origins, hosts: limits.hosts },
            proxies,
            buffer,
            on_upgrade: Box::new(on_upgrade),
        }
    }

    /// Serves one connection: requests until it closes, or until it becomes a WebSocket client.
    pub async fn serve(self: Rc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, permit } = accepted;
        self.counts.count_opened();
        let socket = HttpSocket { stream, peer, is_announced: false };
        let end = match permit {
            Ok(permit) => self.serve_client(socket, permit).await,
            // Boxed, since those that are silent are to be small.
            Err(no_permit) => Box::pin(self.serve_spare(socket, no_permit)).await,
        };
        self.counts.count_closed(end);
    }

    /// Serves one that has a place, unless its address has too many.
    async fn serve_client(&self, socket: HttpSocket, permit: ConnectionPermit) -> HttpEnd {
        let socket = match self.announced(socket, self.header_timeout).await {
            Ok(socket) => socket,
            Err(end) => return end,
        };
        let address = socket.peer.ip();
        // Whom a proxy of ours asks for is known when it asks.
        let of_address = if self.proxies.trusts(address) {
            Ok(permit)
        } else {
            permit.for_address(&self.state.address_limiter, address)
        };
        let permit = match of_address {
            Ok(permit) => permit,
            Err(no_permit) => return Box::pin(self.serve_spare(socket, no_permit)).await,
        };
        // Nothing is built for a client that says nothing: until here it costs no more than a line client. That there is a
        // byte must be seen, for tokio takes a new socket to be readable until it has tried.
        match timeout(self.header_timeout, socket.stream.peek(&mut [0])).await {
            Ok(Ok(1..)) => Box::pin(self.serve_requests(socket, permit)).await,
            Ok(Ok(0)) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Ok(Err(_)) => HttpEnd::Failed(Disconnect::IoError),
            Err(_) => self.too_late(),
        }
    }

    /// The same once the client has said something.
    async fn serve_requests(&self, socket: HttpSocket, permit: ConnectionPermit) -> HttpEnd {
        let asking = HttpConnection::new(&socket, PermitStatus(None), self.connection_time);
        self.answer(socket.stream, Some(permit), &asking).await
    }

    /// Answers one request of a client without a place: a full server still says so. The oldest gives way to a newcomer.
    async fn serve_spare(&self, socket: HttpSocket, no_permit: NoPermit) -> HttpEnd {
        let mut spare = self.spare.take();
        tokio::select! {
            biased;
            () = spare.revoked() => {
                self.refusals.connection(no_permit.into());
                HttpEnd::Failed(Disconnect::TooManyConnections)
            }
            end = self.answer_spare(socket, no_permit) => end,
        }
    }

    async fn answer_spare(&self, socket: HttpSocket, no_permit: NoPermit) -> HttpEnd {
        let deadline = Instant::now() + SPARE_TIME_MAX;
        match self.announced(socket, SPARE_TIME_MAX).await {
            Ok(socket) => {
                let mut asking = HttpConnection::new(&socket, PermitStatus(Some(no_permit)), None);
                asking.deadline = Some(deadline);
                self.answer(socket.stream, None, &asking).await
            }
            Err(end) => end,
        }
    }

    /// Answers what is asked on a connection, to its end.
    async fn answer(&self, stream: TcpStream, permit: Option<ConnectionPermit>, asking: &HttpConnection) -> HttpEnd {
        let mut memory = self.buffer.memory_share();
        memory.set(CONNECTION_BYTES);
        let service = service_fn(|request| Box::pin(self.respond(request, asking)));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .keep_alive(permit.is_some())
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let served = poll_fn(|context| connection.poll_without_shutdown(context));
        let ended = self.unless_stalled(asking, served).await;
        let Parts { io, read_buf, .. } = connection.into_parts();
        let stream = io.into_inner();
        match (&ended, asking.address_permit.take(), permit) {
            (Some(Ok(())), Some(address_permit), Some(permit)) => {
                let (permit, address) = (permit.with(address_permit), asking.client.get());
                (self.on_upgrade)(Upgraded { stream, permit, address, already_read: read_buf.to_vec() });
                HttpEnd::Upgraded
            }
            // Its place stays taken for as long as it has its descriptor.
            (_, _, _permit) => {
                let end = self.end_of(ended, asking);
                drop(read_buf);
                self.close(stream, asking.permit_status).await;
                end
            }
        }
    }

    /// `None` if the client has stalled: it is not to hold a place for ever.
    async fn unless_stalled<T>(&self, asking: &HttpConnection, served: impl Future<Output = T>) -> Option<T> {
        let mut served = pin!(served);
        if let Some(deadline) = asking.deadline {
            return timeout_at(deadline.into(), served).await.ok();
        }
        let period = STALL_TIME_MAX.max(self.header_timeout * 2);
        loop {
            let before = asking.requests.get();
            match timeout(period, &mut served).await {
                Ok(ended) => return Some(ended),
                Err(_) if asking.requests.get() == before => return None,
                Err(_) => {}
            }
        }
    }

    /// An error is the client's: a malformed request was answered, a broken connection cannot be.
    fn end_of(&self, ended: Option<hyper::Result<()>>, asking: &HttpConnection) -> HttpEnd {
        let was_answered = asking.requests.get() > 0;
        let failed = |reason, disconnect| {
            self.refusals.connection(reason);
            HttpEnd::Failed(disconnect)
        };
        match ended {
            None if was_answered => HttpEnd::Failed(Disconnect::SlowConsumer),
            None => self.too_late(),
            Some(Ok(())) if was_answered => HttpEnd::Done,
            Some(Ok(())) => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Some(Err(error)) if error.is_timeout() && was_answered => HttpEnd::Done,
            Some(Err(error)) if error.is_timeout() => self.too_late(),
            Some(Err(error)) if error.is_parse_too_large() => {
                failed(RefusalReason::HeadTooLong, Disconnect::ProtocolError)
            }
            Some(Err(error)) if error.is_parse() => failed(RefusalReason::Malformed, Disconnect::ProtocolError),
            Some(Err(error)) if error.is_incomplete_message() => HttpEnd::Failed(Disconnect::ClosedByPeer),
            Some(Err(_)) => HttpEnd::Failed(Disconnect::IoError),
        }
    }

    /// The request did not come in time.
    fn too_late(&self) -> HttpEnd {
        self.refusals.connection(RefusalReason::Timeout);
        HttpEnd::Failed(Disconnect::HandshakeTimeout)
    }

    /// Ends the output, and reads on for a while so that the last answer arrives. A listener's reserve is needed for the next.
    async fn close(&self, stream: TcpStream, PermitStatus(no_permit): PermitStatus) {
        // Fails for one that was reset.
        let _ = shutdown(&stream, Shutdown::Write);
        if no_permit == Some(NoPermit::OutOfDescriptors) {
            let _ = self.buffer.discard(&stream);
        } else {
            let _ = timeout(CLOSE_LINGER, self.buffer.discard_input(&stream)).await;
        }
    }

    /// The client behind a connection, which its proxy may announce. At once where no proxy does so.
    async fn announced(&self, socket: HttpSocket, within: Duration) -> Result<HttpSocket, HttpEnd> {
        let HttpSocket { stream, peer, is_announced } = socket;
        if is_announced || !self.proxies.sends_header(peer) {
            return Ok(HttpSocket { stream, peer, is_announced });
        }
        match Box::pin(self.proxies.client(&stream, peer, within)).await {
            Ok(peer) => Ok(HttpSocket { stream, peer, is_announced: true }),
            Err(Disconnect::HandshakeTimeout) => Err(self.too_late()),
            Err(reason) => {
                if reason == Disconnect::ProtocolError {
                    self.refusals.connection(RefusalReason::Malformed);
                }
                Err(HttpEnd::Failed(reason))
            }
        }
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
