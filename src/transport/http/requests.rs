//! One request and its answer: the dispatch by route, what every answer says, and the turns of the connections.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Instant;

use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, HeaderMap, HeaderValue, UPGRADE, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode, Version};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;

use super::activity::{Activity, HttpTimes, Phase};
use super::bearer::verified;
use super::body::{Answer, empty, text};
use super::cors::Cors;
use super::extensions::answer_extensions;
use super::forwarded::{forwarded_for, forwarded_host, is_forwarded};
use super::framing::check;
use super::handshake::{has_token, switch_protocols};
use super::origin::Reached;
use super::pages::answer_page;
use super::refusals::{RefusedRequest, RequestSummary};
use super::routes::{Route, RouteRule};
use super::spare::Spare;
use super::subprotocol::{answer_subprotocol, centrifuge_dialect};
use super::{HttpServer, HttpSocket, Upgrade};
use crate::auth::tokens::Token;
use crate::fault;
use crate::net::NoPermit;
use crate::net::address_limiter::AddressPermit;
use crate::protocol::compression::Compression;
use crate::protocol::dialect::Dialect;
use crate::transport::metrics::RefusalReason;

/// Answers that one connection gets before the next connection has its turn. An answer is a write of its own, so a turn
/// takes about as long as one of 64 commands.
const TURN_ANSWERS: u64 = 4;

/// A connection, as its requests know it.
pub struct HttpConnection<'a> {
    /// Why the connection has no permit, if it has none.
    no_permit: Option<NoPermit>,
    /// What it is served on in place of a permit.
    spare: Option<&'a Spare>,
    pub peer: IpAddr,
    /// It came to a loopback address, and not through a proxy with a PROXY header.
    pub is_over_loopback: bool,
    /// An answer after this time is the last; `None` is no limit.
    last_at: Option<Instant>,
    /// What it does now.
    pub activity: Activity,
    /// Requests that have come.
    pub requests: Cell<u64>,
    /// The newest request has a body that is not read to its end.
    pub has_unread_body: Cell<bool>,
    /// Set once the connection was switched to WebSocket, or its last answer goes on.
    pub admitted: Cell<Option<Admitted>>,
    /// The last answer goes on, without hyper once its head is sent.
    pub goes_on: Cell<bool>,
    /// It has had an answer that did not make it a client.
    is_plain: &'a Cell<bool>,
}

/// A client that is let in.
pub struct Admitted {
    pub address: IpAddr,
    /// The permit of its address, if a trusted proxy has named it.
    pub permit: Option<AddressPermit>,
    /// The valid token that it has presented.
    pub token: Option<Box<Token>>,
    /// What it goes on as.
    pub upgrade: Upgrade,
    /// The frame that has come with the request.
    pub first_frame: Vec<u8>,
}

impl<'a> HttpConnection<'a> {
    pub fn new(socket: &HttpSocket<'a>, no_permit: Option<NoPermit>, times: HttpTimes) -> Self {
        let HttpSocket { stream, peer, is_proxied, is_plain, spare } = socket;
        let is_loopback = stream.local_addr().is_ok_and(|local| local.ip().to_canonical().is_loopback());
        Self {
            no_permit,
            spare: *spare,
            peer: peer.ip(),
            is_over_loopback: is_loopback && !is_proxied,
            last_at: times.connection.map(|time_max| Instant::now() + time_max),
            activity: Activity::new(times, spare.map(|spare| spare.deadline)),
            requests: Cell::default(),
            has_unread_body: Cell::default(),
            admitted: Cell::default(),
            goes_on: Cell::default(),
            is_plain,
        }
    }

    /// Takes the connection off its spare permit: neither its deadline nor a newcomer ends it any more. This permit bounds
    /// the number of such connections.
    pub fn keep(&self, spare: &Spare, permit: OwnedSemaphorePermit) {
        self.activity.lift_deadline();
        spare.revoked.take();
        spare.kept.set(Some(permit));
    }

    /// What the connection is served on in place of a permit, if nothing waits for its descriptor.
    pub fn spare(&self) -> Option<&'a Spare> {
        self.spare.filter(|_| self.no_permit != Some(NoPermit::OutOfDescriptors))
    }

    /// Whether the next answer is the last: its time is over, it has no permit, or the rest of a body is in the way.
    fn is_over(&self) -> bool {
        let is_time_over = self.last_at.is_some_and(|last_at| Instant::now() >= last_at);
        is_time_over || self.no_permit.is_some() || self.has_unread_body.get()
    }
}

impl HttpServer {
    /// Answers one request, when it is this connection's turn.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &HttpConnection<'_>,
    ) -> Result<Answer, Infallible> {
        fault::inject("http");
        self.context.counts.requests.add(1);
        connection.activity.enter(Phase::Answering);
        connection.has_unread_body.set(!request.body().is_end_stream());
        let before = connection.requests.replace(connection.requests.get() + 1);
        if before % TURN_ANSWERS == TURN_ANSWERS - 1 {
            yield_now().await;
        }
        let ends_connection = ends_connection(&request);
        let mut answer = self.answer_with_headers(request, connection).await;
        let becomes_client = answer.status() == StatusCode::SWITCHING_PROTOCOLS || connection.goes_on.get();
        if !becomes_client {
            if ends_connection || connection.is_over() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if !connection.is_plain.replace(true) {
                self.context.counts.opened.add(1);
            }
        }
        self.context.counts.count_response(answer.status().as_u16());
        connection.activity.enter(Phase::Idle);
        Ok(answer)
    }

    /// The answer to a request, with what it says to the page that has sent it, and to caches.
    async fn answer_with_headers(&self, request: Request<Incoming>, connection: &HttpConnection<'_>) -> Answer {
        let summary = RequestSummary::of(&request);
        let rule = RouteRule::of(request.uri().path(), self.context.pages);
        let may_connect = self.check_origin(request.headers(), connection);
        let cors = Cors::of(&request, rule, may_connect.is_ok());
        let answered = match may_connect {
            Err(refused) if rule.refuses_other_pages() => Err(refused),
            _ => self.answer_route(rule, request, connection, &summary).await,
        };
        let mut answer = answered.unwrap_or_else(|refused| self.refuse(refused, &summary));
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return answer;
        }
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(rule.methods));
        }
        // Answers hold for the moment, unless the route says otherwise.
        answer.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        // Rooms have the same origin as the web pages: what somebody has published must never be run as a script.
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        cors.allow(&mut answer);
        answer
    }

    async fn answer_route(
        &self,
        rule: &RouteRule,
        request: Request<Incoming>,
        connection: &HttpConnection<'_>,
        summary: &RequestSummary,
    ) -> Result<Answer, RefusedRequest> {
        let body_bytes_max = rule.body_bytes_max(self.context.streams.frame_bytes_max);
        check(&request, body_bytes_max)?;
        if rule.is_read_by_pages(request.method()) {
            self.check_host(request.headers(), connection)?;
        }
        if request.method() == Method::OPTIONS {
            let mut answer = empty(StatusCode::NO_CONTENT);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(rule.methods));
            return Ok(answer);
        }
        match rule.route {
            Route::Nowhere => Err(RefusedRequest::not_found(request.uri().path())),
            _ if !rule.has(request.method()) => Err(RefusedRequest::no_method(rule)),
            Route::Page => answer_page(&request),
            Route::Figures => Ok(self.answer_figures(&request, connection, summary)),
            Route::Health => Ok(text(StatusCode::OK, "OK")),
            Route::Ready => Ok(self.answer_ready(connection.no_permit)),
            Route::Metrics => Ok(self.metrics(connection.no_permit)),
            Route::TextWebSocket => {
                self.shake_hands(&request, connection, |_, compression| Dialect::TextWebSocket(compression))
            }
            Route::CentrifugeWebSocket => self.shake_hands(&request, connection, centrifuge_dialect),
            Route::HttpStream | Route::Sse | Route::UniSse => self.open_stream(rule.route, request, connection).await,
            Route::Emulation => self.emulate(request, body_bytes_max, connection).await,
            Route::Rooms => Ok(self.answer_rooms(&request, connection, summary).await),
            Route::Room => Ok(self.answer_room(request, connection, summary).await),
            Route::ApiDescription => Ok(self.describe_api()),
            Route::Api => self.call_api(request, body_bytes_max, connection).await,
        }
    }

    fn shake_hands(
        &self,
        request: &Request<Incoming>,
        connection: &HttpConnection<'_>,
        dialect: fn(&Request<Incoming>, Compression) -> Dialect,
    ) -> Result<Answer, RefusedRequest> {
        self.check_open(connection)?;
        let mut answer = switch_protocols(request)?;
        let compression = answer_extensions(request.headers(), self.context.deflate_bytes_min, &mut answer);
        let dialect = dialect(request, compression);
        answer_subprotocol(request.headers(), dialect, &mut answer)?;
        let (address, permit) = self.admit(request.headers(), connection)?;
        let token = verified(&self.context, request)?;
        let upgrade = Upgrade::Client(dialect);
        connection.admitted.set(Some(Admitted { address, permit, token, upgrade, first_frame: Vec::new() }));
        Ok(answer)
    }

    /// Checks that the server takes clients, and this connection may be one.
    pub(super) fn check_open(&self, connection: &HttpConnection<'_>) -> Result<(), RefusedRequest> {
        if self.context.drain.is_turning_away() {
            return Err(RefusedRequest::draining());
        }
        self.check_served(connection)
    }

    /// Checks that there are rooms, and the connection is not served without a permit.
    pub(super) fn check_served(&self, connection: &HttpConnection<'_>) -> Result<(), RefusedRequest> {
        self.check_caught_up()?;
        connection.no_permit.map_or(Ok(()), |no_permit| Err(no_permit.into()))
    }

    /// Checks that there are rooms: a node has none until it has caught up with its cluster.
    pub(super) fn check_caught_up(&self) -> Result<(), RefusedRequest> {
        if self.has_caught_up() { Ok(()) } else { Err(RefusedRequest::catching_up()) }
    }

    /// Checks the origin of the page that has sent the request, if one has.
    fn check_origin(&self, headers: &HeaderMap, connection: &HttpConnection<'_>) -> Result<(), RefusedRequest> {
        if !self.context.origins.allow(headers, self.reached(headers, connection)) {
            let text = "pages of this Origin may not connect: see allowed-origins\n";
            return Err(RefusedRequest(RefusalReason::Origin, StatusCode::FORBIDDEN, text.into()));
        }
        Ok(())
    }

    /// Checks the host that was asked for, where a page may read the answer and browsers name no origin.
    pub(super) fn check_host(
        &self,
        headers: &HeaderMap,
        connection: &HttpConnection<'_>,
    ) -> Result<(), RefusedRequest> {
        if !self.context.origins.allow_reading(headers, self.reached(headers, connection)) {
            let text = "over loopback this Host may be anybody's: list it in hosts, or the proxy in trusted-proxies\n";
            return Err(RefusedRequest(RefusalReason::Origin, StatusCode::FORBIDDEN, text.into()));
        }
        Ok(())
    }

    fn reached<'h>(&self, headers: &'h HeaderMap, connection: &HttpConnection<'_>) -> Reached<'h> {
        if self.context.proxies.trusts(connection.peer) && is_forwarded(headers) {
            Reached::Forwarded(forwarded_host(headers))
        } else if connection.is_over_loopback {
            Reached::OverLoopback
        } else {
            Reached::Directly
        }
    }

    /// Checks the limits of the address that a trusted proxy names.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        connection: &HttpConnection<'_>,
    ) -> Result<(IpAddr, Option<AddressPermit>), RefusedRequest> {
        if !self.context.proxies.trusts(connection.peer) {
            return Ok((connection.peer, None));
        }
        let client = forwarded_for(&self.context.proxies, connection.peer, headers);
        Ok((client, self.context.address_limiter.acquire(client)?))
    }
}

/// Whether the client has asked for the end of the connection behind the answer, or for another protocol: what it sends
/// behind that is no request.
fn ends_connection(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    let is_kept = request.version() == Version::HTTP_11 || has_token(headers, CONNECTION, "keep-alive");
    !is_kept || has_token(headers, CONNECTION, "close") || headers.contains_key(UPGRADE)
}
