//! What an application reads and removes of rooms: presence, history, the rooms themselves, and the state of the server.

use std::collections::BTreeMap;

use super::requests::{ChannelsRequest, HistoryRequest, RoomRequest};
use super::results::{
    ChannelInfo, ChannelsResult, ClientInfo, EmptyResult, HistoryResult, InfoResult, NodeResult, PresenceResult,
    PresenceStatsResult, PublicationInfo,
};
use super::{Api, ApiError};
use crate::auth::api_keys::ApiRight;
use crate::auth::pattern::Pattern;
use crate::backplane::questions::{Answer, Question};
use crate::broker::{PageOfRoom, PresenceCount};
use crate::protocol::centrifuge::command::History;
use crate::protocol::command::CommandError;
use crate::session::centrifuge::commands::page;

/// Rooms in one answer.
const CHANNELS_MAX: usize = 64 * 1024;

impl Api<'_> {
    /// The members of a room, as many as one client gets at once.
    pub(super) async fn presence(&self, RoomRequest { channel }: RoomRequest) -> Result<PresenceResult, ApiError> {
        let room = self.room(ApiRight::Presence, channel)?;
        let members = self.context.broker.presence(room).await?;
        let presence = members.iter().map(|member| (member.client.to_string(), ClientInfo::from(member))).collect();
        Ok(PresenceResult { presence })
    }

    pub(super) async fn presence_stats(
        &self,
        RoomRequest { channel }: RoomRequest,
    ) -> Result<PresenceStatsResult, ApiError> {
        let room = self.room(ApiRight::Presence, channel)?;
        let PresenceCount { clients, users } = self.context.broker.count_presence(room).await;
        Ok(PresenceStatsResult { num_clients: clients, num_users: users })
    }

    pub(super) async fn history(&self, request: HistoryRequest) -> Result<HistoryResult, ApiError> {
        let HistoryRequest { channel, limit, since, reverse } = request;
        let room = self.room(ApiRight::History, channel)?;
        self.require_history(&room)?;
        let since = since.map(|since| (since.offset.unwrap_or_default(), since.epoch.unwrap_or_default().into()));
        let history = History {
            channel: room.as_str().into(),
            limit: limit.unwrap_or_default(),
            since,
            reverse: reverse.unwrap_or_default(),
        };
        let page = page(&room, &history)?;
        let found = self.context.broker.page(room.clone(), page).await?;
        let is_in_order = page.messages_max > 0 && !page.is_reverse;
        if page.since.is_some_and(|since| is_in_order && !found.follows(since.offset)) {
            return Err(CommandError::Unrecoverable { room }.into());
        }
        let PageOfRoom { publications, position, .. } = found;
        Ok(HistoryResult {
            publications: publications.into_iter().map(PublicationInfo::from).collect(),
            epoch: position.map(|position| position.epoch.to_string()).unwrap_or_default(),
            offset: position.map_or(0, |position| position.offset.0),
        })
    }

    pub(super) async fn remove_history(&self, RoomRequest { channel }: RoomRequest) -> Result<EmptyResult, ApiError> {
        let room = self.room(ApiRight::HistoryRemove, channel)?;
        self.require_history(&room)?;
        self.context.broker.remove_history(room).await?;
        Ok(EmptyResult {})
    }

    /// The rooms with members. Linear in all rooms.
    pub(super) async fn channels(
        &self,
        ChannelsRequest { pattern }: ChannelsRequest,
    ) -> Result<ChannelsResult, ApiError> {
        self.permit(ApiRight::Channels, None)?;
        let pattern = pattern.filter(|pattern| !pattern.is_empty());
        let (counts, others) = self.context.broker.channels(pattern.clone()).await;
        let too_many = || ApiError::limit(format_args!("more than {CHANNELS_MAX} rooms: give a narrower pattern"));
        let pattern = pattern.map(|pattern| Pattern::new(&pattern));
        let own = counts.iter().flat_map(|counts| counts.iter()).map(|(room, members)| (room, *members));
        let own = own.filter(|(room, _)| pattern.as_ref().is_none_or(|pattern| pattern.matches(room)));
        let mut channels = BTreeMap::<String, ChannelInfo>::new();
        for (room, members) in own.chain(others.channels().ok_or_else(too_many)?) {
            channels.entry(room.as_str().to_owned()).or_default().num_clients += members;
            if channels.len() > CHANNELS_MAX {
                return Err(too_many());
            }
        }
        Ok(ChannelsResult { channels })
    }

    pub(super) async fn info(&self) -> Result<InfoResult, ApiError> {
        self.permit(ApiRight::Info, None)?;
        let clients = self.context.workers.count().await;
        let mut nodes = vec![NodeResult::new(self.node, clients, &self.context.broker.counts().await)];
        if let Some(peers) = self.context.broker.peers() {
            let answers = peers.ask(Question::Info.encode()).await;
            nodes.extend(answers.iter().filter_map(|answer| match Answer::decode(answer) {
                Answer::Info(node) => serde_json::from_value::<NodeResult>(node).ok(),
                _ => None,
            }));
        }
        Ok(InfoResult { nodes })
    }
}
