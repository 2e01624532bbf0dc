//! A model of one client of a writer: its queue of messages, and the rules by which it ends. It gets the same commands
//! as the writer, and the bytes that the socket took.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::event::Event;
use roomcast::writer::{Counts, Frames, Kind, Slot};

use crate::common::line;
use crate::wire::Socket;
use crate::writer_budget::Entries;

const SECOND: Duration = Duration::from_secs(1);

/// One message as the socket gets it.
#[derive(Clone)]
pub struct Message {
    pub bytes: Vec<u8>,
    pub kind: Kind,
    /// The entry of the message.
    pub entry: u64,
    /// The number of missing messages, if it is a notice.
    pub missing: u64,
}

impl fmt::Debug for Message {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(20)]);
        write!(out, "{text:?} of {}", self.bytes.len())
    }
}

impl Message {
    fn notice(missing: u64, entry: u64) -> Self {
        Self { bytes: line(&Event::Gap(missing)), kind: Kind::Reply, entry, missing }
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    pub slot: Slot,
    pub closing: Option<Disconnect>,
    pub input_ended: bool,
    pub finished: bool,
    pub gone: bool,
    /// Something was added in this step.
    pub pushed: bool,
    /// Its socket took something in this step.
    pub took: bool,
    /// Its socket has refused in this step what it was to be written.
    is_newly_blocked: bool,
    /// Its socket has refused the last offer and was not said to be writable since.
    blocked: bool,
    /// Refusals that were looked at.
    refusals: usize,
    queue: VecDeque<Message>,
    /// The bytes of the first message that the socket took.
    sent: usize,
    /// The bytes of the socket that were checked.
    seen: usize,
    /// The time at which a closing client is cut.
    deadline: Instant,
    refused: Option<Refused>,
    /// The time of the last check.
    now: Instant,
}

/// A socket has refused bytes that it has not taken.
#[derive(Clone, Copy, Debug)]
struct Refused {
    since: Instant,
    taken_at: Instant,
    /// The time at which the socket last became writable.
    resumed_at: Instant,
}

impl Client {
    pub fn new(slot: Slot, now: Instant) -> Self {
        Self {
            slot,
            closing: None,
            input_ended: false,
            finished: false,
            gone: false,
            pushed: false,
            took: false,
            is_newly_blocked: false,
            blocked: false,
            refusals: 0,
            queue: VecDeque::new(),
            sent: 0,
            seen: 0,
            deadline: now,
            refused: None,
            now,
        }
    }

    pub fn is_open(&self) -> bool {
        !self.gone && self.closing.is_none()
    }

    /// The messages of rooms that are still to be sent.
    pub fn queued(&self) -> u64 {
        let deliveries = self.queue.iter().filter(|message| message.kind == Kind::Delivery);
        deliveries.count() as u64
    }

    /// Something is still to be done for the client.
    pub fn is_unfinished(&self) -> bool {
        !self.gone && (!self.queue.is_empty() || self.closing.is_some() && !self.finished)
    }

    pub fn push(&mut self, messages: &[Message], counts: &mut Counts) {
        let deliveries = messages.iter().filter(|message| message.kind == Kind::Delivery);
        counts.fanned_out += deliveries.clone().count() as u64;
        if self.is_open() {
            self.queue.extend(messages.iter().cloned());
            self.pushed = true;
        } else {
            counts.dropped_gone += deliveries.count() as u64;
        }
    }

    /// The messages were for somebody who is not there.
    pub fn push_nowhere(mut self, messages: &[Message], counts: &mut Counts) {
        self.gone = true;
        self.push(messages, counts);
    }

    /// Everything but a message partly sent and the answers goes, unless the reason is a gentle one.
    pub fn close(&mut self, now: Instant, reason: Disconnect, entries: &mut Entries, counts: &mut Counts) {
        if !self.is_open() {
            return;
        }
        self.closing = Some(reason);
        self.deadline = now + SECOND;
        if !reason.keeps_deliveries() {
            let before = self.queued();
            let begun = if self.sent > 0 { self.queue.pop_front() } else { None };
            self.queue.retain(|message| message.kind == Kind::Reply);
            begun.into_iter().for_each(|message| self.queue.push_front(message));
            count_dropped(before - self.queued(), reason, counts);
        }
        if !matches!(reason, Disconnect::ClosedByPeer | Disconnect::IoError) {
            let bytes = line(&Event::Closed(reason));
            let entry = entries.number(bytes.len());
            self.queue.push_back(Message { bytes, kind: Kind::Reply, entry, missing: 0 });
        }
    }

    /// Looks at what the socket took and how it ended since the last look.
    pub fn look(&mut self, now: Instant, socket: &Socket, counts: &mut Counts) {
        self.took = socket.taken.len() > self.seen;
        if self.took {
            let taken = &socket.taken[self.seen..];
            self.seen = socket.taken.len();
            self.take(taken, counts);
            self.deadline = now + SECOND;
            self.refused.iter_mut().for_each(|refused| refused.taken_at = now);
        }
        if socket.finished && !self.finished {
            assert!(self.closing.is_some(), "{:?}: the stream ends and nobody closed it", self.slot);
            assert!(self.queue.is_empty(), "{:?}: the stream ends with messages owed", self.slot);
            self.finished = true;
            self.deadline = now + SECOND;
        }
        self.look_at_refusal(now, socket);
        self.now = now;
    }

    /// The time of the last check.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Its socket refuses bytes.
    pub fn is_blocked(&self) -> bool {
        !self.gone && self.blocked
    }

    /// Messages are pending for it, and its socket does not refuse them.
    pub fn is_waited_for(&self) -> bool {
        !self.gone && !self.blocked && !self.queue.is_empty()
    }

    /// The writer is told that the socket takes bytes again: from here on the client waits for the writer.
    pub fn resume(&mut self, now: Instant) {
        if std::mem::take(&mut self.blocked) {
            self.refused.iter_mut().for_each(|refused| refused.resumed_at = now);
        }
    }

    /// The oldest messages of rooms give way to the newest, up to the bounds.
    pub fn drop_to_bounds(&mut self, limits: &OutboxLimits, counts: &mut Counts) {
        while limits.policy == SlowPolicy::DropOldest
            && self.is_open()
            && self.is_blocked()
            && (self.is_newly_blocked || self.pushed && !self.took)
            && self.is_over(limits)
            && let Some(oldest) = self.oldest_unbegun()
        {
            self.drop_one(oldest, counts);
        }
    }

    /// Drops all that came with this entry but what is partly sent.
    pub fn drop_entry(&mut self, entry: u64, counts: &mut Counts) {
        while let Some(oldest) = self.oldest_unbegun().filter(|&at| self.queue[at].entry == entry) {
            self.drop_one(oldest, counts);
        }
    }

    /// Drops everything but what is partly sent. Returns how many messages of rooms that were.
    pub fn drop_unbegun(&mut self) -> u64 {
        let before = self.queued();
        self.queue.truncate(usize::from(self.sent > 0));
        before - self.queued()
    }

    /// One message is missing there, in the run of those missing before it if that was not told yet.
    fn drop_one(&mut self, at: usize, counts: &mut Counts) {
        let dropped = self.queue.remove(at).expect("it was found");
        counts.dropped_gap += 1;
        let before = at.checked_sub(1).filter(|&before| before > 0 || self.sent == 0);
        match before.map(|before| &mut self.queue[before]).filter(|before| before.missing > 0) {
            Some(notice) => *notice = Message::notice(notice.missing + 1, notice.entry),
            None => self.queue.insert(at, Message::notice(1, dropped.entry)),
        }
    }

    fn oldest_unbegun(&self) -> Option<usize> {
        let begun = usize::from(self.sent > 0);
        (begun..self.queue.len()).find(|&at| self.queue[at].kind == Kind::Delivery)
    }

    /// What the oldest message of a room came with, of those that could be dropped.
    pub fn oldest_delivery(&self) -> Option<u64> {
        self.oldest_unbegun().map(|at| self.queue[at].entry)
    }

    /// Whether anything is pending for it.
    pub fn has_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The bytes that it holds.
    pub fn entries(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().filter(|message| message.missing == 0).map(|message| message.entry)
    }

    /// What it took is what comes next, byte for byte.
    fn take(&mut self, mut taken: &[u8], counts: &mut Counts) {
        while !taken.is_empty() {
            let first = self.queue.front().expect("the socket took more than it was to get");
            let rest = &first.bytes[self.sent..];
            let step = rest.len().min(taken.len());
            assert_eq!(&taken[..step], &rest[..step], "{:?} took something else", self.slot);
            taken = &taken[step..];
            self.sent += step;
            if self.sent == first.bytes.len() {
                counts.delivered += u64::from(first.kind == Kind::Delivery);
                self.queue.pop_front();
                self.sent = 0;
            }
        }
    }

    fn look_at_refusal(&mut self, now: Instant, socket: &Socket) {
        let has_refused = socket.refusals > self.refusals;
        self.is_newly_blocked = has_refused && !self.blocked;
        self.refusals = socket.refusals;
        if self.queue.is_empty() && !has_refused {
            (self.refused, self.blocked) = (None, self.blocked && self.closing.is_some() && !self.finished);
        } else if self.is_newly_blocked {
            self.blocked = true;
            self.deadline = now + SECOND;
            match &mut self.refused {
                Some(refused) => {
                    let waited = now - refused.resumed_at.max(refused.taken_at);
                    refused.taken_at += waited;
                }
                none => *none = Some(Refused { since: now, taken_at: now, resumed_at: now }),
            }
        }
    }

    /// The socket is closed; whatever is owed is dropped.
    pub fn closed(&mut self, counts: &mut Counts) {
        counts.cut += u64::from(!self.queue.is_empty());
        count_dropped(self.queued(), self.closing.unwrap_or(Disconnect::IoError), counts);
        self.queue.clear();
        self.gone = true;
    }

    /// A closing client whose time is over: not while the writer has still to write to it.
    pub fn has_expired(&self, now: Instant) -> bool {
        self.closing.is_some() && (self.finished || self.blocked) && now >= self.deadline
    }

    /// Over a bound, having taken nothing for a second.
    pub fn has_stalled(&self, now: Instant, limits: &OutboxLimits) -> bool {
        let stalled = |refused: Refused| now - refused.taken_at >= SECOND;
        self.blocked && self.is_over(limits) && self.refused.is_some_and(stalled)
    }

    /// Has taken nothing at all for too long.
    pub fn has_taken_nothing(&self, now: Instant, limits: &OutboxLimits) -> bool {
        self.blocked && self.refused.is_some_and(|refused| now - refused.taken_at >= limits.slow_after)
    }

    fn is_over(&self, limits: &OutboxLimits) -> bool {
        let messages = self.queue.iter().filter(|message| message.missing == 0).count();
        self.bytes() > limits.bytes_max || messages > limits.messages_max
    }

    /// Eight times over a bound, its socket refusing bytes.
    pub fn is_far_over(&self, limits: &OutboxLimits) -> bool {
        self.blocked && self.bytes() > 8 * limits.bytes_max
    }

    /// Its oldest refused byte may be older than it is allowed to be.
    pub fn may_hold_old_bytes(&self, now: Instant, limits: &OutboxLimits) -> bool {
        let old = |refused: Refused| now - refused.since >= limits.slow_after;
        self.blocked && self.refused.is_some_and(old)
    }

    /// Without notices, which are not held against it.
    pub fn bytes(&self) -> usize {
        let sent = if self.queue.front().is_some_and(|first| first.missing == 0) { self.sent } else { 0 };
        let messages = self.queue.iter().filter(|message| message.missing == 0);
        messages.map(|message| message.bytes.len()).sum::<usize>() - sent
    }
}

fn count_dropped(deliveries: u64, reason: Disconnect, counts: &mut Counts) {
    match reason {
        Disconnect::SlowConsumer => counts.dropped_slow += deliveries,
        _ => counts.dropped_gone += deliveries,
    }
}

/// The messages as one entry has them.
pub fn frames(messages: &[Message], kind: Kind) -> Frames {
    let bytes: Bytes = messages.iter().flat_map(|message| message.bytes.clone()).collect();
    if kind == Kind::Reply {
        return Frames::reply(bytes);
    }
    let ends = messages.iter().scan(0, |end, message| {
        *end += message.bytes.len() as u32;
        Some(*end)
    });
    Frames::delivery(bytes, ends.take(messages.len() - 1).collect())
}
