//! The routes beside the handshake, as an axum router: health, readiness and metrics. Knows no connection.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Exposition;
use crate::net::NoPermit;
use crate::net::connection_limit::ConnectionLimit;
use crate::shutdown::Drain;

/// The path of the metrics.
pub const METRICS_PATH: &str = "/metrics";

/// The methods of each route.
const METHODS: [(HeaderName, &str); 1] = [(ALLOW, "GET,HEAD,OPTIONS")];

/// Answers hold for the moment: no proxy is to keep them.
const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// All routes. A request comes with two extensions: the [`NoPermit`] of a connection without a permit, and at
/// [`METRICS_PATH`] the text of the metrics, in [`Bytes`].
pub fn router(drain: Drain, connection_limit: ConnectionLimit) -> Router {
    Router::new()
        .route("/health", get(async || (NO_STORE, "OK")).options(options))
        .route("/ready", get(ready).options(options))
        .route(METRICS_PATH, get(metrics).options(options))
        .fallback(not_found)
        .with_state((drain, connection_limit))
}

async fn options() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, METHODS)
}

/// Load balancers request the options of `/` to see whether the server is up (HAProxy's `option httpchk`).
async fn not_found(method: Method) -> Response {
    if method == Method::OPTIONS {
        return options().await.into_response();
    }
    (StatusCode::NOT_FOUND, "not found: there are /health, /ready, /metrics and /ws\n").into_response()
}

async fn metrics(Extension(text): Extension<Bytes>) -> impl IntoResponse {
    (NO_STORE, [(CONTENT_TYPE, Exposition::CONTENT_TYPE)], text)
}

async fn ready(
    State((drain, connection_limit)): State<(Drain, ConnectionLimit)>,
    no_permit: Option<Extension<NoPermit>>,
) -> impl IntoResponse {
    let is_full = match no_permit.map(|Extension(no_permit)| no_permit) {
        // A connection with a permit does not count itself.
        None | Some(NoPermit::TooManyOfAddress) => false,
        Some(NoPermit::Full) => connection_limit.is_full(),
        Some(NoPermit::OutOfDescriptors) => true,
    };
    let (status, text) = if drain.is_announced() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if is_full {
        (StatusCode::SERVICE_UNAVAILABLE, "full")
    } else {
        (StatusCode::OK, "ready")
    };
    (status, NO_STORE, text)
}
