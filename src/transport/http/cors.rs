//! Cross-origin resource sharing (the Fetch standard §3.2): what lets a page of another origin, which may connect, read
//! an answer of any route. Whether it may is the rule of origins.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{Method, Request};

use super::body::Answer;
use super::routes::RouteRule;

/// Seconds for which a browser need not ask again before each request.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("300");

/// What an answer says to a page.
pub struct Cors(HeaderMap);

impl Cors {
    /// The headers for the answer to this request of this route.
    pub fn of<B>(request: &Request<B>, rule: &RouteRule, may_read: bool) -> Self {
        let mut headers = HeaderMap::new();
        // Said to everybody: a cache must not give a page the answer that another page got.
        headers.insert(VARY, HeaderValue::from_static(rule.vary()));
        if let Some(origin) = request.headers().get(ORIGIN)
            && may_read
        {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            if request.method() == Method::OPTIONS {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(rule.methods));
                headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
                // All headers are allowed: what a route does not read changes nothing.
                let requested = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS);
                headers.extend(requested.map(|requested| (ACCESS_CONTROL_ALLOW_HEADERS, requested.clone())));
            }
        }
        Self(headers)
    }

    /// Adds the headers to the answer.
    pub fn allow(self, answer: &mut Answer) {
        answer.headers_mut().extend(self.0);
    }
}
