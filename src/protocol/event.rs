//! What the server tells a client, as data. A dialect makes bytes of it.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::command::CommandError;
use super::disconnect::{Disconnect, RetrySeconds};
use super::listing::Listing;
use super::names::{Label, RoomName};
use super::position::{Epoch, Offset, Position};
use super::publication::{ClientId, Publication, Publisher, UserId};

/// A client's own name for a command, which the reply repeats. Dialects that answer in the order of the commands, as text
/// does, have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(NonZeroU32);

impl RequestId {
    /// A name; 0 is none.
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number that the client has chosen.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// A message to a client. It borrows; a dialect writes it once for all clients that get it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The greeting, which is a setting.
    Welcome(&'a str),
    /// The client is connected, as a dialect says it that asks for a connection by a command.
    Connected(&'a Connected<'a>),
    /// The client is a member of the room from here on. What it has missed, or [`Event::Unrecovered`], follows.
    Joined(&'a RoomName),
    /// The client is a member of the room from here on, and has hereby everything that it has missed.
    JoinedAt(&'a JoinedAt<'a>),
    /// The client has left its room.
    Left,
    /// The client is in the room no more, for this reason of the server's.
    Evicted(&'a RoomName, Eviction),
    /// The command needs a room, and the client is not in it.
    JoinFirst,
    /// All rooms with members.
    Rooms(&'a Listing<RoomName>),
    /// The labels of a room's members.
    Members(&'a RoomName, &'a Listing<Label>),
    /// The members of a room, each as others see it.
    Presence(&'a [Arc<Publisher>]),
    /// The number of the clients in a room, and of the users that they are.
    PresenceCount {
        /// Members.
        clients: usize,
        /// Different users; clients that have proved nothing are one.
        users: usize,
    },
    /// The client's label from here on.
    Named(&'a Label),
    /// The client is this user from here on; empty if its token names none.
    Authenticated(&'a UserId),
    /// The client's token has expired. The connection ends in this many seconds unless another token comes.
    TokenExpired(u64),
    /// The connection goes on with another token.
    Refreshed {
        /// The client.
        client: ClientId,
        /// Seconds until this token expires; `None` if it does not.
        expires_in: Option<u32>,
    },
    /// The membership in a room goes on with another token, for this many seconds; `None` is for ever.
    MembershipRefreshed(Option<u32>),
    /// A publication in this life of the room, live or missed.
    Published(&'a RoomName, Epoch, &'a Publication),
    /// What the client has published has its place in the room.
    Accepted,
    /// Everything of the room up to this position is ahead.
    Position(&'a RoomName, Position),
    /// The history that the client asked for is ahead; it ends at this position.
    HistoryEnd(&'a RoomName, Position),
    /// A part of what a room retains, and the position of the room's last publication; `None` if there is no such room.
    History(&'a [&'a Publication], Option<Position>),
    /// A client has joined the room; it is told of itself as well.
    MemberJoined(&'a RoomName, &'a Publisher),
    /// Another client has left the room.
    MemberLeft(&'a RoomName, &'a Publisher),
    /// The room has this many members, too many to name those that come and go.
    MemberCount(&'a RoomName, usize),
    /// This many publications of the room are missing here, because the client was too slow.
    Gap(u64),
    /// The client resumed from a position, and what it has missed since cannot all be had: an unknown number of
    /// publications is missing here.
    Unrecovered(&'a RoomName),
    /// The answer to a ping, with its token.
    Pong(&'a str),
    /// The list of commands.
    Help,
    /// A command was refused.
    Error(&'a CommandError),
    /// The last event of a connection, and when to come back if the server stops.
    Closed(Disconnect, RetrySeconds),
    /// The last event of a connection that an application ends with a code and a reason of its own.
    Dismissed(u16, &'a str),
}

/// What a client is told when it is connected.
#[derive(Clone, Copy, Debug)]
pub struct Connected<'a> {
    /// The client.
    pub client: ClientId,
    /// Seconds between two pings of the server.
    pub ping_seconds: u32,
    /// Whether the client is to answer pings.
    pub answers_pings: bool,
    /// Seconds until the client's token expires; `None` if it does not.
    pub expires_in: Option<u32>,
    /// The rooms that the server has the client join.
    pub rooms: &'a [JoinedAt<'a>],
    /// The secret name under which a client without WebSocket sends further commands, and the name of this server.
    pub session: Option<(&'a str, &'a str)>,
}

/// What a client is told when it joins a room.
#[derive(Clone, Copy, Debug)]
pub struct JoinedAt<'a> {
    /// The room.
    pub room: &'a RoomName,
    /// The room's last publication, behind which the client gets all.
    pub position: Position,
    /// Whether the room retains publications, so that a client can resume.
    pub is_recoverable: bool,
    /// What came of the wish to resume.
    pub recovery: Recovery<'a>,
    /// Seconds until the membership expires; `None` if it does not.
    pub expires_in: Option<u32>,
    /// What the application says to the client as it joins, as one JSON value on one line.
    pub data: Option<&'a str>,
}

/// What came of the wish to resume from a position.
#[derive(Clone, Copy, Debug)]
pub enum Recovery<'a> {
    /// The client did not ask for it.
    NotRequested,
    /// The client gets everything that it has missed.
    Recovered {
        /// The offset that the client has given.
        since: Offset,
        /// What it has missed, each publication written by [`Dialect::write_missed`](super::dialect::Dialect).
        missed: &'a [u8],
    },
    /// What it has missed cannot all be had.
    Unrecovered,
}

/// Why a client is in a room no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// The application or the rules have ended the membership.
    Unsubscribed,
    /// The token of the membership has expired.
    Expired,
}
