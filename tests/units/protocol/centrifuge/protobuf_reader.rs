//! Replies and pushes as a client of Protobuf reads them, shown as the JSON that a client of JSON would get. Tags as in the
//! reference's description of the protocol.

use std::collections::BTreeMap;

use prost::Message;
use serde::Serialize;
use serde_json::Value;

/// Reads the messages of a frame.
pub fn read(mut frame: &[u8]) -> Vec<Value> {
    let mut replies = Vec::new();
    while !frame.is_empty() {
        let reply = Reply::decode_length_delimited(&mut frame).expect("a whole reply");
        replies.push(serde_json::to_value(reply).expect("a value"));
    }
    replies
}

fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize)]
#[serde(transparent)]
struct Json(Value);

/// Bytes that are JSON.
#[expect(clippy::ptr_arg, reason = "serde passes the field as it is")]
fn json<S: serde::Serializer>(bytes: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
    Json(serde_json::from_slice(bytes).expect("JSON")).serialize(serializer)
}

/// Declares messages, whose fields are left out where they are unset, but for those that are always there.
macro_rules! messages {
    ($($message:ident { $($(#[$attribute:meta])* $field:ident : $kind:ty = $prost:meta $always:tt;)* })*) => { $(
        #[derive(Clone, PartialEq, Message, Serialize)]
        struct $message {
            $($(#[$attribute])* #[$prost] #[serde(skip_serializing_if = $always)] $field: $kind,)*
        }
    )* };
}

/// For fields that are always shown.
fn never<T>(_: &T) -> bool {
    false
}

messages! {
    Reply {
        id: u32 = prost(uint32, tag = "1") "is_unset";
        error: Option<Error> = prost(message, tag = "2") "is_unset";
        push: Option<Push> = prost(message, tag = "4") "is_unset";
        connect: Option<ConnectResult> = prost(message, tag = "5") "is_unset";
        subscribe: Option<SubscribeResult> = prost(message, tag = "6") "is_unset";
        unsubscribe: Option<Empty> = prost(message, tag = "7") "is_unset";
        publish: Option<Empty> = prost(message, tag = "8") "is_unset";
        presence: Option<PresenceResult> = prost(message, tag = "9") "is_unset";
        presence_stats: Option<PresenceStatsResult> = prost(message, tag = "10") "is_unset";
        history: Option<HistoryResult> = prost(message, tag = "11") "is_unset";
        ping: Option<Empty> = prost(message, tag = "12") "is_unset";
        rpc: Option<RpcResult> = prost(message, tag = "13") "is_unset";
        refresh: Option<RefreshResult> = prost(message, tag = "14") "is_unset";
        sub_refresh: Option<SubRefreshResult> = prost(message, tag = "15") "is_unset";
    }
    Error {
        code: u32 = prost(uint32, tag = "1") "never";
        message: String = prost(string, tag = "2") "never";
        temporary: bool = prost(bool, tag = "3") "is_unset";
    }
    Push {
        channel: String = prost(string, tag = "2") "is_unset";
        #[serde(rename = "pub")]
        publication: Option<Publication> = prost(message, tag = "4") "is_unset";
        join: Option<Member> = prost(message, tag = "5") "is_unset";
        leave: Option<Member> = prost(message, tag = "6") "is_unset";
        unsubscribe: Option<Unsubscribe> = prost(message, tag = "7") "is_unset";
        subscribe: Option<Subscribe> = prost(message, tag = "9") "is_unset";
        disconnect: Option<Disconnect> = prost(message, tag = "11") "is_unset";
        refresh: Option<Refresh> = prost(message, tag = "12") "is_unset";
    }
    Subscribe {
        recoverable: bool = prost(bool, tag = "1") "is_unset";
        epoch: String = prost(string, tag = "4") "is_unset";
        offset: u64 = prost(uint64, tag = "5") "is_unset";
        positioned: bool = prost(bool, tag = "6") "is_unset";
        #[serde(serialize_with = "json")]
        data: Vec<u8> = prost(bytes = "vec", tag = "7") "is_unset";
    }
    Refresh {
        expires: bool = prost(bool, tag = "1") "is_unset";
        ttl: u32 = prost(uint32, tag = "2") "is_unset";
    }
    Member { info: Option<ClientInfo> = prost(message, tag = "1") "is_unset"; }
    Unsubscribe {
        code: u32 = prost(uint32, tag = "2") "never";
        reason: String = prost(string, tag = "3") "never";
    }
    Disconnect {
        code: u32 = prost(uint32, tag = "1") "never";
        reason: String = prost(string, tag = "2") "never";
    }
    ClientInfo {
        user: String = prost(string, tag = "1") "never";
        client: String = prost(string, tag = "2") "never";
        #[serde(serialize_with = "json")]
        conn_info: Vec<u8> = prost(bytes = "vec", tag = "3") "is_unset";
        #[serde(serialize_with = "json")]
        chan_info: Vec<u8> = prost(bytes = "vec", tag = "4") "is_unset";
    }
    Publication {
        #[serde(serialize_with = "json")]
        data: Vec<u8> = prost(bytes = "vec", tag = "4") "is_unset";
        info: Option<ClientInfo> = prost(message, tag = "5") "is_unset";
        offset: u64 = prost(uint64, tag = "6") "is_unset";
        tags: BTreeMap<String, String> = prost(btree_map = "string, string", tag = "7") "is_unset";
        time: i64 = prost(int64, tag = "9") "is_unset";
    }
    ConnectResult {
        client: String = prost(string, tag = "1") "never";
        expires: bool = prost(bool, tag = "3") "is_unset";
        ttl: Option<u32> = prost(uint32, optional, tag = "4") "is_unset";
        subs: BTreeMap<String, SubscribeResult> = prost(btree_map = "string, message", tag = "6") "is_unset";
        ping: u32 = prost(uint32, tag = "7") "is_unset";
        pong: bool = prost(bool, tag = "8") "is_unset";
        session: String = prost(string, tag = "9") "is_unset";
        node: String = prost(string, tag = "10") "is_unset";
    }
    SubscribeResult {
        expires: bool = prost(bool, tag = "1") "is_unset";
        ttl: Option<u32> = prost(uint32, optional, tag = "2") "is_unset";
        recoverable: bool = prost(bool, tag = "3") "is_unset";
        epoch: String = prost(string, tag = "6") "is_unset";
        publications: Vec<Publication> = prost(message, repeated, tag = "7") "is_unset";
        recovered: bool = prost(bool, tag = "8") "is_unset";
        offset: u64 = prost(uint64, tag = "9") "is_unset";
        positioned: bool = prost(bool, tag = "10") "is_unset";
        #[serde(serialize_with = "json")]
        data: Vec<u8> = prost(bytes = "vec", tag = "11") "is_unset";
        was_recovering: bool = prost(bool, tag = "12") "is_unset";
    }
    PresenceResult {
        presence: BTreeMap<String, ClientInfo> = prost(btree_map = "string, message", tag = "1") "never";
    }
    PresenceStatsResult {
        num_clients: u32 = prost(uint32, tag = "1") "never";
        num_users: u32 = prost(uint32, tag = "2") "never";
    }
    HistoryResult {
        publications: Vec<Publication> = prost(message, repeated, tag = "1") "never";
        epoch: String = prost(string, tag = "2") "never";
        offset: u64 = prost(uint64, tag = "3") "never";
    }
    RpcResult {
        #[serde(serialize_with = "json")]
        data: Vec<u8> = prost(bytes = "vec", tag = "1") "never";
    }
    RefreshResult {
        client: String = prost(string, tag = "1") "never";
        expires: bool = prost(bool, tag = "3") "is_unset";
        ttl: Option<u32> = prost(uint32, optional, tag = "4") "is_unset";
    }
    SubRefreshResult {
        expires: bool = prost(bool, tag = "1") "is_unset";
        ttl: Option<u32> = prost(uint32, optional, tag = "2") "is_unset";
    }
    Empty {}
}
