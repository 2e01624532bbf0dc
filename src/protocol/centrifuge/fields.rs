//! What replies and pushes hold, in one description that both encodings share: which fields there are, and which of them
//! are left out. An encoding knows only how a field is written.

use super::codes::{disconnect_code, error_code, eviction_code};
use crate::protocol::event::{Connected, Event, JoinedAt, Recovery};
use crate::protocol::position::Position;
use crate::protocol::publication::{ClientId, Data, Publication, Publisher, PublisherKind};

/// A field: its tag in Protobuf and its name in JSON.
#[derive(Clone, Copy)]
pub(super) struct Field(pub u32, pub &'static str);

/// A value that is JSON in both encodings.
#[derive(Clone, Copy)]
pub(super) enum Json<'a> {
    /// JSON, as it is.
    Value(&'a str),
    /// An object with one member, a string.
    Member(&'static str, &'a str),
}

/// An object that is being written. It gets its fields in order; one that it does not get is left out.
pub(super) trait Fields {
    fn text(&mut self, field: Field, text: &str);
    /// Text that is known to need no escape.
    fn plain(&mut self, field: Field, text: &[u8]);
    fn number(&mut self, field: Field, number: u64);
    /// The value `true`.
    fn truth(&mut self, field: Field);
    fn json(&mut self, field: Field, json: Json<'_>);
    /// Publications that were written by `write_missed`.
    fn written(&mut self, field: Field, publications: &[u8]);
    fn object(&mut self, field: Field, write: impl FnOnce(&mut Self));
    fn list<T>(&mut self, field: Field, items: impl Iterator<Item = T>, write: impl Fn(&mut Self, T));
    /// Texts by name.
    fn texts<'t>(&mut self, field: Field, texts: impl Iterator<Item = (&'t str, &'t str)>);
    /// Objects by name.
    fn map<T>(&mut self, field: Field, items: impl Iterator<Item = (String, T)>, write: impl Fn(&mut Self, T));
}

pub(super) const ID: Field = Field(1, "id");
pub(super) const PUSH: Field = Field(4, "push");
/// The publications of a reply to a subscribe.
pub(super) const MISSED: Field = Field(7, "publications");
const CHANNEL: Field = Field(2, "channel");

/// Writes the fields of a push. Returns false, and writes nothing, if the event is no push.
pub(super) fn push(event: &Event<'_>, fields: &mut impl Fields) -> bool {
    match *event {
        Event::Published(room, _, published) => {
            fields.text(CHANNEL, room.as_str());
            fields.object(Field(4, "pub"), |fields| publication(published, fields));
        }
        Event::MemberJoined(room, member) => {
            fields.text(CHANNEL, room.as_str());
            fields.object(Field(5, "join"), |fields| info(Field(1, "info"), member, fields));
        }
        Event::MemberLeft(room, member) => {
            fields.text(CHANNEL, room.as_str());
            fields.object(Field(6, "leave"), |fields| info(Field(1, "info"), member, fields));
        }
        Event::Evicted(room, eviction) => {
            let (code, reason) = eviction_code(eviction);
            fields.text(CHANNEL, room.as_str());
            fields.object(Field(7, "unsubscribe"), |fields| {
                fields.number(Field(2, "code"), code.into());
                fields.text(Field(3, "reason"), reason);
            });
        }
        Event::Closed(reason, retry) => {
            let (code, words) = disconnect_code(reason);
            disconnect(code, &retry.told_with(reason, words), fields);
        }
        Event::Dismissed(code, reason) => disconnect(code, reason, fields),
        Event::JoinedAt(joined) => {
            fields.text(CHANNEL, joined.room.as_str());
            fields.object(Field(9, "subscribe"), |fields| {
                if joined.is_recoverable {
                    fields.truth(Field(1, "recoverable"));
                    epoch(Field(4, "epoch"), joined.position, fields);
                    number(Field(5, "offset"), joined.position.offset.0, fields);
                    fields.truth(Field(6, "positioned"));
                }
                value(Field(7, "data"), joined.data, fields);
            });
        }
        Event::Refreshed { expires_in, .. } => {
            fields.object(Field(12, "refresh"), |fields| {
                expiry(Field(1, "expires"), Field(2, "ttl"), expires_in, fields)
            });
        }
        _ => return false,
    }
    true
}

/// Writes the fields of a push for a client that gets no replies: what a reply would say is a push as well.
pub(super) fn push_without_replies(event: &Event<'_>, fields: &mut impl Fields) -> bool {
    match *event {
        Event::Connected(result) => fields.object(Field(10, "connect"), |fields| connected(result, fields)),
        _ => return push(event, fields),
    }
    true
}

fn disconnect(code: u16, reason: &str, fields: &mut impl Fields) {
    fields.object(Field(11, "disconnect"), |fields| {
        fields.number(Field(1, "code"), code.into());
        fields.text(Field(2, "reason"), reason);
    });
}

/// Writes what a reply holds besides the name of the command: its result, present even if it is empty, or its error.
/// Returns false, and writes nothing, if the event is no reply.
pub(super) fn reply(event: &Event<'_>, fields: &mut impl Fields) -> bool {
    match *event {
        Event::Error(error) => {
            let (code, words, is_temporary) = error_code(error);
            fields.object(Field(2, "error"), |fields| {
                fields.number(Field(1, "code"), code.into());
                fields.text(Field(2, "message"), &format!("{words}: {error}"));
                truth(Field(3, "temporary"), is_temporary, fields);
            });
        }
        Event::Connected(result) => fields.object(Field(5, "connect"), |fields| connected(result, fields)),
        Event::JoinedAt(result) => fields.object(Field(6, "subscribe"), |fields| joined(result, fields)),
        Event::Left => fields.object(Field(7, "unsubscribe"), |_| ()),
        Event::Accepted => fields.object(Field(8, "publish"), |_| ()),
        Event::Presence(members) => fields.object(Field(9, "presence"), |fields| {
            let members = members.iter().map(|member| (member.client.to_string(), member));
            fields.map(Field(1, "presence"), members, |fields, member| client_info(member, fields));
        }),
        Event::PresenceCount { clients, users } => fields.object(Field(10, "presence_stats"), |fields| {
            fields.number(Field(1, "num_clients"), clients as u64);
            fields.number(Field(2, "num_users"), users as u64);
        }),
        Event::History(publications, last) => fields.object(Field(11, "history"), |fields| {
            fields.list(Field(1, "publications"), publications.iter(), |fields, item| publication(item, fields));
            match last {
                Some(last) => epoch(Field(2, "epoch"), last, fields),
                // A client may resume from an empty epoch in any room.
                None => fields.plain(Field(2, "epoch"), b""),
            }
            fields.number(Field(3, "offset"), last.map_or(0, |last| last.offset.0));
        }),
        Event::Pong(_) => fields.object(Field(12, "ping"), |_| ()),
        Event::Named(label) => fields.object(Field(13, "rpc"), |fields| {
            fields.json(Field(1, "data"), Json::Member("nick", label.as_str()));
        }),
        Event::Refreshed { client, expires_in } => fields.object(Field(14, "refresh"), |fields| {
            fields.plain(Field(1, "client"), &hexadecimal(client));
            expiry(Field(3, "expires"), Field(4, "ttl"), expires_in, fields);
        }),
        Event::MembershipRefreshed(expires_in) => fields.object(Field(15, "sub_refresh"), |fields| {
            expiry(Field(1, "expires"), Field(2, "ttl"), expires_in, fields);
        }),
        _ => return false,
    }
    true
}

/// Writes the fields of a publication.
pub(super) fn publication(publication: &Publication, fields: &mut impl Fields) {
    fields.json(Field(4, "data"), data(&publication.data));
    match &publication.publisher.kind {
        PublisherKind::Backend(_) => {}
        _ => info(Field(5, "info"), &publication.publisher, fields),
    }
    number(Field(6, "offset"), publication.offset.0, fields);
    match &publication.publisher.kind {
        PublisherKind::Backend(tags) if tags.iter().len() > 0 => fields.texts(Field(7, "tags"), tags.iter()),
        _ => {}
    }
    number(Field(9, "time"), publication.published_at.0, fields);
}

fn info(field: Field, publisher: &Publisher, fields: &mut impl Fields) {
    fields.object(field, |fields| client_info(publisher, fields));
}

fn client_info(publisher: &Publisher, fields: &mut impl Fields) {
    fields.text(Field(1, "user"), publisher.user.as_str());
    fields.plain(Field(2, "client"), &hexadecimal(publisher.client));
    if let Some(json) = conn_info(publisher) {
        fields.json(Field(3, "conn_info"), json);
    }
    value(Field(4, "chan_info"), publisher.room_info.as_deref(), fields);
}

/// What was published, as clients of JSON see it.
pub(super) fn data(data: &Data) -> Json<'_> {
    match data {
        Data::Text(text) => Json::Member("text", text),
        Data::Json(json) => Json::Value(json),
    }
}

/// What others know of a client wherever it is. All that a client may have is its label.
pub(super) fn conn_info(publisher: &Publisher) -> Option<Json<'_>> {
    let label = (publisher.kind == PublisherKind::NamedClient).then(|| Json::Member("name", publisher.label.as_str()));
    publisher.info.as_deref().map(Json::Value).or(label)
}

/// The digits of [`ClientId`] as it is displayed, without formatting.
fn hexadecimal(client: ClientId) -> [u8; ClientId::DIGITS] {
    let digit = |place: usize| b"0123456789abcdef"[(client.0 >> (4 * (ClientId::DIGITS - 1 - place))) as usize % 16];
    std::array::from_fn(digit)
}

fn connected(result: &Connected<'_>, fields: &mut impl Fields) {
    fields.plain(Field(1, "client"), &hexadecimal(result.client));
    expiry(Field(3, "expires"), Field(4, "ttl"), result.expires_in, fields);
    if !result.rooms.is_empty() {
        let rooms = result.rooms.iter().map(|room| (room.room.as_str().to_owned(), room));
        fields.map(Field(6, "subs"), rooms, |fields, room| joined(room, fields));
    }
    number(Field(7, "ping"), result.ping_seconds.into(), fields);
    truth(Field(8, "pong"), result.answers_pings, fields);
    if let Some((session, node)) = result.session {
        fields.text(Field(9, "session"), session);
        fields.text(Field(10, "node"), node);
    }
}

/// Writes the result of a subscribe. A client that has recovered gets the offset that it has given, from which it counts
/// up with each publication. A room that retains nothing has no position to come back to.
fn joined(result: &JoinedAt<'_>, fields: &mut impl Fields) {
    expiry(Field(1, "expires"), Field(2, "ttl"), result.expires_in, fields);
    if result.is_recoverable {
        fields.truth(Field(3, "recoverable"));
        epoch(Field(6, "epoch"), result.position, fields);
        let mut offset = result.position.offset;
        if let Recovery::Recovered { since, missed } = result.recovery {
            offset = since;
            if !missed.is_empty() {
                fields.written(MISSED, missed);
            }
            fields.truth(Field(8, "recovered"));
        }
        number(Field(9, "offset"), offset.0, fields);
        fields.truth(Field(10, "positioned"));
    }
    value(Field(11, "data"), result.data, fields);
    truth(Field(12, "was_recovering"), !matches!(result.recovery, Recovery::NotRequested), fields);
}

/// SDKs read the seconds wherever something expires, also if there are none left.
fn expiry(expires: Field, seconds: Field, expires_in: Option<u32>, fields: &mut impl Fields) {
    if let Some(expires_in) = expires_in {
        fields.truth(expires);
        fields.number(seconds, expires_in.into());
    }
}

fn epoch(field: Field, position: Position, fields: &mut impl Fields) {
    fields.plain(field, position.epoch.to_string().as_bytes());
}

/// A value that is left out if it is missing.
fn value(field: Field, json: Option<&str>, fields: &mut impl Fields) {
    if let Some(json) = json {
        fields.json(field, Json::Value(json));
    }
}

/// A number that is left out if it is 0.
fn number(field: Field, number: u64, fields: &mut impl Fields) {
    if number != 0 {
        fields.number(field, number);
    }
}

/// A truth value that is left out if it is false.
fn truth(field: Field, is_true: bool, fields: &mut impl Fields) {
    if is_true {
        fields.truth(field);
    }
}
