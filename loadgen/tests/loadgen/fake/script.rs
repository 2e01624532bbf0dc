//! What a server does wrong, and what it tells its test.

use std::net::SocketAddr;
use std::time::Duration;

/// One delivery: the number of the client in the order of accepting, from 0, and the number of deliveries it has had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    pub client: usize,
    pub delivery: usize,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// This delivery is never sent.
    Lose(At),
    /// This delivery is sent twice.
    Double(At),
    /// This delivery is sent behind the next.
    Swap(At),
    /// This delivery lacks its last byte.
    Cut(At),
    /// This delivery goes to the first client of another room as well.
    Misroute(At),
    /// The connection is closed in place of this delivery.
    Close(At),
    /// The connection is closed with a last line in place of this delivery.
    Dismiss(At, &'static str),
    /// The first client to leave after a message gets it again behind `Left room`.
    HauntTheFirstToLeave,
    /// No `POSITION` is answered.
    AnswerNoPosition,
    /// The first client to come back with a position is disconnected.
    RefuseTheFirstToResume,
    /// Each client to come back with a position is disconnected.
    RefuseAllToResume,
    /// The first client to come back is told of a gap, although everything could be had.
    TellTheFirstToResumeOfAGap,
    /// The first client to come back gets nothing of what it has missed and is not told of it.
    ConcealTheFirstGap,
    /// The first replay lacks its last message.
    LoseTheLastOfTheFirstReplay,
    /// The first replay has its last message twice.
    DoubleTheLastOfTheFirstReplay,
    /// This message is refused as unavailable and reaches nobody.
    RefuseMessage(usize),
    /// This message reaches nobody, and the connection of its sender is closed without a word.
    SwallowMessageAndClose(usize),
    /// In place of this message, a member that did not send it is disconnected.
    CloseAReader(usize),
    /// Behind this message, the node of its sender ends all of its connections and takes new ones again.
    StopNode(usize),
    /// A node that ends its connections tells the clients to come back after this many seconds.
    Hint(u32),
    /// Every token is refused.
    RefuseTokens,
    /// Nothing is ever answered.
    AnswerNothing,
    /// Only this many `PING`s are answered.
    AnswerPings(usize),
    /// Nothing is sent for this long, once, from this message on.
    Stall { message: usize, time: Duration },
    /// Everything is sent this much later.
    Delay(Duration),
    /// Everything is sent this much later for each member of the room.
    DelayForEachMember(Duration),
}

/// An event that the server reports to its test.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A client has presented this token.
    Presented(String),
    /// A client has joined a room.
    Joined(SocketAddr),
    /// A client has published a message.
    Said,
    /// A client has answered a ping.
    Ponged,
    /// A client has left.
    Gone,
}
