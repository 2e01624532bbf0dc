//! Commands of the Centrifuge protocol in Protobuf. Of each message it has the fields that this server uses; all others are
//! skipped.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::value::RawValue;

use super::command::{
    Command, Connect, History, Parsed, Resume, Subscribe, is_must_recover, one_line, present, rpc, token, wrong,
};
use crate::protocol::command::{CommandError, TokenText};

#[derive(Message)]
struct Envelope {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, tag = "4")]
    connect: Option<ConnectRequest>,
    #[prost(message, tag = "5")]
    subscribe: Option<SubscribeRequest>,
    #[prost(message, tag = "6")]
    unsubscribe: Option<RoomRequest>,
    #[prost(message, tag = "7")]
    publish: Option<PublishRequest>,
    #[prost(message, tag = "8")]
    presence: Option<RoomRequest>,
    #[prost(message, tag = "9")]
    presence_stats: Option<RoomRequest>,
    #[prost(message, tag = "10")]
    history: Option<HistoryRequest>,
    #[prost(message, tag = "11")]
    ping: Option<Empty>,
    #[prost(message, tag = "12")]
    send: Option<Empty>,
    #[prost(message, tag = "13")]
    rpc: Option<RpcRequest>,
    #[prost(message, tag = "14")]
    refresh: Option<RefreshRequest>,
    #[prost(message, tag = "15")]
    sub_refresh: Option<SubRefreshRequest>,
}

#[derive(Message)]
struct ConnectRequest {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(btree_map = "string, message", tag = "3")]
    subs: BTreeMap<String, SubscribeRequest>,
}

#[derive(PartialEq, Message)]
struct SubscribeRequest {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(string, tag = "2")]
    token: String,
    #[prost(bool, tag = "3")]
    recover: bool,
    #[prost(string, tag = "6")]
    epoch: String,
    #[prost(uint64, tag = "7")]
    offset: u64,
    #[prost(message, tag = "13")]
    tf: Option<Empty>,
    #[prost(int64, tag = "14")]
    flag: i64,
    #[prost(int32, tag = "15")]
    r#type: i32,
}

/// A request that names a room and nothing else.
#[derive(Message)]
struct RoomRequest {
    #[prost(string, tag = "1")]
    channel: String,
}

#[derive(Message)]
struct PublishRequest {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

#[derive(Message)]
struct HistoryRequest {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(int32, tag = "7")]
    limit: i32,
    #[prost(message, tag = "8")]
    since: Option<StreamPosition>,
    #[prost(bool, tag = "9")]
    reverse: bool,
}

#[derive(Message)]
struct StreamPosition {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(string, tag = "2")]
    epoch: String,
}

#[derive(Message)]
struct RpcRequest {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(string, tag = "2")]
    method: String,
}

#[derive(Message)]
struct RefreshRequest {
    #[prost(string, tag = "1")]
    token: String,
}

#[derive(Message)]
struct SubRefreshRequest {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(string, tag = "2")]
    token: String,
}

/// A message of which nothing is used.
#[derive(PartialEq, Message)]
struct Empty {}

/// Takes the first command of a frame, whose length is returned with it; `None` at the end of the frame.
pub fn next_command(frame: &[u8]) -> Option<(Parsed<'_>, usize)> {
    if frame.is_empty() {
        return None;
    }
    let mut rest = frame;
    let envelope = prost::decode_length_delimiter(&mut rest).ok().and_then(|length| {
        let (message, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Envelope::decode(message).ok()
    });
    let Some(envelope) = envelope else { return Some((Parsed::Malformed, frame.len())) };
    Some((parsed(envelope), frame.len() - rest.len()))
}

type Result<T, E = CommandError> = std::result::Result<T, E>;

/// The first method in the order of their tags counts.
fn parsed(envelope: Envelope) -> Parsed<'static> {
    let method = None
        .or_else(|| envelope.connect.map(|request| Ok(connect(request))))
        .or_else(|| envelope.subscribe.map(subscribe))
        .or_else(|| envelope.unsubscribe.map(|request| present(request.channel.into()).map(Command::Unsubscribe)))
        .or_else(|| envelope.publish.map(publish))
        .or_else(|| envelope.presence.map(|request| present(request.channel.into()).map(Command::Presence)))
        .or_else(|| envelope.presence_stats.map(|request| present(request.channel.into()).map(Command::PresenceStats)))
        .or_else(|| envelope.history.map(history))
        .or_else(|| envelope.ping.map(|_| Ok(Command::Ping)));
    if method.is_none() && envelope.send.is_some() {
        return Parsed::Send;
    }
    let method = method
        .or_else(|| envelope.rpc.map(call))
        .or_else(|| envelope.refresh.map(|request| needed(request.token).map(Command::Refresh)))
        .or_else(|| envelope.sub_refresh.map(sub_refresh));
    Parsed::new(envelope.id, method)
}

fn connect(request: ConnectRequest) -> Command<'static> {
    let subs = request.subs.into_iter().map(|(channel, request)| (channel.into(), request.resume()));
    Command::Connect(Connect { token: token(request.token.into()), subs: subs.collect() })
}

fn subscribe(mut request: SubscribeRequest) -> Result<Command<'static>> {
    Ok(Command::Subscribe(Subscribe {
        channel: present(std::mem::take(&mut request.channel).into())?,
        token: token(std::mem::take(&mut request.token).into()),
        is_of_other_type: request.r#type != 0,
        has_filter: request.tf.is_some(),
        must_recover: is_must_recover(request.flag),
        resume: request.resume(),
    }))
}

impl SubscribeRequest {
    fn resume(self) -> Resume<'static> {
        Resume { recover: self.recover, epoch: self.epoch.into(), offset: self.offset }
    }
}

fn publish(request: PublishRequest) -> Result<Command<'static>> {
    let channel = present(request.channel.into())?;
    if request.data.is_empty() {
        return Err(wrong("data is missing"));
    }
    let json: &RawValue =
        serde_json::from_slice(&request.data).map_err(|error| wrong(format_args!("data must be JSON: {error}")))?;
    let data = one_line(json.get())?.into_owned().into();
    Ok(Command::Publish { channel, data })
}

fn call(request: RpcRequest) -> Result<Command<'static>> {
    rpc(&request.method, str::from_utf8(&request.data).ok().map(str::trim_ascii_start))
}

fn history(request: HistoryRequest) -> Result<Command<'static>> {
    Ok(Command::History(History {
        channel: present(request.channel.into())?,
        limit: request.limit,
        since: request.since.map(|since| (since.offset, since.epoch.into())),
        reverse: request.reverse,
    }))
}

fn sub_refresh(request: SubRefreshRequest) -> Result<Command<'static>> {
    Ok(Command::SubRefresh(request.channel.into(), needed(request.token)?))
}

fn needed(text: String) -> Result<TokenText<'static>> {
    token(text.into()).ok_or_else(|| wrong("token is missing"))
}
