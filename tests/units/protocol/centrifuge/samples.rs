//! Values that replies and pushes are made of, with what hurts in each.

use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, Position, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publication, Publisher, PublisherKind, UserId};
use serde_json::{Value, json};

/// When everything was published.
pub const PUBLISHED_AT: UnixMillis = UnixMillis(1_795_747_397_042);

pub fn room() -> RoomName {
    RoomName::parse("a\"b").expect("a name")
}

pub fn position(offset: u64) -> Position {
    Position { epoch: Epoch::new(UnixMillis(1_700_000_000_000), 7), offset: Offset(offset) }
}

pub fn text_client() -> Publisher {
    Publisher::anonymous(ClientId(0xab), Label::generated("\"bob\""))
}

pub fn json_client() -> Publisher {
    Publisher {
        client: ClientId(u64::MAX),
        user: UserId::new("ann\\"),
        label: Label::generated("Ann"),
        info: Some(r#"{"a":[1e400]}"#.replace("1e400", "1.50").into()),
        room_info: Some("null".into()),
        kind: PublisherKind::UnnamedClient,
    }
}

pub fn text_info() -> Value {
    json!({"user": "", "client": "00000000000000ab", "conn_info": {"name": "\"bob\""}})
}

pub fn json_info() -> Value {
    json!({"user": "ann\\", "client": "ffffffffffffffff", "conn_info": {"a": [1.50]}, "chan_info": null})
}

pub fn publication(offset: u64, publisher: Publisher, data: Data) -> Publication {
    Publication { offset: Offset(offset), published_at: PUBLISHED_AT, publisher: publisher.into(), data }
}

/// A text with what has to be escaped, long enough that its length needs several bytes, and JSON with nothing around it.
pub fn publications() -> [(Publication, Value); 2] {
    let text = "a \"quoted\" line\n".repeat(20_000) + "\u{1}\u{2028}\u{1F600}\\";
    let said = publication(1, text_client(), Data::Text(text.clone().into()));
    let published = publication(u64::MAX, json_client(), Data::Json("[1,\"x\"]".into()));
    [
        (said, json!({"data": {"text": text}, "info": text_info(), "offset": 1, "time": PUBLISHED_AT.0})),
        (published, json!({"data": [1, "x"], "info": json_info(), "offset": u64::MAX, "time": PUBLISHED_AT.0})),
    ]
}
