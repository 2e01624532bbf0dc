//! What no request may be, at any route, beyond what hyper refuses: a request that a proxy in front of this server may
//! read in another way than this server does (RFC 9112 §11.2).

use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode, Version};

use super::body::body_too_long;
use super::refusals::RefusedRequest;
use crate::transport::metrics::RefusalReason;

/// Checks a request before its route sees it.
///
/// # Errors
/// The body is too long, or the host or the transfer coding is none or ambiguous.
pub fn check(request: &Request<Incoming>, body_bytes_max: usize) -> Result<(), RefusedRequest> {
    if request.body().size_hint().lower() > body_bytes_max as u64 {
        return Err(body_too_long(body_bytes_max));
    }
    check_host(request)?;
    check_coding(request.headers())
}

/// RFC 9112 §3.2: one host, or a proxy and this server may read two different ones.
fn check_host(request: &Request<Incoming>) -> Result<(), RefusedRequest> {
    let refused = |text| Err(RefusedRequest::bad(RefusalReason::Host, text));
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, target) = (hosts.next(), request.uri().authority());
    if hosts.next().is_some() || host.is_none() && request.version() == Version::HTTP_11 {
        return refused("a request has one Host header\n");
    }
    let Some(host) = host.filter(|host| !host.is_empty()) else { return Ok(()) };
    match authority(host) {
        None => refused("Host is a name or an address, and perhaps a port\n"),
        Some(host) if target.is_some_and(|target| *target != host) => refused("Host is the host of the target\n"),
        Some(_) => Ok(()),
    }
}

/// A host and perhaps a port, without a user.
fn authority(host: &HeaderValue) -> Option<Authority> {
    Authority::try_from(host.as_bytes()).ok().filter(|authority| !authority.as_str().contains('@'))
}

/// RFC 9112 §6.1: a coding that is not understood is 501, and `chunked` stands once. hyper takes any list that ends
/// with it.
fn check_coding(headers: &HeaderMap) -> Result<(), RefusedRequest> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        let text = "the only transfer coding is chunked, once\n";
        return Err(RefusedRequest(RefusalReason::Malformed, StatusCode::NOT_IMPLEMENTED, text.into()));
    }
    Ok(())
}
