//! What there is beside the handshake: health, readiness and metrics, as an axum router. Knows no connection.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::HttpState;
use crate::metrics::Exposition;
use crate::net::connection_limit::NoPermit;
use crate::transport::metrics::{ServerMetrics, TransportMetrics};

/// Where the metrics are.
pub const METRICS_PATH: &str = "/metrics";

/// The text of the metrics is as old as this at most: whoever asks more often gets the same again.
const SCRAPE_AGE_MAX: Duration = Duration::from_millis(100);

/// What each route answers to.
const METHODS: [(HeaderName, &str); 1] = [(ALLOW, "GET,HEAD,OPTIONS")];

/// Answers are of the moment: no proxy is to keep them.
const OF_THE_MOMENT: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// Why the connection of a request has none of the clients' places, if so. Whoever has one does not count itself.
#[derive(Clone, Copy)]
pub struct PermitStatus(pub Option<NoPermit>);

/// The text of the metrics, as its request finds it.
#[derive(Clone)]
pub struct MetricsText(Bytes);

/// The newest text of the metrics that this worker has made.
#[derive(Default)]
pub struct MetricsCache {
    newest: RefCell<Option<(Instant, Bytes)>>,
}

impl MetricsCache {
    /// The text, made anew if it is too old.
    pub fn text(&self, now: Instant, metrics: &ServerMetrics, counts: &TransportMetrics) -> MetricsText {
        let newest = &mut *self.newest.borrow_mut();
        let is_fresh = |(made_at, _): &&(Instant, Bytes)| now.duration_since(*made_at) < SCRAPE_AGE_MAX;
        if let Some((_, text)) = newest.as_ref().filter(is_fresh) {
            return MetricsText(text.clone());
        }
        counts.count_scrape();
        let text = Bytes::from(metrics.expose());
        *newest = Some((now, text.clone()));
        MetricsText(text)
    }
}

/// All routes, answering from `state`, a request's [`PermitStatus`] and, at [`METRICS_PATH`], what was [`MetricsText`].
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/health", get(async || (OF_THE_MOMENT, "OK")).options(options))
        .route("/ready", get(ready).options(options))
        .route(METRICS_PATH, get(metrics).options(options))
        .fallback(not_found)
        .with_state(state)
}

async fn options() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, METHODS)
}

/// Load balancers ask for the options of `/` to see whether anybody is there (HAProxy's `option httpchk`).
async fn not_found(method: Method) -> Response {
    if method == Method::OPTIONS {
        return options().await.into_response();
    }
    (StatusCode::NOT_FOUND, "not found: there are /health, /ready, /metrics and /ws\n").into_response()
}

async fn metrics(Extension(MetricsText(text)): Extension<MetricsText>) -> impl IntoResponse {
    (OF_THE_MOMENT, [(CONTENT_TYPE, Exposition::CONTENT_TYPE)], text)
}

async fn ready(
    State(state): State<HttpState>,
    Extension(PermitStatus(no_permit)): Extension<PermitStatus>,
) -> impl IntoResponse {
    let is_full = match no_permit {
        None | Some(NoPermit::TooManyOfAddress) => false,
        Some(NoPermit::Full) => state.connection_limit.is_full(),
        Some(NoPermit::OutOfDescriptors) => true,
    };
    let (status, text) = if state.drain.is_announced() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if is_full {
        (StatusCode::SERVICE_UNAVAILABLE, "full")
    } else {
        (StatusCode::OK, "ready")
    };
    (status, OF_THE_MOMENT, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_made_at_most_every_100_ms() {
        let (metrics, counts, metrics_cache) =
            (ServerMetrics::new(1, 1, 1), TransportMetrics::default(), MetricsCache::default());
        let begun = Instant::now();
        let text = |milliseconds| metrics_cache.text(begun + Duration::from_millis(milliseconds), &metrics, &counts).0;
        let first = text(0);
        metrics.transports[0].count_opened();
        assert_eq!(text(99), first);
        assert_ne!(text(100), first);
    }
}
