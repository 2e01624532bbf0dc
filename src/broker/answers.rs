//! The answers of a shard, which are sent once the writers have all output of the commands before them.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::oneshot;

use super::busiest::BusiestRooms;
use super::command::{Joined, PageOfRoom, PresenceCount, Reserved, RoomCounts};
use super::idempotency::KeyReused;
use crate::protocol::command::CommandError;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::position::Position;
use crate::protocol::publication::Publisher;

/// Why an application's publish is not published, or perhaps not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The key was used for another publish.
    #[error(transparent)]
    KeyReused(#[from] KeyReused),
    /// The cluster takes no publications now, or has not said in time that it has this one.
    #[error(transparent)]
    Unavailable(CommandError),
}

/// Where the answer to a command goes, once the writers have all output of the commands before it.
pub(super) type Answer<T> = oneshot::Sender<T>;

/// An answer that is due once the batch is with the writers. An enum, since a boxed closure would allocate for each.
#[derive(Debug)]
pub(super) enum Ack {
    Reserved(Answer<Result<Reserved, CommandError>>, Result<Reserved, CommandError>),
    Joined(Answer<Result<Joined, CommandError>>, Result<Joined, CommandError>),
    Done(Answer<()>),
    Removed(Answer<Result<(), CommandError>>, Result<(), CommandError>),
    Published(Answer<Result<Option<Position>, PublishError>>, Result<Option<Position>, PublishError>),
    Presence(Answer<Result<Vec<Arc<Publisher>>, CommandError>>, Result<Vec<Arc<Publisher>>, CommandError>),
    PresenceCount(Answer<PresenceCount>, PresenceCount),
    Page(Answer<Result<PageOfRoom, CommandError>>, Result<PageOfRoom, CommandError>),
    Counted(Answer<RoomCounts>, RoomCounts),
    Busiest(Answer<BusiestRooms>, BusiestRooms),
    Rooms(Answer<Arc<Listing<RoomName>>>, Arc<Listing<RoomName>>),
}

impl Ack {
    /// Sends the answer. A client that has gone meanwhile needs none.
    pub fn send(self) {
        match self {
            Self::Reserved(answer, reserved) => drop(answer.send(reserved)),
            Self::Joined(answer, joined) => drop(answer.send(joined)),
            Self::Done(answer) => drop(answer.send(())),
            Self::Removed(answer, removed) => drop(answer.send(removed)),
            Self::Published(answer, position) => drop(answer.send(position)),
            Self::Presence(answer, members) => drop(answer.send(members)),
            Self::PresenceCount(answer, count) => drop(answer.send(count)),
            Self::Page(answer, page) => drop(answer.send(page)),
            Self::Counted(answer, counts) => drop(answer.send(counts)),
            Self::Busiest(answer, rooms) => drop(answer.send(rooms)),
            Self::Rooms(answer, rooms) => drop(answer.send(rooms)),
        }
    }
}
