//! The web pages: compressed for clients that take gzip, not sent again to clients that have them, and with headers that
//! forbid them to load anything from another server.

use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use hyper::{Request, StatusCode};

use super::body::{Answer, empty, typed};
use super::refusals::RefusedRequest;
use crate::pages::{Page, page};

/// A page loads only files of this server. It has no script or style inside its HTML, no form, no frame around it, and no
/// string can become markup or a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Keeps windows of other origins, which have opened a page or which it has opened, from reaching it.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// A browser asks before each use of a file whether its copy is still the newest.
const ALWAYS_ASKED: (HeaderName, &str) = (CACHE_CONTROL, "no-cache");

/// Further headers of HTML.
const DOCUMENT_HEADERS: [(HeaderName, &str); 3] =
    [(CONTENT_SECURITY_POLICY, POLICY), (OPENER_POLICY, "same-origin"), (REFERRER_POLICY, "no-referrer")];

/// The answer to a request for a page, which may be that the browser has it.
///
/// # Errors
/// There is no such page.
pub fn answer_page<B>(request: &Request<B>) -> Result<Answer, RefusedRequest> {
    let path = request.uri().path();
    let page = page(path).ok_or_else(|| RefusedRequest::not_found(path))?;
    let is_gzip = takes_gzip(request.headers());
    let etag = if is_gzip { page.gzip_etag } else { page.etag };
    let mut answer =
        if has_newest(request.headers(), etag) { empty(StatusCode::NOT_MODIFIED) } else { whole(page, is_gzip) };
    let of_document = DOCUMENT_HEADERS.into_iter().filter(|_| page.media_type.starts_with("text/html"));
    let headers = [ALWAYS_ASKED, (ETAG, etag)].into_iter().chain(of_document);
    answer.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Ok(answer)
}

fn whole(page: &'static Page, is_gzip: bool) -> Answer {
    let mut answer = typed(StatusCode::OK, page.media_type, if is_gzip { page.gzip } else { page.bytes });
    if is_gzip {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// Whether a client takes gzip (RFC 9110 §12.5.3): it lists it, or else `*`, with another weight than 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let weight_of = |names: &[&str]| {
        let mut codings = items(headers, &ACCEPT_ENCODING).map(|item| item.split_once(';').unwrap_or((item, "q=1")));
        let is_named = |coding: &str| names.iter().any(|name| coding.trim_end().eq_ignore_ascii_case(name));
        codings.find(|(coding, _)| is_named(coding)).map(|(_, weight)| parse_weight(weight))
    };
    weight_of(&["gzip", "x-gzip"]).or_else(|| weight_of(&["*"])).is_some_and(|weight| weight > 0.0)
}

/// The number of a parameter such as `q=0.5`; 0 if there is none, since every client reads bytes that are not encoded.
fn parse_weight(parameter: &str) -> f32 {
    let weight = parameter.trim_start().strip_prefix(['q', 'Q']).and_then(|rest| rest.strip_prefix('='));
    weight.and_then(|weight| weight.parse().ok()).unwrap_or_default()
}

/// Whether a client has the representation with this entity tag. Tags are compared weakly (RFC 9110 §13.1.2).
fn has_newest(headers: &HeaderMap, etag: &str) -> bool {
    items(headers, &IF_NONE_MATCH).any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == etag)
}

/// The items of a header that is a list, which may stand in several lines.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}
