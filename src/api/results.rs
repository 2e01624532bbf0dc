//! The results of all methods, named and typed as Centrifugo's.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::Node;
use super::errors::ApiError;
use crate::broker::RoomCounts;
use crate::protocol::publication::{Data, Publication, Publisher, PublisherKind};

/// The result of a method, or why it has none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Answer<T> {
    /// The result.
    Result(T),
    /// Why there is none.
    Error(ApiError),
}

impl<T> From<Result<T, ApiError>> for Answer<T> {
    fn from(result: Result<T, ApiError>) -> Self {
        result.map_or_else(Self::Error, Self::Result)
    }
}

/// The result of a method that only says that it is done.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmptyResult {}

/// Where a publication stands in its room. Without both fields the room does not retain it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PublishResult {
    /// The place in the order of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The life of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

/// The answers of all rooms.
#[derive(Debug, Serialize, ToSchema)]
pub struct BroadcastResult {
    /// One for each room, in their order.
    pub responses: Vec<Answer<PublishResult>>,
}

/// The members of a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct PresenceResult {
    /// The members by the ids of their connections.
    pub presence: BTreeMap<String, ClientInfo>,
}

/// The number of the members of a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct PresenceStatsResult {
    /// Members.
    pub num_clients: usize,
    /// Different users; clients that have proved nothing are one.
    pub num_users: usize,
}

/// A client as others see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientInfo {
    /// The user; empty for a client that has proved nothing.
    pub user: String,
    /// The id of the connection.
    pub client: String,
    /// What the application says about the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub conn_info: Option<Box<RawValue>>,
    /// What the application says about the client in this room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub chan_info: Option<Box<RawValue>>,
}

/// A part of what a room retains.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryResult {
    /// In the order that was asked for.
    pub publications: Vec<PublicationInfo>,
    /// The life of the room; empty if there is no such room.
    pub epoch: String,
    /// The last publication of the room.
    pub offset: u64,
}

/// Something that was published.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Publication)]
pub struct PublicationInfo {
    /// What was published.
    #[schema(value_type = serde_json::Value)]
    pub data: Box<RawValue>,
    /// The client that has published it; missing if the application has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<ClientInfo>,
    /// The place in the order of the room.
    pub offset: u64,
    /// The tags that the application has given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// Rooms with members.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelsResult {
    /// The rooms by their names, as they were within the last half second.
    pub channels: BTreeMap<String, ChannelInfo>,
}

/// A room with members.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ChannelInfo {
    /// Members.
    pub num_clients: usize,
}

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
pub struct InfoResult {
    /// This server first, and all other nodes of its cluster that have answered within 0.2 s.
    pub nodes: Vec<NodeResult>,
}

/// The state of a process.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Node)]
pub struct NodeResult {
    /// The name of this life of the process.
    pub uid: String,
    /// The name of the host.
    pub name: String,
    /// The version of the server.
    pub version: String,
    /// Clients that are connected.
    pub num_clients: usize,
    /// Different users that have proved who they are.
    pub num_users: usize,
    /// Memberships: a client that is in two rooms has two.
    pub num_subs: usize,
    /// Rooms with members.
    pub num_channels: usize,
    /// Seconds since the start.
    pub uptime: u64,
}

/// The answers to the calls of a batch. It stands alone in the answer, as Centrifugo has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResult {
    /// One for each call, in their order: the result under the name of the method, or an error.
    #[schema(no_recursion, value_type = Vec<super::Reply>)]
    pub replies: Vec<Box<RawValue>>,
}

impl NodeResult {
    /// The state of this process, with the clients, the users that they are, and the rooms with members by shard.
    pub fn new(node: &Node, (num_clients, num_users): (usize, usize), counts: &[RoomCounts]) -> Self {
        let members = counts.iter().flat_map(|counts| counts.iter()).map(|(_, members)| members);
        Self {
            uid: node.uid.clone(),
            name: node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            num_clients,
            num_users,
            num_subs: members.sum(),
            num_channels: counts.iter().map(|counts| counts.len()).sum(),
            uptime: node.started_at.elapsed().as_secs(),
        }
    }
}

impl From<&Arc<Publisher>> for ClientInfo {
    fn from(publisher: &Arc<Publisher>) -> Self {
        // All that a client may have is its label.
        let label = (publisher.kind == PublisherKind::NamedClient)
            .then(|| json(&BTreeMap::from([("name", publisher.label.as_str())])));
        Self {
            user: publisher.user.as_str().to_owned(),
            client: publisher.client.to_string(),
            conn_info: publisher.info.as_deref().map(raw).or(label),
            chan_info: publisher.room_info.as_deref().map(raw),
        }
    }
}

impl From<Publication> for PublicationInfo {
    fn from(Publication { offset, publisher, data, .. }: Publication) -> Self {
        let (info, tags) = match &publisher.kind {
            PublisherKind::Backend(tags) => {
                (None, tags.iter().map(|(name, text)| (name.into(), text.into())).collect())
            }
            _ => (Some(ClientInfo::from(&publisher)), BTreeMap::new()),
        };
        let data = match data {
            Data::Text(text) => json(&BTreeMap::from([("text", text)])),
            Data::Json(json) => RawValue::from_string(json.into()).expect("it was valid when it was published"),
        };
        Self { data, info, offset: offset.0, tags: (!tags.is_empty()).then_some(tags) }
    }
}

/// JSON that was valid when it came.
fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("it was valid when it came")
}

fn json(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("texts are JSON")
}
