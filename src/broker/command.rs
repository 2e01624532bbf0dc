//! The commands to a shard and the answers to them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::answers::{Answer, PublishError};
use super::busiest::BusiestRooms;
use super::in_flight::{InFlightPermit, LongReplyTurn, Uncharged};
use super::peers::{PeerAnswers, PeerCommand};
use super::room::{Member, MemberCount};
use crate::auth::rules::RoomRules;
use crate::backplane::feed::Placed;
use crate::config::Who;
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::RequestId;
use crate::protocol::idempotency_key::IdempotencyKey;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::position::{Offset, Position, Since};
use crate::protocol::publication::{Data, Publication, Publisher, UserId};
use crate::writer::{Address, WriterIndex};

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
    Members(Box<(Instant, PeerAnswers)>, Option<LongReplyTurn>),
    /// Replies with at most this many of the newest publications, oldest first, and with the position behind them.
    History(usize, Option<LongReplyTurn>),
    /// Publishes for a client that is no member, as others see it.
    PublishFromOutside(Box<(Arc<Publisher>, Data, Instant)>, Uncharged),
    /// Replies with a part of what the room retains; the client need not be a member.
    Page(Box<Page>, Option<LongReplyTurn>),
    /// Replies with the members as others see them; the client need not be one.
    Presence(Option<LongReplyTurn>, Uncharged, PeerAnswers),
    /// Replies with the number of the members; the client need not be one.
    PresenceCount(Uncharged, PeerAnswers),
    /// Replies with the position up to which everything is on its way to the member.
    Position,
    /// Makes this the member as others see it, and replies with the label. Dialects whose replies repeat a name for the
    /// command reply only if there is one.
    Rename(Arc<Publisher>),
    /// Makes this the member as others see it, and replies with its user.
    Authenticate(Arc<Publisher>),
    /// Sends the member one encoded message.
    Reply(Bytes),
}

impl Act {
    /// The bytes that count as in flight for it.
    pub(super) fn in_flight_bytes(&self) -> usize {
        match self {
            Self::Publish(data, _) => data.bytes(),
            Self::PublishFromOutside(publish, _) => publish.1.bytes(),
            Self::Reply(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// Whether it publishes.
    pub(super) fn is_publish(&self) -> bool {
        matches!(self, Self::Publish(..) | Self::PublishFromOutside(..))
    }

    /// Takes what other nodes have answered, if its reply needs it.
    pub fn hear(&mut self, answers: PeerAnswers) {
        match self {
            Self::Members(members, _) => members.1 = answers,
            Self::Presence(.., peers) | Self::PresenceCount(_, peers) => *peers = answers,
            _ => {}
        }
    }

    /// Where the client's turn belongs, if the reply may be long.
    pub fn long_reply_turn(&mut self) -> Option<&mut Option<LongReplyTurn>> {
        match self {
            Self::Members(_, turn) | Self::History(_, turn) | Self::Page(_, turn) | Self::Presence(turn, ..) => {
                Some(turn)
            }
            _ => None,
        }
    }
}

/// A part of what a room retains.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Only what lies behind this place, or in front of it if the order is reversed.
    pub since: Option<Since>,
    /// The most publications; 0 asks for the position alone.
    pub messages_max: usize,
    /// Newest first.
    pub is_reverse: bool,
}

/// A part of what a room retains, for a reader that is no client.
#[derive(Debug, Default)]
pub struct PageOfRoom {
    /// In the order that was asked for.
    pub publications: Vec<Publication>,
    /// The room's last publication; `None` if there is no such room.
    pub position: Option<Position>,
    /// Everything after this offset is retained.
    pub forgotten: Offset,
}

impl PageOfRoom {
    /// Whether a page in the room's order has what directly follows an offset, or nothing follows it.
    pub fn follows(&self, since: Offset) -> bool {
        let last = self.position.map_or(Offset(0), |position| position.offset);
        (self.forgotten..=last).contains(&since)
    }
}

/// How many are in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PresenceCount {
    /// Members.
    pub clients: usize,
    /// Different users; clients that have proved nothing are one.
    pub users: usize,
}

/// Rooms with members, and the number of the members of each.
pub type RoomCounts = Arc<Vec<(RoomName, usize)>>;

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
    /// How the client is told.
    pub reply: JoinReply,
    /// Whether it has reserved a place.
    pub reservation: Reservation,
    /// Up to where the client has everything. It is sent what it has missed, or told that this cannot be had.
    pub since: Option<Since>,
    /// The join fails if what was missed cannot all be had.
    pub must_recover: bool,
    /// Whether the client may read what was published before, and so resume.
    pub may_recover: bool,
    /// Seconds until the membership expires, to be told; `None` if it does not.
    pub expires_in: Option<u32>,
    /// What the application says to the client as it joins, to be told, as one JSON value on one line.
    pub data: Option<Arc<str>>,
    /// The client's turn for what it has missed.
    pub turn: Option<LongReplyTurn>,
}

/// How a client that joins is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinReply {
    /// By a reply to its command, under the client's own name for it where its dialect has one.
    Requested(Option<RequestId>),
    /// By a push: it did not ask for it. What it has missed follows as if it were live.
    Pushed,
    /// Not at all: it was told already. What it has missed since comes as if it were live.
    Told,
}

/// A place that is reserved, and the state of its room.
#[derive(Debug)]
pub struct Reserved {
    /// The room's last publication.
    pub position: Position,
    /// Whether the room retains publications, so that a client can resume.
    pub is_recoverable: bool,
    /// What a client that resumes has missed; `None` if this cannot be had, or it did not ask.
    pub missed: Option<Vec<Publication>>,
}

impl Join {
    /// A plain join.
    pub fn of(room: RoomName, member: Member) -> Self {
        Self {
            room,
            member,
            reply: JoinReply::Requested(None),
            reservation: Reservation::None,
            since: None,
            must_recover: false,
            may_recover: true,
            expires_in: None,
            data: None,
            turn: None,
        }
    }

    /// The writer that may have to write what the client has missed.
    pub(super) fn resumes_on(&self) -> Option<WriterIndex> {
        self.since.map(|_| self.member.address.writer)
    }
}

/// Data that the server itself publishes, for an application.
#[derive(Debug)]
pub struct ServerPublish {
    /// The room. It need not have members.
    pub room: RoomName,
    /// The publisher that members see.
    pub publisher: Arc<Publisher>,
    /// What is published.
    pub data: Data,
    /// When the data came to the server.
    pub read_at: Instant,
    /// Whether it gets an offset and is retained. Otherwise only the members of the moment get it.
    pub is_retained: bool,
    /// Marks the repeats of one publish.
    pub key: Option<IdempotencyKey>,
    /// Counts the command as in flight. The broker's handle sets it.
    pub permit: Option<InFlightPermit>,
}

/// Who is told that a member leaves, where members are told of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The other members.
    Others,
    /// Nobody, since all members leave: the server stops.
    Nobody,
}

/// A client that asks for the rooms. One that may join a room by its token alone is not shown it: it knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sees the rooms that anyone may join.
    Guest,
    /// Has a token that names a user, and sees the rooms that users may join as well.
    User,
}

impl Viewer {
    /// All viewers.
    pub const COUNT: usize = 2;

    /// The viewer that this user is, or anybody who has proved to be none.
    pub fn of(user: Option<&UserId>) -> Self {
        if user.is_some_and(|user| !user.as_str().is_empty()) { Self::User } else { Self::Guest }
    }

    /// Whether a room that these clients may join is shown.
    pub fn sees(self, joined_by: Who) -> bool {
        joined_by == Who::Anyone || joined_by == Who::User && self == Self::User
    }
}

/// What a session keeps of a room that its client has joined.
#[derive(Debug)]
pub struct Joined {
    /// The room's own copy of its name, so that all members share one.
    pub room: RoomName,
    /// The number of members, kept up to date by the room.
    pub member_count: MemberCount,
}

/// A command to a shard.
#[derive(Debug)]
pub enum ShardCommand {
    /// Reserves a place, for a client that leaves another room first or is told first what it has missed. A `Join` with
    /// [`Reservation::Held`] must follow.
    Reserve(RoomName, Option<Since>, Answer<Result<Reserved, CommandError>>),
    /// Adds a member, which gets `Joined` ahead of everything from the room. A client that is refused is sent nothing.
    Join(Join, Answer<Result<Joined, CommandError>>),
    /// Removes a member. Nothing from the room follows the answer.
    Leave(RoomName, Address, Farewell, Answer<()>),
    /// A command of a member.
    Member(MemberCommand),
    /// Publishes for an application. The answer is the position of the publication, or of the first with the same key;
    /// `None` if the room has no members and no history.
    Publish(Box<ServerPublish>, Answer<Result<Option<Position>, PublishError>>),
    /// The members of a room as others see them, in no order, or that they are too many.
    Presence(RoomName, PeerAnswers, Answer<Result<Vec<Arc<Publisher>>, CommandError>>),
    /// The number of the members of a room.
    PresenceCount(RoomName, PeerAnswers, Answer<PresenceCount>),
    /// A part of what a room retains, for a reader that is no client.
    Page(RoomName, Page, Answer<Result<PageOfRoom, CommandError>>),
    /// Drops everything that a room retains.
    RemoveHistory(RoomName, Answer<Result<(), CommandError>>),
    /// The next entry of the stream for a room of the shard, in a cluster.
    Placed(Placed),
    /// The rooms with members, and the number of the members of each.
    CountMembers(Answer<RoomCounts>),
    /// The busiest rooms.
    Busiest(Answer<BusiestRooms>),
    /// Lists the rooms of the shard that the viewer may know of. The time is when the client sent the request.
    Rooms(Instant, Viewer, Answer<Arc<Listing<RoomName>>>),
    /// Applies other rules: to new rooms and to some of the others before the answer, to the rest within seconds.
    Rules(Arc<RoomRules>, Answer<()>),
    /// What other nodes have to do with the rooms.
    Peer(PeerCommand),
}

impl ShardCommand {
    /// The room, and the member if one has given it, for commands whose order within the room matters.
    pub(super) fn in_room(&self) -> Option<(&RoomName, Option<Address>)> {
        match self {
            Self::Member(command) => Some((&command.room, Some(command.from.address))),
            Self::Leave(room, address, ..) => Some((room, Some(*address))),
            Self::Publish(publish, _) => Some((&publish.room, None)),
            Self::RemoveHistory(room, _) => Some((room, None)),
            Self::Placed(placed) => Some((placed.entry.room(), None)),
            Self::Reserve(..)
            | Self::Join(..)
            | Self::Presence(..)
            | Self::PresenceCount(..)
            | Self::Page(..)
            | Self::CountMembers(_)
            | Self::Busiest(_)
            | Self::Rooms(..)
            | Self::Rules(..)
            | Self::Peer(_) => None,
        }
    }

    /// The room, and up to where its client has it, if that matters.
    pub(super) fn resumes(&self) -> Option<(&RoomName, Since)> {
        let (room, since) = match self {
            Self::Join(join, _) => (&join.room, join.since),
            Self::Reserve(room, since, _) => (room, *since),
            Self::Page(room, page, _) => (room, page.since),
            _ => return None,
        };
        since.map(|since| (room, since))
    }

    /// Makes its client resume from another place.
    pub(super) fn resume_from(&mut self, place: Since) {
        match self {
            Self::Join(join, _) => join.since = Some(place),
            Self::Reserve(_, since, _) => *since = Some(place),
            Self::Page(_, page, _) => page.since = Some(place),
            _ => {}
        }
    }

    /// Whether it publishes, or has its place among what is published.
    pub(super) fn is_publish(&self) -> bool {
        match self {
            Self::Publish(..) | Self::Placed(_) => true,
            Self::Member(command) => command.act.is_publish(),
            _ => false,
        }
    }
}
