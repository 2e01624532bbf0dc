//! The server's side of the WebSocket handshake (RFC 6455 §4.2): checks a request and computes the answer. Never
//! touches a socket.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::{Request, StatusCode, Version};
use sha1::{Digest, Sha1};

use super::body::{Answer, empty};
use super::refusals::RefusedRequest;
use crate::transport::metrics::RefusalReason;

/// Appended to the key before it is hashed (RFC 6455 §4.2.2).
const HANDSHAKE_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The length of a key, decoded.
const KEY_BYTES: usize = 16;

/// Checks a handshake (RFC 6455 §4.2.1), which is a `GET`, and returns the response that makes the connection a
/// WebSocket (§4.2.2).
pub fn switch_protocols(request: &Request<Incoming>) -> Result<Answer, RefusedRequest> {
    let headers = request.headers();
    let asks_upgrade = has_token(headers, CONNECTION, "upgrade") && has_token(headers, UPGRADE, "websocket");
    let is_version_13 = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_key = BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES);
    let is_http_11 = request.version() == Version::HTTP_11;
    let (bad, upgrade) = (StatusCode::BAD_REQUEST, StatusCode::UPGRADE_REQUIRED);
    let rules = [
        (is_http_11, RefusalReason::HttpVersion, bad, "a WebSocket handshake is HTTP/1.1\n"),
        (asks_upgrade, RefusalReason::Upgrade, upgrade, "this is a WebSocket: Upgrade: websocket is missing\n"),
        (is_version_13, RefusalReason::Version, upgrade, "Sec-WebSocket-Version is 13\n"),
        (request.body().is_end_stream(), RefusalReason::Body, bad, "a WebSocket handshake has no body\n"),
        (is_key, RefusalReason::Key, bad, "Sec-WebSocket-Key is 16 bytes in base64\n"),
    ];
    if let Some((_, reason, status, text)) = rules.into_iter().find(|(is_kept, ..)| !is_kept) {
        return Err(RefusedRequest(reason, status, text.into()));
    }
    let digest = Sha1::new().chain_update(key).chain_update(HANDSHAKE_GUID).finalize();
    let accept = HeaderValue::try_from(BASE64_STANDARD.encode(digest)).expect("ASCII");
    let [connection, upgrade] = ["Upgrade", "websocket"].map(HeaderValue::from_static);
    let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
    answer.headers_mut().extend([(CONNECTION, connection), (UPGRADE, upgrade), (SEC_WEBSOCKET_ACCEPT, accept)]);
    Ok(answer)
}

/// Whether a list of tokens, over all headers of that name, has this one in any case.
pub fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}
