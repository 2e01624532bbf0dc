//! One request and its answer: what is refused at any path, the handshake in front of the router, and the turns of the
//! connections.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{ALLOW, CONNECTION, HOST, HeaderMap, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use tokio::task::yield_now;
use tower_service::Service;

use super::bearer::verified;
use super::extensions::answer_extensions;
use super::forwarded::{forwarded_for, forwarded_host, is_forwarded};
use super::handshake::switch_protocols;
use super::origin::Reached;
use super::refusals::{METHODS, RefusedRequest, RequestSummary};
use super::routes::METRICS_PATH;
use super::streams::StreamPath;
use super::subprotocol::{answer_subprotocol, centrifuge_dialect};
use super::{HttpServer, HttpSocket};
use crate::auth::tokens::Token;
use crate::fault;
use crate::net::NoPermit;
use crate::net::address_limiter::AddressPermit;
use crate::protocol::compression::Compression;
use crate::protocol::dialect::Dialect;
use crate::transport::metrics::RefusalReason;

/// The paths of the handshake for text clients.
const TEXT_PATHS: [&str; 2] = ["/ws", "/ws/"];

/// The path of the handshake for clients of the Centrifuge protocol.
const CENTRIFUGE_PATH: &str = "/connection/websocket";

/// Answers that one connection gets before the next connection has its turn. An answer is a write of its own, so a turn
/// takes about as long as one of 64 commands.
const TURN_ANSWERS: u64 = 4;

/// The text of the metrics is at most this old: requests that come more often get the same text again.
const SCRAPE_AGE_MAX: Duration = Duration::from_millis(100);

/// A longer body is answered with 413, before it comes. Only the paths of clients without WebSocket take one.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// A connection, as its requests know it.
pub struct HttpConnection {
    /// Why the connection has no permit, if it has none.
    no_permit: Option<NoPermit>,
    peer: IpAddr,
    /// It came to a loopback address, and not through a proxy with a PROXY header.
    is_over_loopback: bool,
    /// An answer after this time is the last; `None` is no limit.
    last_at: Option<Instant>,
    /// Requests that have come.
    pub requests: Cell<u64>,
    /// Set once the connection was switched to WebSocket, or its last answer goes on.
    pub admitted: Cell<Option<Admitted>>,
    /// The last answer goes on, without hyper once its head is sent.
    pub goes_on: Cell<bool>,
    /// hyper has bytes that the socket has not taken.
    pub has_unsent: Cell<bool>,
}

/// A client that is let in.
pub struct Admitted {
    pub address: IpAddr,
    /// The permit of its address, if a trusted proxy has named it.
    pub permit: Option<AddressPermit>,
    /// The valid token that it has presented.
    pub token: Option<Box<Token>>,
    /// What it goes on in.
    pub dialect: Dialect,
    /// The frame that has come with the request.
    pub first_frame: Vec<u8>,
}

impl HttpConnection {
    pub fn new(socket: &HttpSocket, no_permit: Option<NoPermit>, time_max: Option<Duration>) -> Self {
        let HttpSocket { stream, peer, is_proxied } = socket;
        let is_loopback = stream.local_addr().is_ok_and(|local| local.ip().to_canonical().is_loopback());
        Self {
            no_permit,
            peer: peer.ip(),
            is_over_loopback: is_loopback && !is_proxied,
            last_at: time_max.map(|time_max| Instant::now() + time_max),
            requests: Cell::new(0),
            admitted: Cell::default(),
            goes_on: Cell::default(),
            has_unsent: Cell::default(),
        }
    }
}

impl HttpServer {
    /// Answers one request, when it is this connection's turn.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &HttpConnection,
    ) -> Result<Response<Body>, Infallible> {
        fault::inject("http");
        self.context.counts.requests.add(1);
        let before = connection.requests.replace(connection.requests.get() + 1);
        if before % TURN_ANSWERS == TURN_ANSWERS - 1 {
            yield_now().await;
        }
        let summary = RequestSummary::of(&request);
        let mut response = match StreamPath::of(request.uri().path()) {
            Some(path) => self.answer_at(path, request, connection, &summary).await,
            None => self.answer_at_other_path(request, connection, &summary).await,
        };
        let is_last = connection.last_at.is_some_and(|last_at| Instant::now() >= last_at);
        if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn answer_at_other_path(
        &self,
        request: Request<Incoming>,
        connection: &HttpConnection,
        summary: &RequestSummary,
    ) -> Response<Body> {
        let answered = match check(&request, BODY_BYTES_MAX) {
            Ok(()) if TEXT_PATHS.contains(&request.uri().path()) => {
                self.shake_hands(&request, connection, |_, compression| Dialect::TextWebSocket(compression))
            }
            Ok(()) if request.uri().path() == CENTRIFUGE_PATH => {
                self.shake_hands(&request, connection, centrifuge_dialect)
            }
            Ok(()) => Ok(self.route(request, summary, connection).await),
            Err(refused) => Err(refused),
        };
        answered.unwrap_or_else(|refused| self.refuse(refused, summary))
    }

    async fn route(
        &self,
        mut request: Request<Incoming>,
        summary: &RequestSummary,
        connection: &HttpConnection,
    ) -> Response<Body> {
        if let Some(no_permit) = connection.no_permit {
            request.extensions_mut().insert(no_permit);
        }
        if request.uri().path() == METRICS_PATH {
            request.extensions_mut().insert(self.metrics_text());
        }
        let Ok(response) = self.router.clone().call(request).await;
        match response.status() {
            StatusCode::NOT_FOUND => self.refuse_request(RefusalReason::Path, summary),
            StatusCode::METHOD_NOT_ALLOWED => self.refuse_request(RefusalReason::Method, summary),
            _ => {}
        }
        response
    }

    /// Returns the text of the metrics, made anew if it is too old.
    fn metrics_text(&self) -> Bytes {
        let newest = &mut *self.metrics_text.borrow_mut();
        if let Some((made_at, text)) = newest
            && made_at.elapsed() < SCRAPE_AGE_MAX
        {
            return text.clone();
        }
        self.context.counts.scrapes.add(1);
        let text = Bytes::from(self.context.metrics.expose());
        *newest = Some((Instant::now(), text.clone()));
        text
    }

    fn shake_hands(
        &self,
        request: &Request<Incoming>,
        connection: &HttpConnection,
        dialect: fn(&Request<Incoming>, Compression) -> Dialect,
    ) -> Result<Response<Body>, RefusedRequest> {
        if request.method() == Method::OPTIONS {
            return Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response());
        }
        self.check_open(connection)?;
        let mut response = switch_protocols(request)?;
        let compression = answer_extensions(request.headers(), self.context.deflate_bytes_min, &mut response);
        let dialect = dialect(request, compression);
        answer_subprotocol(request.headers(), dialect, &mut response)?;
        self.check_origin(request.headers(), connection)?;
        let (address, permit) = self.admit(request.headers(), connection)?;
        let token = verified(&self.context, request)?;
        connection.admitted.set(Some(Admitted { address, permit, token, dialect, first_frame: Vec::new() }));
        Ok(response)
    }

    /// Checks that the server takes clients, and this connection may be one.
    pub(super) fn check_open(&self, connection: &HttpConnection) -> Result<(), RefusedRequest> {
        if self.context.drain.is_stopping() {
            return Err(RefusedRequest::draining());
        }
        connection.no_permit.map_or(Ok(()), |no_permit| Err(no_permit.into()))
    }

    /// Checks the origin of the page that has sent the request, if one has.
    pub(super) fn check_origin(&self, headers: &HeaderMap, connection: &HttpConnection) -> Result<(), RefusedRequest> {
        let is_proxy = self.context.proxies.trusts(connection.peer);
        let reached = if is_proxy && is_forwarded(headers) {
            Reached::Forwarded(forwarded_host(headers))
        } else if connection.is_over_loopback {
            Reached::OverLoopback
        } else {
            Reached::Directly
        };
        if !self.context.origins.allow(headers, reached) {
            let text = "pages of this Origin may not connect: see allowed-origins\n";
            return Err(RefusedRequest(RefusalReason::Origin, StatusCode::FORBIDDEN, text.into()));
        }
        Ok(())
    }

    /// Checks the limits of the address that a trusted proxy names.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        connection: &HttpConnection,
    ) -> Result<(IpAddr, Option<AddressPermit>), RefusedRequest> {
        if !self.context.proxies.trusts(connection.peer) {
            return Ok((connection.peer, None));
        }
        let client = forwarded_for(&self.context.proxies, connection.peer, headers);
        Ok((client, self.context.address_limiter.acquire(client)?))
    }
}

/// Refuses what no request may be, at any path.
pub fn check(request: &Request<Incoming>, body_bytes_max: usize) -> Result<(), RefusedRequest> {
    if request.body().size_hint().lower() > body_bytes_max as u64 {
        let text = format!("a body has at most {} KiB\n", body_bytes_max / 1024);
        return Err(RefusedRequest(RefusalReason::Body, StatusCode::PAYLOAD_TOO_LARGE, text.into()));
    }
    // RFC 9112 §3.2: the host must be unambiguous, or a proxy and this server may read two different ones.
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        let text = "a request has one Host header\n";
        return Err(RefusedRequest(RefusalReason::Host, StatusCode::BAD_REQUEST, text.into()));
    }
    Ok(())
}
