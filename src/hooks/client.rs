//! The HTTP client of the application: POST, signed, bounded. It follows no redirect, since one could lead anywhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Application;
use super::addresses::AllowedResolver;
use crate::auth::UnixSeconds;
use crate::log::with_causes;

/// Time for which an idle connection is kept. Shorter than servers keep theirs, so that no question is sent into a
/// connection that the application is about to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The longest body of an answer, in bytes, besides the longest message.
const ANSWER_BYTES: usize = 64 * 1024;

/// The longest time for which a decision is repeated.
const MAX_AGE_MAX: Duration = Duration::from_secs(60 * 60);

const TIME_HEADER: &str = "x-roomcast-time";
const SIGNATURE_HEADER: &str = "x-roomcast-signature";

/// The connections of one worker to the application.
pub(super) struct ApplicationClient {
    client: Client<HttpsConnector<HttpConnector<AllowedResolver>>, Full<Bytes>>,
    application: Arc<Application>,
}

/// An answer that came whole.
pub(super) struct HttpAnswer {
    pub body: Bytes,
    /// How long the decision may be repeated; zero for not at all.
    pub max_age: Duration,
}

impl ApplicationClient {
    pub(super) fn new(application: Arc<Application>, connections_max: usize) -> Self {
        let mut connector = HttpConnector::new_with_resolver(AllowedResolver::new(application.networks.clone()));
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(connections_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(HttpsConnector::from((connector, Arc::clone(&application.tls))));
        Self { client, application }
    }

    /// Sends a question.
    ///
    /// # Errors
    /// There is no whole answer with status 200. The text says why.
    pub(super) async fn send(&self, body: Bytes, now: UnixSeconds) -> Result<HttpAnswer, String> {
        let signature = self.application.signer.sign(now, &body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.application.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(TIME_HEADER, now.0)
            .header(SIGNATURE_HEADER, signature)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| with_causes(&error))?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("status {}, and an answer has status 200", head.status.as_u16()));
        }
        let bytes_max = self.application.message_bytes_max + ANSWER_BYTES;
        let body = Limited::new(body, bytes_max).collect().await.map_err(|error| with_causes(&*error))?;
        Ok(HttpAnswer { body: body.to_bytes(), max_age: max_age(&head.headers) })
    }
}

/// The time for which an answer may be kept (RFC 9111 §5.2.2), as far as it says so.
fn max_age(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let mut max_age = Duration::ZERO;
    for directive in directives {
        match directive.split_once('=') {
            None if directive == "no-store" || directive == "no-cache" => return Duration::ZERO,
            Some(("max-age", seconds)) => max_age = seconds.parse().map_or(Duration::ZERO, Duration::from_secs),
            _ => {}
        }
    }
    max_age.min(MAX_AGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[&'static str]) -> u64 {
        let values = values.iter().map(|value| (CACHE_CONTROL, HeaderValue::from_static(value)));
        max_age(&values.collect()).as_secs()
    }

    #[test]
    fn an_answer_is_kept_for_as_long_as_it_says_and_an_hour_at_most() {
        for (values, expected) in [
            (&[][..], 0),
            (&["max-age=60"], 60),
            (&["private, Max-Age=60"], 60),
            (&["private", "max-age=60"], 60),
            (&["max-age=60, no-store"], 0),
            (&["no-cache", "max-age=60"], 0),
            (&["max-age=7200"], 3600),
            (&["max-age=-1"], 0),
            (&["max-age=a"], 0),
            (&["max-age"], 0),
            (&["s-maxage=60"], 0),
        ] {
            assert_eq!(seconds(values), expected, "{values:?}");
        }
    }
}
