//! What a request for a room asks for: the room in its path, and the parameters of its query. Plain values; knows no
//! connection.

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::refusals::RefusedRequest;
use super::streams::decoded;
use crate::protocol::names::{RoomName, shortened};
use crate::protocol::position::Position;
use crate::transport::metrics::RefusalReason;

/// What stands in front of the name of a room in a path.
const PREFIX: &str = "/rooms/";

/// Publications of an answer that does not say how many.
const LIMIT: usize = 100;

/// The parameters of a request for a room.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomQuery {
    /// The position behind which the client reads.
    pub since: Option<Position>,
    /// The most publications of the answer, from 1.
    pub limit: usize,
    /// Whether the answer goes on with what is published.
    pub is_live: bool,
}

/// A request that asks for no room, or for nothing of it. The text says what would be right.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum WrongRequest {
    /// The path goes on behind the name of the room.
    #[error("not found: a / in the name of a room is written %2F")]
    Path,
    /// The name of the room breaks its rule.
    #[error("room{0}")]
    Room(String),
    /// A parameter stands twice, or its value breaks its rule.
    #[error("{0}")]
    Query(String),
}

impl From<WrongRequest> for RefusedRequest {
    fn from(wrong: WrongRequest) -> Self {
        let (reason, status) = match wrong {
            WrongRequest::Path => (RefusalReason::Path, StatusCode::NOT_FOUND),
            WrongRequest::Room(_) => (RefusalReason::Path, StatusCode::BAD_REQUEST),
            WrongRequest::Query(_) => (RefusalReason::Query, StatusCode::BAD_REQUEST),
        };
        Self(reason, status, wrong.to_string().into())
    }
}

impl RoomQuery {
    /// Parses the parameters that are known. Others may be for somebody in front of this server.
    ///
    /// # Errors
    /// A parameter stands twice, or its value breaks its rule.
    pub fn parse(query: &str) -> Result<Self, WrongRequest> {
        let [since, limit, live] = [value(query, "since")?, value(query, "limit")?, value(query, "live")?];
        let since = match since {
            None => None,
            Some(text) => Some(Position::parse(&text).ok_or_else(|| {
                WrongRequest::Query(format!(
                    "since={:?}: a position as the room tells it, 30 characters",
                    shortened(&text)
                ))
            })?),
        };
        let limit = match limit {
            None => LIMIT,
            // A longer number is more than any answer has.
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().unwrap_or(usize::MAX)
            }
            Some(text) => return Err(WrongRequest::Query(format!("limit={:?}: a number from 1", shortened(&text)))),
        };
        if limit == 0 {
            return Err(WrongRequest::Query("limit=0: a number from 1".to_owned()));
        }
        match live.as_deref() {
            None | Some("sse") => Ok(Self { since, limit, is_live: live.is_some() }),
            Some(text) => Err(WrongRequest::Query(format!("live={:?}: there is live=sse", shortened(text)))),
        }
    }
}

/// The value of a parameter that may stand once.
///
/// # Errors
/// It stands twice.
pub fn value(query: &str, name: &str) -> Result<Option<String>, WrongRequest> {
    let mut values = query.split('&').filter_map(|parameter| {
        let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (found == name).then_some(value)
    });
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(String::from_utf8_lossy(&decoded(value)).into_owned())),
        (Some(_), Some(_)) => Err(WrongRequest::Query(format!("{name}: it stands once"))),
    }
}

/// The room that a path names. Its name is decoded once.
///
/// # Errors
/// The path goes on behind the name, or the name is not percent-encoded UTF-8 or breaks the rule of room names.
pub fn room_of(path: &str) -> Result<RoomName, WrongRequest> {
    let name = path.strip_prefix(PREFIX).unwrap_or_default();
    if name.contains('/') {
        return Err(WrongRequest::Path);
    }
    let is_encoded = name
        .split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    let decoded = percent_decode_str(name).decode_utf8().ok().filter(|_| is_encoded);
    let decoded =
        decoded.ok_or_else(|| WrongRequest::Room(": its name in the path is UTF-8, percent-encoded".to_owned()))?;
    RoomName::parse(&decoded).map_err(|error| WrongRequest::Room(format!(" {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_in_a_path_is_decoded_once() {
        let name = |path: &str| {
            room_of(path).map(|room| room.as_str().to_owned()).map_err(|wrong| RefusedRequest::from(wrong).1.as_u16())
        };
        for (path, room) in [
            ("/rooms/lobby", "lobby"),
            ("/rooms/team%3A7", "team:7"),
            ("/rooms/a%2Fb", "a/b"),
            ("/rooms/a%252Fb", "a%2Fb"),
            ("/rooms/a+b", "a+b"),
            ("/rooms/%C3%A4", "ä"),
            ("/rooms/a%CC%88", "ä"),
            ("/rooms/ä", "ä"),
            ("/rooms/%2e%2E", ".."),
        ] {
            assert_eq!(name(path), Ok(room.to_owned()), "{path}");
        }
        for (path, status) in [
            ("/rooms/a/b", 404),
            ("/rooms/a/", 404),
            ("/rooms/a%20b", 400),
            ("/rooms/%00", 400),
            ("/rooms/%0A", 400),
            ("/rooms/%ff", 400),
            ("/rooms/%", 400),
            ("/rooms/%4", 400),
            ("/rooms/%zz", 400),
            ("/rooms/%e2%80%8b", 400),
        ] {
            assert_eq!(name(path), Err(status), "{path}");
        }
        assert_eq!(name(&format!("/rooms/{}", "a".repeat(129))), Err(400));
    }

    #[test]
    fn a_query_has_each_parameter_once_and_a_value_that_is_right() {
        let position = "0123456789abc-0000000000000007";
        let since = Position::parse(position);
        assert_eq!(RoomQuery::parse("").ok(), Some(RoomQuery { since: None, limit: LIMIT, is_live: false }));
        let query = format!("later=1&since={position}&limit=7&live=sse&&=");
        assert_eq!(RoomQuery::parse(&query).ok(), Some(RoomQuery { since, limit: 7, is_live: true }));
        assert_eq!(RoomQuery::parse("limit=99999999999999999999999").map(|query| query.limit).ok(), Some(usize::MAX));
        for wrong in ["since=", "since", "since=7", "limit=", "limit=0", "limit=-1", "limit=+1", "live=", "live=poll"] {
            assert!(RoomQuery::parse(wrong).is_err(), "{wrong}");
        }
        assert!(RoomQuery::parse(&format!("since={position}&since={position}")).is_err());
        assert!(RoomQuery::parse("limit=1&limit=1").is_err());
    }
}
