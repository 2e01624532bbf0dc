//! One room as server-sent events (the HTML standard §9.2): a `GET` whose answer never ends. A reader sends nothing, so
//! others publish. Each chunk of the answer must hold whole events, as Roomcast writes them.

use std::time::Duration;

use serde_json::Value;

use super::{Closing, Dialect, FRAME_BYTES_MAX, Incoming, Position, ProtocolError, publication, split_behind_text};
use crate::target::Target;

/// The dialect of `sse://host:port`.
pub struct Sse;

/// The start of the head of an answer. No chunk starts with it, since a chunk starts with hexadecimal digits.
const HTTP: &[u8] = b"HTTP/1.";

/// The digits of an offset in a position.
const OFFSET_DIGITS: usize = 16;

impl Dialect for Sse {
    fn encode_handshake(&self, _: &Target, _: &mut Vec<u8>) {}

    fn has_handshake(&self) -> bool {
        // The request names the room, so it is the join.
        false
    }

    fn publishing_needs_join(&self) -> bool {
        true
    }

    fn join(&self, room: &str, out: &mut Vec<u8>) {
        self.join_to_resume(room, None, out);
    }

    /// Positions need no requests: each event has its own.
    fn join_to_resume(&self, room: &str, since: Option<Position<'_>>, out: &mut Vec<u8>) {
        let since = since.map_or(String::new(), |Position { text, offset }| {
            let (epoch, offset) = (String::from_utf8_lossy(text), offset.unwrap_or_default());
            format!("Last-Event-ID: {epoch}-{offset:0OFFSET_DIGITS$}\r\n")
        });
        // The host is a constant, since no proxy is in between.
        let request = format!(
            "GET /rooms/{room}?live=sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{since}\r\n"
        );
        out.extend_from_slice(request.as_bytes());
    }

    fn request_position(&self, _: &str, _: &mut Vec<u8>) {}

    /// A reader leaves by its end alone.
    fn leave(&self, _: &str, _: &mut Vec<u8>) {}

    /// A reader publishes nothing.
    fn publish(&self, _: &str, _: &[u8], _: &mut Vec<u8>) {}

    #[inline]
    fn decode<'a>(&self, _: bool, input: &'a [u8]) -> Result<Option<(usize, Incoming<'a>)>, ProtocolError> {
        if input.first() == HTTP.first() {
            return decode_head(input);
        }
        let Some((length, events)) = chunk(input)? else { return Ok(None) };
        Ok(Some((length, decode_events(events).ok_or_else(|| ProtocolError::new(events))?)))
    }
}

/// Decodes the head of the answer. What joins follows in the first chunk.
fn decode_head(input: &[u8]) -> Result<Option<(usize, Incoming<'_>)>, ProtocolError> {
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&input[..end]);
    let status = head.lines().next().unwrap_or_default();
    let incoming = match status.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream") {
        true => Incoming::Other,
        false => Incoming::Closed(Closing::by_answer(&head)),
    };
    Ok(Some((end + 4, incoming)))
}

/// The content of the first chunk (RFC 9112 §7.1), and the length of the whole chunk; `None` if it is incomplete.
#[inline]
fn chunk(input: &[u8]) -> Result<Option<(usize, &[u8])>, ProtocolError> {
    /// Hexadecimal digits of the longest chunk.
    const DIGITS_MAX: usize = 8;
    let digits = input.iter().take(DIGITS_MAX).take_while(|digit| digit.is_ascii_hexdigit()).count();
    let length = input[..digits].iter().fold(0, |length, &digit| length << 4 | usize::from(value(digit)));
    match &input[digits..] {
        [] | [b'\r'] if digits < DIGITS_MAX => return Ok(None),
        [b'\r', b'\n', ..] if digits > 0 && length <= FRAME_BYTES_MAX => {}
        _ => return Err(ProtocolError::new(input)),
    }
    let start = digits + 2;
    let Some(behind) = input.get(start + length..start + length + 2) else { return Ok(None) };
    if behind == b"\r\n" {
        Ok(Some((start + length + 2, &input[start..start + length])))
    } else {
        Err(ProtocolError::new(input))
    }
}

#[inline]
fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Decodes the events of a chunk; `None` if the last one is not whole. An empty chunk ends the answer.
#[inline]
fn decode_events(events: &[u8]) -> Option<Incoming<'_>> {
    if events.is_empty() {
        return Some(Incoming::Closed("the end of the stream".to_owned().into()));
    }
    let end = memchr::memmem::find(events, b"\n\n")? + 2;
    let first = &events[..end];
    if first.starts_with(b"retry: ") {
        return decode_joined(first, &events[end..]);
    }
    if end == events.len() {
        return Some(decode_event(first));
    }
    whole_events(events).map(|all| Incoming::Several(all.collect()))
}

/// The decoded events; `None` if the last one is not whole.
fn whole_events(events: &[u8]) -> Option<impl Iterator<Item = Incoming<'_>>> {
    let events = if events.is_empty() { events } else { events.strip_suffix(b"\n\n")? };
    let mut rest = (!events.is_empty()).then_some(events);
    Some(std::iter::from_fn(move || {
        let events = rest?;
        let end = memchr::memmem::find(events, b"\n\n");
        rest = end.map(|end| &events[end + 2..]);
        Some(decode_event(&events[..end.unwrap_or(events.len())]))
    }))
}

/// The event that answers the join, with what was missed behind it. The position comes last, as the answer to a request
/// for it would.
fn decode_joined<'a>(first: &'a [u8], missed: &'a [u8]) -> Option<Incoming<'a>> {
    let (epoch, mut offset) = position(field(first, b"id: ")?)?;
    let gap = (field(first, b"event: ") == Some(b"gap")).then_some(Incoming::Gap);
    let mut all: Vec<_> = [Incoming::Acknowledged].into_iter().chain(gap).chain(whole_events(missed)?).collect();
    if let Some(Incoming::Publication(_, last)) = all.last() {
        offset = *last;
    }
    all.push(Incoming::Position(Position { text: epoch, offset: Some(offset) }));
    Some(Incoming::Several(all))
}

#[inline]
fn decode_event(event: &[u8]) -> Incoming<'_> {
    if let Some(name) = field(event, b"event: ") {
        let data = || String::from_utf8_lossy(field(event, b"data: ").unwrap_or_default()).into_owned();
        return match name {
            b"closed" => Incoming::Closed(closing(event)),
            b"refused" => Incoming::Refused(data()),
            b"gap" => Incoming::Gap,
            _ => Incoming::Other,
        };
    }
    let offset = field(event, b"id: ").and_then(position).map(|(_, offset)| offset);
    split_behind_text(event).map_or(Incoming::Other, |(text, _)| publication(text, offset))
}

/// The reason in the data of the event that ends the stream, and the time after which an `EventSource` comes back.
fn closing(event: &[u8]) -> Closing {
    let data = field(event, b"data: ").unwrap_or_default();
    let told: Value = serde_json::from_slice(data).unwrap_or_default();
    let reason = told["reason"].as_str().map_or_else(|| String::from_utf8_lossy(data).into_owned(), str::to_owned);
    let milliseconds = field(event, b"retry: ").and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    Closing { reason, retry_after: milliseconds.map(Duration::from_millis) }
}

/// The value of a field at the start of an event or of a line of it.
#[inline]
fn field<'a>(event: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = event;
    loop {
        let end = memchr::memchr(b'\n', lines).unwrap_or(lines.len());
        if let Some(value) = lines[..end].strip_prefix(name) {
            return Some(value);
        }
        lines = lines.get(end + 1..)?;
    }
}

/// The epoch and the offset of a position.
#[inline]
fn position(text: &[u8]) -> Option<(&[u8], u64)> {
    let (epoch, offset) = text.split_at_checked(text.len().checked_sub(OFFSET_DIGITS)?)?;
    let digit = |number: u64, digit: &u8| number * 10 + u64::from(digit & 0xf);
    Some((epoch.strip_suffix(b"-")?, offset.iter().fold(0, digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str =
        "id: 0a-0000000000000007\ndata: {\"offset\":7,\"name\":\"b\",\"data\":{\"text\":\"~rc:x\"}}\n\n";

    fn chunked(events: &str) -> Vec<u8> {
        format!("{:x}\r\n{events}\r\n", events.len()).into_bytes()
    }

    /// What the one item of the input is, which must be incomplete at every cut.
    #[track_caller]
    fn decode(input: &[u8]) -> Incoming<'_> {
        for cut in 0..input.len() {
            assert_eq!(Sse.decode(true, &input[..cut]), Ok(None), "cut at {cut}");
        }
        let (length, incoming) = Sse.decode(true, input).unwrap().expect("it is whole");
        assert_eq!(length, input.len());
        incoming
    }

    fn is_our_text(incoming: &Incoming<'_>, offset: u64) -> bool {
        matches!(incoming, Incoming::Publication(text, at) if text.ends_with(b"\"~rc:x") && *at == offset)
    }

    #[test]
    fn the_head_of_the_answer_is_awaited_and_any_other_status_is_the_end() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(decode(head), Incoming::Other);
        let refused = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\n\r\n";
        assert_eq!(decode(refused), Incoming::Closed("HTTP/1.1 404 Not Found".to_owned().into()));
    }

    #[test]
    fn a_publication_has_its_text_and_its_offset() {
        assert!(is_our_text(&decode(&chunked(EVENT)), 7));
        let without_place = chunked("data: {\"data\":{\"text\":\"~rc:x\"}}\n\n");
        assert!(matches!(decode(&without_place), Incoming::Message(text) if text.ends_with(b"~rc:x")));
        let two = chunked(&EVENT.repeat(2));
        let Incoming::Several(two) = decode(&two) else { panic!("there are two") };
        assert!(two.len() == 2 && two.iter().all(|incoming| is_our_text(incoming, 7)), "{two:?}");
    }

    #[test]
    fn the_answer_to_a_join_ends_with_the_position_of_the_last_event() {
        let joined = "retry: 2000\nid: 0a-0000000000000005\n\n";
        let at = |offset| Incoming::Position(Position { text: b"0a", offset: Some(offset) });
        assert_eq!(decode(&chunked(joined)), Incoming::Several(vec![Incoming::Acknowledged, at(5)]));
        let with_missed = chunked(&[joined, EVENT].concat());
        let Incoming::Several(all) = decode(&with_missed) else { panic!("there are three") };
        assert!(matches!(&all[..], [Incoming::Acknowledged, missed, last] if is_our_text(missed, 7) && *last == at(7)));
        let gap = chunked("retry: 2000\nid: 0a-0000000000000005\nevent: gap\ndata: {}\n\n");
        assert_eq!(decode(&gap), Incoming::Several(vec![Incoming::Acknowledged, Incoming::Gap, at(5)]));
    }

    #[test]
    fn other_events_are_passed_over_unless_they_end_the_stream() {
        assert_eq!(decode(&chunked(":\n\n")), Incoming::Other);
        assert_eq!(decode(&chunked("event: join\ndata: {\"name\":\"~\"}\n\n")), Incoming::Other);
        assert_eq!(decode(b"0\r\n\r\n"), Incoming::Closed("the end of the stream".to_owned().into()));
    }

    #[test]
    fn the_last_event_has_the_reason_and_the_time_to_wait() {
        let closed = chunked("event: closed\nretry: 11000\ndata: {\"reason\":\"shutdown\",\"retry\":11}\n\n");
        let retry_after = Some(Duration::from_secs(11));
        assert_eq!(decode(&closed), Incoming::Closed(Closing { reason: "shutdown".to_owned(), retry_after }));
        let without = chunked("event: closed\ndata: elsewhere\n\n");
        assert_eq!(decode(&without), Incoming::Closed("elsewhere".to_owned().into()));
    }

    #[test]
    fn what_is_no_chunk_of_whole_events_is_nonsense() {
        for input in [&b"\r\n"[..], b"x\r\n", b"123456789", b"fffffff\r\n", b"2\r\nhi!!", b"7\r\ndata: x\r\n"] {
            assert!(Sse.decode(true, input).is_err(), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn a_reader_that_comes_back_says_the_last_id_that_it_has_read() {
        let mut out = Vec::new();
        Sse.join_to_resume("a", Some(Position { text: b"0a", offset: Some(7) }), &mut out);
        let request = String::from_utf8(out).unwrap();
        assert!(request.starts_with("GET /rooms/a?live=sse HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\nLast-Event-ID: 0a-0000000000000007\r\n\r\n"), "{request}");
    }
}
