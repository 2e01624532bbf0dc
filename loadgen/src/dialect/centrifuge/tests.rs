//! The bytes are written out here, so that encoder and decoder do not agree on the same mistake.

use std::time::Duration;

use super::*;

const TEXT: &[u8] = b"~rc:@@@@..";

/// A server's frame of less than 126 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

fn decoded<E: Encoding>(message: &[u8]) -> Incoming<'_> {
    E::decode(message).unwrap()
}

/// What ends in [`TEXT`], with its offset.
fn heard(incoming: &Incoming<'_>) -> Option<u64> {
    match incoming {
        Incoming::Publication(text, offset) if text.ends_with(TEXT) => Some(*offset),
        _ => None,
    }
}

/// A field of bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// A publication in Protobuf with info and this offset.
fn protobuf_publication(offset: u8) -> Vec<u8> {
    [field(4, b"\"~rc:@@@@..\""), field(5, &field(2, b"c")), vec![6 << 3, offset]].concat()
}

fn behind_length(object: &[u8]) -> Vec<u8> {
    [&[object.len() as u8], object].concat()
}

#[test]
fn a_publication_has_its_text_and_its_offset() {
    let json = br#"{"push":{"channel":"r","pub":{"data":"~rc:@@@@..","info":{"user":"","client":"c"},"offset":17}}}"#;
    assert_eq!(heard(&decoded::<Json>(json)), Some(17));
    let with_time = br#"{"push":{"channel":"r","pub":{"data":"~rc:@@@@..","offset":17,"time":1795747397042}}}"#;
    assert_eq!(heard(&decoded::<Json>(with_time)), Some(17));
    let said_as_text = br#"{"push":{"channel":"r","pub":{"data":{"text":"~rc:@@@@.."},"offset":1}}}"#;
    assert_eq!(heard(&decoded::<Json>(said_as_text)), Some(1));
    let without_offset = br#"{"push":{"channel":"r","pub":{"data":"~rc:@@@@.."}}}"#;
    assert!(matches!(decoded::<Json>(without_offset), Incoming::Message(text) if text.ends_with(TEXT)));
    let push = field(4, &[field(2, b"r"), field(4, &protobuf_publication(17))].concat());
    assert_eq!(heard(&decoded::<Protobuf>(&behind_length(&push))), Some(17));
}

#[test]
fn objects_in_one_message_are_told_apart() {
    let json = b"{\"id\":3,\"publish\":{}}\n{}\n{\"push\":{\"channel\":\"r\",\"pub\":{\"data\":\"~rc:@@@@..\",\"offset\":2}}}\n";
    let Incoming::Several(all) = decoded::<Json>(json) else { panic!("one") };
    assert_eq!((all.len(), &all[0], heard(&all[2])), (3, &Incoming::Other, Some(2)));
    assert!(matches!(&all[1], Incoming::ReplyNeeded(frame) if frame.len() == 8), "a ping is answered");
    let protobuf = [behind_length(&[1 << 3, 3, 8 << 3 | 2, 0]), vec![0]].concat();
    let Incoming::Several(all) = decoded::<Protobuf>(&protobuf) else { panic!("one") };
    assert!(matches!(&all[..], [Incoming::Other, Incoming::ReplyNeeded(frame)] if frame.len() == 7));
}

#[test]
fn replies_are_told_apart() {
    for (json, expected) in [
        (&br#"{"id":1,"connect":{"client":"c","ping":25,"pong":true}}"#[..], Incoming::Authenticated),
        (br#"{"id":4,"unsubscribe":{}}"#, Incoming::Acknowledged),
        (br#"{"id":2,"subscribe":{}}"#, Incoming::Several(vec![Incoming::Acknowledged])),
        (
            br#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#,
            Incoming::Refused("permission denied, error 103".to_owned()),
        ),
        (br#"{"push":{"channel":"r","join":{"info":{}}}}"#, Incoming::Other),
    ] {
        assert_eq!(decoded::<Json>(json), expected);
    }
    let error = field(2, &[&[1 << 3, 103][..], &field(2, b"permission denied")].concat());
    let refused = behind_length(&[&[1 << 3, 2][..], &error].concat());
    assert_eq!(decoded::<Protobuf>(&refused), Incoming::Refused("permission denied, error 103".to_owned()));
    let unsubscribed = br#"{"push":{"channel":"r","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#;
    assert!(matches!(decoded::<Json>(unsubscribed), Incoming::Closed(closing) if closing.reason.contains("2500")));
}

#[test]
fn a_client_that_is_disconnected_is_told_how_long_to_wait() {
    let retry_after = Some(Duration::from_secs(11));
    let json = br#"{"push":{"disconnect":{"code":3001,"reason":"shutdown retry=11"}}}"#;
    let reason = r#""disconnect":{"code":3001,"reason":"shutdown""#.to_owned();
    assert_eq!(decoded::<Json>(json), Incoming::Closed(Closing { reason, retry_after }));
    let disconnect = [&[1 << 3, 0xb9, 0x17][..], &field(2, b"shutdown retry=11")].concat();
    let protobuf = behind_length(&field(4, &field(11, &disconnect)));
    let reason = "disconnect: shutdown, code 3001".to_owned();
    assert_eq!(decoded::<Protobuf>(&protobuf), Incoming::Closed(Closing { reason, retry_after }));
    let frame = frame(0x88, b"\x0b\xb9shutdown retry=11");
    let reason = "shutdown, close code 3001".to_owned();
    let closed = Some((frame.len(), Incoming::Closed(Closing { reason, retry_after })));
    assert_eq!(Centrifuge(Json).decode(true, &frame), Ok(closed.clone()));
    assert_eq!(Centrifuge(Protobuf).decode(true, &frame), Ok(closed));
}

/// Whether a reply to a subscribe command tells of a gap, the offsets of its publications, and its position.
type Parts<'a> = (bool, Vec<u64>, Option<(&'a [u8], u64)>);

fn parts<'a>(incoming: &'a Incoming<'_>) -> Parts<'a> {
    let Incoming::Several(all) = incoming else { panic!("{incoming:?}") };
    assert_eq!(all[0], Incoming::Acknowledged);
    let position = match all.last() {
        Some(Incoming::Position(Position { text, offset })) => Some((*text, offset.unwrap())),
        _ => None,
    };
    (all.contains(&Incoming::Gap), all.iter().filter_map(heard).collect(), position)
}

#[test]
fn what_was_missed_comes_with_the_subscription() {
    let recovered = br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"abc","publications":[{"data":"~rc:@@@@..","info":{"user":"","client":"c"},"offset":8},{"data":"~rc:@@@@..","offset":9}],"recovered":true,"offset":7,"positioned":true,"was_recovering":true}}"#;
    assert_eq!(parts(&decoded::<Json>(recovered)), (false, vec![8, 9], Some((&b"abc"[..], 9))));
    let list = [field(7, &protobuf_publication(8)), field(7, &protobuf_publication(9))].concat();
    let result = [field(6, b"abc"), list, vec![8 << 3, 1, 9 << 3, 7, 12 << 3, 1]].concat();
    let reply = behind_length(&[&[1 << 3, 2][..], &field(6, &result)].concat());
    assert_eq!(parts(&decoded::<Protobuf>(&reply)), (false, vec![8, 9], Some((&b"abc"[..], 9))));
}

#[test]
fn a_position_is_that_of_the_reply_if_nothing_was_missed_or_not_all_can_be_had() {
    let nothing =
        br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"abc","recovered":true,"offset":7,"was_recovering":true}}"#;
    assert_eq!(parts(&decoded::<Json>(nothing)), (false, vec![], Some((&b"abc"[..], 7))));
    let empty = br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"abc","positioned":true}}"#;
    assert_eq!(parts(&decoded::<Json>(empty)), (false, vec![], Some((&b"abc"[..], 0))));
    let gap = br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"new","offset":70,"was_recovering":true}}"#;
    assert_eq!(parts(&decoded::<Json>(gap)), (true, vec![], Some((&b"new"[..], 70))));
}

#[test]
fn commands_are_written_as_the_sdks_write_them() {
    let position = Position { text: b"abc", offset: Some(9) };
    let mut json = Vec::new();
    Json::connect(Some("a.b.c"), &mut json);
    Json::subscribe("r", Beginning::Behind(position), &mut json);
    Json::publish("r", TEXT, &mut json);
    let expected = concat!(
        r#"{"id":1,"connect":{"token":"a.b.c","name":"loadgen"}}"#,
        r#"{"id":2,"subscribe":{"channel":"r","recoverable":true,"recover":true,"epoch":"abc","offset":9}}"#,
        r#"{"id":3,"publish":{"channel":"r","data":"~rc:@@@@.."}}"#
    );
    assert_eq!(String::from_utf8(json).unwrap(), expected);
    let mut protobuf = Vec::new();
    Protobuf::subscribe("r", Beginning::Behind(position), &mut protobuf);
    let request = [field(1, b"r"), vec![3 << 3, 1], field(6, b"abc"), vec![7 << 3, 9, 10 << 3, 1]].concat();
    assert_eq!(protobuf, behind_length(&[&[1 << 3, 2][..], &field(5, &request)].concat()));
}

#[test]
fn what_is_cut_short_or_no_object_is_nonsense() {
    for message in [&b"hello"[..], b"", b"{\"id\":1}", b"{\"id\":1,\"conn"] {
        assert!(Json::decode(message).is_err(), "{message:?}");
    }
    for message in [&b""[..], b"\x05\x08\x01", b"\x02\x0a\x05", b"\x01\x0d", &[0xff; 12]] {
        assert!(Protobuf::decode(message).is_err(), "{message:?}");
    }
}

#[test]
fn frames_are_of_the_kind_of_the_encoding() {
    assert!(Centrifuge(Json).decode(true, &frame(0x82, b"{}")).is_err());
    assert!(Centrifuge(Protobuf).decode(true, &frame(0x81, b"\0")).is_err());
    let answer = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let refused = Centrifuge(Protobuf).decode(false, answer.as_bytes()).unwrap();
    assert!(matches!(refused, Some((_, Incoming::Closed(closing))) if closing.reason.ends_with("centrifuge-protobuf")));
}
