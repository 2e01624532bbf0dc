//! Replies and pushes of the Centrifuge protocol in JSON. They are written by hand: nothing is built for a delivery but
//! its bytes.

use std::io::Write;

use super::fields::{self, Field, Fields, ID, Json, PUSH};
pub use super::json_commands::next_command;
use crate::protocol::event::{Event, RequestId};
use crate::protocol::publication::{ClientId, Publication};

/// The length in bytes of the events that a busy server writes most, exact unless a text of theirs needs an escape; 0 for
/// the others.
pub fn size_hint(event: &Event<'_>) -> usize {
    let Event::Published(room, _, Publication { offset, published_at, publisher, data }) = event else { return 0 };
    let member = |name: &str, json: Json<'_>| name.len() + r#","":"#.len() + json.bytes();
    r#"{"push":{"channel":"","pub":{"data":,"info":{"user":"","client":""}}}}"#.len()
        + room.as_str().len()
        + fields::data(data).bytes()
        + publisher.user.as_str().len()
        + ClientId::DIGITS
        + fields::conn_info(publisher).map_or(0, |json| member("conn_info", json))
        + publisher.room_info.as_deref().map_or(0, |json| member("chan_info", Json::Value(json)))
        + number_bytes("offset", offset.0)
        + number_bytes("time", published_at.0)
}

/// The length of a number that is left out if it is 0.
fn number_bytes(name: &str, number: u64) -> usize {
    number.checked_ilog10().map_or(0, |power| r#","":"#.len() + name.len() + power as usize + 1)
}

/// Appends a push; nothing if the event has no form here.
pub fn write(event: &Event<'_>, out: &mut Vec<u8>) {
    write_object(out, |object| {
        let mut is_push = false;
        object.object(PUSH, |push| is_push = fields::push(event, push));
        is_push
    });
}

/// Appends the reply to a command; nothing if the event has no form as a reply.
pub fn write_reply(request: RequestId, event: &Event<'_>, out: &mut Vec<u8>) {
    write_object(out, |object| {
        object.number(ID, request.get().into());
        fields::reply(event, object)
    });
}

/// Appends what a push holds, for clients that get nothing else; nothing if the event has no form here.
pub fn write_bare(event: &Event<'_>, out: &mut Vec<u8>) {
    write_object(out, |object| fields::push_without_replies(event, object));
}

/// Appends a publication, with a comma behind it, as a part of a reply that holds what a client has missed.
pub fn write_missed(publication: &Publication, out: &mut Vec<u8>) {
    Object(out).braced(|object| fields::publication(publication, object));
    out.push(b',');
}

/// Appends an object, or nothing if `write` has found nothing to write.
fn write_object(out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>) -> bool) {
    let start = out.len();
    let mut is_written = false;
    Object(out).braced(|object| is_written = write(object));
    if !is_written {
        out.truncate(start);
    }
}

/// An object whose fields are appended. A comma is due where the last byte does not open an object or a list.
struct Object<'o>(&'o mut Vec<u8>);

impl Object<'_> {
    fn name(&mut self, name: &str) {
        self.comma();
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn comma(&mut self) {
        if !matches!(self.0.last(), Some(b'{' | b'[')) {
            self.0.push(b',');
        }
    }

    fn braced(&mut self, write: impl FnOnce(&mut Self)) {
        self.0.push(b'{');
        write(self);
        self.0.push(b'}');
    }
}

impl Fields for Object<'_> {
    fn text(&mut self, Field(_, name): Field, text: &str) {
        self.name(name);
        string(text, self.0);
    }

    fn plain(&mut self, Field(_, name): Field, text: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
    }

    fn number(&mut self, Field(_, name): Field, number: u64) {
        self.name(name);
        self.0.extend_from_slice(digits(number, &mut [0; DIGITS_MAX]));
    }

    fn truth(&mut self, Field(_, name): Field) {
        self.name(name);
        self.0.extend_from_slice(b"true");
    }

    fn json(&mut self, Field(_, name): Field, json: Json<'_>) {
        self.name(name);
        json.write(self.0);
    }

    fn written(&mut self, Field(_, name): Field, publications: &[u8]) {
        self.name(name);
        self.0.push(b'[');
        self.0.extend_from_slice(publications.strip_suffix(b",").unwrap_or(publications));
        self.0.push(b']');
    }

    fn object(&mut self, Field(_, name): Field, write: impl FnOnce(&mut Self)) {
        self.name(name);
        self.braced(write);
    }

    fn list<T>(&mut self, Field(_, name): Field, items: impl Iterator<Item = T>, write: impl Fn(&mut Self, T)) {
        self.name(name);
        self.0.push(b'[');
        for item in items {
            self.comma();
            self.braced(|object| write(object, item));
        }
        self.0.push(b']');
    }

    fn texts<'t>(&mut self, field: Field, texts: impl Iterator<Item = (&'t str, &'t str)>) {
        self.object(field, |object| {
            for (key, text) in texts {
                object.comma();
                string(key, object.0);
                object.0.push(b':');
                string(text, object.0);
            }
        });
    }

    fn map<T>(&mut self, field: Field, items: impl Iterator<Item = (String, T)>, write: impl Fn(&mut Self, T)) {
        self.object(field, |object| {
            for (key, item) in items {
                object.comma();
                string(&key, object.0);
                object.0.push(b':');
                object.braced(|object| write(object, item));
            }
        });
    }
}

impl Json<'_> {
    /// Appends it as JSON.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Value(json) => out.extend_from_slice(json.as_bytes()),
            Self::Member(name, text) => Object(out).braced(|object| object.text(Field(0, name), text)),
        }
    }

    /// Its length, exact unless a text in it needs an escape.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Value(json) => json.len(),
            Self::Member(name, text) => r#"{"":""}"#.len() + name.len() + text.len(),
        }
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out.by_ref(), text).expect("a vector accepts every byte");
}

/// The digits of the largest number.
const DIGITS_MAX: usize = 20;

/// The decimal digits of a number, without formatting.
fn digits(mut number: u64, buffer: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut start = DIGITS_MAX;
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}
