//! HTTP: health, readiness, metrics and the WebSocket handshake, over hyper inside our own accept loop. Its responses are hyper's own
//! output; a socket whose handshake succeeded goes on as a WebSocket client, raw, and hyper is gone.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::accept::{Accepted, Admission, NoPlace, Place, Visit, visit};
use super::census::Census;
use super::conversation::ReadBuffer;
use super::handshake::{self, Refused};
use super::metrics::ServerMetrics;
use super::origin;
use super::proxied::Proxies;
use crate::config::Origins;
use crate::fault;
use crate::metrics::Exposition;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::shutdown::Drain;
use crate::writer::{CLOSE_LINGER, WriterMetrics};

/// Where the handshake is.
const WEBSOCKET_PATH: &str = "/ws";

/// Connections that a worker serves beside its clients when the server is full.
pub const SPARE_CONNECTIONS: usize = 16;

/// What a connection takes with hyper's state and the head of its request, in bytes: 21 KiB were measured.
const CONNECTION_BYTES: usize = 20 * 1024;

/// A connection that stays HTTP is closed after this long, whatever it does.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);

/// On a listener's reserve a connection has one request and this long, silent or not: it is the only one that can be answered.
const RESERVE_TIME_MAX: Duration = Duration::from_secs(1);

/// A longer body is answered with 413, before it comes. No route takes one.
const BODY_BYTES_MAX: u64 = 16 * 1024;

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
    pub admission: Admission,
    /// Who is here, by address.
    pub census: Census,
    /// What was counted.
    pub metrics: ServerMetrics,
}

/// Why the connection of a request has none of the clients' places, if so. Whoever has one does not count itself.
#[derive(Clone, Copy)]
struct Standing(Option<NoPlace>);

/// A connection, as its requests know it.
struct Asking {
    standing: Standing,
    /// The client, as far as its connection tells: it may be a proxy that asks for many.
    peer: IpAddr,
    /// Set once it was switched to WebSocket: what it counts for the address that it asks for.
    visit: Cell<Option<Visit>>,
}

/// What a connection may do.
struct Limits {
    header_timeout: Duration,
    /// For all of its requests.
    time_max: Duration,
    /// Its client asks for others.
    is_proxy: bool,
    /// It is on the listener's reserve.
    is_reserve: bool,
}

/// A socket that was switched to WebSocket.
pub struct Upgraded {
    /// The socket, raw again.
    pub stream: TcpStream,
    /// Its place among the clients.
    pub place: Place,
    /// What the client sent behind its handshake.
    pub already_read: Vec<u8>,
}

/// What applies to the HTTP connections of a worker.
pub struct HttpRules {
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// Which web pages may open a WebSocket.
    pub origins: Origins,
    /// Who is believed for whom it asks.
    pub proxies: Proxies,
}

/// The HTTP server of a worker.
pub struct HttpHost {
    router: Router,
    state: HttpState,
    spare: Admission,
    /// Of the worker's own writer.
    counts: Arc<WriterMetrics>,
    rules: HttpRules,
    /// Of the worker: what comes behind the last answer is read into it, and forgotten.
    buffer: ReadBuffer,
    on_upgrade: Box<dyn Fn(Upgraded)>,
}

impl HttpHost {
    /// Answers from `state`; sockets switched to WebSocket go to `on_upgrade`.
    pub fn new(
        state: HttpState,
        counts: Arc<WriterMetrics>,
        rules: HttpRules,
        buffer: ReadBuffer,
        on_upgrade: impl Fn(Upgraded) + 'static,
    ) -> Self {
        let router = Router::new()
            .route("/health", get(async || "OK"))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .fallback(async || (StatusCode::NOT_FOUND, "not found: there are /health, /ready, /metrics and /ws\n"))
            .with_state(state.clone());
        Self {
            router,
            state,
            spare: Admission::new(SPARE_CONNECTIONS),
            counts,
            rules,
            buffer,
            on_upgrade: Box::new(on_upgrade),
        }
    }

    /// Serves one connection: requests until it closes, or until it becomes a WebSocket client.
    pub async fn serve(self: Rc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, place } = accepted;
        // A full server still says so, to a few at a time.
        let mut spare = if place.is_ok() { None } else { self.spare.admit() };
        if place.is_err() && spare.is_none() {
            return self.count_refused(Disconnect::TooManyConnections);
        }
        let is_reserve = place.as_ref().is_err_and(|no_place| *no_place == NoPlace::OutOfDescriptors);
        let time_max = if is_reserve { RESERVE_TIME_MAX } else { CONNECTION_TIME_MAX };
        let header_timeout = self.rules.header_timeout.min(time_max);
        let peer = match self.client(&stream, peer, header_timeout).await {
            Ok(peer) => peer.ip(),
            Err(reason) => return self.count_refused(reason),
        };
        // Whom a proxy of ours asks for is known when it asks.
        let is_proxy = self.rules.proxies.trusts(peer);
        let of_address = |place: Place| if is_proxy { Ok(place) } else { place.of_address(&self.state.census, peer) };
        let place = place.and_then(of_address);
        if place.is_err() && spare.is_none() {
            spare = self.spare.admit();
            if spare.is_none() {
                return self.count_refused(Disconnect::TooManyConnections);
            }
        }
        let asking = Asking { standing: Standing(place.as_ref().err().copied()), peer, visit: Cell::default() };
        // Nothing is built for a client that says nothing: until here it costs no more than a line client. That there is a
        // byte must be seen, for tokio takes a new socket to be readable until it has tried.
        if !matches!(timeout(header_timeout, stream.peek(&mut [0])).await, Ok(Ok(_))) {
            return self.count_refused(Disconnect::HandshakeTimeout);
        }
        let limits = Limits { header_timeout, time_max, is_proxy, is_reserve };
        Box::pin(self.answer(stream, place, asking, limits)).await;
    }

    /// The same once the client has said something. Boxed, since those that are silent are to be small.
    async fn answer(&self, stream: TcpStream, place: Result<Place, NoPlace>, asking: Asking, limits: Limits) {
        let Limits { header_timeout, time_max, is_proxy, is_reserve } = limits;
        let mut need = self.buffer.need();
        need.set(CONNECTION_BYTES);
        let service = service_fn(|request| Box::pin(self.respond(request, &asking)));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .keep_alive(!is_reserve)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        // An error is the client's: a malformed request was answered, a broken connection cannot be. A client that does not
        // read its answers is not to hold a place for ever.
        let ended = timeout(time_max, poll_fn(|context| connection.poll_without_shutdown(context))).await;
        let Parts { io, read_buf, .. } = connection.into_parts();
        let stream = io.into_inner();
        match (ended, asking.visit.take(), place) {
            (Ok(Ok(())), Some(visit), Ok(place)) => {
                let place = if is_proxy { place.with(visit) } else { place };
                (self.on_upgrade)(Upgraded { stream, place, already_read: read_buf.to_vec() });
            }
            // Its place stays taken for as long as it has its descriptor.
            (ended, _, _place) => {
                if ended.map_or(true, |ended| ended.is_err_and(|error| error.is_timeout())) {
                    self.count_refused(Disconnect::HandshakeTimeout);
                }
                drop(read_buf);
                self.close(stream, is_reserve).await;
            }
        }
    }

    /// Ends the output, and reads on for a while so that the last answer arrives. A reserve is needed for the next.
    async fn close(&self, stream: TcpStream, is_reserve: bool) {
        // Fails for one that was reset.
        let _ = shutdown(&stream, Shutdown::Write);
        if is_reserve {
            let _ = self.buffer.discard(&stream);
        } else {
            let _ = timeout(CLOSE_LINGER, self.buffer.discard_input(&stream)).await;
        }
    }

    /// The handshake is matched in front of the router.
    async fn respond(&self, mut request: Request<Incoming>, asking: &Asking) -> Result<Response<Body>, Infallible> {
        fault::may_strike("http");
        if request.body().size_hint().lower() > BODY_BYTES_MAX {
            let why = "a body has at most 16 KiB\n";
            return Ok(Refused { status: StatusCode::PAYLOAD_TOO_LARGE, header: None, why }.into_response());
        }
        if request.uri().path() != WEBSOCKET_PATH {
            request.extensions_mut().insert(asking.standing);
            return self.router.clone().call(request).await;
        }
        let answer = match self.unavailable(asking.standing) {
            Some(unavailable) => Err(unavailable),
            None => handshake::accept_key(&request).and_then(|accept| Ok((accept, self.let_in(&request, asking)?))),
        };
        Ok(match answer {
            Ok((accept, visit)) => {
                asking.visit.set(Some(visit));
                handshake::switching(accept)
            }
            Err(refused) => refused.into_response(),
        })
    }

    /// The client behind a connection, which its proxy may have announced. At once where no proxy does so.
    async fn client(&self, stream: &TcpStream, peer: SocketAddr, within: Duration) -> Result<SocketAddr, Disconnect> {
        if !self.rules.proxies.announce(peer) {
            return Ok(peer);
        }
        Box::pin(self.rules.proxies.client(stream, peer, within)).await
    }

    /// Whether the page may connect, and whom a proxy asks for.
    fn let_in(&self, request: &Request<Incoming>, asking: &Asking) -> Result<Visit, Refused> {
        if !origin::is_allowed(request.headers(), &self.rules.origins) {
            let why = "pages of this Origin may not connect: see allowed-origins\n";
            return Err(Refused { status: StatusCode::FORBIDDEN, header: None, why });
        }
        if !self.rules.proxies.trusts(asking.peer) {
            return Ok(None);
        }
        let client = self.rules.proxies.forwarded_for(asking.peer, request.headers());
        visit(&self.state.census, client).map_err(|no_place| self.refused(no_place))
    }

    fn count_refused(&self, reason: Disconnect) {
        self.counts.count_refused(Dialect::WebSocket, reason);
    }

    fn unavailable(&self, Standing(no_place): Standing) -> Option<Refused> {
        if self.state.drain.is_stopping() {
            return Some(Refused { status: StatusCode::SERVICE_UNAVAILABLE, header: None, why: "draining\n" });
        }
        no_place.map(|no_place| self.refused(no_place))
    }

    fn refused(&self, no_place: NoPlace) -> Refused {
        self.count_refused(Disconnect::TooManyConnections);
        let (status, why) = match no_place {
            NoPlace::TooManyOfAddress => (StatusCode::TOO_MANY_REQUESTS, "too many from your address\n"),
            NoPlace::Full | NoPlace::OutOfDescriptors => (StatusCode::SERVICE_UNAVAILABLE, "full\n"),
        };
        Refused { status, header: None, why }
    }
}

async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, Exposition::CONTENT_TYPE)], state.metrics.expose())
}

async fn ready(
    State(state): State<HttpState>,
    Extension(Standing(no_place)): Extension<Standing>,
) -> (StatusCode, &'static str) {
    let is_full = match no_place {
        None | Some(NoPlace::TooManyOfAddress) => false,
        Some(NoPlace::Full) => state.admission.is_full(),
        Some(NoPlace::OutOfDescriptors) => true,
    };
    if state.drain.is_announced() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if is_full {
        (StatusCode::SERVICE_UNAVAILABLE, "full")
    } else {
        (StatusCode::OK, "ready")
    }
}
