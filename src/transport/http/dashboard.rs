//! The figures of the dashboard, and who may read them. They are made once a second for everybody; here they are only
//! written as JSON.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode, Version};
use serde_json::json;

use super::HttpServer;
use super::body::{Answer, typed};
use super::forwarded::is_forwarded;
use super::origin::is_loopback_asked_for;
use super::refusals::{RefusedRequest, RequestSummary};
use super::requests::HttpConnection;
use super::room_request::value;
use crate::auth::api_keys::ApiRight;
use crate::config::WebPages;
use crate::stats::Stats;
use crate::transport::metrics::RefusalReason;

const JSON: &str = "application/json";

/// The figures with all samples in JSON, and what they were made of.
pub struct WholeFigures(Arc<Stats>, Bytes);

impl HttpServer {
    /// Answers a request for the figures, with the samples behind `since`. A refusal is JSON as well.
    pub(super) fn answer_figures(
        &self,
        request: &Request<Incoming>,
        connection: &HttpConnection<'_>,
        summary: &RequestSummary,
    ) -> Answer {
        let since = self.authorise(request, connection).and_then(|()| since(request));
        let RefusedRequest(reason, status, text) = match since {
            Ok(since) => return typed(StatusCode::OK, JSON, self.figures(since)),
            Err(refused) => refused,
        };
        let body = json!({ "error": text.trim_end() }).to_string();
        let mut answer = self.refuse(RefusedRequest(reason, status, text), summary);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        *answer.body_mut() = body.into();
        answer
    }

    fn figures(&self, since: Option<u64>) -> Bytes {
        self.context.counts.requests_for_figures.add(1);
        let stats = Arc::clone(&self.context.stats.borrow());
        if since.is_some_and(|since| stats.has_few_behind(since)) {
            return stats.to_json(&self.context.node.name, since).into();
        }
        let newest = &mut *self.whole_figures.borrow_mut();
        if let Some(WholeFigures(made_of, json)) = newest
            && Arc::ptr_eq(made_of, &stats)
        {
            return json.clone();
        }
        let json = Bytes::from(stats.to_json(&self.context.node.name, None));
        *newest = Some(WholeFigures(stats, json.clone()));
        json
    }

    /// Checks that whoever asks may read the figures.
    ///
    /// # Errors
    /// The setting does not show them to whoever asks, and there is no key that may read the state of the server.
    fn authorise(&self, request: &Request<Incoming>, connection: &HttpConnection<'_>) -> Result<(), RefusedRequest> {
        let shown = match self.context.pages {
            WebPages::All => self.check_host(request.headers(), connection),
            WebPages::Chat | WebPages::Off => self.check_machine(request, connection),
        };
        let Err(not_shown) = shown else { return Ok(()) };
        match self.key_of(request) {
            Ok(key) if key.may(ApiRight::Info, None) => Ok(()),
            Ok(_) => {
                let text = "this key may not read the state of the server: it needs the right info";
                Err(RefusedRequest(RefusalReason::Rights, StatusCode::FORBIDDEN, text.into()))
            }
            Err(RefusedRequest(_, _, text)) if text.is_empty() => Err(not_shown),
            Err(refused) => Err(refused),
        }
    }

    /// Checks that a request was made on this machine, and not for somebody elsewhere. A server that its settings put
    /// behind a proxy or under a public name takes no request for one of its own machine. Any site can make its name resolve
    /// to a loopback address (DNS rebinding), so the name must be a loopback name. A proxy on this machine is
    /// recognised by its headers, by HTTP/1.0, which nginx speaks where nobody says otherwise, or since it is a trusted
    /// proxy.
    fn check_machine<B>(&self, request: &Request<B>, connection: &HttpConnection<'_>) -> Result<(), RefusedRequest> {
        let (context, headers) = (&self.context, request.headers());
        let is_of_this_machine = connection.is_over_loopback
            && context.origins.are_of_this_machine()
            && context.proxies.are_on_this_machine()
            && !context.proxies.trusts(connection.peer)
            && request.version() == Version::HTTP_11
            && is_loopback_asked_for(headers)
            && !is_forwarded(headers);
        if is_of_this_machine {
            return Ok(());
        }
        let text = "the figures are for API keys with the right info: send one as X-API-Key. Browsers on the machine of \
                    the server need none, under a loopback name and without a proxy, if hosts, allowed-origins and \
                    trusted-proxies name nothing elsewhere";
        Err(RefusedRequest(RefusalReason::ApiKey, StatusCode::UNAUTHORIZED, text.into()))
    }
}

/// The number of the newest sample that the page has.
fn since(request: &Request<Incoming>) -> Result<Option<u64>, RefusedRequest> {
    let wrong = |_| RefusedRequest::bad(RefusalReason::Query, "since is a number: next of the answer before");
    let since = value(request.uri().query().unwrap_or_default(), "since")?;
    since.map(|since| since.parse().map_err(wrong)).transpose()
}
