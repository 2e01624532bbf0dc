//! What nodes tell each other of their members: at most once, and in no order with the stream.

use std::sync::Arc;

use crate::protocol::names::RoomName;
use crate::protocol::publication::Publisher;

/// Something has happened among the members of a room on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The room, in which members are told of each other.
    pub room: RoomName,
    /// What has happened.
    pub change: MemberChange,
}

/// A change among the members of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A client has joined.
    Joined(Arc<Publisher>),
    /// A client has left.
    Left(Arc<Publisher>),
    /// Clients have come or gone in a room that is so large that only their number is told.
    Counted,
}
