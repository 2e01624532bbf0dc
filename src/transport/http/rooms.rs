//! A room over plain HTTP: a part of its history as JSON, or the room as server-sent events. What is refused is told by
//! problem documents (RFC 9457).

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Version};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::bearer::verified;
use super::body::{Answer, Body, stream, typed};
use super::refusals::{RefusedRequest, RequestSummary};
use super::requests::{Admitted, HttpConnection};
use super::room_request::{RoomQuery, room_of};
use super::{HttpServer, Upgrade};
use crate::broker::PageOfRoom;
use crate::protocol::disconnect::RetrySeconds;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Position, Since};
use crate::protocol::room_events::{REFUSED, stopping, write_publication, write_string};
use crate::session::SessionContext;
use crate::session::outsider::{NotRead, Outsider};
use crate::session::reader::Reading;
use crate::transport::metrics::RefusalReason;

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
        let room = room_of(request.uri().path()).map_err(RefusedRequest::from)?;
        let query = request.uri().query().unwrap_or_default();
        let query = RoomQuery::parse(query).map_err(RefusedRequest::from)?;
        if query.is_live || accepts_events(request.headers()) {
            self.check_open(connection)?;
            self.open_reader(room, &query, &request, connection)
        } else {
            self.check_served(connection)?;
            self.answer_history(room, &query, &request, connection).await
        }
    }

    /// Lets a reader in whose answer goes on. Nothing is awaited once it is admitted.
    fn open_reader(
        &self,
        room: RoomName,
        query: &RoomQuery,
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
        query: &RoomQuery,
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
