//! The commands to a shard and the answers to them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::in_flight::InFlightPermit;
use super::room::{Member, MemberCount};
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::RequestId;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::publication::{Data, Publisher};
use crate::writer::Address;

/// Where the reply to a client's command goes, and how it is written.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo {
    /// The client.
    pub address: Address,
    /// How its output is encoded.
    pub dialect: Dialect,
    /// The client's own name for the command, where its dialect has one.
    pub request: Option<RequestId>,
}

/// A command that a member gives in its room. The shard handles all that a member gives in the order in which the member
/// gave them, and writes the replies in that order.
#[derive(Debug)]
pub struct MemberCommand {
    /// The room.
    pub room: RoomName,
    /// The member.
    pub from: ReplyTo,
    /// What to do.
    pub act: Act,
    /// Counts the command as in flight. The broker's handle sets it.
    pub permit: Option<InFlightPermit>,
}

/// What a member can ask of its room.
#[derive(Debug)]
pub enum Act {
    /// Publishes. The time is when the data was read from the member's socket.
    Publish(Data, Instant),
    /// Replies with the labels of the members. The time is when the client asked.
    Members(Instant),
    /// Makes this the member as others see it, and replies with the label.
    Rename(Arc<Publisher>),
    /// Sends the member one encoded message.
    Reply(Bytes),
}

impl Act {
    /// The bytes that count as in flight for it; `None` for as many as a client may have.
    pub(super) fn in_flight_bytes(&self) -> Option<usize> {
        match self {
            Self::Publish(data, _) => Some(data.bytes()),
            Self::Reply(bytes) => Some(bytes.len()),
            Self::Rename(_) => Some(0),
            // The reply may be as long as a message may be, and a client could ask for it with every line.
            Self::Members(_) => None,
        }
    }
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

/// A client that joins a room.
#[derive(Debug)]
pub struct Join {
    /// The room.
    pub room: RoomName,
    /// The client.
    pub member: Member,
    /// The client's own name for the command, where its dialect has one.
    pub request: Option<RequestId>,
    /// Whether it has reserved a place.
    pub reservation: Reservation,
}

/// What a session keeps of a room that its client has joined.
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
    Join(Join, Answer<Result<Joined, CommandError>>),
    /// Removes a member. Nothing from the room follows the answer.
    Leave(RoomName, Address, Answer<()>),
    /// A command of a member.
    Member(MemberCommand),
    /// Lists the shard's rooms. The time is when the client sent the request.
    Rooms(Instant, Answer<Arc<Listing<RoomName>>>),
}

impl ShardCommand {
    /// The room and the member, for commands that a member gives in its room.
    pub(super) fn of_member(&self) -> Option<(&RoomName, Address)> {
        match self {
            Self::Member(command) => Some((&command.room, command.from.address)),
            Self::Leave(room, address, _) => Some((room, *address)),
            Self::Reserve(..) | Self::Join(..) | Self::Rooms(..) => None,
        }
    }

    /// Whether it publishes.
    pub(super) fn is_publish(&self) -> bool {
        matches!(self, Self::Member(MemberCommand { act: Act::Publish(..), .. }))
    }
}

/// An answer that is due once the batch is with the writers. An enum, since a boxed closure would allocate for each.
#[derive(Debug)]
pub(super) enum Ack {
    Reserved(Answer<Result<(), CommandError>>, Result<(), CommandError>),
    Joined(Answer<Result<Joined, CommandError>>, Result<Joined, CommandError>),
    Left(Answer<()>),
    Rooms(Answer<Arc<Listing<RoomName>>>, Arc<Listing<RoomName>>),
}

impl Ack {
    /// Sends the answer. A client that has gone meanwhile needs none.
    pub fn send(self) {
        match self {
            Self::Reserved(answer, reserved) => drop(answer.send(reserved)),
            Self::Joined(answer, joined) => drop(answer.send(joined)),
            Self::Left(answer) => drop(answer.send(())),
            Self::Rooms(answer, rooms) => drop(answer.send(rooms)),
        }
    }
}
