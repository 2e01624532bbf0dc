//! RefusedRequest requests as operators see them: counted by reason, a line each at debug, and now and then a warning that names the
//! setting where a page of another origin may be one of the operator's own. What clients wrote is shown escaped and cut short.

use std::fmt;
use std::sync::Arc;

use axum::http::header::{HOST, HeaderValue, ORIGIN};
use axum::http::{Method, Request, Uri};
use tracing::field::display;
use tracing::{debug, warn};

use crate::log::LogThrottle;
use crate::transport::metrics::{RefusalReason, TransportMetrics};

/// Of what a client wrote, so many bytes are shown.
const SHOWN_BYTES_MAX: usize = 100;

/// What of a request its refusal shows.
pub struct RequestSummary {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    origin: Option<HeaderValue>,
}

impl RequestSummary {
    /// Shares the bytes of the request.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: request.headers().get(HOST).cloned(),
            origin: request.headers().get(ORIGIN).cloned(),
        }
    }
}

/// The refusals of one worker.
pub struct RefusalLog {
    counts: Arc<TransportMetrics>,
    of_origin: LogThrottle,
}

impl RefusalLog {
    /// None yet.
    pub fn new(counts: Arc<TransportMetrics>) -> Self {
        Self { counts, of_origin: LogThrottle::new() }
    }

    /// A connection, or what came on it before there was a request.
    pub fn connection(&self, reason: RefusalReason) {
        self.counts.count_refused(reason);
        debug!(reason = reason.reason(), "http connection refused");
    }

    /// A request.
    pub fn request(&self, reason: RefusalReason, summary: &RequestSummary) {
        self.counts.count_refused(reason);
        let path = Shown(summary.uri.path().as_bytes());
        let [host, origin] = [&summary.host, &summary.origin].map(|value| value.as_ref().map(HeaderValue::as_bytes));
        let (host, origin) = (host.map(|bytes| display(Shown(bytes))), origin.map(|bytes| display(Shown(bytes))));
        let method = Shown(summary.method.as_str().as_bytes());
        debug!(reason = reason.reason(), %method, %path, host, origin, "http request refused");
        if reason == RefusalReason::Origin
            && let Some(times) = self.of_origin.count()
        {
            warn!(
                times,
                origin,
                host,
                "pages of another origin were refused: if they are yours, add their origin to allowed-origins"
            );
        }
    }
}

/// What a client wrote, fit for a log.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        let cut = if shown.len() < self.0.len() { "…" } else { "" };
        write!(out, "\"{}\"{cut}", shown.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_is_escaped_and_cut_short() {
        assert_eq!(Shown(b"a\x1b[2J\n\"\xe4").to_string(), r#""a\x1b[2J\n\"\xe4""#);
        assert_eq!(Shown(&[b'a'; 101]).to_string(), format!("\"{}\"…", "a".repeat(100)));
    }
}
