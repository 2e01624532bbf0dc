//! What the nodes of a cluster send each other. A message is refused, or is the same when it is written and read again.

use bytes::{Bytes, BytesMut};
use roomcast::backplane::entry::Entry;
use roomcast::backplane::envelope::{Envelope, append_entry, append_signal, decode_signals, seal, seal_signals};
use roomcast::backplane::questions::{Answer, Question};
use roomcast::protocol::publication::Data;

/// Any bytes as each of the messages.
pub fn envelope(input: &[u8]) {
    check_envelope(Bytes::copy_from_slice(input));
    check_signals(Bytes::copy_from_slice(input));
    if let Some(question) = Question::decode(input) {
        let encoded = question.encode();
        let again = Question::decode(&encoded).expect("a question that was just written");
        assert_eq!(again.encode(), encoded);
    }
    let answer = Answer::decode(input);
    match (Answer::decode(&answer.encode()), answer) {
        // A fraction of many digits may be read as its neighbour; no node writes one.
        (Answer::Info(_), Answer::Info(_)) => {}
        (again, answer) => assert_eq!(again, answer),
    }
}

fn check_envelope(bytes: Bytes) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    let mut entries = BytesMut::new();
    for entry in &envelope.entries {
        check_entry(entry);
        append_entry(entry.clone(), &mut entries);
    }
    let again = Envelope::decode(seal(envelope.node, envelope.number, &entries)).expect("it was just written");
    assert_eq!(again, envelope);
}

/// What a text client is shown of it stays on its lines.
fn check_entry(entry: &Entry) {
    let Entry::Publish(publish) = entry else { return };
    let is_one_line = |text: &str| !text.contains(['\n', '\r']);
    assert!(is_one_line(publish.publisher.label.as_str()) && is_one_line(publish.publisher.user.as_str()));
    if let Data::Json(json) = &publish.data {
        assert!(!json.is_empty() && is_one_line(json));
    }
}

fn check_signals(bytes: Bytes) {
    let Ok((node, signals)) = decode_signals(bytes) else { return };
    let mut written = BytesMut::new();
    signals.iter().cloned().for_each(|signal| append_signal(signal, &mut written));
    assert_eq!(decode_signals(seal_signals(node, &written)).expect("they were just written"), (node, signals));
}
