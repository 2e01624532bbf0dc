//! What stands in the stream, and what a shard proposes to stand there.

use std::sync::Arc;

use crate::protocol::idempotency_key::IdempotencyKey;
use crate::protocol::names::RoomName;
use crate::protocol::publication::{Data, Publisher};

/// One thing that all nodes do at the same place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Something is published.
    Publish(Publish),
    /// Everything that the room retains is dropped.
    RemoveHistory(RoomName),
}

/// Something that is published to a room on all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The room. It may have members on any node, or on none.
    pub room: RoomName,
    /// The publisher that members see.
    pub publisher: Arc<Publisher>,
    /// What is published.
    pub data: Data,
    /// Whether it gets an offset and is retained. Otherwise only the members of the moment get it.
    pub is_retained: bool,
    /// Marks the repeats of one publish.
    pub key: Option<IdempotencyKey>,
}

/// An entry that has no place in the stream yet.
#[derive(Debug)]
pub struct Proposal {
    /// The shard that proposes it, which is told what comes of it.
    pub shard: usize,
    /// Names it among all proposals of that shard.
    pub number: u64,
    /// What is proposed.
    pub entry: Entry,
}

/// Why a proposal has no place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalError {
    /// NATS cannot be reached or takes nothing. The entry is not in the stream and will not be.
    Unavailable,
    /// NATS has not said in time whether it has the entry. It may come yet.
    Unknown,
}

impl Entry {
    /// The room that it is about.
    pub fn room(&self) -> &RoomName {
        match self {
            Self::Publish(publish) => &publish.room,
            Self::RemoveHistory(room) => room,
        }
    }

    /// About the memory of its texts, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Publish(publish) => publish.data.bytes() + publish.publisher.tags_bytes(),
            Self::RemoveHistory(room) => room.as_str().len(),
        }
    }
}
