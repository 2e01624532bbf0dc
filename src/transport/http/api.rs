//! The way into the server API: the key of the application, the body of the call, and the status of the answer. Whatever
//! media type the body is sent as, it is JSON, since libraries differ.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Request, StatusCode};
use tracing::debug;

use super::HttpServer;
use super::body::{Answer, typed};
use super::refusals::RefusedRequest;
use super::requests::HttpConnection;
use super::routes::API_PATH;
use crate::api::{Api, ApiError, ApiMethod, Call, CallOutcome, Malformed};
use crate::auth::api_keys::ApiKey;
use crate::transport::metrics::RefusalReason;

const JSON: &str = "application/json";

/// The header with the key.
const KEY_HEADER: &str = "x-api-key";

/// The scheme of `Authorization` in front of the key.
const KEY_SCHEME: &str = "apikey";

/// A client that wants errors as statuses sends this header with this value.
const ERROR_MODE_HEADER: &str = "x-centrifugo-error-mode";
const ERROR_MODE_TRANSPORT: &str = "transport";

impl HttpServer {
    /// The description of the API, which needs no key.
    pub(super) fn describe_api(&self) -> Answer {
        let description = self.api_description.get_or_init(|| Bytes::from(crate::api::description()));
        typed(StatusCode::OK, JSON, description.clone())
    }

    /// Executes a call of the server API. A full server does so as well.
    pub(super) async fn call_api(
        &self,
        request: Request<Incoming>,
        body_bytes_max: usize,
        connection: &HttpConnection<'_>,
    ) -> Result<Answer, RefusedRequest> {
        let name = request.uri().path().strip_prefix(API_PATH).unwrap_or_default();
        let method: ApiMethod = name.parse().map_err(|_| {
            let text = "no such method: see /api/openapi.json\n";
            RefusedRequest(RefusalReason::Path, StatusCode::NOT_FOUND, text.into())
        })?;
        let wants_statuses = request.headers().get(ERROR_MODE_HEADER).is_some_and(|mode| mode == ERROR_MODE_TRANSPORT);
        let called = self.try_call(method, request, body_bytes_max, connection).await;
        let outcome = match &called {
            Ok(Ok(_)) => CallOutcome::Ok,
            Ok(Err(_)) => CallOutcome::Error,
            Err(_) => CallOutcome::Refused,
        };
        self.context.counts.api.count(method, outcome);
        Ok(match called? {
            Ok(answer) => typed(StatusCode::OK, JSON, answer),
            Err(error) if wants_statuses => {
                typed(StatusCode::from_u16(error.status()).expect("a status"), JSON, error.bare())
            }
            Err(error) => typed(StatusCode::OK, JSON, error.answer()),
        })
    }

    async fn try_call(
        &self,
        method: ApiMethod,
        request: Request<Incoming>,
        body_bytes_max: usize,
        connection: &HttpConnection<'_>,
    ) -> Result<Result<String, ApiError>, RefusedRequest> {
        self.check_caught_up()?;
        let key = self.key_of(&request)?;
        self.keep_call(connection);
        // Until the call is answered its body takes a part of the budget.
        let (body, _budget) = self.take_body(request.into_body(), body_bytes_max, connection).await?;
        let call = parse(method, &body).map_err(|Malformed(text)| {
            RefusedRequest(RefusalReason::Body, StatusCode::BAD_REQUEST, format!("{text}\n").into())
        })?;
        drop(body);
        // Taken before the look at the phase: a server that begins to stop behind it waits for the answer.
        let _publishing = self.context.drain.publishing();
        let context = self.sessions()?;
        debug!(key = key.name(), method = method.name(), "api call");
        Ok(Api { context, key, node: &self.context.node }.answer(call).await)
    }

    /// Lets a call with a valid key come to its answer on a full server as well. Where too many calls are kept already, it
    /// has the short time of every other request there.
    fn keep_call(&self, connection: &HttpConnection<'_>) {
        if let Some(spare) = connection.spare()
            && let Ok(permit) = Arc::clone(&self.spare_calls).try_acquire_owned()
        {
            connection.keep(spare, permit);
        }
    }

    /// The valid key of a request.
    pub(super) fn key_of(&self, request: &Request<Incoming>) -> Result<Arc<ApiKey>, RefusedRequest> {
        let refused =
            |text: &'static str| Err(RefusedRequest(RefusalReason::ApiKey, StatusCode::UNAUTHORIZED, text.into()));
        match presented(request.headers()) {
            Some(presented) => match self.context.access.rules().api_keys.authenticate(presented) {
                Some(key) => Ok(Arc::clone(key)),
                None => refused(""),
            },
            None if request.uri().query().is_some_and(|query| query.contains("api_key=")) => {
                refused("a key is not taken from the query, which ends in logs: send it as X-API-Key\n")
            }
            None => refused(""),
        }
    }
}

/// The key that a request presents.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let in_own_header = headers.get(KEY_HEADER).map(|key| key.to_str().unwrap_or_default());
    in_own_header.filter(|key| !key.is_empty()).or_else(|| {
        let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once([' ', '\t'])?;
        scheme.eq_ignore_ascii_case(KEY_SCHEME).then(|| key.trim())
    })
}

/// The call that a body holds. An empty body has no parameters.
fn parse(method: ApiMethod, body: &[u8]) -> Result<Call, Malformed> {
    let text = simdutf8::basic::from_utf8(body).map_err(|_| Malformed("the body is not UTF-8".to_owned()))?;
    Call::parse(method, if text.trim_ascii().is_empty() { "{}" } else { text })
}
