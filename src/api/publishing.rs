//! `publish` and `broadcast`.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;

use super::errors::wrong;
use super::requests::{BroadcastRequest, PublishRequest};
use super::results::{Answer, BroadcastResult, PublishResult};
use super::{Api, ApiError, json_on_one_line};
use crate::auth::api_keys::ApiRight;
use crate::broker::ServerPublish;
use crate::protocol::command::CommandError;
use crate::protocol::idempotency_key::IdempotencyKey;
use crate::protocol::names::RoomName;
use crate::protocol::publication::{Data, Publisher, PublisherKind, Tags};
use crate::protocol::text::check_length;

/// Rooms of one broadcast.
const BROADCAST_ROOMS_MAX: usize = 16 * 1024;

/// Publishes of one broadcast that are on their way at once.
const BROADCAST_IN_FLIGHT: usize = 64;

/// What is published, to one room or several.
#[derive(Clone)]
struct Content {
    publisher: Arc<Publisher>,
    data: Data,
    is_retained: bool,
    key: Option<IdempotencyKey>,
    came_at: Instant,
}

impl Api<'_> {
    pub(super) async fn publish(&self, mut request: PublishRequest) -> Result<PublishResult, ApiError> {
        let room = self.room(ApiRight::Publish, request.channel.take())?;
        let content = self.content(request)?;
        self.publish_to(room, content).await
    }

    /// Publishes to all rooms, a bounded number at once. A room that is refused does not keep the others from theirs.
    pub(super) async fn broadcast(&self, request: BroadcastRequest) -> Result<BroadcastResult, ApiError> {
        let (rooms, content) = request.split();
        let rooms = rooms.filter(|rooms| !rooms.is_empty()).ok_or_else(|| wrong("channels is missing"))?;
        if rooms.len() > BROADCAST_ROOMS_MAX {
            let text = format!("a broadcast to {} rooms: at most {BROADCAST_ROOMS_MAX}", rooms.len());
            return Err(ApiError::limit(text));
        }
        let content = &self.content(content)?;
        let publishes = rooms.into_iter().map(async |room| match self.room(ApiRight::Publish, Some(room)) {
            Ok(room) => self.publish_to(room, content.clone()).await.into(),
            Err(error) => Answer::Error(error),
        });
        Ok(BroadcastResult { responses: stream::iter(publishes).buffered(BROADCAST_IN_FLIGHT).collect().await })
    }

    /// What a request publishes, within the limits of a message.
    fn content(&self, request: PublishRequest) -> Result<Content, ApiError> {
        let PublishRequest { data, b64data, tags, skip_history, idempotency_key, version, .. } = request;
        if version.unwrap_or_default() != 0 {
            return Err(CommandError::NotAvailable("publications have no versions here").into());
        }
        let data = json_on_one_line("data", data, b64data)?.ok_or_else(|| wrong("data is missing"))?;
        let tags = tags.unwrap_or_default();
        let tags_bytes: usize = tags.iter().map(|(name, text)| name.len() + text.len()).sum();
        let (bytes, bytes_max) = (data.len() + tags_bytes, self.context.message_bytes_max);
        if bytes > bytes_max {
            let rule = format!("data of {bytes} bytes with its tags exceeds {bytes_max}: see message-bytes");
            return Err(wrong(rule));
        }
        let data = Data::Json(data);
        check_length(&self.key.publisher().label, &data, bytes_max)
            .map_err(|error| wrong(format!("{error}: see message-bytes")))?;
        let key = idempotency_key.filter(|key| !key.is_empty()).map(|key| IdempotencyKey::parse(&key)).transpose();
        let publisher = if tags.is_empty() {
            Arc::clone(self.key.publisher())
        } else {
            let kind = PublisherKind::Backend(Tags::new(tags));
            Arc::new(Publisher { kind, ..Publisher::clone(self.key.publisher()) })
        };
        Ok(Content {
            publisher,
            data,
            is_retained: !skip_history.unwrap_or_default(),
            key: key.map_err(wrong)?,
            came_at: Instant::now(),
        })
    }

    async fn publish_to(&self, room: RoomName, content: Content) -> Result<PublishResult, ApiError> {
        let Content { publisher, data, is_retained, key, came_at } = content;
        let has_position = is_retained && self.retains(&room);
        let publish = ServerPublish { room, publisher, data, read_at: came_at, is_retained, key, permit: None };
        let position = self.context.broker.publish(publish).await?;
        Ok(match position.filter(|_| has_position) {
            Some(position) => {
                PublishResult { offset: Some(position.offset.0), epoch: Some(position.epoch.to_string()) }
            }
            None => PublishResult::default(),
        })
    }
}
