//! A room over plain HTTP: a part of its history as JSON, or the room as server-sent events. What is refused is told by
//! problem documents (RFC 9457).

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Version};
use percent_encoding::percent_decode_str;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::bearer::verified;
use super::body::{Answer, Body, stream, typed};
use super::refusals::{RefusedRequest, RequestSummary};
use super::requests::{Admitted, HttpConnection};
use super::streams::decoded;
use super::{HttpServer, Upgrade};
use crate::broker::PageOfRoom;
use crate::protocol::disconnect::RetrySeconds;
use crate::protocol::names::{RoomName, shortened};
use crate::protocol::position::{Position, Since};
use crate::protocol::room_events::{REFUSED, stopping, write_publication, write_string};
use crate::session::SessionContext;
use crate::session::outsider::{NotRead, Outsider};
use crate::session::reader::Reading;
use crate::transport::metrics::RefusalReason;

/// What stands in front of the name of a room in a path.
const PREFIX: &str = "/rooms/";

/// Publications of an answer that does not say how many.
const LIMIT: usize = 100;

/// The media type of an event stream.
const EVENT_STREAM: &str = "text/event-stream";

/// The position up to which an `EventSource` has the room, when it comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// Seconds after which a request may come again that is refused for now.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("10");

/// History in memory, at once on one worker: this many answers of the greatest length, or more that are shorter.
pub const ANSWERS_MAX: usize = 16;

/// The shares of one answer of the greatest length in that memory.
pub const SHARES: usize = 64;

/// A request that is refused.
pub(super) struct Refused {
    request: RefusedRequest,
    /// Where the room is, for a reader that cannot go on from its own position.
    position: Option<Position>,
}

impl From<RefusedRequest> for Refused {
    fn from(request: RefusedRequest) -> Self {
        Self { request, position: None }
    }
}

impl From<NotRead> for Refused {
    fn from(not_read: NotRead) -> Self {
        let (reason, status, text) = match &not_read {
            NotRead::Unauthenticated(why) => (RefusalReason::Rights, StatusCode::UNAUTHORIZED, why.clone()),
            NotRead::Forbidden(why) => (RefusalReason::Rights, StatusCode::FORBIDDEN, why.clone()),
            NotRead::NotRetained => {
                let text = "the room retains no messages: read it with live=sse";
                (RefusalReason::Path, StatusCode::NOT_FOUND, text.to_owned())
            }
            NotRead::TooManyDeliveries => {
                let text = "too many publications for your address: see deliveries-per-second";
                (RefusalReason::Rate, StatusCode::TOO_MANY_REQUESTS, text.to_owned())
            }
            NotRead::Unrecoverable(_) => {
                let text = "what followed this position cannot all be had any more: read the room again without since";
                (RefusalReason::Query, StatusCode::GONE, text.to_owned())
            }
        };
        let position = if let NotRead::Unrecoverable(position) = not_read { position } else { None };
        Self { request: RefusedRequest(reason, status, text.into()), position }
    }
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    since: Option<Position>,
    limit: usize,
    is_live: bool,
}

impl HttpServer {
    /// Answers a request for a room.
    pub(super) async fn answer_room(
        &self,
        request: Request<Incoming>,
        connection: &HttpConnection<'_>,
        summary: &RequestSummary,
    ) -> Answer {
        let is_event_source = accepts_events(request.headers());
        let answered = self.read_room(request, connection).await;
        answered.unwrap_or_else(|refused| self.refuse_with_problem(refused, is_event_source, summary))
    }

    /// The answer to a request that is refused: a problem document, or an event that an `EventSource` comes back from.
    pub(super) fn refuse_with_problem(
        &self,
        refused: Refused,
        is_event_source: bool,
        summary: &RequestSummary,
    ) -> Answer {
        let Refused { request: RefusedRequest(reason, status, text), position } = refused;
        let mut answer = self.refuse(RefusedRequest(reason, status, text.clone()), summary);
        let is_for_now = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        if is_event_source && is_for_now {
            let event = match reason {
                RefusalReason::Draining => stopping(RetrySeconds(self.context.drain.retry_seconds())).into(),
                _ => Bytes::from_static(REFUSED.as_bytes()),
            };
            return typed(StatusCode::OK, EVENT_STREAM, event);
        }
        if is_for_now {
            answer.headers_mut().entry(RETRY_AFTER).or_insert(RETRY_SECONDS);
        }
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        *answer.body_mut() = problem(status, text.trim_end(), position).into();
        answer
    }

    async fn read_room(&self, request: Request<Incoming>, connection: &HttpConnection<'_>) -> Result<Answer, Refused> {
        let room = room_of(request.uri().path())?;
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        if query.is_live || accepts_events(request.headers()) {
            self.check_open(connection)?;
            self.open_reader(room, &query, &request, connection)
        } else {
            self.check_permit(connection)?;
            self.answer_history(room, &query, &request, connection).await
        }
    }

    /// Lets a reader in whose answer goes on. Nothing is awaited once it is admitted.
    fn open_reader(
        &self,
        room: RoomName,
        query: &Query,
        request: &Request<Incoming>,
        connection: &HttpConnection<'_>,
    ) -> Result<Answer, Refused> {
        let sessions = self.sessions()?;
        if request.version() != Version::HTTP_11 {
            return Err(RefusedRequest::bad(RefusalReason::HttpVersion, "a stream is HTTP/1.1\n").into());
        }
        let (address, permit) = self.admit(request.headers(), connection)?;
        let token = verified(&self.context, request)?;
        sessions.permit_reader(&Outsider { token: token.as_deref(), address }, &room)?;
        if request.method() == Method::HEAD {
            return Ok(stream(EVENT_STREAM, Body::from(Vec::new())));
        }
        let since = last_event_id(request.headers()).or(query.since.map(Since::from));
        let upgrade = Upgrade::Reader(Box::new(Reading { room, since }));
        connection.goes_on.set(true);
        connection.admitted.set(Some(Admitted { address, permit, token, upgrade, first_frame: Vec::new() }));
        Ok(stream(EVENT_STREAM, Body::going_on("")))
    }

    async fn answer_history(
        &self,
        room: RoomName,
        query: &Query,
        request: &Request<Incoming>,
        connection: &HttpConnection<'_>,
    ) -> Result<Answer, Refused> {
        // Held until the room has answered: what follows is bounded by the memory of all answers.
        let (address, _permit) = self.admit(request.headers(), connection)?;
        let token = verified(&self.context, request)?;
        let who = Outsider { token: token.as_deref(), address };
        self.sessions()?.permit_history(&who, &room)?;
        let memory = self.memory_of_answer().await?;
        // Not held while it waits: a server that stops waits for whoever holds the sessions.
        let sessions = self.sessions()?;
        let limit = query.limit.min(sessions.broker.replay_messages_max()).max(1);
        let page = sessions.read_history(&who, &room, query.since, limit).await?;
        let json = history(&room, &page);
        drop(page);
        Ok(json_in_memory(json, memory, &sessions))
    }

    /// What the sessions share, unless the server stops.
    pub(super) fn sessions(&self) -> Result<Rc<SessionContext>, RefusedRequest> {
        let sessions = self.context.sessions.upgrade().filter(|_| !self.context.drain.is_stopping());
        sessions.ok_or_else(RefusedRequest::draining)
    }

    /// Waits for the memory of one answer, for as long as a client may take for a head, and not once the server stops.
    pub(super) async fn memory_of_answer(&self) -> Result<OwnedSemaphorePermit, RefusedRequest> {
        let acquired = Arc::clone(&self.history).acquire_many_owned(SHARES as u32);
        let acquired = tokio::select! {
            () = self.context.drain.stopping() => return Err(RefusedRequest::draining()),
            acquired = timeout(self.context.times.header_timeout, acquired) => acquired,
        };
        match acquired {
            Ok(permit) => Ok(permit.expect("it is never closed")),
            Err(_) => {
                let text = "too many read history at once";
                Err(RefusedRequest(RefusalReason::Timeout, StatusCode::SERVICE_UNAVAILABLE, text.into()))
            }
        }
    }
}

/// An answer that holds its share of the memory of all answers until the client has taken it.
pub(super) fn json_in_memory(json: Vec<u8>, mut memory: OwnedSemaphorePermit, sessions: &SessionContext) -> Answer {
    let shares = (json.len() * SHARES).div_ceil(sessions.broker.replay_bytes_max().max(1));
    let _unused = memory.split(SHARES.saturating_sub(shares));
    let mut answer = typed(StatusCode::OK, "application/json", Vec::new());
    *answer.body_mut() = Body::in_pieces(json, memory);
    answer
}

impl Query {
    /// Parses the parameters that are known. Others may be for somebody in front of this server.
    fn parse(query: &str) -> Result<Self, RefusedRequest> {
        let [since, limit, live] = [value(query, "since")?, value(query, "limit")?, value(query, "live")?];
        let since = match since {
            None => None,
            Some(text) => Some(Position::parse(&text).ok_or_else(|| {
                wrong(format!("since={:?}: a position as the room tells it, 30 characters", shortened(&text)))
            })?),
        };
        let limit = match limit {
            None => LIMIT,
            // A longer number is more than any answer has.
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().unwrap_or(usize::MAX)
            }
            Some(text) => return Err(wrong(format!("limit={:?}: a number from 1", shortened(&text)))),
        };
        if limit == 0 {
            return Err(wrong("limit=0: a number from 1".to_owned()));
        }
        match live.as_deref() {
            None | Some("sse") => Ok(Self { since, limit, is_live: live.is_some() }),
            Some(text) => Err(wrong(format!("live={:?}: there is live=sse", shortened(text)))),
        }
    }
}

/// The value of a parameter that may stand once.
pub fn value(query: &str, name: &str) -> Result<Option<String>, RefusedRequest> {
    let mut values = query.split('&').filter_map(|parameter| {
        let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (found == name).then_some(value)
    });
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(String::from_utf8_lossy(&decoded(value)).into_owned())),
        (Some(_), Some(_)) => Err(wrong(format!("{name}: it stands once"))),
    }
}

fn wrong(text: String) -> RefusedRequest {
    RefusedRequest(RefusalReason::Query, StatusCode::BAD_REQUEST, text.into())
}

/// The room that a path names. Its name is decoded once.
fn room_of(path: &str) -> Result<RoomName, RefusedRequest> {
    let name = path.strip_prefix(PREFIX).unwrap_or_default();
    if name.contains('/') {
        let text = "not found: a / in the name of a room is written %2F";
        return Err(RefusedRequest(RefusalReason::Path, StatusCode::NOT_FOUND, text.into()));
    }
    let is_encoded = name
        .split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    let decoded = percent_decode_str(name).decode_utf8().ok().filter(|_| is_encoded);
    let decoded = decoded.ok_or_else(|| bad_name("room: its name in the path is UTF-8, percent-encoded".to_owned()))?;
    RoomName::parse(&decoded).map_err(|error| bad_name(format!("room {error}")))
}

fn bad_name(text: String) -> RefusedRequest {
    RefusedRequest(RefusalReason::Path, StatusCode::BAD_REQUEST, text.into())
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut types = lists.flat_map(|list| list.split(',')).filter_map(|accepted| accepted.split(';').next());
    types.any(|accepted| accepted.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

/// Where an `EventSource` comes back. One whose id is no position, as of a server before this one, is told of a gap: a page
/// could not read why it is refused, and would never come back.
fn last_event_id(headers: &HeaderMap) -> Option<Since> {
    let id = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty())?;
    Some(id.to_str().ok().and_then(Position::parse).map_or(Since::UNREACHABLE, Since::from))
}

/// The answer with a part of a room's history.
fn history(room: &RoomName, PageOfRoom { publications, position, .. }: &PageOfRoom) -> Vec<u8> {
    let mut json = b"{\"room\":".to_vec();
    write_string(room.as_str(), &mut json);
    json.extend_from_slice(b",\"publications\":[");
    // Where more follow, a reader goes on behind the last of these.
    let next = position.map(|Position { epoch, offset }| {
        for (number, publication) in publications.iter().enumerate() {
            json.extend_from_slice(if number == 0 { b"" } else { b"," });
            write_publication(epoch, publication, &mut json);
        }
        Position { epoch, offset: publications.last().map_or(offset, |last| last.offset) }
    });
    let written = match next {
        Some(position) => write!(json, "],\"position\":\"{position}\"}}"),
        None => write!(json, "],\"position\":null}}"),
    };
    written.expect("a vector accepts every byte");
    json.push(b'\n');
    json
}

/// A problem document.
fn problem(status: StatusCode, detail: &str, position: Option<Position>) -> Vec<u8> {
    let mut json = format!("{{\"status\":{},\"title\":", status.as_u16()).into_bytes();
    write_string(status.canonical_reason().unwrap_or_default(), &mut json);
    json.extend_from_slice(b",\"detail\":");
    write_string(detail, &mut json);
    if let Some(position) = position {
        write!(json, ",\"position\":\"{position}\"").expect("a vector accepts every byte");
    }
    json.extend_from_slice(b"}\n");
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_in_a_path_is_decoded_once() {
        let name =
            |path: &str| room_of(path).map(|room| room.as_str().to_owned()).map_err(|refused| refused.1.as_u16());
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
        assert_eq!(Query::parse("").ok(), Some(Query { since: None, limit: LIMIT, is_live: false }));
        let query = format!("later=1&since={position}&limit=7&live=sse&&=");
        assert_eq!(Query::parse(&query).ok(), Some(Query { since, limit: 7, is_live: true }));
        assert_eq!(Query::parse("limit=99999999999999999999999").map(|query| query.limit).ok(), Some(usize::MAX));
        for wrong in ["since=", "since", "since=7", "limit=", "limit=0", "limit=-1", "limit=+1", "live=", "live=poll"] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Query::parse(&format!("since={position}&since={position}")).is_err());
        assert!(Query::parse("limit=1&limit=1").is_err());
    }
}
