//! Replies and pushes of the Centrifuge protocol in Protobuf. They are written by hand: nothing is built for a delivery but
//! its bytes.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::fields::{self, Field, Fields, ID, Json, MISSED, PUSH};
pub use super::protobuf_commands::next_command;
use crate::protocol::event::{Event, RequestId};
use crate::protocol::publication::{ClientId, Publication, Publisher};

/// The length in bytes of the events that a busy server writes most, exact unless a text of theirs needs an escape; 0 for
/// the others.
pub fn size_hint(event: &Event<'_>) -> usize {
    let Event::Published(room, _, Publication { offset, published_at, publisher, data }) = event else { return 0 };
    let numbers = number_bytes(offset.0) + number_bytes(published_at.0);
    let publication = field_bytes(fields::data(data).bytes()) + field_bytes(client_info_bytes(publisher)) + numbers;
    let push = field_bytes(room.as_str().len()) + field_bytes(publication);
    let reply = field_bytes(push);
    encoded_len_varint(reply as u64) + reply
}

fn client_info_bytes(publisher: &Publisher) -> usize {
    let conn_info = fields::conn_info(publisher).map_or(0, |json| field_bytes(json.bytes()));
    let chan_info = publisher.room_info.as_deref().map_or(0, |json| field_bytes(json.len()));
    field_bytes(publisher.user.as_str().len()) + field_bytes(ClientId::DIGITS) + conn_info + chan_info
}

/// The tag of a field, which is at most 15, and its type.
const KEY_BYTES: usize = 1;

/// The length of a field that holds this many bytes.
const fn field_bytes(bytes: usize) -> usize {
    KEY_BYTES + encoded_len_varint(bytes as u64) + bytes
}

/// The length of a number that is left out if it is 0.
fn number_bytes(number: u64) -> usize {
    if number == 0 { 0 } else { KEY_BYTES + encoded_len_varint(number) }
}

/// Appends a push; nothing if the event has no form here.
pub fn write(event: &Event<'_>, out: &mut Vec<u8>) {
    write_message(out, |message| {
        let mut is_push = false;
        message.object(PUSH, |push| is_push = fields::push(event, push));
        is_push
    });
}

/// Appends the reply to a command; nothing if the event has no form as a reply.
pub fn write_reply(request: RequestId, event: &Event<'_>, out: &mut Vec<u8>) {
    write_message(out, |message| {
        message.number(ID, request.get().into());
        fields::reply(event, message)
    });
}

/// Appends a publication as a part of a reply that holds what a client has missed.
pub fn write_missed(publication: &Publication, out: &mut Vec<u8>) {
    Message(out).object(MISSED, |message| fields::publication(publication, message));
}

/// Appends a message with its length in front, or nothing if `write` has found nothing to write.
fn write_message(out: &mut Vec<u8>, write: impl FnOnce(&mut Message<'_>) -> bool) {
    let start = out.len();
    let mut is_written = false;
    Message(out).prefixed(|message| is_written = write(message));
    if !is_written {
        out.truncate(start);
    }
}

/// A message whose fields are appended.
struct Message<'o>(&'o mut Vec<u8>);

impl Message<'_> {
    /// Appends what `write` appends, with its length in front. The length of a short one has its byte already.
    fn prefixed(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let length = (self.0.len() - start - 1) as u64;
        let mut prefix = [0; 10];
        encode_varint(length, &mut &mut prefix[..]);
        self.0.splice(start..=start, prefix.into_iter().take(encoded_len_varint(length)));
    }

    fn key(&mut self, tag: u32, wire_type: WireType) {
        encode_key(tag, wire_type, self.0);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.key(tag, WireType::LengthDelimited);
        encode_varint(bytes.len() as u64, self.0);
        self.0.extend_from_slice(bytes);
    }
}

impl Fields for Message<'_> {
    fn text(&mut self, Field(tag, _): Field, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    fn plain(&mut self, Field(tag, _): Field, text: &[u8]) {
        self.bytes(tag, text);
    }

    fn number(&mut self, Field(tag, _): Field, number: u64) {
        self.key(tag, WireType::Varint);
        encode_varint(number, self.0);
    }

    fn truth(&mut self, field: Field) {
        self.number(field, 1);
    }

    fn json(&mut self, Field(tag, _): Field, json: Json<'_>) {
        self.key(tag, WireType::LengthDelimited);
        self.prefixed(|message| json.write(message.0));
    }

    fn written(&mut self, _: Field, publications: &[u8]) {
        self.0.extend_from_slice(publications);
    }

    fn object(&mut self, Field(tag, _): Field, write: impl FnOnce(&mut Self)) {
        self.key(tag, WireType::LengthDelimited);
        self.prefixed(write);
    }

    fn list<T>(&mut self, field: Field, items: impl Iterator<Item = T>, write: impl Fn(&mut Self, T)) {
        items.for_each(|item| self.object(field, |message| write(message, item)));
    }

    fn texts<'t>(&mut self, field: Field, texts: impl Iterator<Item = (&'t str, &'t str)>) {
        self.list(field, texts, |entry, (key, text)| {
            entry.text(Field(1, "key"), key);
            entry.text(Field(2, "value"), text);
        });
    }

    fn map<T>(&mut self, field: Field, items: impl Iterator<Item = (String, T)>, write: impl Fn(&mut Self, T)) {
        self.list(field, items, |entry, (key, item)| {
            entry.text(Field(1, "key"), &key);
            entry.object(Field(2, "value"), |message| write(message, item));
        });
    }
}
