//! In which order a node follows the stream: each envelope once, each after the one before, whatever is lost, comes late
//! or comes again. Plain decisions: reads no clock and no socket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::envelope::{Envelope, EnvelopeError};
use super::leader::{Answer, Leader, Question};
use super::repeats::Repeats;
use super::stream::{self, Inspection, Read, Stored, StoredAt};
use crate::protocol::position::{Epoch, Offset};

/// Envelopes that came before their turn and are kept.
const EARLY_MAX: usize = 1_024;

/// Their bytes.
const EARLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Envelopes of one read. Fewer than a subscription holds, or its end would be dropped.
const READ_MAX: u64 = 256;

/// The time for the next message of a read; then it is asked for again, maybe from another copy.
const READ_WITHIN: Duration = Duration::from_millis(300);

/// The time from a read that found nothing to the next one: the copy that was asked is behind.
const EMPTY_PAUSE: Duration = Duration::from_millis(100);

/// Reads in a row without a result after which nobody has what is missing, although the leader has had it.
const EMPTY_READS_MAX: u32 = 20;

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was published just now; or it is a late copy, from a server that was stopped.
    Feed,
    /// It was asked for.
    Read,
}

/// What comes of an answer of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stream goes on.
    Same,
    /// The leader is to be asked again.
    Doubtful,
    /// What was followed is void.
    Restarted(Restart),
}

/// How the stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Why.
    pub cause: RestartCause,
    /// The epoch from here on.
    pub epoch: Epoch,
    /// The last offset that cannot be had.
    pub horizon: Offset,
}

/// Why a stream does not simply go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartCause {
    /// It was deleted and made anew.
    Anew,
    /// It has lost what it had acknowledged.
    Lost,
    /// It has dropped what this node had not followed yet.
    Hole,
}

/// The next envelope.
#[derive(Debug)]
pub struct Next {
    /// Its place in the stream.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: StoredAt,
    /// What it holds; `None` for one that was there before.
    pub envelope: Result<Option<Envelope>, EnvelopeError>,
}

/// What a node has followed of a stream.
#[derive(Debug)]
pub struct Following {
    created: StoredAt,
    epoch: Epoch,
    /// The next message to be followed.
    next: u64,
    /// The time of the one before, if that was followed.
    followed_at: Option<StoredAt>,
    repeats: Repeats,
    early: BTreeMap<u64, Stored>,
    early_bytes: usize,
    /// The last message that is known to be there.
    known: u64,
    reading: Option<Reading>,
    empty_reads: u32,
    leader: Leader,
    /// To be reached for the node to have caught up.
    target: Option<u64>,
}

/// A read that was asked for.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// The next message when it was asked for.
    from: u64,
    again_at: Instant,
}

impl Following {
    /// Follows a stream from its first message.
    pub fn new(stream: Inspection, now: Instant) -> Self {
        Self {
            created: stream.created,
            epoch: stream::epoch(stream.created),
            next: stream.first,
            followed_at: None,
            repeats: Repeats::default(),
            early: BTreeMap::new(),
            early_bytes: 0,
            known: 0,
            reading: None,
            empty_reads: 0,
            leader: Leader::new(&stream, now),
            target: None,
        }
    }

    /// The epoch of the stream.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last offset that was followed, or cannot be had.
    pub fn reached(&self) -> Offset {
        Offset(stream::offset(self.next, 0).0 - 1)
    }

    /// The last message that was followed, or cannot be had.
    pub fn followed(&self) -> u64 {
        self.next - 1
    }

    /// The messages that the leader had at its last answer and that were not followed, and the time from the last that
    /// was followed to the last there.
    pub fn lag(&self) -> (u64, Duration) {
        let messages = (self.leader.last + 1).saturating_sub(self.next);
        let followed_at = self.followed_at.filter(|_| messages > 0);
        let nanoseconds = followed_at.map_or(0, |at| self.leader.last_at.0.saturating_sub(at.0));
        (messages, Duration::from_nanos(nanoseconds))
    }

    /// Whether the leader has said since the connection was made that this is still the stream.
    pub fn is_verified(&self) -> bool {
        self.leader.is_verified
    }

    /// Whether everything was followed that the leader had at the start.
    pub fn has_caught_up(&self) -> bool {
        self.target.is_some_and(|target| self.next > target)
    }

    /// A message has come.
    pub fn take(&mut self, stored: Stored, source: Source, now: Instant) {
        let is_late = stored.sequence < self.next || stored.stored_at < self.created;
        match (&mut self.reading, source) {
            (_, Source::Feed) if is_late => return self.leader.doubt(now),
            (Some(reading), Source::Read) => reading.again_at = now + READ_WITHIN,
            _ => {}
        }
        if stored.sequence < self.next {
            return;
        }
        self.known = self.known.max(stored.sequence);
        self.keep(stored);
    }

    /// The next envelope, once it is there.
    pub fn take_next(&mut self) -> Option<Next> {
        let first = self.early.first_entry().filter(|first| *first.key() == self.next && self.leader.is_verified)?;
        let Stored { sequence, stored_at, bytes } = first.remove();
        self.early_bytes -= bytes.len();
        self.next += 1;
        self.followed_at = Some(stored_at);
        self.empty_reads = 0;
        let envelope = Envelope::decode(bytes).map(|envelope| {
            let is_new = self.repeats.is_new(envelope.node, envelope.number, sequence);
            is_new.then_some(envelope)
        });
        Some(Next { sequence, stored_at, envelope })
    }

    /// What is to be read now: messages that are there, and have not come.
    pub fn read(&mut self, now: Instant) -> Option<Read> {
        let is_asked = self.reading.is_some_and(|reading| now < reading.again_at);
        if is_asked || !self.has_hole() {
            return None;
        }
        self.reading = Some(Reading { from: self.next, again_at: now + READ_WITHIN });
        let hole = self.early.first_key_value().map_or(READ_MAX, |(&first, _)| first - self.next);
        Some(Read { from: self.next, messages: hole.min(READ_MAX) })
    }

    /// A read has come to its end, after everything that it found.
    pub fn read_ended(&mut self, now: Instant) {
        let Some(reading) = self.reading.take() else { return };
        if self.next == reading.from && self.has_hole() {
            self.empty_reads += 1;
            self.reading = Some(Reading { again_at: now + EMPTY_PAUSE, ..reading });
            self.leader.doubt(now);
        }
    }

    /// What the leader is to be asked now.
    pub fn ask_leader(&mut self, now: Instant) -> Option<Question> {
        self.leader.ask(self.followed_at.map(|at| (self.followed(), at)), now)
    }

    /// The leader has not answered this question.
    pub fn leader_failed(&mut self, question: u64, now: Instant) {
        self.leader.failed(question, now);
    }

    /// The leader has answered this question. `random` is for the epoch of a stream that has lost something.
    pub fn leader_answered(&mut self, question: u64, answer: Inspection, random: u64, now: Instant) -> Verdict {
        match self.leader.answered(question, &answer, self.created, now) {
            Answer::Void => Verdict::Same,
            Answer::Doubtful => Verdict::Doubtful,
            Answer::Other(cause) => Verdict::Restarted(self.restart(answer, cause, random)),
            Answer::Same => match self.first_after_hole(&answer) {
                Some(first) => {
                    let answer = Inspection { first, ..answer };
                    Verdict::Restarted(self.restart(answer, RestartCause::Hole, random))
                }
                None => {
                    self.believe(&answer);
                    Verdict::Same
                }
            },
        }
    }

    /// There is a connection again: the leader is asked first. What has come before its turn is void, since NATS may have
    /// lost it and have something else in its place.
    pub fn connected(&mut self, now: Instant) {
        self.leader.reconnected(now);
        self.early.clear();
        (self.early_bytes, self.known) = (0, 0);
        (self.reading, self.empty_reads, self.target) = (None, 0, None);
    }

    /// The next time at which something is to be asked.
    pub fn due_at(&self) -> Instant {
        let reading = self.reading.filter(|_| self.has_hole()).map(|reading| reading.again_at);
        reading.map_or(self.leader.due_at(), |at| at.min(self.leader.due_at()))
    }

    /// Keeps a message until its turn. If too many are kept, the last ones are read again later.
    fn keep(&mut self, stored: Stored) {
        let is_full = self.early.len() >= EARLY_MAX || self.early_bytes >= EARLY_BYTES_MAX;
        if is_full && stored.sequence > self.next {
            match self.early.last_entry().filter(|last| *last.key() > stored.sequence) {
                Some(last) => self.early_bytes -= last.remove().bytes.len(),
                None => return,
            }
        }
        self.early_bytes += stored.bytes.len();
        if let Some(same) = self.early.insert(stored.sequence, stored) {
            self.early_bytes -= same.bytes.len();
        }
    }

    /// Whether something is there that has not come.
    fn has_hole(&self) -> bool {
        self.leader.is_verified && self.known >= self.next && !self.early.contains_key(&self.next)
    }

    /// The first message that can be had, if the next one cannot.
    fn first_after_hole(&self, answer: &Inspection) -> Option<u64> {
        if answer.first > self.next {
            return Some(answer.first);
        }
        let is_given_up = self.empty_reads >= EMPTY_READS_MAX && self.has_hole() && answer.last >= self.next;
        is_given_up.then(|| self.early.first_key_value().map_or(answer.last + 1, |(&first, _)| first))
    }

    fn restart(&mut self, answer: Inspection, cause: RestartCause, random: u64) -> Restart {
        self.epoch = match cause {
            RestartCause::Anew => stream::epoch(answer.created),
            RestartCause::Lost => Epoch::new(answer.created.unix_millis(), random),
            RestartCause::Hole => self.epoch,
        };
        if cause != RestartCause::Hole {
            self.repeats = Repeats::default();
            self.early.clear();
            self.known = 0;
        }
        (self.created, self.next, self.followed_at) = (answer.created, answer.first, None);
        self.early = self.early.split_off(&self.next);
        self.early_bytes = self.early.values().map(|stored| stored.bytes.len()).sum();
        (self.reading, self.empty_reads, self.target) = (None, 0, None);
        self.leader.is_verified = false;
        self.believe(&answer);
        Restart { cause, epoch: self.epoch, horizon: self.reached() }
    }

    /// The stream is the one that is followed from here on.
    fn believe(&mut self, answer: &Inspection) {
        // What it had at the answer before should have come since, and comes no more if it has not.
        let missing = if self.leader.is_verified { self.leader.last.min(answer.last) } else { answer.last };
        self.known = self.known.max(missing);
        if self.empty_reads >= EMPTY_READS_MAX {
            // It was known from a message of another stream.
            (self.known, self.empty_reads) = (answer.last, 0);
        }
        self.leader.believe(answer);
        self.target.get_or_insert(answer.last);
    }
}
