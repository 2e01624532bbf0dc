//! The parameters of all methods, named and typed as Centrifugo's. A field that is missing or `null` is not given, and
//! fields that are unknown are ignored, so that libraries for later versions work.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A value of JSON as the application has written it.
pub(super) type Json = Option<Box<RawValue>>;

/// Parameters of `publish`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct PublishRequest {
    /// The room.
    #[schema(required, example = "lobby")]
    pub channel: Option<String>,
    /// What is published: any JSON value. Text clients are shown `{"text": "…"}` as the text alone.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Json,
    /// In place of `data`: the same JSON in base64.
    pub b64data: Option<String>,
    /// Texts by which the application describes the publication. SDKs see them.
    pub tags: Option<BTreeMap<String, String>>,
    /// The publication reaches the members of the moment and is not retained.
    pub skip_history: Option<bool>,
    /// 1 to 128 bytes that mark the repeats of one publish: for five minutes a room publishes only the first.
    pub idempotency_key: Option<String>,
    /// Has no effect: members get whole publications.
    pub delta: Option<bool>,
    /// Must be 0: publications have no versions.
    #[schema(format = "uint64")]
    pub version: Option<u64>,
    /// Has no effect without a version.
    pub version_epoch: Option<String>,
}

/// Parameters of `broadcast`: those of `publish` with several rooms.
#[derive(Debug, Deserialize, ToSchema)]
pub struct BroadcastRequest {
    /// The rooms, in the order of the answers.
    #[schema(required, example = json!(["lobby"]))]
    pub channels: Option<Vec<String>>,
    /// What is published: any JSON value.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Json,
    /// In place of `data`: the same JSON in base64.
    pub b64data: Option<String>,
    /// Texts by which the application describes the publication.
    pub tags: Option<BTreeMap<String, String>>,
    /// The publication is not retained.
    pub skip_history: Option<bool>,
    /// Marks the repeats of one broadcast; each room has keys of its own.
    pub idempotency_key: Option<String>,
    /// Has no effect.
    pub delta: Option<bool>,
    /// Must be 0.
    #[schema(format = "uint64")]
    pub version: Option<u64>,
    /// Has no effect without a version.
    pub version_epoch: Option<String>,
}

impl BroadcastRequest {
    /// The rooms, and what is published to each of them.
    pub(super) fn split(self) -> (Option<Vec<String>>, PublishRequest) {
        let Self { channels, data, b64data, tags, skip_history, idempotency_key, delta, version, version_epoch } = self;
        let publish = PublishRequest {
            channel: None,
            data,
            b64data,
            tags,
            skip_history,
            idempotency_key,
            delta,
            version,
            version_epoch,
        };
        (channels, publish)
    }
}

/// Parameters of `subscribe`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct SubscribeRequest {
    /// The room that clients join.
    #[schema(required, example = "lobby")]
    pub channel: Option<String>,
    /// The user all of whose clients join; may be missing beside `client`.
    pub user: Option<String>,
    /// Only this client of the user.
    pub client: Option<String>,
    /// Must be empty: clients are named by `client`.
    pub session: Option<String>,
    /// What other members learn of the client in this room.
    #[schema(value_type = Option<serde_json::Value>)]
    pub info: Json,
    /// In place of `info`: the same JSON in base64.
    pub b64info: Option<String>,
    /// What the client is told as it joins.
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Json,
    /// In place of `data`: the same JSON in base64.
    pub b64data: Option<String>,
    /// When the membership ends, in seconds since 1970; 0 is never.
    #[schema(minimum = 0)]
    pub expire_at: Option<i64>,
    /// The client is sent what the room has published since.
    #[serde(default, deserialize_with = "object")]
    pub recover_since: Option<StreamPosition>,
    /// Has no effect: a room is the same for all of its members, by its rule.
    #[serde(rename = "override")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub overrides: Json,
}

/// Parameters of `unsubscribe`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct UnsubscribeRequest {
    /// The room that clients leave.
    #[schema(required, example = "lobby")]
    pub channel: Option<String>,
    /// The user all of whose clients leave; may be missing beside `client`.
    pub user: Option<String>,
    /// Only this client of the user.
    pub client: Option<String>,
    /// Must be empty.
    pub session: Option<String>,
}

/// Parameters of `disconnect`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct DisconnectRequest {
    /// The user all of whose connections end; may be missing beside `client`.
    pub user: Option<String>,
    /// Only this client of the user.
    pub client: Option<String>,
    /// Must be empty.
    pub session: Option<String>,
    /// Clients whose connections stay.
    pub whitelist: Option<Vec<String>>,
    /// What the clients are told; code 3503 if it is missing.
    #[serde(default, deserialize_with = "object")]
    pub disconnect: Option<DisconnectWords>,
}

/// What a client is told whose connection ends.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Disconnect)]
pub struct DisconnectWords {
    /// 3000 to 4999. SDKs do not come back after 3500 to 3999 and 4500 to 4999.
    #[schema(minimum = 0, maximum = 4999)]
    pub code: Option<u32>,
    /// At most 123 bytes.
    pub reason: Option<String>,
}

/// Parameters of `refresh`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RefreshRequest {
    /// The user all of whose connections are meant; may be missing beside `client`.
    pub user: Option<String>,
    /// Only this client of the user.
    pub client: Option<String>,
    /// Must be empty.
    pub session: Option<String>,
    /// The connections have expired, and end.
    pub expired: Option<bool>,
    /// When the connections expire, in seconds since 1970; 0 leaves it as it is.
    #[schema(minimum = 0)]
    pub expire_at: Option<i64>,
    /// What others learn of the client in rooms that it joins from then on.
    #[schema(value_type = Option<serde_json::Value>)]
    pub info: Json,
}

/// Parameters of methods about one room.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RoomRequest {
    /// The room.
    #[schema(required, example = "lobby")]
    pub channel: Option<String>,
}

/// Parameters of `history`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct HistoryRequest {
    /// The room.
    #[schema(required, example = "lobby")]
    pub channel: Option<String>,
    /// The most publications: 0 asks for the position alone, less than 0 for as many as the server gives at once.
    pub limit: Option<i32>,
    /// Only what lies behind this position, or in front of it if the order is reversed.
    #[serde(default, deserialize_with = "object")]
    pub since: Option<StreamPosition>,
    /// Newest first.
    pub reverse: Option<bool>,
}

/// A place in the order of a room.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct StreamPosition {
    /// The last publication that is known.
    #[schema(format = "uint64")]
    pub offset: Option<u64>,
    /// The life of the room; an empty one is any.
    pub epoch: Option<String>,
}

/// Parameters of `channels`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct ChannelsRequest {
    /// Names of rooms, in which `*` stands for any characters; all rooms if it is empty.
    pub pattern: Option<String>,
}

/// Parameters of a method that has none.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct EmptyRequest {}

/// Parameters of `revoke_token`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RevokeTokenRequest {
    /// The claim `jti` of the token.
    #[schema(required)]
    pub uid: Option<String>,
}

/// Parameters of `invalidate_user_tokens`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct InvalidateUserTokensRequest {
    /// The user (`sub`) of the tokens.
    #[schema(required)]
    pub user: Option<String>,
    /// Tokens that were issued before this time, in seconds since 1970, or that do not say when; now if it is missing.
    #[schema(minimum = 0)]
    pub issued_before: Option<i64>,
}

/// Parameters of `batch`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct BatchRequest {
    /// The calls, each an object of one method with its parameters.
    #[schema(required, no_recursion, value_type = Option<Vec<super::Call>>)]
    pub commands: Option<Vec<BTreeMap<String, Json>>>,
    /// The calls need not be executed one after the other.
    pub parallel: Option<bool>,
}

/// Takes an object, or `null` for none. By itself serde would take an array as well, as the fields in their order.
fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    match Option::<&RawValue>::deserialize(deserializer)?.map(RawValue::get) {
        None => Ok(None),
        Some(object) if object.starts_with('{') => serde_json::from_str(object).map(Some).map_err(D::Error::custom),
        Some(_) => Err(D::Error::custom("expected an object")),
    }
}

/// Takes a value that is present; `null` is one.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}
