//! The bytes of a message of the stream, and of a signal. A message that breaks a rule, or of a later format, is an
//! error and never a panic.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use bytes::{Bytes, BytesMut};
use prost::{DecodeError, Message, Oneof};
use thiserror::Error;

use super::entry::{Entry, Publish};
use super::signal::{MemberChange, Signal};
use crate::protocol::idempotency_key::{IdempotencyKey, KeyError};
use crate::protocol::names::{Label, NameError, RoomName, unseen};
use crate::protocol::publication::{ClientId, Data, Publisher, PublisherKind, Tags, UserId};

/// The format of what this version writes. It reads no later one.
const VERSION: u32 = 1;

/// The field of an envelope that holds an entry.
const ENTRY_FIELD: u32 = 4;

/// The field of a message of signals that holds one.
const SIGNAL_FIELD: u32 = 3;

/// The longest label, in bytes: the name of a user, a nick with the mark of guests, or an address with its port.
const LABEL_BYTES_MAX: usize = 128;

/// One life of a server process as a node. Drawn at random, unlike that of any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A message of the stream: what one node has published together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The node that has made it.
    pub node: NodeId,
    /// Its number among those of the node. Repeats have the same.
    pub number: u64,
    /// What it holds, in order.
    pub entries: Vec<Entry>,
}

/// Why a message is not read.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// It is not Protobuf.
    #[error("no envelope: {0}")]
    Bytes(#[from] DecodeError),
    /// Another version of the server has written it.
    #[error("format {0}: this version reads format {VERSION}")]
    Version(u32),
    /// Its room has no valid name.
    #[error("room {0}")]
    Room(#[from] NameError),
    /// Its key has no valid length.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Something else is not there, or breaks its rule.
    #[error("no valid {0}")]
    Field(&'static str),
}

#[derive(Message)]
struct EnvelopeMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(fixed64, tag = "2")]
    node: u64,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(message, repeated, tag = "4")]
    entries: Vec<EntryMessage>,
}

#[derive(Message)]
struct SignalsMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(fixed64, tag = "2")]
    node: u64,
    #[prost(message, repeated, tag = "3")]
    signals: Vec<SignalMessage>,
}

#[derive(Message)]
struct EntryMessage {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(oneof = "EntryKind", tags = "2, 3")]
    kind: Option<EntryKind>,
}

#[derive(Oneof)]
enum EntryKind {
    #[prost(message, tag = "2")]
    Publish(PublishMessage),
    #[prost(bool, tag = "3")]
    RemoveHistory(bool),
}

#[derive(Message)]
struct PublishMessage {
    #[prost(message, optional, tag = "1")]
    publisher: Option<PublisherMessage>,
    #[prost(oneof = "DataKind", tags = "2, 3")]
    data: Option<DataKind>,
    #[prost(bool, tag = "4")]
    is_retained: bool,
    #[prost(string, optional, tag = "5")]
    key: Option<String>,
}

#[derive(Oneof)]
enum DataKind {
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(string, tag = "3")]
    Json(String),
}

#[derive(Message)]
struct PublisherMessage {
    #[prost(fixed64, tag = "1")]
    client: u64,
    #[prost(string, tag = "2")]
    user: String,
    #[prost(string, tag = "3")]
    label: String,
    #[prost(string, optional, tag = "4")]
    info: Option<String>,
    #[prost(string, optional, tag = "5")]
    room_info: Option<String>,
    #[prost(uint32, tag = "6")]
    kind: u32,
    #[prost(message, repeated, tag = "7")]
    tags: Vec<TagMessage>,
}

#[derive(Message)]
struct TagMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    text: String,
}

#[derive(Message)]
struct SignalMessage {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(oneof = "ChangeKind", tags = "2, 3, 4")]
    change: Option<ChangeKind>,
}

#[derive(Oneof)]
enum ChangeKind {
    #[prost(message, tag = "2")]
    Joined(PublisherMessage),
    #[prost(message, tag = "3")]
    Left(PublisherMessage),
    #[prost(bool, tag = "4")]
    Counted(bool),
}

impl NodeId {
    /// A new one.
    pub fn random() -> Self {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes).expect("the system has random bytes");
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    /// It breaks a rule, or is of a later format.
    pub fn decode(bytes: Bytes) -> Result<Self, EnvelopeError> {
        let message = EnvelopeMessage::decode(bytes)?;
        check_version(message.version)?;
        let entries = message.entries.into_iter().map(Entry::try_from).collect::<Result<_, _>>()?;
        Ok(Self { node: NodeId(message.node), number: message.number, entries })
    }
}

/// Appends an entry to the entries of an envelope.
pub fn append_entry(entry: Entry, entries: &mut BytesMut) {
    prost::encoding::message::encode(ENTRY_FIELD, &EntryMessage::from(entry), entries);
}

/// The bytes of an envelope with these entries.
pub fn seal(node: NodeId, number: u64, entries: &[u8]) -> Bytes {
    let head = EnvelopeMessage { version: VERSION, node: node.0, number, entries: Vec::new() };
    let mut bytes = BytesMut::with_capacity(head.encoded_len() + entries.len());
    head.encode(&mut bytes).expect("a buffer grows as needed");
    bytes.extend_from_slice(entries);
    bytes.freeze()
}

/// Appends a signal to others that go together.
pub fn append_signal(signal: Signal, signals: &mut BytesMut) {
    prost::encoding::message::encode(SIGNAL_FIELD, &SignalMessage::from(signal), signals);
}

/// The bytes of a message with these signals.
pub fn seal_signals(node: NodeId, signals: &[u8]) -> Bytes {
    let head = SignalsMessage { version: VERSION, node: node.0, signals: Vec::new() };
    let mut bytes = head.encode_to_vec();
    bytes.extend_from_slice(signals);
    bytes.into()
}

/// Reads signals and the node that has sent them.
///
/// # Errors
/// They break a rule, or are of a later format.
pub fn decode_signals(bytes: Bytes) -> Result<(NodeId, Vec<Signal>), EnvelopeError> {
    let message = SignalsMessage::decode(bytes)?;
    check_version(message.version)?;
    let signals = message.signals.into_iter().map(Signal::try_from).collect::<Result<_, _>>()?;
    Ok((NodeId(message.node), signals))
}

fn check_version(version: u32) -> Result<(), EnvelopeError> {
    if version == VERSION { Ok(()) } else { Err(EnvelopeError::Version(version)) }
}

impl From<Entry> for EntryMessage {
    fn from(entry: Entry) -> Self {
        let room = entry.room().as_str().to_owned();
        let kind = match entry {
            Entry::Publish(publish) => EntryKind::Publish(publish.into()),
            Entry::RemoveHistory(_) => EntryKind::RemoveHistory(true),
        };
        Self { room, kind: Some(kind) }
    }
}

impl TryFrom<EntryMessage> for Entry {
    type Error = EnvelopeError;

    fn try_from(message: EntryMessage) -> Result<Self, EnvelopeError> {
        let room = RoomName::parse(&message.room)?;
        match message.kind {
            Some(EntryKind::Publish(publish)) => Ok(Self::Publish(publish.into_room(room)?)),
            Some(EntryKind::RemoveHistory(_)) => Ok(Self::RemoveHistory(room)),
            None => Err(EnvelopeError::Field("kind of entry")),
        }
    }
}

impl From<Publish> for PublishMessage {
    fn from(publish: Publish) -> Self {
        let Publish { room: _, publisher, data, is_retained, key } = publish;
        let data = match data {
            Data::Text(text) => DataKind::Text(text.into()),
            Data::Json(json) => DataKind::Json(json.into()),
        };
        let key = key.map(|key| key.as_str().to_owned());
        Self { publisher: Some(PublisherMessage::from(&*publisher)), data: Some(data), is_retained, key }
    }
}

impl PublishMessage {
    fn into_room(self, room: RoomName) -> Result<Publish, EnvelopeError> {
        let data = match self.data {
            Some(DataKind::Text(text)) => Data::Text(text.into()),
            Some(DataKind::Json(json)) => Data::Json(one_line(json, "data")?.into()),
            None => return Err(EnvelopeError::Field("data")),
        };
        let publisher = self.publisher.ok_or(EnvelopeError::Field("publisher"))?.try_into()?;
        let key = self.key.as_deref().map(IdempotencyKey::parse).transpose()?;
        Ok(Publish { room, publisher: Arc::new(publisher), data, is_retained: self.is_retained, key })
    }
}

impl From<&Publisher> for PublisherMessage {
    fn from(publisher: &Publisher) -> Self {
        let (kind, tags) = match &publisher.kind {
            PublisherKind::NamedClient => (0, None),
            PublisherKind::UnnamedClient => (1, None),
            PublisherKind::Backend(tags) => (2, Some(tags)),
        };
        let owned = |(name, text): (&str, &str)| TagMessage { name: name.to_owned(), text: text.to_owned() };
        Self {
            client: publisher.client.0,
            user: publisher.user.as_str().to_owned(),
            label: publisher.label.as_str().to_owned(),
            info: publisher.info.as_deref().map(str::to_owned),
            room_info: publisher.room_info.as_deref().map(str::to_owned),
            kind,
            tags: tags.into_iter().flat_map(Tags::iter).map(owned).collect(),
        }
    }
}

impl TryFrom<PublisherMessage> for Publisher {
    type Error = EnvelopeError;

    fn try_from(message: PublisherMessage) -> Result<Self, EnvelopeError> {
        let is_valid = message.label.len() <= LABEL_BYTES_MAX && unseen(&message.label).is_none();
        let label = is_valid.then(|| Label::generated(message.label)).ok_or(EnvelopeError::Field("label"))?;
        let kind = match message.kind {
            0 => PublisherKind::NamedClient,
            1 => PublisherKind::UnnamedClient,
            2 => PublisherKind::Backend(Tags::new(message.tags.into_iter().map(|tag| (tag.name, tag.text)))),
            _ => return Err(EnvelopeError::Field("kind of publisher")),
        };
        let user = unseen(&message.user).is_none().then(|| UserId::new(&message.user));
        let user = user.ok_or(EnvelopeError::Field("user"))?;
        let value = |json: String| one_line(json, "info").map(Arc::from);
        let info = message.info.map(value).transpose()?;
        let room_info = message.room_info.map(value).transpose()?;
        Ok(Self { client: ClientId(message.client), user, label, info, room_info, kind })
    }
}

impl From<Signal> for SignalMessage {
    fn from(Signal { room, change }: Signal) -> Self {
        let change = match change {
            MemberChange::Joined(publisher) => ChangeKind::Joined((&*publisher).into()),
            MemberChange::Left(publisher) => ChangeKind::Left((&*publisher).into()),
            MemberChange::Counted => ChangeKind::Counted(true),
        };
        Self { room: room.as_str().to_owned(), change: Some(change) }
    }
}

impl TryFrom<SignalMessage> for Signal {
    type Error = EnvelopeError;

    fn try_from(message: SignalMessage) -> Result<Self, EnvelopeError> {
        let room = RoomName::parse(&message.room)?;
        let change = match message.change {
            Some(ChangeKind::Joined(publisher)) => MemberChange::Joined(Arc::new(publisher.try_into()?)),
            Some(ChangeKind::Left(publisher)) => MemberChange::Left(Arc::new(publisher.try_into()?)),
            Some(ChangeKind::Counted(_)) => MemberChange::Counted,
            None => return Err(EnvelopeError::Field("change")),
        };
        Ok(Self { room, change })
    }
}

/// One JSON value as text clients and framings need it. It is not parsed: a node has done so.
fn one_line(json: String, field: &'static str) -> Result<String, EnvelopeError> {
    let is_one_line = !json.is_empty() && memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_none();
    if is_one_line { Ok(json) } else { Err(EnvelopeError::Field(field)) }
}
