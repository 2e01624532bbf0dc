//! The token of a request that becomes a client or reads a room, and the places where it may stand. A token is never
//! logged.

use hyper::header::AUTHORIZATION;
use hyper::{Request, StatusCode};

use super::HttpContext;
use super::refusals::RefusedRequest;
use super::subprotocol::subprotocols;
use crate::auth::tokens::Token;
use crate::transport::metrics::RefusalReason;

/// A browser cannot set `Authorization` on a WebSocket: it offers the token as a subprotocol behind this, and another
/// subprotocol beside it, which the server answers with.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// The parameter of the query, where `token-in-query` allows it.
const QUERY_PREFIX: &str = "token=";

/// The valid token of a request, if it has one.
///
/// # Errors
/// The token is refused.
pub fn verified<B>(context: &HttpContext, request: &Request<B>) -> Result<Option<Box<Token>>, RefusedRequest> {
    // Without keys no token means anything here, and one for somebody behind or in front of this server may be there.
    if context.access.rules().tokens.is_empty() {
        return Ok(None);
    }
    let headers = request.headers();
    let in_query = request.uri().query().and_then(|query| query.split('&').find_map(token_of_parameter));
    if in_query.is_some() && !context.access.rules().token_in_query {
        let text = "a token in the query needs the setting token-in-query: send Authorization: Bearer <token>\n";
        return Err(RefusedRequest(RefusalReason::Token, StatusCode::BAD_REQUEST, text.into()));
    }
    let in_header = headers.get_all(AUTHORIZATION).iter().find_map(|value| bearer(value.to_str().ok()?));
    let Some(token) = in_header.or_else(|| subprotocols(headers).find_map(token_of_subprotocol)).or(in_query) else {
        return Ok(None);
    };
    context.access.verify(token).map(Some).map_err(|error| {
        RefusedRequest(RefusalReason::Token, StatusCode::UNAUTHORIZED, format!("token: {error}\n").into())
    })
}

/// What stands behind `Bearer` (RFC 6750 §2.1), in any case. A client whose token is empty is no guest.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token that stands in a subprotocol, if one does.
pub fn token_of_subprotocol(offered: &str) -> Option<&str> {
    offered.strip_prefix(SUBPROTOCOL_PREFIX)
}

fn token_of_parameter(parameter: &str) -> Option<&str> {
    parameter.strip_prefix(QUERY_PREFIX)
}
