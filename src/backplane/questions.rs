//! What nodes ask each other and answer, as JSON. A node that does not know a question says so, since the nodes of a
//! cluster are replaced one after the other.

use std::hash::Hasher;
#[expect(deprecated, reason = "SipHash 2-4, the same in every version")]
use std::hash::SipHasher;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use crate::auth::revocations::Revocation;
use crate::protocol::names::{Label, RoomName};
use crate::protocol::publication::Publisher;

/// The longest answer of one node, in bytes: half of what NATS carries in one message by default.
const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// The users of one room that a node names by their hashes. Those beyond are counted on every node that has them.
pub const USERS_MAX: usize = 20_000;

/// A question to all other nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The labels of the members of a room.
    Labels(RoomName),
    /// The members of a room as others see them.
    Presence(RoomName),
    /// The number of the members of a room.
    Count(RoomName),
    /// The number of the members of a room, and the users that they are, as hashes under this key.
    Users(RoomName, UserKey),
    /// The rooms with members that anyone may know of, or those that users may know of as well.
    Rooms {
        /// Whether somebody asks who has proved to be a user.
        is_user: bool,
    },
    /// The rooms with members whose names match a pattern, each with the number of its members.
    Channels {
        /// `None` matches all rooms.
        pattern: Option<String>,
    },
    /// The state of the node, as the server API shows it.
    Info,
    /// An order to clients, in the words of sessions.
    Order(Box<RawValue>),
    /// Tokens are revoked.
    Revoke(Revocation),
}

/// The key of the hashes of users in one question. Whoever asks draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserKey(pub u64, pub u64);

/// What one node answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The first labels in their order.
    Labels {
        /// The labels.
        labels: Vec<Label>,
        /// The number of those that are left out.
        more: usize,
    },
    /// The members of a room, in no order.
    Presence(Vec<Arc<Publisher>>),
    /// The members of a room are too many for one answer.
    PresenceTooLong {
        /// Their number.
        members: usize,
    },
    /// The number of the members of a room.
    Count(usize),
    /// The number of the members of a room, and the users that they are.
    Users {
        /// Members.
        clients: usize,
        /// The hash of each user, at most [`USERS_MAX`].
        users: Vec<u64>,
        /// The number of the users that are left out.
        more: usize,
    },
    /// The first rooms in their order.
    Rooms {
        /// The rooms.
        rooms: Vec<RoomName>,
        /// The number of those that are left out.
        more: usize,
    },
    /// Rooms with the numbers of their members.
    Channels(Vec<(RoomName, usize)>),
    /// The state of the node.
    Info(serde_json::Value),
    /// It is done, or is being done.
    Done,
    /// Why it is not done, with its code in the server API.
    Refused {
        /// The code.
        code: u32,
        /// The words for it.
        message: String,
    },
    /// The answer would be longer than a node may give.
    TooLong,
    /// The node does not know the question.
    Unknown,
}

impl UserKey {
    /// The hash of a user, the same on all nodes.
    pub fn hash(self, user: &str) -> u64 {
        #[expect(deprecated, reason = "SipHash 2-4, the same in every version")]
        let mut hasher = SipHasher::new_with_keys(self.0, self.1);
        hasher.write(user.as_bytes());
        hasher.finish()
    }
}

impl Question {
    /// The question as nodes send it.
    ///
    /// # Panics
    /// Never: all keys are strings.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("all keys are strings").into()
    }

    /// Reads a question of another node; `None` for one that only a newer version knows.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Answer {
    /// The answer as nodes send it. One that is too long says so instead.
    ///
    /// # Panics
    /// Never: all keys are strings.
    pub fn encode(&self) -> Bytes {
        let encoded = |answer: &Self| Bytes::from(serde_json::to_vec(answer).expect("all keys are strings"));
        let bytes = encoded(self);
        match self {
            _ if bytes.len() <= ANSWER_BYTES_MAX => bytes,
            Self::Presence(members) => encoded(&Self::PresenceTooLong { members: members.len() }),
            _ => encoded(&Self::TooLong),
        }
    }

    /// Reads the answer of another node. One that cannot be read counts as none was given.
    pub fn decode(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            warn!(%error, "another node gives an answer that this one does not understand");
            Self::Unknown
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::publication::{ClientId, PublisherKind, UserId};

    fn member(number: u64, info: &str) -> Arc<Publisher> {
        let label = Label::generated(format_args!("TCP-{number}"));
        let publisher = Publisher::anonymous(ClientId(u64::MAX - number), label);
        Arc::new(Publisher {
            user: UserId::new("ann"),
            info: Some(info.into()),
            kind: PublisherKind::UnnamedClient,
            ..publisher
        })
    }

    #[test]
    fn a_question_and_its_answer_are_read_as_they_were_written() {
        let room = RoomName::parse("a").unwrap();
        let users = Question::Users(room.clone(), UserKey(u64::MAX, 1)).encode();
        assert_eq!(&*users, br#"{"users":["a",[18446744073709551615,1]]}"#);
        assert!(matches!(Question::decode(&users), Some(Question::Users(read, UserKey(u64::MAX, 1))) if read == room));
        let order = Question::Order(RawValue::from_string(r#"{"end":1}"#.to_owned()).unwrap()).encode();
        assert!(matches!(Question::decode(&order), Some(Question::Order(order)) if order.get() == r#"{"end":1}"#));
        let answer = Answer::Presence(vec![member(1, r#"{"a":"\n"}"#), member(2, "1")]);
        assert_eq!(Answer::decode(&answer.encode()), answer);
    }

    #[test]
    fn what_only_another_version_knows_is_no_error() {
        assert!(Question::decode(br#"{"weather":"here"}"#).is_none());
        assert!(Question::decode(br#"{"labels":"no room"}"#).is_none());
        assert_eq!(Answer::decode(br#"{"weather":"fine"}"#), Answer::Unknown);
    }

    #[test]
    fn an_answer_that_is_too_long_says_so() {
        let info = format!("\"{}\"", "x".repeat(1_000));
        let many = Answer::Presence((0..600).map(|number| member(number, &info)).collect());
        assert_eq!(Answer::decode(&many.encode()), Answer::PresenceTooLong { members: 600 });
        let rooms = (0..40_000).map(|number| (RoomName::parse(&format!("room-{number}")).unwrap(), 1)).collect();
        let many = Answer::Channels(rooms);
        assert_eq!(Answer::decode(&many.encode()), Answer::TooLong);
    }
}
