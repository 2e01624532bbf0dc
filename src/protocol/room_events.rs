//! A room as server-sent events (the HTML standard §9.2), for readers that join one room and send nothing, and publications
//! in JSON as these events and the answers of history hold them. Written by hand: nothing is built for a delivery but its
//! bytes. Every event is whole here, with the empty line behind it.

use std::io::Write;

use serde_json::to_writer;

use super::disconnect::{Disconnect, RetrySeconds};
use super::event::{Event, JoinedAt, Recovery};
use super::names::RoomName;
use super::position::{Epoch, Offset, Position, UnixMillis};
use super::publication::{Data, Publication, Publisher, PublisherKind, Tags};

/// A comment, which clients ignore.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// What a refused reader of events gets in place of an error status, from which an `EventSource` would never come back.
pub const REFUSED: &str = "event: closed\nretry: 10000\ndata: {\"reason\":\"too-many-connections\"}\n\n";

/// After how many milliseconds a reader whose stream ends comes back.
const RETRY: &[u8] = b"retry: 2000\n";

/// The same where the room or the server is full.
const RETRY_FULL: &[u8] = b"retry: 10000\n";

/// The same where the reader would be refused again, unless somebody changes its rights or its token.
const RETRY_REFUSED: &[u8] = b"retry: 60000\n";

/// The length of a time as [`write_time`] writes it.
const TIME_BYTES: usize = "1970-01-01T00:00:00.000Z".len();

/// The length in bytes of a publication as an event, exact unless a text of it needs an escape; 0 for other events.
pub(super) fn size_hint(event: &Event<'_>) -> usize {
    let Event::Published(_, _, publication) = event else { return 0 };
    let id = if publication.offset == Offset(0) { 0 } else { "id: \n".len() + Position::BYTES };
    id + "data: \n\n".len() + publication_bytes(publication)
}

/// Appends an event with the empty line behind it; nothing if it has no form here.
pub(super) fn write(event: &Event<'_>, out: &mut Vec<u8>) {
    match *event {
        Event::Published(_, epoch, publication) => {
            if let Some(position) = position_of(epoch, publication) {
                write_id(position, out);
            }
            out.extend_from_slice(b"data: ");
            write_publication(epoch, publication, out);
        }
        Event::JoinedAt(joined) => return write_joined(joined, out),
        Event::MemberJoined(_, member) => write_member(b"join", member, out),
        Event::MemberLeft(_, member) => write_member(b"leave", member, out),
        Event::MemberCount(_, members) => {
            out.extend_from_slice(b"event: members\ndata: {\"members\":");
            write_number(members as u64, out);
            out.push(b'}');
        }
        // Not named "error", as an `EventSource` names what goes wrong with its connection.
        Event::Error(error) => {
            out.extend_from_slice(b"event: refused\ndata: {\"code\":");
            write_string(error.code().word(), out);
            out.extend_from_slice(b",\"message\":");
            write_string(&error.to_string(), out);
            out.push(b'}');
        }
        Event::Closed(Disconnect::Shutdown, retry) => write_stop(retry, out),
        Event::Closed(reason, _) => {
            out.extend_from_slice(b"event: closed\n");
            out.extend_from_slice(retry(reason));
            out.extend_from_slice(b"data: {\"reason\":");
            write_string(reason.reason(), out);
            out.push(b'}');
        }
        Event::Dismissed(code, reason) => {
            out.extend_from_slice(b"event: closed\n");
            out.extend_from_slice(retry(Disconnect::Dismissed));
            out.extend_from_slice(b"data: {\"reason\":");
            write_string(reason, out);
            out.extend_from_slice(b",\"code\":");
            write_number(code.into(), out);
            out.push(b'}');
        }
        _ => return,
    }
    out.extend_from_slice(b"\n\n");
}

/// What a reader gets in place of an error status from a server that stops: the event with which open streams end.
pub fn stopping(retry: RetrySeconds) -> Vec<u8> {
    let mut out = Vec::new();
    write(&Event::Closed(Disconnect::Shutdown, retry), &mut out);
    out
}

/// Says when to come back. An `EventSource` waits for as long as the newest `retry` has said, until its next stream begins
/// with [`RETRY`] again.
fn write_stop(RetrySeconds(seconds): RetrySeconds, out: &mut Vec<u8>) {
    let written = write!(
        out,
        "event: closed\nretry: {}\ndata: {{\"reason\":\"{}\",\"retry\":{seconds}}}",
        u64::from(seconds) * 1_000,
        Disconnect::Shutdown.reason()
    );
    written.expect("a vector accepts every byte");
}

/// When a reader whose stream ends for this reason comes back.
fn retry(reason: Disconnect) -> &'static [u8] {
    match reason {
        Disconnect::TooManyConnections => RETRY_FULL,
        Disconnect::Refused
        | Disconnect::Kicked
        | Disconnect::TokenExpired
        | Disconnect::TokenInvalid
        | Disconnect::Dismissed => RETRY_REFUSED,
        _ => RETRY,
    }
}

/// Appends a publication as one JSON object on one line.
pub fn write_publication(epoch: Epoch, publication: &Publication, out: &mut Vec<u8>) {
    let Publication { offset, published_at, publisher, data } = publication;
    out.push(b'{');
    if let Some(position) = position_of(epoch, publication) {
        out.extend_from_slice(b"\"position\":\"");
        out.extend_from_slice(&position.text());
        out.extend_from_slice(b"\",\"offset\":");
        write_number(offset.0, out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"at\":\"");
    write_time(*published_at, out);
    out.extend_from_slice(b"\",");
    write_names(publisher, out);
    out.extend_from_slice(b",\"data\":");
    match data {
        Data::Json(json) => out.extend_from_slice(json.as_bytes()),
        Data::Text(text) => {
            out.extend_from_slice(b"{\"text\":");
            write_string(text, out);
            out.push(b'}');
        }
    }
    if let Some(tags) = tags_of(publisher) {
        write_tags(tags, out);
    }
    out.push(b'}');
}

/// Appends a text as a JSON string. It holds no line break then.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    to_writer(out.by_ref(), text).expect("a vector accepts every byte");
}

/// The length of [`write_publication`], exact unless a text needs an escape.
fn publication_bytes(publication: &Publication) -> usize {
    let Publication { offset, publisher, data, .. } = publication;
    let place = match offset {
        Offset(0) => 0,
        Offset(offset) => r#""position":"","offset":,"#.len() + Position::BYTES + digits(*offset),
    };
    let user = match publisher.user.as_str() {
        "" => 0,
        user => r#""user":"","#.len() + user.len(),
    };
    let data = match data {
        Data::Json(json) => json.len(),
        Data::Text(text) => r#"{"text":""}"#.len() + text.len(),
    };
    let tag_bytes = |(name, text): (&str, &str)| r#""":"","#.len() + name.len() + text.len();
    // Of all tags but the last, a comma follows.
    let tags =
        tags_of(publisher).map_or(0, |tags| r#","tags":{}"#.len() - 1 + tags.iter().map(tag_bytes).sum::<usize>());
    r#"{"at":"","name":"","data":}"#.len() + TIME_BYTES + publisher.label.as_str().len() + place + user + data + tags
}

/// The place of a publication; `None` for one that has none, since nothing retains it.
fn position_of(epoch: Epoch, publication: &Publication) -> Option<Position> {
    (publication.offset != Offset(0)).then_some(Position { epoch, offset: publication.offset })
}

fn tags_of(publisher: &Publisher) -> Option<&Tags> {
    match &publisher.kind {
        PublisherKind::Backend(tags) if tags.iter().len() > 0 => Some(tags),
        _ => None,
    }
}

fn write_tags(tags: &Tags, out: &mut Vec<u8>) {
    let mut before: &[u8] = b",\"tags\":{";
    for (name, text) in tags.iter() {
        out.extend_from_slice(before);
        write_string(name, out);
        out.push(b':');
        write_string(text, out);
        before = b",";
    }
    out.push(b'}');
}

/// Says from where on the reader has the room, with the time after which it comes back. An `EventSource` keeps the id, and
/// where there is no data it tells the page nothing. What the reader has missed follows, each as if it were live.
fn write_joined(joined: &JoinedAt<'_>, out: &mut Vec<u8>) {
    let JoinedAt { room, position, .. } = *joined;
    out.extend_from_slice(RETRY);
    match joined.recovery {
        // The position that the reader has come with: what follows may be cut.
        Recovery::Recovered { since, missed } => {
            write_id(Position { offset: since, ..position }, out);
            out.push(b'\n');
            out.extend_from_slice(missed);
        }
        Recovery::NotRequested => {
            write_id(position, out);
            out.push(b'\n');
        }
        Recovery::Unrecovered => {
            write_id(position, out);
            write_gap(room, position, out);
        }
    }
}

fn write_gap(room: &RoomName, position: Position, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: gap\ndata: {\"room\":");
    write_string(room.as_str(), out);
    out.extend_from_slice(b",\"position\":\"");
    out.extend_from_slice(&position.text());
    out.extend_from_slice(b"\"}\n\n");
}

fn write_id(position: Position, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(&position.text());
    out.push(b'\n');
}

fn write_member(event: &[u8], member: &Publisher, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event);
    out.extend_from_slice(b"\ndata: {");
    write_names(member, out);
    out.push(b'}');
}

/// Writes the user, if the client has proved to be one, and the name, which proves nothing.
fn write_names(publisher: &Publisher, out: &mut Vec<u8>) {
    if !publisher.user.as_str().is_empty() {
        out.extend_from_slice(b"\"user\":");
        write_string(publisher.user.as_str(), out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"name\":");
    write_string(publisher.label.as_str(), out);
}

/// Appends a time as RFC 3339 has it, in UTC with milliseconds. The date is that of Howard Hinnant's `civil_from_days`.
fn write_time(UnixMillis(millis): UnixMillis, out: &mut Vec<u8>) {
    let (days, of_day) = (millis / 86_400_000 + 719_468, millis % 86_400_000);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Counted from March, so that the day that some years have more is the last.
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3_600_000, 2, b':'),
        (of_day / 60_000 % 60, 2, b':'),
        (of_day / 1_000 % 60, 2, b'.'),
        (of_day % 1_000, 3, b'Z'),
    ];
    for (number, digits, behind) in parts {
        write_digits(number, digits, out);
        out.push(behind);
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    write_digits(number, digits(number), out);
}

/// Appends the last digits of a number, with zeros in front of a short one.
fn write_digits(number: u64, digits: usize, out: &mut Vec<u8>) {
    (0..digits as u32).rev().for_each(|place| out.push(b'0' + (number / 10_u64.pow(place) % 10) as u8));
}

/// The decimal digits of a number, at least one.
fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}
