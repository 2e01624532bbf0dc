//! The commands to a shard and the answers to them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::in_flight::InFlightPermit;
use super::room::{Member, MemberCount};
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::listing::Listing;
use crate::protocol::names::{Label, RoomName};
use crate::writer::Address;

/// A message from a member to its room.
#[derive(Debug)]
pub struct Publish {
    /// The room.
    pub room: RoomName,
    /// The member that publishes.
    pub address: Address,
    /// The dialect of the member, for the error if it is not in the room.
    pub dialect: Dialect,
    /// The text of the message.
    pub text: Box<str>,
    /// When the message was read from the member's socket.
    pub read_at: Instant,
    /// Counts the message as in flight. `None` in tests.
    pub permit: Option<InFlightPermit>,
}

/// Whether a place in the room was reserved before a join. A reservation lets a client whose new room is full stay in its
/// old one, and yet get nothing from the old room after `Joined`: it reserves, leaves, and then joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The join may fail because the room is full.
    None,
    /// The join takes the reserved place.
    Held,
}

/// What a session keeps of the room that its client has joined.
#[derive(Debug)]
pub struct Joined {
    /// The room's own copy of its name, so that all members share one.
    pub room: RoomName,
    /// The number of members, kept up to date by the room.
    pub member_count: MemberCount,
}

/// Where the answer to a command goes, once the writers have all output of the commands before it.
type Answer<T> = oneshot::Sender<T>;

/// A command to a shard.
#[derive(Debug)]
pub enum ShardCommand {
    /// Reserves a place for a client that leaves another room first. A `Join` with [`Reservation::Held`] must follow.
    Reserve(RoomName, Answer<Result<(), CommandError>>),
    /// Adds a member, which gets `Joined` ahead of everything from the room. A client that is refused is sent nothing.
    Join(RoomName, Member, Reservation, Answer<Result<Joined, CommandError>>),
    /// Removes a member. Nothing from the room follows the answer.
    Leave(RoomName, Address, Answer<()>),
    /// Publishes a message.
    Publish(Publish),
    /// Gives a member a new label, from its next message on.
    Rename(RoomName, Address, Label),
    /// Lists the labels of a room's members. The time is when the client sent the request.
    Who(RoomName, Instant, Answer<Arc<Listing<Label>>>),
    /// Lists the shard's rooms. The time is when the client sent the request.
    Rooms(Instant, Answer<Arc<Listing<RoomName>>>),
    /// Replies to a member of the room with one encoded message, behind everything that was published before.
    Reply(RoomName, Address, Bytes, Option<InFlightPermit>),
}

impl ShardCommand {
    /// The room and the member, for commands that a member gives in its room.
    pub(super) fn of_member(&self) -> Option<(&RoomName, Address)> {
        match self {
            Self::Publish(Publish { room, address, .. })
            | Self::Leave(room, address, _)
            | Self::Rename(room, address, _)
            | Self::Reply(room, address, ..) => Some((room, *address)),
            Self::Reserve(..) | Self::Join(..) | Self::Who(..) | Self::Rooms(..) => None,
        }
    }
}

/// An answer that is due once the batch is with the writers. An enum, since a boxed closure would allocate for each.
#[derive(Debug)]
pub(super) enum Ack {
    Reserved(Answer<Result<(), CommandError>>, Result<(), CommandError>),
    Joined(Answer<Result<Joined, CommandError>>, Result<Joined, CommandError>),
    Left(Answer<()>),
    Members(Answer<Arc<Listing<Label>>>, Arc<Listing<Label>>),
    Rooms(Answer<Arc<Listing<RoomName>>>, Arc<Listing<RoomName>>),
}

impl Ack {
    /// Sends the answer. A client that has gone meanwhile needs none.
    pub fn send(self) {
        match self {
            Self::Reserved(answer, reserved) => drop(answer.send(reserved)),
            Self::Joined(answer, joined) => drop(answer.send(joined)),
            Self::Left(answer) => drop(answer.send(())),
            Self::Members(answer, labels) => drop(answer.send(labels)),
            Self::Rooms(answer, rooms) => drop(answer.send(rooms)),
        }
    }
}
