//! A room as server-sent events: every event, and text that looks like one.

use std::sync::Arc;

use roomcast::protocol::command::CommandError;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::{Disconnect, RetrySeconds};
use roomcast::protocol::event::{Event, JoinedAt, Recovery};
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publication, Publisher, PublisherKind, Tags, UserId};
use roomcast::protocol::room_events::write_publication;
use serde_json::{Value, json};

/// When clients come back after a stop.
const RETRY: RetrySeconds = RetrySeconds(11);

const EPOCH: &str = "0123456789abc";

fn epoch() -> Epoch {
    Epoch::parse(EPOCH).expect("an epoch")
}

fn room() -> RoomName {
    RoomName::parse("a\"b").expect("a name")
}

fn text_client(label: &str) -> Publisher {
    Publisher::anonymous(ClientId(7), Label::generated(label))
}

fn publication(offset: u64, publisher: Publisher, data: Data) -> Publication {
    let published_at = UnixMillis(1_795_747_397_042);
    Publication { offset: Offset(offset), published_at, publisher: Arc::new(publisher), data }
}

/// The text of the one chunk that a dialect writes.
#[track_caller]
fn chunk(event: &Event<'_>) -> String {
    let bytes = Dialect::RoomEvents.encode(event);
    let text = std::str::from_utf8(&bytes).expect("text");
    let (length, rest) = text.split_once("\r\n").expect("a length");
    let chunk = rest.strip_suffix("\r\n").expect("an end");
    assert_eq!(usize::from_str_radix(length, 16), Ok(chunk.len()));
    chunk.to_owned()
}

#[test]
fn every_event_has_its_form() {
    let (room, missing) = (room(), CommandError::Unrecoverable { room: room() });
    let position = Position { epoch: epoch(), offset: Offset(4) };
    let joined = |recovery| JoinedAt {
        room: &room,
        position,
        is_recoverable: true,
        recovery,
        expires_in: Some(9),
        data: Some("{}"),
    };
    let (ann, bob) = (Publisher { user: UserId::new("ann"), ..text_client("Ann") }, text_client("bob"));
    let said = publication(5, ann.clone(), Data::Text("hello".into()));
    let told = publication(0, Publisher::backend(Label::generated("key"), Tags::default()), Data::Json("[1]".into()));
    let [plain, recovered, unrecovered] = [
        joined(Recovery::NotRequested),
        joined(Recovery::Recovered { since: Offset(2), missed: b"data: 3\n\ndata: 4\n\n" }),
        joined(Recovery::Unrecovered),
    ];
    for (event, form) in [
        (Event::JoinedAt(&plain), "retry: 2000\nid: 0123456789abc-0000000000000004\n\n"),
        (Event::JoinedAt(&recovered), "retry: 2000\nid: 0123456789abc-0000000000000002\n\ndata: 3\n\ndata: 4\n\n"),
        (
            Event::JoinedAt(&unrecovered),
            "retry: 2000\nid: 0123456789abc-0000000000000004\nevent: gap\n\
             data: {\"room\":\"a\\\"b\",\"position\":\"0123456789abc-0000000000000004\"}\n\n",
        ),
        (
            Event::Published(&room, epoch(), &said),
            "id: 0123456789abc-0000000000000005\ndata: {\"position\":\"0123456789abc-0000000000000005\",\"offset\":5,\
             \"at\":\"2026-11-27T02:43:17.042Z\",\"user\":\"ann\",\"name\":\"Ann\",\"data\":{\"text\":\"hello\"}}\n\n",
        ),
        (
            Event::Published(&room, epoch(), &told),
            "data: {\"at\":\"2026-11-27T02:43:17.042Z\",\"name\":\"key\",\"data\":[1]}\n\n",
        ),
        (Event::MemberJoined(&room, &ann), "event: join\ndata: {\"user\":\"ann\",\"name\":\"Ann\"}\n\n"),
        (Event::MemberLeft(&room, &bob), "event: leave\ndata: {\"name\":\"bob\"}\n\n"),
        (Event::MemberCount(&room, 1_234), "event: members\ndata: {\"members\":1234}\n\n"),
        (
            Event::Error(&missing),
            "event: refused\ndata: {\"code\":\"unrecoverable\",\
             \"message\":\"what \\\"a\\\\\\\"b\\\" has published since cannot all be had\"}\n\n",
        ),
        (
            Event::Closed(Disconnect::Shutdown, RETRY),
            "event: closed\nretry: 11000\ndata: {\"reason\":\"shutdown\",\"retry\":11}\n\n",
        ),
        (
            Event::Closed(Disconnect::TooManyConnections, RETRY),
            "event: closed\nretry: 10000\ndata: {\"reason\":\"too-many-connections\"}\n\n",
        ),
        (Event::Closed(Disconnect::Refused, RETRY), "event: closed\nretry: 60000\ndata: {\"reason\":\"refused\"}\n\n"),
        (
            Event::Dismissed(4_500, "go \"away\""),
            "event: closed\nretry: 60000\ndata: {\"reason\":\"go \\\"away\\\"\",\"code\":4500}\n\n",
        ),
    ] {
        assert_eq!(chunk(&event), form);
    }
    assert_eq!(Dialect::RoomEvents.ping(), "3\r\n:\n\n\r\n");
    let closing = Dialect::RoomEvents.closing(Disconnect::SlowConsumer, RETRY).unwrap();
    assert!(closing.ends_with(b"{\"reason\":\"slow-consumer\"}\n\n\r\n0\r\n\r\n"), "{closing:?}");
}

#[test]
fn what_is_missed_is_written_as_if_it_were_live() {
    let said = publication(5, text_client("bob"), Data::Text("hello".into()));
    let mut missed = Vec::new();
    Dialect::RoomEvents.write_missed(&room(), epoch(), &said, &mut missed);
    assert_eq!(String::from_utf8(missed).unwrap(), chunk(&Event::Published(&room(), epoch(), &said)));
}

#[test]
fn text_cannot_look_like_another_event() {
    for text in [
        "\n\ndata: forged\n\n",
        "a\rb\r\nc",
        "\nid: 0123456789abc-9999999999999999\n\n",
        "event: gap\ndata: {}\nretry: 1\n\n:",
        "\u{2028}\u{2029}\u{85}\u{b}\u{c}\u{1c}",
        "\0\u{1}\u{7f}\u{feff}\"\\",
    ] {
        let publisher = Publisher { user: UserId::new(text), ..text_client("bob") };
        let tags = Tags::new([(text.to_owned(), text.to_owned()), ("b".to_owned(), String::new())]);
        let backend = Publisher { kind: PublisherKind::Backend(tags), ..text_client("key") };
        for publisher in [publisher, backend] {
            let said = publication(1, publisher.clone(), Data::Text(text.into()));
            let event = chunk(&Event::Published(&room(), epoch(), &said));
            let lines: Vec<&str> = event.split(['\n', '\r']).collect();
            let [id, data, "", ""] = lines[..] else { panic!("{event:?}") };
            assert_eq!(id, "id: 0123456789abc-0000000000000001");
            let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(value["data"], json!({ "text": text }));
            match &publisher.kind {
                PublisherKind::Backend(_) => assert_eq!(value["tags"], json!({ text: text, "b": "" })),
                _ => assert_eq!(value["user"], text),
            }
        }
    }
}

#[test]
fn a_publication_fills_its_vector_to_the_last_byte() {
    let tags = |count: usize| Tags::new((0..count).map(|number| (number.to_string(), "x".repeat(number))));
    let publishers = [
        text_client("bob"),
        Publisher { user: UserId::new("ann"), ..text_client("Ann") },
        Publisher::backend(Label::generated("key"), tags(0)),
        Publisher::backend(Label::generated("key"), tags(1)),
        Publisher::backend(Label::generated("key"), tags(3)),
    ];
    for publisher in publishers {
        for length in (2..300).chain(3_900..4_100).chain(65_300..65_540) {
            let body = "a".repeat(length - 2);
            for data in [Data::Json(format!("\"{body}\"").into()), Data::Text(body.into())] {
                let offset = if length % 7 == 0 { 0 } else { 10_u64.pow(length as u32 % 16) - length as u64 % 2 };
                let said = publication(offset, publisher.clone(), data);
                let mut out = Vec::new();
                Dialect::RoomEvents.write(&Event::Published(&room(), epoch(), &said), &mut out);
                assert_eq!(out.len(), out.capacity(), "{publisher:?}: {length} bytes");
            }
        }
    }
}

#[test]
fn times_are_those_of_another_implementation() {
    let day = 86_400_000;
    let days = (0..60_000).map(|number| number * day + number * 1_234_567 % day);
    for millis in days.chain([0, 951_782_399_999, 951_782_400_000, 951_868_800_000, 4_107_542_399_999]) {
        let publisher = Arc::new(text_client("bob"));
        let data = Data::Json("0".into());
        let said = Publication { offset: Offset(0), published_at: UnixMillis(millis), publisher, data };
        let mut out = Vec::new();
        write_publication(epoch(), &said, &mut out);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        let expected = format!("{{\"at\":\"{}\",", humantime::format_rfc3339_millis(time));
        assert!(out.starts_with(expected.as_bytes()), "{} is not {expected}", String::from_utf8_lossy(&out));
    }
}
