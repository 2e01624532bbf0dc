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

use super::refusals::Asked;
use super::routes::{METRICS_PATH, Standing};
use super::{Arrived, HttpHost};
use crate::fault;
use crate::transport::accept::{NoPlace, Visit, visit};
use crate::transport::handshake::{self, Refused};
use crate::transport::metrics::RefusalReason;
use crate::transport::origin::Reached;
use crate::transport::proxied::{forwarded_host, is_forwarded};

/// Where the handshake is.
const WEBSOCKET_PATHS: [&str; 2] = ["/ws", "/ws/"];

/// Answers that one connection gets before the next connection has its turn. An answer is a write of its own, so a turn
/// takes about as long as one of 64 commands.
const TURN_ANSWERS: u64 = 4;

/// A longer body is answered with 413, before it comes. No route takes one.
const BODY_BYTES_MAX: u64 = 16 * 1024;

/// A connection, as its requests know it.
pub struct Asking {
    pub standing: Standing,
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
    pub visit: Cell<Option<Visit>>,
}

impl Asking {
    /// Nothing was asked yet.
    pub fn new(arrived: &Arrived, standing: Standing, time_max: Option<Duration>) -> Self {
        let Arrived { stream, peer, is_announced } = arrived;
        let is_loopback = stream.local_addr().is_ok_and(|local| local.ip().to_canonical().is_loopback());
        Self {
            standing,
            peer: peer.ip(),
            client: Cell::new(peer.ip()),
            is_over_loopback: is_loopback && !is_announced,
            last_at: time_max.map(|time_max| Instant::now() + time_max),
            deadline: None,
            requests: Cell::new(0),
            visit: Cell::default(),
        }
    }
}

impl HttpHost {
    /// Answers one request, when it is this connection's turn.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        asking: &Asking,
    ) -> Result<Response<Body>, Infallible> {
        fault::may_strike("http");
        self.counts.count_request();
        let before = asking.requests.replace(asking.requests.get() + 1);
        if before % TURN_ANSWERS == TURN_ANSWERS - 1 {
            yield_now().await;
        }
        let asked = Asked::of(&request);
        let answered = match check(&request) {
            Ok(()) if WEBSOCKET_PATHS.contains(&request.uri().path()) => self.shake_hands(&request, asking),
            Ok(()) => Ok(self.route(request, &asked, asking).await),
            Err(refused) => Err(refused),
        };
        let mut response = answered.unwrap_or_else(|refused| {
            self.refusals.request(refused.reason, &asked);
            refused.into_response()
        });
        let is_last = asking.last_at.is_some_and(|last_at| Instant::now() >= last_at);
        if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn route(&self, mut request: Request<Incoming>, asked: &Asked, asking: &Asking) -> Response<Body> {
        request.extensions_mut().insert(asking.standing);
        if request.uri().path() == METRICS_PATH {
            let scraped = self.scrape.text(Instant::now(), &self.state.metrics, &self.counts);
            request.extensions_mut().insert(scraped);
        }
        let Ok(response) = self.router.clone().call(request).await;
        match response.status() {
            StatusCode::NOT_FOUND => self.refusals.request(RefusalReason::Path, asked),
            StatusCode::METHOD_NOT_ALLOWED => self.refusals.request(RefusalReason::Method, asked),
            _ => {}
        }
        response
    }

    fn shake_hands(&self, request: &Request<Incoming>, asking: &Asking) -> Result<Response<Body>, Refused> {
        if request.method() == Method::OPTIONS {
            return Ok((StatusCode::NO_CONTENT, [(ALLOW, handshake::METHODS)]).into_response());
        }
        self.check_place(asking.standing)?;
        let accept = handshake::accept_key(request)?;
        asking.visit.set(Some(self.let_in(request, asking)?));
        Ok(handshake::switching(accept))
    }

    fn check_place(&self, Standing(no_place): Standing) -> Result<(), Refused> {
        if self.state.drain.is_stopping() {
            return Err(refuse(RefusalReason::Draining, StatusCode::SERVICE_UNAVAILABLE, "draining\n"));
        }
        no_place.map_or(Ok(()), |no_place| Err(without_place(no_place)))
    }

    /// Whether the page may connect, and whom a proxy asks for.
    fn let_in(&self, request: &Request<Incoming>, asking: &Asking) -> Result<Visit, Refused> {
        let headers = request.headers();
        let is_proxy = self.proxies.trusts(asking.peer);
        let reached = if is_proxy && is_forwarded(headers) {
            Reached::Forwarded(forwarded_host(headers))
        } else if asking.is_over_loopback {
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
        let client = self.proxies.forwarded_for(asking.peer, headers);
        asking.client.set(client);
        visit(&self.state.census, client).map_err(without_place)
    }
}

/// What no request may be, whatever it asks for.
fn check(request: &Request<Incoming>) -> Result<(), Refused> {
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

fn refuse(reason: RefusalReason, status: StatusCode, why: &'static str) -> Refused {
    Refused { reason, status, header: None, why }
}

fn without_place(no_place: NoPlace) -> Refused {
    let (status, why) = match no_place {
        NoPlace::TooManyOfAddress => (StatusCode::TOO_MANY_REQUESTS, "too many from your address\n"),
        NoPlace::Full | NoPlace::OutOfDescriptors => (StatusCode::SERVICE_UNAVAILABLE, "full\n"),
    };
    refuse(no_place.into(), status, why)
}
