//! Replies and pushes: each is one JSON value, which the JSON says as it is and the Protobuf in its fields.

use std::sync::Arc;

use roomcast::protocol::centrifuge::{disconnect_code, error_code, json, protobuf};
use roomcast::protocol::command::CommandError;
use roomcast::protocol::compression::Compression;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::{Disconnect, RetrySeconds};
use roomcast::protocol::event::{Connected, Event, Eviction, JoinedAt, Recovery};
use roomcast::protocol::listing::Listing;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publisher, Tags, UserId};
use serde_json::{Value, json};
use strum::VariantArray;

use super::samples::{
    PUBLISHED_AT, json_client, json_info, position, publication, publications, room, text_client, text_info,
};
use super::{id, protobuf_reader};

/// The life of the room in which all is published.
const EPOCH: Epoch = Epoch::new(UnixMillis(0), 0);

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"what stood there".to_vec();
    write(&mut out);
    out.split_off(b"what stood there".len())
}

#[track_caller]
fn read_json(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let out = written(write);
    assert!(!out.contains(&b'\n'), "one line: {out:?}");
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

#[track_caller]
fn expect_push(event: &Event<'_>, push: &Value) {
    expect_written_push(event, push);
    expect_no_reply(event);
}

/// Of an event that is a push where no command asks for it.
#[track_caller]
fn expect_written_push(event: &Event<'_>, push: &Value) {
    assert_eq!(read_json(|out| json::write(event, out)), json!({ "push": push }));
    assert_eq!(protobuf_reader::read(&written(|out| protobuf::write(event, out))), [json!({ "push": push })]);
    assert_eq!(&read_json(|out| json::write_bare(event, out)), push);
}

#[track_caller]
fn expect_reply(event: &Event<'_>, reply: Value) {
    expect_written_reply(event, reply);
    expect_no_push(event);
}

/// Of an event that is a reply where a command asks for it.
#[track_caller]
fn expect_written_reply(event: &Event<'_>, mut reply: Value) {
    let request = id(u32::MAX);
    reply["id"] = json!(u32::MAX);
    assert_eq!(read_json(|out| json::write_reply(request, event, out)), reply);
    assert_eq!(protobuf_reader::read(&written(|out| protobuf::write_reply(request, event, out))), [reply]);
}

#[track_caller]
fn expect_no_reply(event: &Event<'_>) {
    assert!(written(|out| json::write_reply(id(1), event, out)).is_empty(), "{event:?}");
    assert!(written(|out| protobuf::write_reply(id(1), event, out)).is_empty(), "{event:?}");
}

#[track_caller]
fn expect_no_push(event: &Event<'_>) {
    assert!(written(|out| json::write(event, out)).is_empty(), "{event:?}");
    assert!(written(|out| protobuf::write(event, out)).is_empty(), "{event:?}");
}

#[test]
fn what_a_backend_publishes_has_its_tags_and_no_client() {
    let label = Label::generated("backend");
    let tagged = Publisher::backend(label.clone(), Tags::new([("a\"".to_owned(), "b\n".to_owned())]));
    let plain = Publisher::backend(label, Tags::default());
    let time = PUBLISHED_AT.0;
    for (publisher, offset, value) in [
        (tagged, 7, json!({"data": 1, "offset": 7, "tags": {"a\"": "b\n"}, "time": time})),
        (plain, 0, json!({"data": 1, "time": time})),
    ] {
        let publication = publication(offset, publisher, Data::Json("1".into()));
        expect_push(&Event::Published(&room(), EPOCH, &publication), &json!({"channel": "a\"b", "pub": value}));
    }
}

#[test]
fn what_happens_in_a_room_is_a_push() {
    let room = &room();
    for (publication, value) in &publications() {
        expect_push(&Event::Published(room, EPOCH, publication), &json!({"channel": "a\"b", "pub": value}));
    }
    let joined = json!({"channel": "a\"b", "join": {"info": text_info()}});
    expect_push(&Event::MemberJoined(room, &text_client()), &joined);
    let left = json!({"channel": "a\"b", "leave": {"info": json_info()}});
    expect_push(&Event::MemberLeft(room, &json_client()), &left);
    for (eviction, code, reason) in
        [(Eviction::Unsubscribed, 2000, "server unsubscribe"), (Eviction::Expired, 2501, "subscription expired")]
    {
        let push = json!({"channel": "a\"b", "unsubscribe": {"code": code, "reason": reason}});
        expect_push(&Event::Evicted(room, eviction), &push);
    }
    let push = json!({"disconnect": {"code": 3001, "reason": "shutdown retry=11"}});
    expect_push(&Event::Closed(Disconnect::Shutdown, RetrySeconds(11)), &push);
    let push = json!({"disconnect": {"code": 4100, "reason": "a \"reason\""}});
    expect_push(&Event::Dismissed(4100, "a \"reason\""), &push);
}

#[test]
fn a_publication_has_the_bytes_that_clients_of_json_know() {
    let publication = publication(7, text_client(), Data::Json(r#"{"b":1e400,"a":"\ud800"}"#.into()));
    assert_eq!(
        String::from_utf8(written(|out| json::write(&Event::Published(&room(), EPOCH, &publication), out))).unwrap(),
        concat!(
            r#"{"push":{"channel":"a\"b","pub":{"data":{"b":1e400,"a":"\ud800"},"info":{"user":"","#,
            r#""client":"00000000000000ab","conn_info":{"name":"\"bob\""}},"offset":7,"time":1795747397042}}}"#
        )
    );
}

#[test]
fn a_reply_has_its_result_even_if_that_is_empty() {
    expect_reply(&Event::Left, json!({"unsubscribe": {}}));
    expect_reply(&Event::Accepted, json!({"publish": {}}));
    expect_reply(&Event::Pong("x"), json!({"ping": {}}));
    expect_reply(&Event::Presence(&[]), json!({"presence": {"presence": {}}}));
    let members = [Arc::new(text_client()), Arc::new(json_client())];
    let presence = json!({"00000000000000ab": text_info(), "ffffffffffffffff": json_info()});
    expect_reply(&Event::Presence(&members), json!({"presence": {"presence": presence}}));
    for (clients, users) in [(0, 0), (300, 2)] {
        let stats = json!({"num_clients": clients, "num_users": users});
        expect_reply(&Event::PresenceCount { clients, users }, json!({"presence_stats": stats}));
    }
    let client = ClientId(0xab);
    let refreshed = |expires_in| Event::Refreshed { client, expires_in };
    expect_written_reply(&refreshed(None), json!({"refresh": {"client": "00000000000000ab"}}));
    expect_written_push(&refreshed(None), &json!({"refresh": {}}));
    let result = json!({"client": "00000000000000ab", "expires": true, "ttl": 60});
    expect_written_reply(&refreshed(Some(60)), json!({"refresh": result}));
    expect_written_push(&refreshed(Some(60)), &json!({"refresh": {"expires": true, "ttl": 60}}));
    expect_reply(&Event::Named(&Label::generated("~\"a")), json!({"rpc": {"data": {"nick": "~\"a"}}}));
    expect_reply(&Event::MembershipRefreshed(None), json!({"sub_refresh": {}}));
    expect_reply(&Event::MembershipRefreshed(Some(0)), json!({"sub_refresh": {"expires": true, "ttl": 0}}));
}

#[test]
fn history_has_its_publications_and_its_position() {
    let epoch = position(0).epoch.to_string();
    let empty = json!({"publications": [], "epoch": epoch, "offset": 0});
    expect_reply(&Event::History(&[], Some(position(0))), json!({"history": empty}));
    let nowhere = json!({"publications": [], "epoch": "", "offset": 0});
    expect_reply(&Event::History(&[], None), json!({"history": nowhere}));
    let publications = publications();
    let (retained, values): (Vec<_>, Vec<_>) = publications.iter().map(|(retained, value)| (retained, value)).unzip();
    let history = json!({"publications": values, "epoch": epoch, "offset": 9});
    expect_reply(&Event::History(&retained, Some(position(9))), json!({"history": history}));
}

#[test]
fn an_error_has_its_code_its_words_and_whether_to_try_again() {
    let room = room();
    let already_in = CommandError::AlreadyIn { room: room.clone() };
    for (error, code, message) in [
        (CommandError::Forbidden("no".into()), 103, "permission denied: no"),
        (already_in, 105, "already subscribed: \"a\\\"b\": you are in it already"),
        (CommandError::TooManyMemberships { rooms_max: 128 }, 106, "limit exceeded: rooms of one client: at most 128"),
        (CommandError::Parameters("channel is missing".into()), 107, "bad request: channel is missing"),
        (CommandError::NotAvailable("no procedures"), 108, "not available: no procedures"),
        (CommandError::TokenExpired("old".into()), 109, "token expired: old"),
    ] {
        expect_reply(&Event::Error(&error), json!({"error": {"code": code, "message": message}}));
    }
    let error = json!({"code": 100, "message": "internal server error: wait", "temporary": true});
    expect_reply(&Event::Error(&CommandError::Unavailable("wait")), json!({"error": error}));
    let message = "too many requests: deliveries: at most 5 a second, 9 at once";
    let error = json!({"code": 111, "message": message, "temporary": true});
    expect_reply(&Event::Error(&CommandError::TooManyDeliveries { per_second: 5, burst: 9 }), json!({"error": error}));
    assert_eq!(error_code(&CommandError::Unrecoverable { room }), (112, "unrecoverable position", false));
}

/// What a client is told that joins, by whether the room is recoverable and by what came of the wish to resume.
fn joins(encoding: Dialect) -> Vec<(bool, Offset, Recorded, Value)> {
    let [(said, said_value), (published, published_value)] = publications();
    let mut missed = Vec::new();
    encoding.write_missed(&room(), EPOCH, &said, &mut missed);
    let one = missed.clone();
    encoding.write_missed(&room(), EPOCH, &published, &mut missed);
    let epoch = position(0).epoch.to_string();
    let with = |more: Value| {
        let mut value = json!({"recoverable": true, "positioned": true, "epoch": epoch});
        value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        value
    };
    let recovered = |since, missed: &[u8]| Recorded::Recovered(since, missed.to_vec());
    vec![
        (false, Offset(5), Recorded::NotRequested, json!({})),
        (false, Offset(5), Recorded::Unrecovered, json!({"was_recovering": true})),
        (true, Offset(0), Recorded::NotRequested, with(json!({}))),
        (true, Offset(5), Recorded::NotRequested, with(json!({"offset": 5}))),
        (true, Offset(5), Recorded::Unrecovered, with(json!({"offset": 5, "was_recovering": true}))),
        (true, Offset(5), recovered(5, b""), with(json!({"offset": 5, "was_recovering": true, "recovered": true}))),
        (
            true,
            Offset(1),
            recovered(0, &one),
            with(json!({"was_recovering": true, "recovered": true, "publications": [said_value]})),
        ),
        (
            true,
            Offset(5),
            recovered(3, &missed),
            with(json!({"offset": 3, "was_recovering": true, "recovered": true,
                "publications": [said_value, published_value]})),
        ),
    ]
}

/// A [`Recovery`] that owns its bytes.
enum Recorded {
    NotRequested,
    Unrecovered,
    Recovered(u64, Vec<u8>),
}

impl Recorded {
    fn recovery(&self) -> Recovery<'_> {
        match self {
            Self::NotRequested => Recovery::NotRequested,
            Self::Unrecovered => Recovery::Unrecovered,
            Self::Recovered(since, missed) => Recovery::Recovered { since: Offset(*since), missed },
        }
    }
}

const JSON: Dialect = Dialect::JsonWebSocket(Compression::None);
const PROTOBUF: Dialect = Dialect::ProtobufWebSocket(Compression::None);

#[test]
fn a_join_says_where_it_begins_and_what_was_missed() {
    let room = &room();
    let (request, wrap) = (id(3), |value: &Value| json!({"id": 3, "subscribe": value}));
    for (is_recoverable, offset, recorded, value) in joins(JSON) {
        let (position, recovery) = (position(offset.0), recorded.recovery());
        let joined = JoinedAt { room, position, is_recoverable, recovery, expires_in: None, data: None };
        let event = Event::JoinedAt(&joined);
        assert_eq!(read_json(|out| json::write_reply(request, &event, out)), wrap(&value));
        let mut subscribe = json!({});
        if is_recoverable {
            subscribe = json!({"recoverable": true, "positioned": true, "epoch": position.epoch.to_string()});
            if offset.0 > 0 {
                subscribe["offset"] = json!(offset.0);
            }
        }
        let push = json!({"channel": "a\"b", "subscribe": subscribe});
        expect_written_push(&event, &push);
    }
    for (is_recoverable, offset, recorded, value) in joins(PROTOBUF) {
        let (position, recovery) = (position(offset.0), recorded.recovery());
        let joined = JoinedAt { room, position, is_recoverable, recovery, expires_in: None, data: None };
        let out = written(|out| protobuf::write_reply(request, &Event::JoinedAt(&joined), out));
        assert_eq!(protobuf_reader::read(&out), [wrap(&value)]);
    }
}

#[test]
fn a_connection_begins_with_the_client_its_pings_and_its_rooms() {
    let client = ClientId(0xab);
    let answers_pings = true;
    let plain = Connected { client, ping_seconds: 25, answers_pings, expires_in: None, rooms: &[], session: None };
    let value = json!({"client": "00000000000000ab", "ping": 25, "pong": true});
    expect_reply(&Event::Connected(&plain), json!({"connect": value}));
    let room = room();
    let recovery = Recovery::Unrecovered;
    let joined = JoinedAt {
        room: &room,
        position: position(4),
        is_recoverable: true,
        recovery,
        expires_in: Some(9),
        data: Some(r#"{"b":1}"#),
    };
    let other = RoomName::parse("other").unwrap();
    let unrecoverable = JoinedAt { room: &other, is_recoverable: false, recovery: Recovery::NotRequested, ..joined };
    let rooms = [joined, JoinedAt { expires_in: None, data: None, ..unrecoverable }];
    let session = Some(("secret", "node-1"));
    let full = Connected { answers_pings: false, expires_in: Some(60), rooms: &rooms, session, ..plain };
    let epoch = joined.position.epoch.to_string();
    let sub = json!({"expires": true, "ttl": 9, "recoverable": true, "positioned": true, "epoch": epoch, "offset": 4,
        "was_recovering": true, "data": {"b": 1}});
    let value = json!({"client": "00000000000000ab", "ping": 25, "expires": true, "ttl": 60, "session": "secret",
        "node": "node-1", "subs": {"a\"b": sub, "other": {}}});
    expect_reply(&Event::Connected(&full), json!({"connect": value}));
    assert_eq!(read_json(|out| json::write_bare(&Event::Connected(&full), out)), json!({"connect": value}));
    let subscribe = json!({"recoverable": true, "positioned": true, "epoch": epoch, "offset": 4, "data": {"b": 1}});
    let push = json!({"channel": "a\"b", "subscribe": subscribe});
    assert_eq!(read_json(|out| json::write_bare(&Event::JoinedAt(&joined), out)), push);
}

#[test]
fn what_has_no_form_writes_nothing() {
    let (room, user) = (&room(), &UserId::new("ann"));
    let (rooms, labels) = (Listing::default(), Listing::default());
    for event in [
        Event::Welcome("hello"),
        Event::Joined(room),
        Event::JoinFirst,
        Event::Rooms(&rooms),
        Event::Members(room, &labels),
        Event::Authenticated(user),
        Event::TokenExpired(5),
        Event::Position(room, position(1)),
        Event::HistoryEnd(room, position(1)),
        Event::MemberCount(room, 5),
        Event::Gap(1),
        Event::Unrecovered(room),
        Event::Help,
    ] {
        expect_no_push(&event);
        expect_no_reply(&event);
        for dialect in Dialect::ALL.into_iter().filter(|dialect| dialect.connects_by_command()) {
            assert!(dialect.encode(&event).is_empty(), "{dialect:?}: {event:?}");
        }
    }
    let event = Event::Accepted;
    assert!(written(|out| json::write_bare(&event, out)).is_empty());
}

#[test]
fn a_publication_fills_its_vector_to_the_last_byte() {
    let room = RoomName::parse("lounge").unwrap();
    let publishers = [
        Publisher { user: UserId::new("ann"), ..json_client() },
        Publisher { user: UserId::new("ann"), info: None, room_info: None, ..json_client() },
        Publisher { label: Label::generated("bob"), ..text_client() },
    ];
    for publisher in publishers {
        for length in (2..300).chain(16_250..16_390).chain(65_400..65_540) {
            let body = "a".repeat(length - 2);
            for data in [Data::Json(format!("\"{body}\"").into()), Data::Text(body.into())] {
                let publication = publication(length as u64, publisher.clone(), data);
                for dialect in [JSON, PROTOBUF] {
                    let mut out = Vec::new();
                    dialect.write(&Event::Published(&room, EPOCH, &publication), &mut out);
                    assert_eq!(out.len(), out.capacity(), "{dialect:?}: {length} bytes");
                }
            }
        }
    }
}

#[test]
fn the_reasons_of_endings_fit_a_close_frame_and_are_no_json() {
    for &reason in Disconnect::VARIANTS {
        let (code, words) = disconnect_code(reason);
        let words = RetrySeconds(u32::MAX).told_with(reason, words);
        assert!(words.len() <= 123 && serde_json::from_str::<Value>(&words).is_err(), "{reason:?}: {words}");
        assert!(code == 1009 || (3000..5000).contains(&code), "{reason:?}: {code}");
    }
    for (reason, code) in [
        (Disconnect::Shutdown, 3001),
        (Disconnect::TokenExpired, 3005),
        (Disconnect::SlowConsumer, 3008),
        (Disconnect::OutOfStep, 3010),
        (Disconnect::InsufficientState, 3010),
        (Disconnect::PingTimeout, 3012),
        (Disconnect::TokenInvalid, 3500),
        (Disconnect::ProtocolError, 3501),
        (Disconnect::IdleTimeout, 3502),
        (Disconnect::Kicked, 3503),
        (Disconnect::Unsupported, 3506),
        (Disconnect::Refused, 3507),
        (Disconnect::NotAvailable, 3508),
        (Disconnect::TooLong, 1009),
    ] {
        assert_eq!(disconnect_code(reason).0, code, "{reason:?}");
    }
    let comes_back = [Disconnect::MessageTimeout, Disconnect::TooManyConnections, Disconnect::InputBudget];
    assert!(comes_back.iter().all(|&reason| matches!(disconnect_code(reason).0, 3000..3500 | 4000..4500)));
}
