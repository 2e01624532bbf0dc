//! One request and its answer: what is refused whatever is asked, the handshake in front of the router, and the turns of the
//! connections.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::http::header::{ALLOW, CONNECTION, HOST, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use tokio::task::yield_now;
use tower_service::Service;

use super::forwarded::{forwarded_for, forwarded_host, is_forwarded};
use super::handshake::{self, RefusedRequest};
use super::origin::Reached;
use super::refusals::RequestSummary;
use super::routes::{METRICS_PATH, PermitStatus};
use super::{HttpServer, HttpSocket};
use crate::fault;
use crate::net::address_limiter::AddressPermit;
use crate::net::connection_limit::NoPermit;
use crate::transport::metrics::RefusalReason;

/// Where the handshake is.
const WEBSOCKET_PATHS: [&str; 2] = ["/ws", "/ws/"];

/// Answers that one connection gets before the next connection has its turn. An answer is a write of its own, so a turn
/// takes about as long as one of 64 commands.
const TURN_ANSWERS: u64 = 4;

/// A longer body is answered with 413, before it comes. No route takes one.
const BODY_BYTES_MAX: u64 = 16 * 1024;

/// A connection, as its requests know it.
pub struct HttpConnection {
    pub permit_status: PermitStatus,
    /// The client, as far as its connection tells: it may be a proxy that asks for many.
    peer: IpAddr,
    /// The client, as far as its proxy tells, once that has asked for it.
    pub client: Cell<IpAddr>,
    /// It came to a loopback address by itself.
    is_over_loopback: bool,
    /// From then on each answer is the last; `None` is never.
    last_at: Option<Instant>,
    /// On a spare place: when the answer must be there.
    pub deadline: Option<Instant>,
    /// Requests that came so far.
    pub requests: Cell<u64>,
    /// Set once it was switched to WebSocket: what it counts for the address that it asks for.
    pub address_permit: Cell<Option<Option<AddressPermit>>>,
}

impl HttpConnection {
    /// Nothing was asked yet.
    pub fn new(socket: &HttpSocket, permit_status: PermitStatus, time_max: Option<Duration>) -> Self {
        let HttpSocket { stream, peer, is_announced } = socket;
        let is_loopback = stream.local_addr().is_ok_and(|local| local.ip().to_canonical().is_loopback());
        Self {
            permit_status,
            peer: peer.ip(),
            client: Cell::new(peer.ip()),
            is_over_loopback: is_loopback && !is_announced,
            last_at: time_max.map(|time_max| Instant::now() + time_max),
            deadline: None,
            requests: Cell::new(0),
            address_permit: Cell::default(),
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
        self.counts.count_request();
        let before = connection.requests.replace(connection.requests.get() + 1);
        if before % TURN_ANSWERS == TURN_ANSWERS - 1 {
            yield_now().await;
        }
        let summary = RequestSummary::of(&request);
        let answered = match check(&request) {
            Ok(()) if WEBSOCKET_PATHS.contains(&request.uri().path()) => self.shake_hands(&request, connection),
            Ok(()) => Ok(self.route(request, &summary, connection).await),
            Err(refused) => Err(refused),
        };
        let mut response = answered.unwrap_or_else(|refused| {
            self.refusals.request(refused.reason, &summary);
            refused.into_response()
        });
        let is_last = connection.last_at.is_some_and(|last_at| Instant::now() >= last_at);
        if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn route(
        &self,
        mut request: Request<Incoming>,
        summary: &RequestSummary,
        connection: &HttpConnection,
    ) -> Response<Body> {
        request.extensions_mut().insert(connection.permit_status);
        if request.uri().path() == METRICS_PATH {
            let text = self.metrics_cache.text(Instant::now(), &self.state.metrics, &self.counts);
            request.extensions_mut().insert(text);
        }
        let Ok(response) = self.router.clone().call(request).await;
        match response.status() {
            StatusCode::NOT_FOUND => self.refusals.request(RefusalReason::Path, summary),
            StatusCode::METHOD_NOT_ALLOWED => self.refusals.request(RefusalReason::Method, summary),
            _ => {}
        }
        response
    }

    fn shake_hands(
        &self,
        request: &Request<Incoming>,
        connection: &HttpConnection,
    ) -> Result<Response<Body>, RefusedRequest> {
        if request.method() == Method::OPTIONS {
            return Ok((StatusCode::NO_CONTENT, [(ALLOW, handshake::METHODS)]).into_response());
        }
        self.check_permit(connection.permit_status)?;
        let accept = handshake::accept_key(request)?;
        connection.address_permit.set(Some(self.let_in(request, connection)?));
        Ok(handshake::switching(accept))
    }

    fn check_permit(&self, PermitStatus(no_permit): PermitStatus) -> Result<(), RefusedRequest> {
        if self.state.drain.is_stopping() {
            return Err(refuse(RefusalReason::Draining, StatusCode::SERVICE_UNAVAILABLE, "draining\n"));
        }
        no_permit.map_or(Ok(()), |no_permit| Err(without_permit(no_permit)))
    }

    /// Whether the page may connect, and whom a proxy asks for.
    fn let_in(
        &self,
        request: &Request<Incoming>,
        connection: &HttpConnection,
    ) -> Result<Option<AddressPermit>, RefusedRequest> {
        let headers = request.headers();
        let is_proxy = self.proxies.trusts(connection.peer);
        let reached = if is_proxy && is_forwarded(headers) {
            Reached::Forwarded(forwarded_host(headers))
        } else if connection.is_over_loopback {
            Reached::OverLoopback
        } else {
            Reached::Directly
        };
        if !self.origins.allow(headers, reached) {
            let why = "pages of this Origin may not connect: see allowed-origins\n";
            return Err(refuse(RefusalReason::Origin, StatusCode::FORBIDDEN, why));
        }
        if !is_proxy {
            return Ok(None);
        }
        let client = forwarded_for(&self.proxies, connection.peer, headers);
        connection.client.set(client);
        self.state.address_limiter.acquire(client).map_err(without_permit)
    }
}

/// What no request may be, whatever it asks for.
fn check(request: &Request<Incoming>) -> Result<(), RefusedRequest> {
    if request.body().size_hint().lower() > BODY_BYTES_MAX {
        return Err(refuse(RefusalReason::Body, StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 16 KiB\n"));
    }
    // RFC 9112 §3.2: who is asked must be plain, or a proxy and we may read two different hosts.
    let hosts = request.headers().get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        return Err(refuse(RefusalReason::Host, StatusCode::BAD_REQUEST, "a request has one Host header\n"));
    }
    Ok(())
}

fn refuse(reason: RefusalReason, status: StatusCode, why: &'static str) -> RefusedRequest {
    RefusedRequest { reason, status, header: None, why }
}

fn without_permit(no_permit: NoPermit) -> RefusedRequest {
    let (status, why) = match no_permit {
        NoPermit::TooManyOfAddress => (StatusCode::TOO_MANY_REQUESTS, "too many from your address\n"),
        NoPermit::Full | NoPermit::OutOfDescriptors => (StatusCode::SERVICE_UNAVAILABLE, "full\n"),
    };
    refuse(no_permit.into(), status, why)
}
