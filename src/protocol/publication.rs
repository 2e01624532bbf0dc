//! What is published to a room, and by whom.

use std::fmt;
use std::sync::Arc;

use super::names::Label;
use super::position::{Offset, UnixMillis};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The client speaks text, so that its label is all that others have to call it by.
    pub is_text: bool,
}

/// The number of a connection, drawn at random, unlike that of any other on this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// The name of a user. Clones share the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Option<Arc<str>>);

/// What a publication holds. A value of JSON is never parsed on its way to clients that read JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text of one line or several, as it was said.
    Text(Box<str>),
    /// One JSON value on one line. Text, and of its own: a slice would keep the whole buffer that it came in.
    Json(Box<str>),
}

impl Publisher {
    /// A client of the text protocol of which nothing but its label is known.
    pub fn anonymous(client: ClientId, label: Label) -> Self {
        Self { client, user: UserId::default(), label, info: None, room_info: None, is_text: true }
    }
}

impl ClientId {
    /// The digits of a client's number as it is displayed.
    pub const DIGITS: usize = 16;
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
