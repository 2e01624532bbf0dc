//! What a shard knows as a part of a cluster: its place in the stream that orders all publications, the publications that
//! it has proposed and that have no place yet, and the commands that wait for either. Plain synchronous code.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::answers::{Answer, PublishError};
use super::command::{ReplyTo, ShardCommand};
use super::in_flight::InFlightPermit;
use super::log::LogBegin;
use super::now::Now;
use super::waiting::WaitingRooms;
use crate::backplane::entry::{Entry, Proposal};
use crate::backplane::feed::Proposer;
use crate::protocol::command::CommandError;
use crate::protocol::position::{Epoch, Offset, Position, Since, UnixMillis};
use crate::writer::Address;

/// How long a client that has seen more than this node waits for the node.
const AHEAD_TIME_MAX: Duration = Duration::from_secs(8);

/// The way of a shard to the cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterLink {
    pub proposer: Proposer,
    /// The index of the shard, by which the backplane names it.
    pub shard: usize,
    /// The epoch of the stream.
    pub epoch: Epoch,
}

/// The part of a shard in a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    link: ClusterLink,
    /// Everything up to here in the stream was applied, but for entries that wait for writers.
    position: Offset,
    /// Everything after it is in the logs of the rooms. A room without a log may have lost what was published up to it.
    horizon: Offset,
    /// A moment on both clocks, by which times of the stream become ages.
    clock: Now,
    /// Proposals so far.
    proposed: u64,
    outstanding: HashMap<u64, Outstanding>,
    fences: HashMap<Address, Fence>,
    /// Clients whose commands may go on.
    released: VecDeque<Address>,
    /// Clients that have seen more than this node, and until when they wait, once that was decided.
    ahead: VecDeque<(Option<Instant>, ShardCommand)>,
    caught_up: VecDeque<ShardCommand>,
}

/// The first entry of a room that waits for the room's writers, if one does.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextEntry(pub Option<Offset>);

/// A proposal that has no place in the stream yet.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub waiter: Waiter,
    /// When the data was read from its publisher's socket.
    pub read_at: Instant,
    /// Counts the publication as in flight.
    pub _permit: Option<InFlightPermit>,
}

/// Who waits for what comes of a proposal.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A member.
    Member(ReplyTo),
    /// A client that is no member.
    Outsider(ReplyTo),
    /// An application that publishes.
    Backend(Answer<Result<Option<Position>, PublishError>>),
    /// An application that removes what a room retains.
    Remover(Answer<Result<(), CommandError>>),
}

/// The order of the commands of one client. While publications of it are outstanding, its other commands wait, and
/// everything behind them.
#[derive(Debug, Default)]
struct Fence {
    outstanding: usize,
    waiting: VecDeque<ShardCommand>,
}

impl Waiter {
    /// The client, if one waits.
    pub fn client(&self) -> Option<Address> {
        match self {
            Self::Member(to) | Self::Outsider(to) => Some(to.address),
            Self::Backend(_) | Self::Remover(_) => None,
        }
    }
}

impl Fence {
    fn lets_through(&self, command: &ShardCommand) -> bool {
        self.outstanding == 0 || command.is_publish()
    }
}

impl Cluster {
    pub fn new(link: ClusterLink, clock: Now) -> Self {
        Self {
            link,
            position: Offset(0),
            horizon: Offset(0),
            clock,
            proposed: 0,
            outstanding: HashMap::new(),
            fences: HashMap::new(),
            released: VecDeque::new(),
            ahead: VecDeque::new(),
            caught_up: VecDeque::new(),
        }
    }

    /// The epoch of all rooms.
    pub fn epoch(&self) -> Epoch {
        self.link.epoch
    }

    /// Up to where the stream was applied.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Everything up to here was applied.
    pub fn advance(&mut self, position: Offset) {
        self.position = self.position.max(position);
    }

    /// A log that retained nothing more has ended, or a rule may retain what was dropped before: what was published up to
    /// here may be lost.
    pub fn raise_horizon(&mut self, forgotten: Offset) {
        self.horizon = self.horizon.max(forgotten);
    }

    /// The stream goes on in this epoch, and nothing up to the horizon can be had.
    pub fn restart(&mut self, epoch: Epoch, horizon: Offset) {
        self.link.epoch = epoch;
        (self.position, self.horizon) = (horizon, horizon);
    }

    /// Where the log of a room begins that has none.
    pub fn log_begin(&self, is_retaining: bool, next: NextEntry) -> LogBegin {
        let last = self.applied(next);
        LogBegin { forgotten: if is_retaining { self.horizon.min(last) } else { last }, last }
    }

    /// Up to where everything in a room was applied.
    pub fn applied(&self, NextEntry(next): NextEntry) -> Offset {
        next.map_or(self.position, |next| Offset(next.0 - 1).min(self.position))
    }

    /// The moment of a time of the stream. Two times have the same distance on all nodes.
    pub fn instant_of(&self, time: UnixMillis) -> Instant {
        let Now { instant, unix } = self.clock;
        match time.0.checked_sub(unix.0) {
            Some(later) => instant + Duration::from_millis(later),
            None => instant.checked_sub(Duration::from_millis(unix.0 - time.0)).unwrap_or(instant),
        }
    }

    /// Proposes an entry.
    ///
    /// # Errors
    /// Who waits for it, when the backplane takes no more.
    pub fn propose(&mut self, entry: Entry, outstanding: Outstanding) -> Result<(), Waiter> {
        let number = self.proposed;
        let proposal = Proposal { shard: self.link.shard, number, entry };
        if self.link.proposer.try_propose(proposal).is_err() {
            return Err(outstanding.waiter);
        }
        self.proposed += 1;
        if let Some(client) = outstanding.waiter.client() {
            self.fences.entry(client).or_default().outstanding += 1;
        }
        self.outstanding.insert(number, outstanding);
        Ok(())
    }

    /// The proposals that have no place yet, the oldest first.
    pub fn outstanding(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.outstanding.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Takes a proposal whose outcome is known. `None` if its waiter was answered already.
    pub fn settle(&mut self, number: u64) -> Option<Outstanding> {
        let outstanding = self.outstanding.remove(&number)?;
        if let Some(client) = outstanding.waiter.client() {
            let fence = self.fences.get_mut(&client).expect("a client with something outstanding has a fence");
            fence.outstanding -= 1;
            match (fence.outstanding, fence.waiting.is_empty()) {
                (0, true) => drop(self.fences.remove(&client)),
                (0, false) => self.released.push_back(client),
                _ => {}
            }
        }
        Some(outstanding)
    }

    /// Returns a command that may be handled now. One that waits for publications of its client, or for the node to
    /// reach the place up to which the client has everything, is kept.
    pub fn admit(&mut self, command: ShardCommand, waiting: &WaitingRooms) -> Option<ShardCommand> {
        if self.is_ahead(&command, waiting) {
            self.ahead.push_back((None, command));
            return None;
        }
        let Some((_, Some(client))) = command.in_room() else { return Some(command) };
        let Some(fence) = self.fences.get_mut(&client) else { return Some(command) };
        if fence.waiting.is_empty() && fence.lets_through(&command) {
            return Some(command);
        }
        fence.waiting.push_back(command);
        None
    }

    /// The next command that has waited for publications of its client.
    pub fn next_released(&mut self) -> Option<ShardCommand> {
        while let Some(client) = self.released.front() {
            let fence = self.fences.get_mut(client).expect("a client with waiting commands has a fence");
            if let Some(command) = fence.waiting.pop_front_if(|command| fence.outstanding == 0 || command.is_publish())
            {
                return Some(command);
            }
            if fence.waiting.is_empty() && fence.outstanding == 0 {
                self.fences.remove(client);
            }
            self.released.pop_front();
        }
        None
    }

    /// Whether clients wait for the node to catch up.
    pub fn is_behind(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Lets those clients go on that have waited for what was applied meanwhile, or long enough: these are told that what
    /// they have missed cannot be had.
    pub fn look_ahead(&mut self, now: Instant, waiting: &WaitingRooms) {
        for _ in 0..self.ahead.len() {
            let Some((until, mut command)) = self.ahead.pop_front() else { return };
            let until = until.unwrap_or(now + AHEAD_TIME_MAX);
            if !self.is_ahead(&command, waiting) {
                self.caught_up.push_back(command);
            } else if until <= now {
                command.resume_from(Since::UNREACHABLE);
                self.caught_up.push_back(command);
            } else {
                self.ahead.push_back((Some(until), command));
            }
        }
    }

    /// The next command of a client that the node has caught up with.
    pub fn next_caught_up(&mut self) -> Option<ShardCommand> {
        self.caught_up.pop_front()
    }

    /// Whether commands of clients wait that the node has caught up with.
    pub fn has_caught_up(&self) -> bool {
        !self.caught_up.is_empty()
    }

    /// Whether a client has more of a room than this node.
    fn is_ahead(&self, command: &ShardCommand, waiting: &WaitingRooms) -> bool {
        command.resumes().is_some_and(|(room, since)| {
            since.epoch == Some(self.link.epoch) && since.offset > self.applied(waiting.next_entry(room))
        })
    }
}
