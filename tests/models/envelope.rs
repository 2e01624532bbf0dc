//! Envelopes and signals come back as they were written, and no bytes make the reader panic.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use roomcast::backplane::entry::{Entry, Publish};
use roomcast::backplane::envelope::{
    Envelope, NodeId, append_entry, append_signal, decode_signals, seal, seal_signals,
};
use roomcast::backplane::signal::{MemberChange, Signal};
use roomcast::protocol::idempotency_key::IdempotencyKey;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::publication::{ClientId, Data, Publisher, PublisherKind, Tags, UserId};

fn room() -> impl Strategy<Value = RoomName> {
    "[a-zà-ü:/#]{1,20}".prop_filter_map("a name", |name| RoomName::parse(&name).ok())
}

fn publisher() -> impl Strategy<Value = Arc<Publisher>> {
    let kind = prop_oneof![
        Just(PublisherKind::NamedClient),
        Just(PublisherKind::UnnamedClient),
        prop::collection::vec((".{0,8}", ".{0,8}"), 0..4).prop_map(|tags| PublisherKind::Backend(Tags::new(tags))),
    ];
    let info = || prop::option::of(prop_oneof![Just("{\"a\":1}"), Just("[]"), Just("\"ü\"")].prop_map(Arc::from));
    (any::<u64>(), "[a-zé]{0,12}", "[~a-z0-9:.]{1,30}", info(), info(), kind).prop_map(
        |(client, user, label, info, room_info, kind)| {
            let (client, user, label) = (ClientId(client), UserId::new(&user), Label::generated(label));
            Arc::new(Publisher { client, user, label, info, room_info, kind })
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let data = prop_oneof![
        ".{0,200}".prop_map(|text: String| Data::Text(text.into())),
        (0..1_000_u32).prop_map(|number| Data::Json(format!("{{\"n\":{number}}}").into())),
    ];
    let key = prop::option::of("[a-z]{1,128}".prop_map(|key| IdempotencyKey::parse(&key).expect("a key")));
    let publish = (room(), publisher(), data, any::<bool>(), key)
        .prop_map(|(room, publisher, data, is_retained, key)| Publish { room, publisher, data, is_retained, key });
    prop_oneof![4 => publish.prop_map(Entry::Publish), 1 => room().prop_map(Entry::RemoveHistory)]
}

fn signal() -> impl Strategy<Value = Signal> {
    let change = prop_oneof![
        publisher().prop_map(MemberChange::Joined),
        publisher().prop_map(MemberChange::Left),
        Just(MemberChange::Counted),
    ];
    (room(), change).prop_map(|(room, change)| Signal { room, change })
}

fn sealed(node: NodeId, number: u64, entries: &[Entry]) -> Bytes {
    let mut bytes = BytesMut::new();
    entries.iter().cloned().for_each(|entry| append_entry(entry, &mut bytes));
    seal(node, number, &bytes)
}

proptest! {
    #[test]
    fn an_envelope_is_read_as_it_was_written(
        node in any::<u64>(), number in any::<u64>(), entries in prop::collection::vec(entry(), 0..10),
    ) {
        let node = NodeId(node);
        let read = Envelope::decode(sealed(node, number, &entries)).unwrap();
        prop_assert_eq!(read, Envelope { node, number, entries });
    }

    #[test]
    fn signals_are_read_as_they_were_written(node in any::<u64>(), signals in prop::collection::vec(signal(), 0..10)) {
        let mut bytes = BytesMut::new();
        signals.iter().cloned().for_each(|signal| append_signal(signal, &mut bytes));
        prop_assert_eq!(decode_signals(seal_signals(NodeId(node), &bytes)).unwrap(), (NodeId(node), signals));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = Envelope::decode(bytes.clone());
        let _ = decode_signals(bytes);
    }

    #[test]
    fn an_envelope_with_wrong_bytes_is_read_or_refused(
        entries in prop::collection::vec(entry(), 1..4), places in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = sealed(NodeId(1), 1, &entries).to_vec();
        for (place, byte) in places {
            let length = bytes.len();
            bytes[place % length] = byte;
        }
        let _ = Envelope::decode(bytes.into());
    }
}

#[test]
fn what_a_later_version_writes_is_refused_with_its_format() {
    // Field 1, the format, is 2.
    let error = Envelope::decode(Bytes::from_static(&[8, 2])).unwrap_err();
    assert_eq!(error.to_string(), "format 2: this version reads format 1");
    // An entry (field 4) with a room (1: "r") and nothing that this version knows (9: 1).
    let error = Envelope::decode(Bytes::from_static(&[8, 1, 34, 5, 10, 1, b'r', 72, 1])).unwrap_err();
    assert_eq!(error.to_string(), "no valid kind of entry");
}
