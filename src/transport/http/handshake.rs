//! The server's side of the WebSocket handshake (RFC 6455 §4.2): whether a request is one, and the answer. Never touches a socket.

use axum::body::{Body, HttpBody};
use axum::http::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{Method, Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Incoming;
use sha1::{Digest, Sha1};

use crate::transport::metrics::RefusalReason;

/// Appended to the key before it is hashed (RFC 6455 §4.2.2).
const HANDSHAKE_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The length of a key, decoded.
const KEY_BYTES: usize = 16;

/// The methods of a path where the handshake is.
pub const METHODS: &str = "GET,OPTIONS";

/// The answer to a request that is no handshake, or to one that comes to nothing. The connection closes: what was sent behind it is no
/// second request.
pub struct RefusedRequest {
    /// What it counts as.
    pub reason: RefusalReason,
    /// Of the answer.
    pub status: StatusCode,
    /// What would be right, where a header says it.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// What would be right, a line.
    pub why: &'static str,
}

impl IntoResponse for RefusedRequest {
    fn into_response(self) -> Response<Body> {
        let close = [(CONNECTION, HeaderValue::from_static("close"))];
        let mut response = (self.status, close, self.why).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}

/// Checks a handshake (RFC 6455 §4.2.1) and computes its answer (§4.2.2).
pub fn accept_key(request: &Request<Incoming>) -> Result<HeaderValue, RefusedRequest> {
    let refuse = |reason, status, header, why| Err(RefusedRequest { reason, status, header, why });
    let headers = request.headers();
    if request.method() != Method::GET {
        let allow = Some((ALLOW, HeaderValue::from_static(METHODS)));
        return refuse(
            RefusalReason::Method,
            StatusCode::METHOD_NOT_ALLOWED,
            allow,
            "a WebSocket handshake is a GET\n",
        );
    }
    if request.version() != Version::HTTP_11 {
        return refuse(
            RefusalReason::HttpVersion,
            StatusCode::BAD_REQUEST,
            None,
            "a WebSocket handshake is HTTP/1.1\n",
        );
    }
    if !has_token(headers, CONNECTION, "upgrade") || !has_token(headers, UPGRADE, "websocket") {
        let upgrade = Some((UPGRADE, HeaderValue::from_static("websocket")));
        return refuse(
            RefusalReason::Upgrade,
            StatusCode::UPGRADE_REQUIRED,
            upgrade,
            "this is a WebSocket: Upgrade: websocket is missing\n",
        );
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let version = Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
        return refuse(RefusalReason::Version, StatusCode::UPGRADE_REQUIRED, version, "Sec-WebSocket-Version is 13\n");
    }
    if !request.body().is_end_stream() {
        return refuse(RefusalReason::Body, StatusCode::BAD_REQUEST, None, "a WebSocket handshake has no body\n");
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES) {
        let digest = Sha1::new().chain_update(key).chain_update(HANDSHAKE_GUID).finalize();
        let accept = HeaderValue::try_from(BASE64_STANDARD.encode(digest)).expect("base64 is a header value");
        return Ok(accept);
    }
    refuse(RefusalReason::Key, StatusCode::BAD_REQUEST, None, "Sec-WebSocket-Key is 16 bytes in base64\n")
}

/// The answer to a handshake: from here on the connection is a WebSocket.
pub fn switching(accept: HeaderValue) -> Response<Body> {
    let headers = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Whether a list of tokens, over all headers of that name, has this one in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}
