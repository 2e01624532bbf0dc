//! What is published to a room, and by whom.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names::Label;
use super::position::{Offset, UnixMillis};

/// The memory of a tag beside its texts, in bytes.
const TAG_BYTES: usize = 2 * size_of::<String>() + 16;

/// Something that was published to a room, at its place in the order.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The place in the order of the room.
    pub offset: Offset,
    /// The time at which the server gave it that place.
    pub published_at: UnixMillis,
    /// The client that published it.
    pub publisher: Arc<Publisher>,
    /// What was published.
    pub data: Data,
}

/// A client as others see it: in front of its messages, in presence, in join and leave events. Shared by all of its
/// publications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    /// The connection.
    pub client: ClientId,
    /// The user that the client has proved to be; empty if it has proved nothing.
    pub user: UserId,
    /// The name in front of the client's messages. It identifies nobody.
    pub label: Label,
    /// What the application says about the client, as one JSON value on one line.
    pub info: Option<Arc<str>>,
    /// What the application says about the client in this room, as one JSON value on one line.
    pub room_info: Option<Arc<str>>,
    /// What kind of publisher it is.
    pub kind: PublisherKind,
}

/// What kind of publisher it is, and what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PublisherKind {
    /// A client that all others call by its label: it speaks text, or has a name from its token or by choice.
    NamedClient,
    /// A client that speaks JSON and has no name. Only text clients see its label.
    UnnamedClient,
    /// A backend of the application, which is no client, with the tags of its publication, by name.
    Backend(Tags),
}

/// Texts by which an application describes a publication, by name. Clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tags(Option<Arc<[(String, String)]>>);

/// The number of a connection, drawn at random, unlike that of any other on this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(pub u64);

/// The name of a user. Clones share the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserId(Option<Arc<str>>);

/// What a publication holds. A value of JSON is never parsed on its way to clients that read JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// Text of one line or several, as it was said.
    Text(Box<str>),
    /// One JSON value on one line. Text, and of its own: a slice would keep the whole buffer that it came in.
    Json(Box<str>),
}

impl Publisher {
    /// A client of the text protocol of which nothing but its label is known.
    pub fn anonymous(client: ClientId, label: Label) -> Self {
        let kind = PublisherKind::NamedClient;
        Self { client, user: UserId::default(), label, info: None, room_info: None, kind }
    }

    /// Gives the client the label of its token. Others need not be told of one that is its user's name.
    pub fn name(&mut self, label: Label) {
        if label.as_str() != self.user.as_str() {
            self.kind = PublisherKind::NamedClient;
        }
        self.label = label;
    }

    /// The memory of the tags of a backend's publication, in bytes.
    pub fn tags_bytes(&self) -> usize {
        if let PublisherKind::Backend(tags) = &self.kind { tags.bytes() } else { 0 }
    }

    /// A backend of the application. One with tags publishes once.
    pub fn backend(label: Label, tags: Tags) -> Self {
        Self { kind: PublisherKind::Backend(tags), ..Self::anonymous(ClientId(0), label) }
    }
}

impl Tags {
    /// These tags.
    pub fn new(tags: impl IntoIterator<Item = (String, String)>) -> Self {
        let tags: Arc<[_]> = tags.into_iter().collect();
        Self((!tags.is_empty()).then_some(tags))
    }

    /// The tags.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.as_deref().unwrap_or_default().iter().map(|(name, text)| (&**name, &**text))
    }

    /// About the memory of the tags and of the publisher that has them, in bytes; 0 where there are none.
    fn bytes(&self) -> usize {
        let bytes = self.iter().map(|(name, text)| TAG_BYTES + name.len() + text.len()).sum::<usize>();
        if bytes == 0 { 0 } else { bytes + size_of::<Publisher>() }
    }
}

impl Publication {
    /// What it takes beside what every publication does, in bytes: its data, and its tags if it has some.
    pub fn bytes(&self) -> usize {
        self.data.bytes() + self.publisher.tags_bytes()
    }
}

impl ClientId {
    /// The digits of a client's number as it is displayed.
    pub const DIGITS: usize = 16;

    /// Parses a number as it is displayed; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let client = u64::from_str_radix(text, 16).ok().map(Self)?;
        (client.to_string() == text).then_some(client)
    }
}

impl UserId {
    /// The user of this name; the empty name is nobody's.
    pub fn new(name: &str) -> Self {
        Self((!name.is_empty()).then(|| name.into()))
    }

    /// The name; empty for a client that has proved nothing.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:0digits$x}", self.0, digits = Self::DIGITS)
    }
}

impl Data {
    /// The length in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
        }
    }
}
