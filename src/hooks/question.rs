//! What the application is asked: one JSON object.

use std::net::IpAddr;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Hook;
use super::cache::{Key, Owner};
use crate::protocol::dialect::Dialect;
use crate::protocol::names::RoomName;
use crate::protocol::publication::{Data, Publisher};

/// More than the length of a body beside what the client publishes, in bytes.
const QUESTION_BYTES: usize = 2 * 1024;

/// What a client wishes to do.
#[derive(Clone, Copy, Debug)]
pub enum Wish<'a> {
    /// To connect.
    Connect,
    /// To join this room.
    Join(&'a RoomName),
    /// To publish this to this room.
    Publish(&'a RoomName, &'a Data),
}

/// A question to the application.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the client wishes to do.
    pub wish: Wish<'a>,
    /// The client as others see it.
    pub publisher: &'a Publisher,
    /// How the client is connected.
    pub dialect: Dialect,
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
}

/// The question as it is sent.
#[derive(Serialize)]
struct Body<'a> {
    hook: Hook,
    client: String,
    user: &'a str,
    name: &'a str,
    transport: &'static str,
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataOfBody<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DataOfBody<'a> {
    Text { text: &'a str },
    Json(&'a RawValue),
}

impl Wish<'_> {
    /// The hook that asks.
    pub fn hook(&self) -> Hook {
        match self {
            Self::Connect => Hook::Connect,
            Self::Join(_) => Hook::Join,
            Self::Publish(..) => Hook::Publish,
        }
    }

    /// The room that it is about.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Connect => None,
            Self::Join(room) | Self::Publish(room, _) => Some(room),
        }
    }
}

impl Question<'_> {
    /// What decisions on the question are kept by; `None` if none are. Allocates nothing.
    pub(super) fn key(&self) -> Option<Key> {
        let Publisher { user, client, .. } = self.publisher;
        let owner = if user.as_str().is_empty() { Owner::Client(*client) } else { Owner::User(user.clone()) };
        Some(Key { hook: self.wish.hook(), owner, room: self.wish.room()?.clone() })
    }

    /// A length in bytes that the body does not exceed. Each byte of a text may need an escape.
    pub(super) fn body_bytes_max(&self) -> usize {
        let data = match self.wish {
            Wish::Publish(_, Data::Text(text)) => 2 * text.len(),
            Wish::Publish(_, Data::Json(json)) => json.len(),
            Wish::Connect | Wish::Join(_) => 0,
        };
        QUESTION_BYTES + data
    }

    /// The JSON object.
    ///
    /// # Panics
    /// The data that the client publishes is no JSON.
    pub(super) fn body(&self) -> Bytes {
        let data = match self.wish {
            Wish::Publish(_, Data::Text(text)) => Some(DataOfBody::Text { text }),
            Wish::Publish(_, Data::Json(json)) => {
                Some(DataOfBody::Json(serde_json::from_str(json).expect("data that was read as JSON")))
            }
            Wish::Connect | Wish::Join(_) => None,
        };
        let body = Body {
            hook: self.wish.hook(),
            client: self.publisher.client.to_string(),
            user: self.publisher.user.as_str(),
            name: self.publisher.label.as_str(),
            transport: self.dialect.transport().word(),
            address: self.address,
            room: self.wish.room().map(RoomName::as_str),
            data,
        };
        serde_json::to_vec(&body).expect("texts are JSON").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::names::Label;
    use crate::protocol::publication::{ClientId, UserId};

    fn body(wish: Wish<'_>) -> String {
        let publisher = Publisher {
            user: UserId::new("user-7"),
            ..Publisher::anonymous(ClientId(0x1f), Label::nick("ali\"ce").unwrap())
        };
        let question =
            Question { wish, publisher: &publisher, dialect: Dialect::TextLines, address: [192, 0, 2, 1].into() };
        let body = question.body();
        assert!(body.len() <= question.body_bytes_max());
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn a_question_says_who_wishes_what_where() {
        let who =
            r#""client":"000000000000001f","user":"user-7","name":"ali\"ce","transport":"tcp","address":"192.0.2.1""#;
        let room = RoomName::parse("a").unwrap();
        assert_eq!(body(Wish::Connect), format!(r#"{{"hook":"connect",{who}}}"#));
        assert_eq!(body(Wish::Join(&room)), format!(r#"{{"hook":"join",{who},"room":"a"}}"#));
        for (data, shown) in [
            (Data::Text("a \"b\"\nc".into()), r#"{"text":"a \"b\"\nc"}"#),
            (Data::Json(r#"{"n":1.50,"n":[]}"#.into()), r#"{"n":1.50,"n":[]}"#),
            (Data::Json("null".into()), "null"),
        ] {
            let expected = format!(r#"{{"hook":"publish",{who},"room":"a","data":{shown}}}"#);
            assert_eq!(body(Wish::Publish(&room, &data)), expected);
        }
    }
}
