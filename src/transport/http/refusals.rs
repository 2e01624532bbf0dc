//! Refused requests: answered, counted by reason, logged at debug, and now and then a warning that names the setting
//! where a page of another origin may be one of the operator's own. What clients wrote is logged escaped and cut short.

use std::borrow::Cow;
use std::fmt;

use hyper::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, StatusCode, Uri};
use tracing::field::display;
use tracing::{debug, warn};

use super::HttpServer;
use super::body::{Answer, text};
use super::routes::{API_PATH, RouteRule};
use crate::net::NoPermit;
use crate::transport::metrics::RefusalReason;

/// Bytes of what a client wrote that are logged.
const SHOWN_BYTES_MAX: usize = 100;

/// When clients of a node that catches up with its cluster may come again. A large stream takes it many times as long.
const CATCHING_UP_RETRY_SECONDS: u32 = 1;

/// Why a request is refused, its status, and a line that says what would be right.
pub struct RefusedRequest(pub RefusalReason, pub StatusCode, pub Cow<'static, str>);

impl RefusedRequest {
    /// The answer. It is the last of its connection, except where only the path or the method was wrong.
    pub fn into_answer(self) -> Answer {
        let Self(reason, status, line) = self;
        let mut answer = text(status, line.into_owned());
        let header: Option<(HeaderName, &str)> = match reason {
            RefusalReason::Upgrade => Some((UPGRADE, "websocket")),
            RefusalReason::Version => Some((SEC_WEBSOCKET_VERSION, "13")),
            // RFC 6750 §3.
            RefusalReason::Rights if status == StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            // RFC 6750 §3.1.
            RefusalReason::Token if status == StatusCode::UNAUTHORIZED => {
                Some((WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""))
            }
            RefusalReason::ApiKey => Some((WWW_AUTHENTICATE, "apikey")),
            _ => None,
        };
        let is_last = !matches!(reason, RefusalReason::Path | RefusalReason::Method);
        let headers = header.into_iter().chain(is_last.then_some((CONNECTION, "close")));
        answer.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
        answer
    }

    /// A request that is not as HTTP has it.
    pub fn bad(reason: RefusalReason, text: &'static str) -> Self {
        Self(reason, StatusCode::BAD_REQUEST, text.into())
    }

    /// There is nothing behind the path.
    pub fn not_found(path: &str) -> Self {
        let text = match path {
            "/api" | API_PATH => "post to /api/<method>: /api/openapi.json describes the methods\n",
            _ => {
                "not found: there are /health, /ready, /metrics, /ws, /connection/websocket, /rooms/ and /api/<method>\n"
            }
        };
        Self(RefusalReason::Path, StatusCode::NOT_FOUND, text.into())
    }

    /// The route does not have the method.
    pub fn no_method(rule: &RouteRule) -> Self {
        let text = format!("this path has the methods {}\n", rule.methods);
        Self(RefusalReason::Method, StatusCode::METHOD_NOT_ALLOWED, text.into())
    }

    /// No client is let in yet.
    pub fn catching_up() -> Self {
        Self(RefusalReason::CatchingUp, StatusCode::SERVICE_UNAVAILABLE, "catching up\n".into())
    }

    /// No client is let in any more.
    pub fn draining() -> Self {
        Self(RefusalReason::Draining, StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
    }
}

impl From<NoPermit> for RefusedRequest {
    fn from(no_permit: NoPermit) -> Self {
        let (status, text) = match no_permit {
            NoPermit::TooManyOfAddress => (StatusCode::TOO_MANY_REQUESTS, "too many from your address\n"),
            NoPermit::Full | NoPermit::OutOfDescriptors => (StatusCode::SERVICE_UNAVAILABLE, "full\n"),
        };
        Self(no_permit.into(), status, text.into())
    }
}

/// What the log shows of a request that is refused. Shares the bytes of the request.
pub struct RequestSummary {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    origin: Option<HeaderValue>,
}

impl RequestSummary {
    pub fn of<B>(request: &Request<B>) -> Self {
        let [host, origin] = [HOST, ORIGIN].map(|name| request.headers().get(name).cloned());
        Self { method: request.method().clone(), uri: request.uri().clone(), host, origin }
    }
}

impl HttpServer {
    /// Counts and logs a refused connection, or bytes that are no request.
    pub(super) fn refuse_connection(&self, reason: RefusalReason) {
        self.context.counts.count_http_refused(reason);
        debug!(reason = reason.into_str(), "http connection refused");
    }

    /// The answer to a request that is refused, which is counted and logged.
    pub(super) fn refuse(&self, refused: RefusedRequest, summary: &RequestSummary) -> Answer {
        self.refuse_request(refused.0, summary);
        let retry_after = match refused.0 {
            RefusalReason::Draining => Some(self.context.drain.retry_seconds()),
            RefusalReason::CatchingUp => Some(CATCHING_UP_RETRY_SECONDS),
            _ => None,
        };
        let mut answer = refused.into_answer();
        answer.headers_mut().extend(retry_after.map(|seconds| (RETRY_AFTER, seconds.into())));
        answer
    }

    /// Counts and logs a refused request.
    fn refuse_request(&self, reason: RefusalReason, summary: &RequestSummary) {
        self.context.counts.count_http_refused(reason);
        let path = Shown(summary.uri.path().as_bytes());
        let [host, origin] =
            [&summary.host, &summary.origin].map(|value| value.as_ref().map(|value| display(Shown(value.as_bytes()))));
        let method = Shown(summary.method.as_str().as_bytes());
        debug!(reason = reason.into_str(), %method, %path, host, origin, "http request refused");
        if reason == RefusalReason::Origin
            && let Some(times) = self.origin_refusals.count()
        {
            let text = match summary.origin {
                Some(_) => {
                    "pages of another origin were refused: if they are yours, add their origin to allowed-origins"
                }
                None => "requests over loopback for another host were refused: if it is yours, add it to hosts",
            };
            warn!(times, origin, host, "{text}");
        }
    }
}

/// Shows what a client wrote, fit for a log.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        let cut = if shown.len() < self.0.len() { "…" } else { "" };
        write!(out, "\"{}\"{cut}", shown.escape_ascii())
    }
}
