//! A model of one client of a writer: its queue of messages, and the rules by which its connection ends. The model gets
//! the same commands as the writer, and sees the bytes that the socket has taken.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::event::Event;
use roomcast::writer::{Counts, Frames, Kind, Slot};

use crate::common::{RETRY, line};
use crate::wire::Socket;
use crate::writer_budget::Entries;

const SECOND: Duration = Duration::from_secs(1);

/// One message in the bytes that the socket receives.
#[derive(Clone)]
pub struct Message {
    pub bytes: Vec<u8>,
    pub kind: Kind,
    /// The number of the entry that the message is part of.
    pub entry: u64,
    /// The number of missing messages if this is a notice, otherwise 0.
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

/// One client of the writer.
#[derive(Debug)]
pub struct Client {
    pub slot: Slot,
    pub closing: Option<Disconnect>,
    pub input_ended: bool,
    pub finished: bool,
    pub gone: bool,
    /// Messages were added in this step.
    pub pushed: bool,
    /// The socket took bytes in this step.
    pub took: bool,
    /// The socket refused bytes in this step and was not blocked before.
    is_newly_blocked: bool,
    /// The socket refused the last send, and the writer has not been notified that it is writable again.
    blocked: bool,
    /// The number of refusals that the model has seen.
    refusals: usize,
    queue: VecDeque<Message>,
    /// The number of bytes of the first message that the socket has taken.
    sent: usize,
    /// The number of bytes in the socket that the model has checked.
    seen: usize,
    /// The time at which a closing client is cut.
    deadline: Instant,
    refused: Option<Refused>,
    /// The time of the last check.
    now: Instant,
}

/// Times of a socket that has refused bytes and has not yet taken all of them.
#[derive(Clone, Copy, Debug)]
struct Refused {
    since: Instant,
    taken_at: Instant,
    /// The last time at which the writer was notified that the socket is writable.
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

    /// The number of deliveries that are not fully sent.
    pub fn queued(&self) -> u64 {
        let deliveries = self.queue.iter().filter(|message| message.kind == Kind::Delivery);
        deliveries.count() as u64
    }

    /// The writer still has to send messages to the client or end its stream.
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

    /// Counts the messages as dropped, because their client is not open.
    pub fn push_to_absent(mut self, messages: &[Message], counts: &mut Counts) {
        self.gone = true;
        self.push(messages, counts);
    }

    /// Closes the client. Unless the reason keeps deliveries, all of them are dropped except a partly sent one.
    pub fn close(&mut self, now: Instant, reason: Disconnect, entries: &mut Entries, counts: &mut Counts) {
        if !self.is_open() {
            return;
        }
        self.closing = Some(reason);
        self.deadline = now + SECOND;
        if !reason.keeps_deliveries() {
            let before = self.queued();
            let partly_sent = if self.sent > 0 { self.queue.pop_front() } else { None };
            self.queue.retain(|message| message.kind == Kind::Reply);
            partly_sent.into_iter().for_each(|message| self.queue.push_front(message));
            count_dropped(before - self.queued(), reason, counts);
        }
        if !matches!(reason, Disconnect::ClosedByPeer | Disconnect::IoError) {
            let bytes = line(&Event::Closed(reason, RETRY));
            let entry = entries.number(bytes.len());
            self.queue.push_back(Message { bytes, kind: Kind::Reply, entry, missing: 0 });
        }
    }

    /// Checks the bytes that the socket has taken since the last check, and whether its stream has ended.
    pub fn observe(&mut self, now: Instant, socket: &Socket, counts: &mut Counts) {
        self.took = socket.taken.len() > self.seen;
        if self.took {
            let taken = &socket.taken[self.seen..];
            self.seen = socket.taken.len();
            self.take(taken, counts);
            self.deadline = now + SECOND;
            self.refused.iter_mut().for_each(|refused| refused.taken_at = now);
        }
        if socket.finished && !self.finished {
            assert!(self.closing.is_some(), "{:?}: the stream ends and the client is not closing", self.slot);
            assert!(self.queue.is_empty(), "{:?}: the stream ends with messages pending", self.slot);
            self.finished = true;
            self.deadline = now + SECOND;
        }
        self.observe_refusals(now, socket);
        self.now = now;
    }

    /// The time of the last check.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The socket refuses bytes.
    pub fn is_blocked(&self) -> bool {
        !self.gone && self.blocked
    }

    /// Messages are pending, and the socket has not refused them: the writer has yet to write them.
    pub fn awaits_writer(&self) -> bool {
        !self.gone && !self.blocked && !self.queue.is_empty()
    }

    /// The writer was notified that the socket is writable. From now on the client waits for the writer.
    pub fn resume(&mut self, now: Instant) {
        if std::mem::take(&mut self.blocked) {
            self.refused.iter_mut().for_each(|refused| refused.resumed_at = now);
        }
    }

    /// Drops the oldest deliveries until the client is within its bounds, if the policy allows it and the socket has taken
    /// nothing of an offer. It was offered something if it is blocked since then, if messages were added, and in a sweep.
    pub fn drop_to_bounds(&mut self, is_sweep: bool, limits: &OutboxLimits, counts: &mut Counts) {
        while limits.policy == SlowPolicy::DropOldest
            && self.is_open()
            && self.is_blocked()
            && (self.is_newly_blocked || self.pushed || is_sweep)
            && !self.took
            && self.is_over(limits)
            && let Some(oldest) = self.oldest_unsent()
        {
            self.drop_one(oldest, counts);
        }
    }

    /// Drops the oldest deliveries while they are part of this entry, except a partly sent one.
    pub fn drop_entry(&mut self, entry: u64, counts: &mut Counts) {
        while let Some(oldest) = self.oldest_unsent().filter(|&at| self.queue[at].entry == entry) {
            self.drop_one(oldest, counts);
        }
    }

    /// Drops all messages except a partly sent one. Returns the number of dropped deliveries.
    pub fn drop_unsent(&mut self) -> u64 {
        let before = self.queued();
        self.queue.truncate(usize::from(self.sent > 0));
        before - self.queued()
    }

    /// The message of which the socket has taken some bytes and not all, unless it is a notice.
    pub fn partly_sent(&mut self) -> Option<&mut Message> {
        self.queue.front_mut().filter(|message| self.sent > 0 && message.missing == 0)
    }

    /// Replaces one message with a notice, or counts it in the notice before it if no byte of that was sent.
    fn drop_one(&mut self, at: usize, counts: &mut Counts) {
        let dropped = self.queue.remove(at).expect("it was found");
        counts.dropped_gap += 1;
        let before = at.checked_sub(1).filter(|&before| before > 0 || self.sent == 0);
        match before.map(|before| &mut self.queue[before]).filter(|before| before.missing > 0) {
            Some(notice) => *notice = Message::notice(notice.missing + 1, notice.entry),
            None => self.queue.insert(at, Message::notice(1, dropped.entry)),
        }
    }

    fn oldest_unsent(&self) -> Option<usize> {
        let partly_sent = usize::from(self.sent > 0);
        (partly_sent..self.queue.len()).find(|&at| self.queue[at].kind == Kind::Delivery)
    }

    /// The entry of the oldest delivery that can be dropped.
    pub fn oldest_delivery(&self) -> Option<u64> {
        self.oldest_unsent().map(|at| self.queue[at].entry)
    }

    /// Whether any messages are pending.
    pub fn has_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The entries that the client's queue refers to.
    pub fn entries(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().filter(|message| message.missing == 0).map(|message| message.entry)
    }

    /// Removes the taken bytes from the queue, and checks that they are exactly the next bytes of it.
    fn take(&mut self, mut taken: &[u8], counts: &mut Counts) {
        while !taken.is_empty() {
            let first = self.queue.front().expect("the socket took no more than its queue");
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

    fn observe_refusals(&mut self, now: Instant, socket: &Socket) {
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

    /// The socket is closed, so all pending messages are dropped; for this reason, unless there was one before.
    pub fn closed(&mut self, reason: Disconnect, counts: &mut Counts) {
        let reason = self.closing.unwrap_or(reason);
        let has_left = matches!(reason, Disconnect::ClosedByPeer | Disconnect::IoError);
        counts.cut += u64::from(!has_left && (self.closing.is_none() || !self.queue.is_empty()));
        count_dropped(self.queued(), reason, counts);
        self.queue.clear();
        self.gone = true;
    }

    /// A closing client's deadline has passed. It does not expire while the writer still has to write to it.
    pub fn has_expired(&self, now: Instant) -> bool {
        self.closing.is_some() && (self.finished || self.blocked) && now >= self.deadline
    }

    /// The client is over a bound and has taken nothing for a second.
    pub fn has_stalled(&self, now: Instant, limits: &OutboxLimits) -> bool {
        let stalled = |refused: Refused| now - refused.taken_at >= SECOND;
        self.blocked && self.is_over(limits) && self.refused.is_some_and(stalled)
    }

    /// The client has taken nothing for `slow_after`.
    pub fn has_taken_nothing(&self, now: Instant, limits: &OutboxLimits) -> bool {
        self.blocked && self.refused.is_some_and(|refused| now - refused.taken_at >= limits.slow_after)
    }

    fn is_over(&self, limits: &OutboxLimits) -> bool {
        let messages = self.queue.iter().filter(|message| message.missing == 0).count();
        self.bytes() > limits.bytes_max || messages > limits.messages_max
    }

    /// The socket refuses bytes, and more than eight times the bound in bytes is pending.
    pub fn is_far_over(&self, limits: &OutboxLimits) -> bool {
        self.blocked && self.bytes() > 8 * limits.bytes_max
    }

    /// The oldest refused byte may be older than `slow_after`. The model does not know its exact age.
    pub fn may_hold_old_bytes(&self, now: Instant, limits: &OutboxLimits) -> bool {
        let old = |refused: Refused| now - refused.since >= limits.slow_after;
        self.blocked && self.refused.is_some_and(old)
    }

    /// The pending bytes without notices, which do not count towards the limits.
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

/// The messages as the frames of one entry.
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
