//! The subprotocol of a WebSocket handshake (RFC 6455 §1.9): what a client offers, which dialect follows from it, and the
//! answer.

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::{Request, StatusCode};

use super::bearer::token_of_subprotocol;
use super::body::Answer;
use super::refusals::RefusedRequest;
use crate::protocol::compression::Compression;
use crate::protocol::dialect::{Dialect, Encoding};
use crate::transport::metrics::RefusalReason;

/// The subprotocol of clients that speak JSON. Most offer none.
const JSON: &str = "centrifuge-json";

/// The subprotocol of clients that speak Protobuf, which must be answered.
const PROTOBUF: &str = "centrifuge-protobuf";

/// The parameters of the query by which a client asks for Protobuf.
const PROTOBUF_PARAMETERS: [&str; 2] = ["format=protobuf", "cf_protocol=protobuf"];

/// The dialect that a client of the Centrifuge protocol asks for.
pub fn centrifuge_dialect(request: &Request<Incoming>, compression: Compression) -> Dialect {
    let query = request.uri().query().unwrap_or_default();
    let by_query = query.split('&').any(|parameter| PROTOBUF_PARAMETERS.contains(&parameter));
    if by_query || subprotocols(request.headers()).any(|offered| offered == PROTOBUF) {
        Dialect::ProtobufWebSocket(compression)
    } else {
        Dialect::JsonWebSocket(compression)
    }
}

/// Answers with the subprotocol of the dialect if it is offered; to a client that offers its token as a subprotocol with
/// another one beside it, since a browser closes a WebSocket that answers with none.
///
/// # Errors
/// The client offers nothing beside its token.
pub fn answer_subprotocol(headers: &HeaderMap, dialect: Dialect, response: &mut Answer) -> Result<(), RefusedRequest> {
    let own = match dialect.encoding() {
        Encoding::Json => JSON,
        Encoding::Protobuf => PROTOBUF,
        Encoding::Text | Encoding::Push | Encoding::RoomEvents => "",
    };
    let offers_token = subprotocols(headers).any(|offered| token_of_subprotocol(offered).is_some());
    let chosen = match subprotocols(headers).find(|offered| *offered == own) {
        None if offers_token => subprotocols(headers).find(|offered| token_of_subprotocol(offered).is_none()),
        chosen => chosen,
    };
    match chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()) {
        Some(chosen) => drop(response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen)),
        None if offers_token => {
            let text = "offer another subprotocol beside the token, as in: roomcast, bearer.<token>\n";
            return Err(RefusedRequest(RefusalReason::Token, StatusCode::BAD_REQUEST, text.into()));
        }
        None => {}
    }
    Ok(())
}

/// The subprotocols that a client offers, over all headers of that name.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|offered| !offered.is_empty())
}
