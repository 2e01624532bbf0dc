//! What NATS sends, as values: messages of the stream, parts of reads, acknowledgements, the state of the stream.

use async_nats::Message;
use async_nats::StatusCode;
use async_nats::datetime::parse_rfc3339;
use async_nats::header::{NATS_SEQUENCE, NATS_TIME_STAMP};
use async_nats::jetstream::stream::Info;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::super::stream::{Inspection, Read, Stored, StoredAt};

/// The most bytes of one read.
const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A part of what was read.
#[derive(Debug)]
pub(super) enum ReadPart {
    /// A message.
    Stored(Stored),
    /// There is no more, or nothing.
    End,
    /// The read has failed, or the message makes no sense.
    Failed(String),
}

/// What the stream says to an envelope, or whoever answers for it.
#[derive(Debug, Deserialize)]
struct Acknowledgement {
    error: Option<ApiError>,
}

#[derive(Debug, Deserialize)]
struct ApiError {
    description: Option<String>,
}

/// The answer to the question for one message.
#[derive(Debug, Deserialize)]
pub(super) struct OneMessage {
    message: MessageTime,
}

#[derive(Debug, Deserialize)]
struct MessageTime {
    time: String,
}

/// A message of the stream, as it is published again and as it is read; `None` for anything else.
pub(super) fn stored(message: Message) -> Option<Stored> {
    let headers = message.headers.as_ref()?;
    let sequence = headers.get(NATS_SEQUENCE)?.as_str().parse().ok().filter(|&sequence| sequence > 0)?;
    let stored_at = stored_at(headers.get(NATS_TIME_STAMP)?.as_str())?;
    Some(Stored { sequence, stored_at, bytes: message.payload })
}

/// A part of what was read.
pub(super) fn read_part(message: Message) -> ReadPart {
    match message.status.as_ref().map(StatusCode::as_u16) {
        None => stored(message).map_or_else(|| ReadPart::Failed("no message of a stream".to_owned()), ReadPart::Stored),
        // 204 ends a read that has found something, 404 is the answer to one that has not.
        Some(204 | 404) => ReadPart::End,
        Some(status) => ReadPart::Failed(format!("{status} {}", message.description.unwrap_or_default())),
    }
}

/// What a read is asked for with.
pub(super) fn read_request(read: Read) -> Bytes {
    json!({ "seq": read.from, "batch": read.messages, "max_bytes": READ_BYTES_MAX }).to_string().into()
}

/// Whether an envelope was stored.
///
/// # Errors
/// It was refused. The text says why.
pub(super) fn acknowledgement(message: &Message) -> Result<(), String> {
    if let Some(status) = message.status {
        return Err(match status {
            StatusCode::NO_RESPONDERS => "no stream takes it".to_owned(),
            status => format!("status {status}"),
        });
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Acknowledgement { error: None }) => Ok(()),
        Ok(Acknowledgement { error: Some(error) }) => Err(error.description.unwrap_or_default()),
        Err(error) => Err(error.to_string()),
    }
}

/// The state of the stream; `asked` is the message that was asked for besides.
pub(super) fn inspection(info: &Info, asked: Option<StoredAt>) -> Inspection {
    let state = &info.state;
    let first = if state.messages == 0 { state.last_sequence + 1 } else { state.first_sequence };
    Inspection {
        created: nanoseconds(info.created.unix_timestamp_nanos()),
        first,
        last: state.last_sequence,
        last_at: nanoseconds(state.last_timestamp.unix_timestamp_nanos()),
        asked,
    }
}

impl OneMessage {
    pub(super) fn stored_at(&self) -> Option<StoredAt> {
        stored_at(&self.message.time)
    }
}

fn stored_at(text: &str) -> Option<StoredAt> {
    parse_rfc3339(text).ok().map(|time| nanoseconds(time.unix_timestamp_nanos()))
}

/// A time before 1970, as that of the last message of an empty stream, is none.
fn nanoseconds(since_1970: i128) -> StoredAt {
    StoredAt(u64::try_from(since_1970).unwrap_or(0))
}
