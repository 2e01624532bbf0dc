//! The messages of the Centrifuge protocol: names, tags and kinds of their fields.

/// The fields of a message.
pub type Fields = &'static [Field];

/// One field.
pub struct Field {
    pub name: &'static str,
    pub tag: u64,
    pub kind: Kind,
    /// Whether JSON has it even when it is zero or empty.
    pub is_always: bool,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Bool,
    Unsigned,
    Signed,
    /// Raw JSON, which Protobuf has as bytes.
    Json,
    Message(Fields),
    List(Fields),
    Map(Fields),
    TextMap,
}

use Kind::{Bool, Json, List, Map, Message, Signed, Text, TextMap, Unsigned};

const fn field(name: &'static str, tag: u64, kind: Kind) -> Field {
    Field { name, tag, kind, is_always: false }
}

const fn always(name: &'static str, tag: u64, kind: Kind) -> Field {
    Field { name, tag, kind, is_always: true }
}

const EMPTY: Fields = &[];

pub const COMMAND: Fields = &[
    field("id", 1, Unsigned),
    field("connect", 4, Message(CONNECT_REQUEST)),
    field("subscribe", 5, Message(SUBSCRIBE_REQUEST)),
    field("unsubscribe", 6, Message(OF_CHANNEL)),
    field("publish", 7, Message(&[CHANNEL, field("data", 2, Json)])),
    field("presence", 8, Message(OF_CHANNEL)),
    field("presence_stats", 9, Message(OF_CHANNEL)),
    field("history", 10, Message(HISTORY_REQUEST)),
    field("ping", 11, Message(EMPTY)),
    field("send", 12, Message(&[field("data", 1, Json)])),
    field("rpc", 13, Message(&[field("data", 1, Json), field("method", 2, Text)])),
    field("refresh", 14, Message(&[field("token", 1, Text)])),
    field("sub_refresh", 15, Message(&[CHANNEL, field("token", 2, Text)])),
];

const CHANNEL: Field = field("channel", 1, Text);

const OF_CHANNEL: Fields = &[CHANNEL];

const CONNECT_REQUEST: Fields = &[
    field("token", 1, Text),
    field("data", 2, Json),
    field("subs", 3, Map(SUBSCRIBE_REQUEST)),
    field("name", 4, Text),
    field("version", 5, Text),
    field("headers", 6, TextMap),
    field("flag", 7, Signed),
];

const SUBSCRIBE_REQUEST: Fields = &[
    CHANNEL,
    field("token", 2, Text),
    field("recover", 3, Bool),
    field("epoch", 6, Text),
    field("offset", 7, Unsigned),
    field("data", 8, Json),
    field("positioned", 9, Bool),
    field("recoverable", 10, Bool),
    field("join_leave", 11, Bool),
    field("delta", 12, Text),
    field("tf", 13, Message(EMPTY)),
    field("flag", 14, Signed),
    field("type", 15, Signed),
];

const HISTORY_REQUEST: Fields = &[
    CHANNEL,
    field("limit", 7, Signed),
    field("since", 8, Message(&[field("offset", 1, Unsigned), field("epoch", 2, Text)])),
    field("reverse", 9, Bool),
];

pub const REPLY: Fields = &[
    field("id", 1, Unsigned),
    field("error", 2, Message(&[always("code", 1, Unsigned), always("message", 2, Text), field("temporary", 3, Bool)])),
    field("push", 4, Message(PUSH)),
    field("connect", 5, Message(CONNECT_RESULT)),
    field("subscribe", 6, Message(SUBSCRIBE_RESULT)),
    field("unsubscribe", 7, Message(EMPTY)),
    field("publish", 8, Message(EMPTY)),
    field("presence", 9, Message(&[always("presence", 1, Map(CLIENT_INFO))])),
    field("presence_stats", 10, Message(&[always("num_clients", 1, Unsigned), always("num_users", 2, Unsigned)])),
    field("history", 11, Message(HISTORY_RESULT)),
    field("ping", 12, Message(EMPTY)),
    field("rpc", 13, Message(&[field("data", 1, Json)])),
    field("refresh", 14, Message(REFRESH_RESULT)),
    field("sub_refresh", 15, Message(&[field("expires", 1, Bool), field("ttl", 2, Unsigned)])),
];

const PUSH: Fields = &[
    field("channel", 2, Text),
    field("pub", 4, Message(PUBLICATION)),
    field("join", 5, Message(&[field("info", 1, Message(CLIENT_INFO))])),
    field("leave", 6, Message(&[field("info", 1, Message(CLIENT_INFO))])),
    field("unsubscribe", 7, Message(&[always("code", 2, Unsigned), always("reason", 3, Text)])),
    field("message", 8, Message(&[field("data", 1, Json)])),
    field("subscribe", 9, Message(SUBSCRIBE_PUSH)),
    field("disconnect", 11, Message(&[always("code", 1, Unsigned), always("reason", 2, Text)])),
    field("refresh", 12, Message(&[field("expires", 1, Bool), field("ttl", 2, Unsigned)])),
];

const SUBSCRIBE_PUSH: Fields = &[
    field("recoverable", 1, Bool),
    field("epoch", 4, Text),
    field("offset", 5, Unsigned),
    field("positioned", 6, Bool),
    field("data", 7, Json),
];

const PUBLICATION: Fields = &[
    field("data", 4, Json),
    field("info", 5, Message(CLIENT_INFO)),
    field("offset", 6, Unsigned),
    field("tags", 7, TextMap),
    field("time", 9, Signed),
];

const CLIENT_INFO: Fields =
    &[always("user", 1, Text), always("client", 2, Text), field("conn_info", 3, Json), field("chan_info", 4, Json)];

const CONNECT_RESULT: Fields = &[
    always("client", 1, Text),
    field("version", 2, Text),
    field("expires", 3, Bool),
    field("ttl", 4, Unsigned),
    field("data", 5, Json),
    field("subs", 6, Map(SUBSCRIBE_RESULT)),
    field("ping", 7, Unsigned),
    field("pong", 8, Bool),
    field("session", 9, Text),
    field("node", 10, Text),
    field("time", 11, Signed),
];

const SUBSCRIBE_RESULT: Fields = &[
    field("expires", 1, Bool),
    field("ttl", 2, Unsigned),
    field("recoverable", 3, Bool),
    field("epoch", 6, Text),
    field("publications", 7, List(PUBLICATION)),
    field("recovered", 8, Bool),
    field("offset", 9, Unsigned),
    field("positioned", 10, Bool),
    field("data", 11, Json),
    field("was_recovering", 12, Bool),
];

const HISTORY_RESULT: Fields =
    &[always("publications", 1, List(PUBLICATION)), always("epoch", 2, Text), always("offset", 3, Unsigned)];

const REFRESH_RESULT: Fields =
    &[always("client", 1, Text), field("version", 2, Text), field("expires", 3, Bool), field("ttl", 4, Unsigned)];
