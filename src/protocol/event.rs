//! What the server tells a client, as data. A dialect makes bytes of it.

use super::command::CommandError;
use super::disconnect::Disconnect;
use super::listing::Listing;
use super::names::{Label, RoomName};
use super::position::Position;
use super::publication::{Publication, Publisher, UserId};

/// A client's own name for a command, which the reply repeats. Dialects that answer in the order of the commands, as text
/// does, have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u32);

/// A message to a client. It borrows; a dialect writes it once for all clients that get it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The greeting, which is a setting.
    Welcome(&'a str),
    /// The client is a member of the room from here on. What it has missed, or [`Event::Unrecovered`], follows.
    Joined(&'a RoomName),
    /// The client has left its room.
    Left,
    /// The command needs a room, and the client is not in it.
    JoinFirst,
    /// All rooms with members.
    Rooms(&'a Listing<RoomName>),
    /// The labels of a room's members.
    Members(&'a RoomName, &'a Listing<Label>),
    /// The client's label from here on.
    Named(&'a Label),
    /// The client is this user from here on; empty if its token names none.
    Authenticated(&'a UserId),
    /// The client's token has expired. The connection ends in this many seconds unless another token comes.
    TokenExpired(u64),
    /// A publication of the room, live or missed.
    Published(&'a RoomName, &'a Publication),
    /// Everything of the room up to this position is ahead.
    Position(&'a RoomName, Position),
    /// The history that the client asked for is ahead; it ends at this position.
    HistoryEnd(&'a RoomName, Position),
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
    /// The last event of a connection.
    Closed(Disconnect),
}
