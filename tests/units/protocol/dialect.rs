//! The encoding of events in each dialect.

use roomcast::protocol::compression::Compression;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::{Disconnect, RetrySeconds};
use roomcast::protocol::event::Event;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publication, Publisher};

/// When clients come back after a stop.
const RETRY: RetrySeconds = RetrySeconds(11);

/// The life of the room in which all is published.
const EPOCH: Epoch = Epoch::new(UnixMillis(0), 0);

#[track_caller]
fn expect(event: &Event<'_>, line: &str, message: &[u8]) {
    assert_eq!(Dialect::TextLines.encode(event), line);
    assert_eq!(Dialect::TextWebSocket(Compression::None).encode(event), message);
}

fn publication(label: &str, data: Data) -> Publication {
    let publisher = Publisher::anonymous(ClientId(0), Label::generated(label)).into();
    Publication { offset: Offset(1), published_at: UnixMillis(0), publisher, data }
}

#[test]
fn a_line_has_a_line_feed_and_a_websocket_message_a_header() {
    expect(&Event::Pong("x"), "PONG x\n", b"\x81\x06PONG x");
    expect(&Event::Gap(17), "GAP 17\n", b"\x81\x06GAP 17");
}

#[test]
fn a_text_of_several_lines_has_the_label_in_front_of_each() {
    let room = RoomName::parse("lounge").unwrap();
    let expect = |text: &str, line: &str, message: &[u8]| {
        expect(&Event::Published(&room, EPOCH, &publication("WS-1", Data::Text(text.into()))), line, message);
    };
    expect("a\n[bob] b", "[WS-1] a\n[WS-1] [bob] b\n", b"\x81\x17[WS-1] a\n[WS-1] [bob] b");
    let text = "a\r\nERR closed quit";
    expect(text, "[WS-1] a\n[WS-1] ERR closed quit\n", b"\x81\x1f[WS-1] a\n[WS-1] ERR closed quit");
}

#[test]
fn json_is_shown_as_its_text_or_the_string_that_it_is_or_else_as_json() {
    let room = RoomName::parse("lounge").unwrap();
    for (json, line) in [
        (r#"{"text":"a \"b\"","more":1}"#, "[app] a \"b\"\n"),
        (r#""x\ny""#, "[app] x\n[app] y\n"),
        (r#"{"text":7}"#, "[app] {\"text\":7}\n"),
        ("[1,2]", "[app] [1,2]\n"),
        (r#""\u001b[31m""#, "[app] \"\\u001b[31m\"\n"),
    ] {
        let publication = publication("app", Data::Json(json.into()));
        assert_eq!(Dialect::TextLines.encode(&Event::Published(&room, EPOCH, &publication)), line);
    }
}

#[test]
fn the_most_frequent_events_fill_their_vector_to_the_last_byte() {
    let room = RoomName::parse("lounge").unwrap();
    let lines = [0, 117, 118, 65_527, 65_528].map(|length| "a".repeat(length));
    for text in lines.into_iter().chain(["\n".repeat(63), "ab\n\nc".into()]) {
        let publication = publication("TCP-1", Data::Text(text.into()));
        for dialect in [Dialect::TextLines, Dialect::TextWebSocket(Compression::None)] {
            for event in [Event::Published(&room, EPOCH, &publication), Event::Joined(&room)] {
                let mut out = Vec::new();
                dialect.write(&event, &mut out);
                assert_eq!(out.len(), out.capacity(), "{dialect:?}: {event:?}");
            }
        }
    }
}

#[test]
fn a_client_that_closes_gets_nothing_and_one_that_quits_gets_bye() {
    for (reason, line, message) in [
        (Disconnect::Quit, "Bye\n", &b"\x81\x03Bye\x88\x06\x03\xe8quit"[..]),
        (Disconnect::TooLong, "ERR closed too-long\n", b"\x88\x0a\x03\xf1too-long"),
        (Disconnect::SlowConsumer, "ERR closed slow-consumer\n", b"\x88\x0f\x0f\xa8slow-consumer"),
        (Disconnect::NotUtf8, "ERR closed not-utf8\n", b"\x88\x0a\x03\xefnot-utf8"),
        (Disconnect::Shutdown, "ERR closed shutdown retry=11\n", b"\x88\x13\x03\xe9shutdown retry=11"),
    ] {
        assert_eq!(Dialect::TextLines.closing(reason, RETRY).unwrap(), line);
        assert_eq!(Dialect::TextWebSocket(Compression::None).closing(reason, RETRY).unwrap(), message);
    }
    assert!(Dialect::ALL.iter().all(|dialect| dialect.closing(Disconnect::ClosedByPeer, RETRY).is_none()));
}
