//! The server API: what the backend of an application asks of the server, by the methods and fields of Centrifugo's HTTP
//! API, so that libraries which exist work. Knows rooms and clients, and no connection.

mod batch;
mod clients;
mod errors;
mod metrics;
mod openapi;
mod publishing;
mod requests;
mod results;
mod rooms;

use std::borrow::Cow;
use std::fs::read_to_string;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use strum::{EnumCount, EnumMessage, EnumString, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

pub use self::errors::ApiError;
use self::errors::wrong;
pub use self::metrics::{ApiMetrics, CallOutcome};
pub use self::openapi::description;
use self::requests::{
    BatchRequest, BroadcastRequest, ChannelsRequest, DisconnectRequest, EmptyRequest, HistoryRequest,
    InvalidateUserTokensRequest, Json, PublishRequest, RefreshRequest, RevokeTokenRequest, RoomRequest,
    SubscribeRequest, UnsubscribeRequest,
};
pub use self::results::NodeResult;
use self::results::{
    BatchResult, BroadcastResult, ChannelsResult, EmptyResult, HistoryResult, InfoResult, PresenceResult,
    PresenceStatsResult, PublishResult,
};
use crate::auth::BASE64;
use crate::auth::api_keys::{ApiKey, ApiRight};
use crate::protocol::centrifuge::command::one_line;
use crate::protocol::command::CommandError;
use crate::protocol::names::RoomName;
use crate::session::SessionContext;
use crate::session::centrifuge::commands::room;

/// The name of the host, as the kernel tells it.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";

/// The methods of the API. Each is a path, `/api/<name>`, and a name of a call within a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, EnumMessage, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ApiMethod {
    /// Publish to a room, which need not have members.
    Publish,
    /// Publish the same to several rooms.
    Broadcast,
    /// Make the clients of a user join and read a room, whatever its rule says.
    Subscribe,
    /// Make the clients of a user leave a room.
    Unsubscribe,
    /// End the connections of a user.
    Disconnect,
    /// Renew the connections of a user, or let them expire.
    Refresh,
    /// The members of a room.
    Presence,
    /// The number of the members of a room.
    PresenceStats,
    /// What a room retains, and its position.
    History,
    /// Remove what a room retains. Its position stays while it has members.
    HistoryRemove,
    /// The rooms that have members.
    Channels,
    /// The state of the server.
    Info,
    /// Several calls at once.
    Batch,
    /// Refuse a token from now on, and end the connections that have it. It is valid again after a restart of the server.
    RevokeToken,
    /// Refuse the tokens of a user that were issued before a time, and end the connections that have them.
    InvalidateUserTokens,
}

impl ApiMethod {
    /// The name, as in paths and in batches.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A call: a method with its parameters.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the methods say what they do")]
pub enum Call {
    Publish(PublishRequest),
    Broadcast(BroadcastRequest),
    Subscribe(Box<SubscribeRequest>),
    Unsubscribe(UnsubscribeRequest),
    Disconnect(DisconnectRequest),
    Refresh(RefreshRequest),
    Presence(RoomRequest),
    PresenceStats(RoomRequest),
    History(HistoryRequest),
    HistoryRemove(RoomRequest),
    Channels(ChannelsRequest),
    Info(EmptyRequest),
    Batch(BatchRequest),
    RevokeToken(RevokeTokenRequest),
    InvalidateUserTokens(InvalidateUserTokensRequest),
}

/// The result of a call, under the name of its method.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the methods say what they do")]
pub enum Reply {
    Publish(PublishResult),
    Broadcast(BroadcastResult),
    Subscribe(EmptyResult),
    Unsubscribe(EmptyResult),
    Disconnect(EmptyResult),
    Refresh(EmptyResult),
    Presence(PresenceResult),
    PresenceStats(PresenceStatsResult),
    History(HistoryResult),
    HistoryRemove(EmptyResult),
    Channels(ChannelsResult),
    Info(InfoResult),
    Batch(BatchResult),
    RevokeToken(EmptyResult),
    InvalidateUserTokens(EmptyResult),
    Error(ApiError),
}

/// What `info` says of this process.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name of this life of the process.
    pub uid: String,
    /// The name of the host.
    pub name: String,
    /// When it has started.
    pub started_at: Instant,
}

impl Node {
    /// This process, which starts now, with a number that no other process has.
    pub fn new(number: u64) -> Self {
        Self { uid: format!("{number:016x}"), name: node_name(), started_at: Instant::now() }
    }
}

/// The name of the host, as the kernel tells it.
pub fn node_name() -> String {
    read_to_string(HOST_NAME_FILE).unwrap_or_default().trim().to_owned()
}

/// The server as one call sees it. It holds the broker, so it is dropped once the call is answered.
pub struct Api<'a> {
    /// The rooms, the rules and the clients.
    pub context: Rc<SessionContext>,
    /// The key of the application.
    pub key: Arc<ApiKey>,
    /// This process.
    pub node: &'a Node,
}

/// A body that is not JSON, or has a field of another type. The text says where.
#[derive(Debug)]
pub struct Malformed(pub String);

impl Call {
    /// Parses the parameters of a method, an object of JSON.
    ///
    /// # Errors
    /// It is not JSON, no object, or has a field of another type.
    pub fn parse(method: ApiMethod, parameters: &str) -> Result<Self, Malformed> {
        // serde would take an array as well, as the fields in their order.
        if !parameters.trim_ascii_start().starts_with('{') {
            return Err(Malformed(format!("the parameters of {} are an object of JSON", method.name())));
        }
        let parsed = match method {
            ApiMethod::Publish => parse(parameters).map(Self::Publish),
            ApiMethod::Broadcast => parse(parameters).map(Self::Broadcast),
            ApiMethod::Subscribe => parse(parameters).map(Self::Subscribe),
            ApiMethod::Unsubscribe => parse(parameters).map(Self::Unsubscribe),
            ApiMethod::Disconnect => parse(parameters).map(Self::Disconnect),
            ApiMethod::Refresh => parse(parameters).map(Self::Refresh),
            ApiMethod::Presence => parse(parameters).map(Self::Presence),
            ApiMethod::PresenceStats => parse(parameters).map(Self::PresenceStats),
            ApiMethod::History => parse(parameters).map(Self::History),
            ApiMethod::HistoryRemove => parse(parameters).map(Self::HistoryRemove),
            ApiMethod::Channels => parse(parameters).map(Self::Channels),
            ApiMethod::Info => parse(parameters).map(Self::Info),
            ApiMethod::Batch => parse(parameters).map(Self::Batch),
            ApiMethod::RevokeToken => parse(parameters).map(Self::RevokeToken),
            ApiMethod::InvalidateUserTokens => parse(parameters).map(Self::InvalidateUserTokens),
        };
        parsed.map_err(|error| Malformed(format!("{}: {error}", method.name())))
    }
}

fn parse<'a, T: Deserialize<'a>>(parameters: &'a str) -> serde_json::Result<T> {
    serde_json::from_str(parameters)
}

impl Api<'_> {
    /// Executes a call, and returns the answer in JSON.
    ///
    /// # Errors
    /// Why the call was refused.
    pub async fn answer(&self, call: Call) -> Result<String, ApiError> {
        let reply = self.execute(call).await?;
        let tagged = to_json(&reply);
        if matches!(reply, Reply::Batch(_)) {
            return Ok(inner(&tagged).to_owned());
        }
        Ok(format!("{{\"result\":{}}}", inner(&tagged)))
    }

    async fn execute(&self, call: Call) -> Result<Reply, ApiError> {
        Ok(match call {
            Call::Publish(request) => Reply::Publish(self.publish(request).await?),
            Call::Broadcast(request) => Reply::Broadcast(self.broadcast(request).await?),
            Call::Subscribe(request) => Reply::Subscribe(self.subscribe(*request).await?),
            Call::Unsubscribe(request) => Reply::Unsubscribe(self.unsubscribe(request).await?),
            Call::Disconnect(request) => Reply::Disconnect(self.disconnect(request).await?),
            Call::Refresh(request) => Reply::Refresh(self.refresh(request).await?),
            Call::Presence(request) => Reply::Presence(self.presence(request).await?),
            Call::PresenceStats(request) => Reply::PresenceStats(self.presence_stats(request).await?),
            Call::History(request) => Reply::History(self.history(request).await?),
            Call::HistoryRemove(request) => Reply::HistoryRemove(self.remove_history(request).await?),
            Call::Channels(request) => Reply::Channels(self.channels(request).await?),
            Call::Info(_) => Reply::Info(self.info().await?),
            Call::Batch(request) => Reply::Batch(Box::pin(self.batch(request)).await?),
            Call::RevokeToken(request) => Reply::RevokeToken(self.revoke_token(request).await?),
            Call::InvalidateUserTokens(request) => {
                Reply::InvalidateUserTokens(self.invalidate_user_tokens(request).await?)
            }
        })
    }

    /// The room of a call for which the key must have this right.
    fn room(&self, right: ApiRight, channel: Option<String>) -> Result<RoomName, ApiError> {
        let channel = channel.filter(|channel| !channel.is_empty()).ok_or_else(|| wrong("channel is missing"))?;
        let room = room(&channel)?;
        self.permit(right, Some(&room))?;
        Ok(room)
    }

    /// Refuses what the key may not do in this room, or, without a room, in the whole server.
    fn permit(&self, right: ApiRight, room: Option<&RoomName>) -> Result<(), ApiError> {
        if self.key.may(right, room) {
            return Ok(());
        }
        let place = room.map_or_else(|| "in the whole server".to_owned(), |room| format!("in {:?}", room.as_str()));
        Err(CommandError::Forbidden(format!("the key {:?} may not {right} {place}", self.key.name()).into()).into())
    }

    /// Refuses to read from a room that retains nothing by its rule, so that nobody takes it for one that is empty.
    fn require_history(&self, room: &RoomName) -> Result<(), ApiError> {
        if self.retains(room) { Ok(()) } else { Err(CommandError::NotAvailable("the room retains no messages").into()) }
    }

    /// Whether a room retains what is published, by its rule.
    fn retains(&self, room: &RoomName) -> bool {
        self.context.access.retains(room)
    }
}

/// JSON of the application on one line: a field, or in its place the same in base64.
fn json_on_one_line(name: &str, plain: Json, encoded: Option<String>) -> Result<Option<Box<str>>, ApiError> {
    let json = match encoded.filter(|encoded| !encoded.is_empty()) {
        None => plain,
        Some(encoded) => {
            let bytes = BASE64.decode(encoded).map_err(|_| wrong(format_args!("b64{name} is not base64")))?;
            let json =
                serde_json::from_slice(&bytes).map_err(|_| wrong(format_args!("b64{name} is no JSON in base64")));
            Some(json?)
        }
    };
    let Some(json) = json else { return Ok(None) };
    let changed = match one_line(json.get())? {
        Cow::Borrowed(_) => None,
        Cow::Owned(changed) => Some(changed.into_boxed_str()),
    };
    Ok(Some(changed.unwrap_or_else(|| json.into())))
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("results are JSON")
}

/// The value of an object of one field that was just written.
fn inner(object: &str) -> &str {
    let begin = object.find(':').map_or(0, |colon| colon + 1);
    &object[begin..object.len() - 1]
}

/// JSON that was just written.
fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("it was just written")
}
