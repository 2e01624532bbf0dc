//! What a node publishes, and when: proposals are collected into envelopes, and one envelope at a time is sent until it
//! is seen in the stream. So entries of a node stay in their order whatever NATS does. Plain decisions: reads no clock
//! and sends nothing.

use std::mem;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::entry::{Proposal, ProposalError};
use super::envelope::{self, NodeId};

/// The most entries of an envelope: the places that an offset can tell apart.
pub const ENTRIES_MAX: usize = 4_096;

/// An envelope takes no further entry from this length on, in bytes.
pub const ENVELOPE_BYTES: usize = 64 * 1024;

/// The shortest time between two envelopes. What is proposed meanwhile goes together.
const PAUSE: Duration = Duration::from_millis(1);

/// The time for an acknowledgement; then the envelope is sent again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(1);

/// The time from a refusal to the next attempt.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);

/// The time for an acknowledged envelope to be seen in the stream; then it is sent again, since NATS may have lost it.
const STORED_SEEN_WITHIN: Duration = Duration::from_secs(5);

/// The time after which publishers are told that nobody knows.
const SEEN_WITHIN: Duration = Duration::from_secs(8);

/// The time without connection for which proposals wait.
const DISCONNECTED_MAX: Duration = Duration::from_secs(2);

/// What one node publishes.
#[derive(Debug)]
pub struct Publishing {
    node: NodeId,
    entry_bytes_max: usize,
    last_number: u64,
    collected: Collected,
    in_flight: Option<InFlight>,
    /// The next envelope is not sent before.
    open_at: Option<Instant>,
    disconnected_since: Option<Instant>,
}

/// A proposal by the shard that has made it and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalId {
    /// The shard.
    pub shard: usize,
    /// The number among all proposals of the shard.
    pub number: u64,
}

/// The entries of the next envelope.
#[derive(Debug, Default)]
struct Collected {
    entries: BytesMut,
    proposals: Vec<ProposalId>,
}

/// The envelope that was sent and not seen in the stream.
#[derive(Debug)]
struct InFlight {
    number: u64,
    bytes: Bytes,
    /// Empty once they have failed.
    proposals: Vec<ProposalId>,
    sent_at: Instant,
    /// When it is sent again.
    due_at: Instant,
    is_overdue: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum PublishStep {
    /// Send these bytes.
    Send {
        /// The number of the envelope.
        number: u64,
        /// The same for each attempt.
        bytes: Bytes,
        /// Whether it was sent before.
        is_repeat: bool,
    },
    /// Tell the shards that these proposals have no place.
    Fail(Vec<ProposalId>, ProposalError),
    /// Nothing before this time.
    Wait(Option<Instant>),
}

impl Publishing {
    /// Nothing yet. A longer entry is refused.
    pub fn new(node: NodeId, entry_bytes_max: usize, now: Instant) -> Self {
        Self {
            node,
            entry_bytes_max,
            last_number: 0,
            collected: Collected::default(),
            in_flight: None,
            open_at: None,
            disconnected_since: Some(now),
        }
    }

    /// Whether a proposal is taken now, or refused now. Otherwise it must wait.
    pub fn is_open(&self, now: Instant) -> bool {
        self.is_unavailable(now) || self.collected.has_room()
    }

    /// Whether proposals are refused.
    pub fn is_unavailable(&self, now: Instant) -> bool {
        self.in_flight.as_ref().is_some_and(|envelope| envelope.is_overdue)
            || self.disconnected_since.is_some_and(|since| now.duration_since(since) >= DISCONNECTED_MAX)
    }

    /// Whether nothing waits or is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.collected.proposals.is_empty()
    }

    /// Proposals that wait for the next envelope, and those of the envelope in flight.
    pub fn counts(&self) -> (usize, usize) {
        (self.collected.proposals.len(), self.in_flight.as_ref().map_or(0, |envelope| envelope.proposals.len()))
    }

    /// Takes a proposal.
    ///
    /// # Errors
    /// The proposal is too long, or NATS is away.
    pub fn propose(&mut self, proposal: Proposal, now: Instant) -> Result<(), ProposalError> {
        if self.is_unavailable(now) {
            return Err(ProposalError::Unavailable);
        }
        let Proposal { shard, number, entry } = proposal;
        let before = self.collected.entries.len();
        envelope::append_entry(entry, &mut self.collected.entries);
        if self.collected.entries.len() - before > self.entry_bytes_max {
            self.collected.entries.truncate(before);
            return Err(ProposalError::Unavailable);
        }
        self.collected.proposals.push(ProposalId { shard, number });
        Ok(())
    }

    /// The next thing to be done. To be called until it says to wait.
    pub fn step(&mut self, now: Instant) -> PublishStep {
        if let Some(envelope) = self.in_flight.as_mut().filter(|envelope| envelope.becomes_overdue(now)) {
            envelope.is_overdue = true;
            return PublishStep::Fail(mem::take(&mut envelope.proposals), ProposalError::Unknown);
        }
        if self.is_unavailable(now) && !self.collected.proposals.is_empty() {
            return PublishStep::Fail(mem::take(&mut self.collected).proposals, ProposalError::Unavailable);
        }
        if self.disconnected_since.is_none() {
            let is_open = self.open_at.is_none_or(|at| now >= at) && !self.collected.proposals.is_empty();
            match &mut self.in_flight {
                Some(envelope) if now >= envelope.due_at => return envelope.repeat(now),
                None if is_open => return self.send(now),
                _ => {}
            }
        }
        PublishStep::Wait(self.due_at(now))
    }

    /// The envelope of this number has come back in the stream. Returns its proposals, in the order of its entries; none
    /// if they have failed.
    pub fn seen(&mut self, number: u64) -> Vec<ProposalId> {
        let seen = self.in_flight.take_if(|envelope| envelope.number == number);
        seen.map(|envelope| envelope.proposals).unwrap_or_default()
    }

    /// The stream has said that it has stored the envelope.
    pub fn stored(&mut self, number: u64, now: Instant) {
        self.postpone(number, now + STORED_SEEN_WITHIN);
    }

    /// The envelope was refused, or could not be sent.
    pub fn refused(&mut self, number: u64, now: Instant) {
        self.postpone(number, now + REFUSED_PAUSE);
    }

    /// There is a connection again.
    pub fn connected(&mut self, now: Instant) {
        self.disconnected_since = None;
        self.restarted(now);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, now: Instant) {
        self.disconnected_since.get_or_insert(now);
    }

    /// The stream is another one, or has lost something: the envelope may have been in it.
    pub fn restarted(&mut self, now: Instant) {
        if let Some(envelope) = &mut self.in_flight {
            envelope.due_at = now;
        }
    }

    fn postpone(&mut self, number: u64, due_at: Instant) {
        if let Some(envelope) = self.in_flight.as_mut().filter(|envelope| envelope.number == number) {
            envelope.due_at = due_at;
        }
    }

    fn send(&mut self, now: Instant) -> PublishStep {
        let Collected { entries, proposals } = mem::take(&mut self.collected);
        self.last_number += 1;
        let number = self.last_number;
        let bytes = envelope::seal(self.node, number, &entries);
        self.open_at = Some(now + PAUSE);
        let due_at = now + ACKNOWLEDGED_WITHIN;
        let envelope = InFlight { number, bytes, proposals, sent_at: now, due_at, is_overdue: false };
        let bytes = self.in_flight.insert(envelope).bytes.clone();
        PublishStep::Send { number, bytes, is_repeat: false }
    }

    /// The next time at which something changes by itself.
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let is_connected = self.disconnected_since.is_none();
        let overdue_at = self.in_flight.as_ref().filter(|one| !one.is_overdue).map(|one| one.sent_at + SEEN_WITHIN);
        let repeat_at = self.in_flight.as_ref().filter(|_| is_connected).map(|one| one.due_at);
        let waits = !self.collected.proposals.is_empty();
        let open_at = self.open_at.filter(|_| waits && is_connected && self.in_flight.is_none());
        let away_at = self.disconnected_since.map(|since| since + DISCONNECTED_MAX).filter(|&at| at > now);
        [overdue_at, repeat_at, open_at, away_at].into_iter().flatten().min()
    }
}

impl Collected {
    fn has_room(&self) -> bool {
        self.proposals.len() < ENTRIES_MAX && self.entries.len() < ENVELOPE_BYTES
    }
}

impl InFlight {
    fn becomes_overdue(&self, now: Instant) -> bool {
        !self.is_overdue && now.duration_since(self.sent_at) >= SEEN_WITHIN
    }

    fn repeat(&mut self, now: Instant) -> PublishStep {
        self.due_at = now + ACKNOWLEDGED_WITHIN;
        PublishStep::Send { number: self.number, bytes: self.bytes.clone(), is_repeat: true }
    }
}
