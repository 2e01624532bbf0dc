//! What a shard is told, and what it answers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::in_flight::InFlightPermit;
use super::room::{Member, MemberCount};
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::Listing;
use crate::protocol::names::{Label, RoomName};
use crate::writer::Address;

/// What a member says to all of its room.
#[derive(Debug)]
pub struct Publish {
    /// Which room.
    pub room: RoomName,
    /// Who.
    pub address: Address,
    /// How it is written to, should it be refused.
    pub dialect: Dialect,
    /// What.
    pub text: Box<str>,
    /// When it was read.
    pub read_at: Instant,
    /// Lets it be on its way. `None` where nobody counts.
    pub permit: Option<InFlightPermit>,
}

/// What a member sits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// One that there may be.
    None,
    /// The one that was held for it.
    Held,
}

/// What a client gets to know of the room that it has joined.
#[derive(Debug)]
pub struct Joined {
    /// The room's own name, so that all members share one.
    pub room: RoomName,
    /// How many members it has.
    pub member_count: MemberCount,
}

/// What a shard is told.
#[derive(Debug)]
pub enum ShardCommand {
    /// Somebody will come once it is out of another room: a `Join` to the seat follows for certain.
    Reserve {
        /// Which room.
        room: RoomName,
        /// Answered with why there is no seat, if so.
        ack: oneshot::Sender<Result<(), CommandError>>,
    },
    /// A member comes; it is told `Joined` ahead of everything from the room.
    Join {
        /// Which room.
        room: RoomName,
        /// Who.
        member: Member,
        /// Where.
        reservation: Reservation,
        /// Answered with why there is no seat, if so, in which case the client was told nothing.
        ack: oneshot::Sender<Result<Joined, CommandError>>,
    },
    /// A member goes. Nothing from the room follows the answer.
    Leave {
        /// Which room.
        room: RoomName,
        /// Who.
        address: Address,
        /// Answered when everything from the room is with the writer.
        ack: oneshot::Sender<()>,
    },
    /// A member says something to all.
    Publish(Publish),
    /// A member's new label.
    Rename {
        /// Which room.
        room: RoomName,
        /// Who.
        address: Address,
        /// From the next message on.
        label: Label,
    },
    /// Who is in a room?
    Who {
        /// Which room.
        room: RoomName,
        /// When that was asked.
        asked_at: Instant,
        /// Answered with the labels of the members.
        ack: oneshot::Sender<Arc<Listing<Label>>>,
    },
    /// Which rooms are there?
    Rooms {
        /// When that was asked.
        asked_at: Instant,
        /// Answered with the rooms of this shard.
        ack: oneshot::Sender<Arc<Listing<RoomName>>>,
    },
    /// An answer to a member, behind everything that it has said to the room and everything that was said there before.
    Reply {
        /// The room that the member is in.
        room: RoomName,
        /// The member's address.
        address: Address,
        /// One whole message of its dialect.
        bytes: Bytes,
        /// Lets it be on its way. `None` where nobody counts.
        permit: Option<InFlightPermit>,
    },
}

impl ShardCommand {
    /// Whether it is a message to all members of a room.
    pub fn is_publish(&self) -> bool {
        matches!(self, Self::Publish(_))
    }

    /// The room and the member, for commands that a member of the room gives there.
    pub fn of_member(&self) -> Option<(&RoomName, Address)> {
        match self {
            Self::Publish(Publish { room, address, .. })
            | Self::Leave { room, address, .. }
            | Self::Rename { room, address, .. }
            | Self::Reply { room, address, .. } => Some((room, *address)),
            Self::Reserve { .. } | Self::Join { .. } | Self::Who { .. } | Self::Rooms { .. } => None,
        }
    }
}

/// An answer that waits until the batch is with the writers.
#[derive(Debug)]
pub enum Ack {
    /// To a hold.
    Reserved(oneshot::Sender<Result<(), CommandError>>, Result<(), CommandError>),
    /// To a join.
    Joined(oneshot::Sender<Result<Joined, CommandError>>, Result<Joined, CommandError>),
    /// To a leave.
    Done(oneshot::Sender<()>),
    /// To a question for members.
    Members(oneshot::Sender<Arc<Listing<Label>>>, Arc<Listing<Label>>),
    /// To a question for rooms.
    Rooms(oneshot::Sender<Arc<Listing<RoomName>>>, Arc<Listing<RoomName>>),
}

impl Ack {
    /// Answers. Who asked may be gone; that is its own affair.
    pub fn fire(self) {
        match self {
            Self::Reserved(ack, reserved) => drop(ack.send(reserved)),
            Self::Joined(ack, room) => drop(ack.send(room)),
            Self::Done(ack) => drop(ack.send(())),
            Self::Members(ack, labels) => drop(ack.send(labels)),
            Self::Rooms(ack, rooms) => drop(ack.send(rooms)),
        }
    }
}
