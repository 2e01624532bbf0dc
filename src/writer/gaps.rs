//! Drop-oldest: the messages that an outbox loses, and the notices in their place. Never drops a reply or a part of a
//! message, and never touches the outbox of another client.

use std::mem;
use std::rc::Rc;

use super::frames::{EntryNumber, Frames, Kind, QueuedFrames};
use super::outbox::{Backlog, Head, PendingSize};
use crate::config::OutboxLimits;
use crate::protocol::dialect::Dialect;

impl PendingSize {
    fn over(self, limits: &OutboxLimits) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(limits.bytes_max),
            messages: self.messages.saturating_sub(limits.messages_max),
        }
    }

    pub fn is_over(self, limits: &OutboxLimits) -> bool {
        self.bytes > limits.bytes_max || self.messages > limits.messages_max
    }
}

impl Head {
    /// Drops the oldest deliveries until the outbox is within the bounds, or only the message that is partly sent is left of
    /// them. Returns the number of dropped messages.
    pub fn drop_to_bounds(&mut self, backlog: &mut Backlog, limits: &OutboxLimits) -> usize {
        self.drop_oldest(backlog, |pending, oldest| {
            let over = pending.over(limits);
            oldest.messages_of(over.bytes).max(over.messages).min(oldest.messages())
        })
    }

    /// Drops the oldest entry of deliveries, since less would free no memory. Returns the number of dropped messages.
    pub fn drop_oldest_entry(&mut self, backlog: &mut Backlog) -> usize {
        let mut is_first = true;
        self.drop_oldest(backlog, |_, oldest| if mem::take(&mut is_first) { oldest.messages() } else { 0 })
    }

    /// Whether a delivery could be dropped.
    pub fn can_drop(&self, backlog: &mut Backlog) -> bool {
        let unbegun = |first: &Rc<QueuedFrames>| first.begun_within(self.sent as usize) < first.messages();
        self.first.as_ref().is_some_and(|first| first.kind() == Kind::Delivery && unbegun(first))
            || backlog.oldest_delivery().is_some()
    }

    /// Encodes the notice whose turn to be written has come. Returns its length in bytes.
    pub fn encode_notice(&mut self, dialect: Dialect) -> usize {
        let first = self.first.as_mut().filter(|first| first.bytes().is_empty());
        first.map_or(0, |notice| notice.encode_notice(dialect))
    }

    /// Drops deliveries from the front. `surplus` returns the number of messages to drop from the oldest entry; 0 ends it.
    fn drop_oldest(&mut self, backlog: &mut Backlog, mut surplus: impl FnMut(PendingSize, &Frames) -> usize) -> usize {
        let mut dropped = 0;
        self.set_back(backlog);
        loop {
            let pending = self.weight(backlog);
            let Some(oldest) = backlog.oldest_delivery() else { break };
            let (number, messages) = (oldest.number(), surplus(pending, oldest));
            if messages == 0 {
                break;
            }
            backlog.drop_first(messages);
            self.note_missing(messages as u64, number, backlog);
            dropped += messages;
        }
        self.bring_forward(backlog);
        dropped
    }

    /// Moves deliveries of the head into the backlog, except the message that is partly sent.
    fn set_back(&mut self, backlog: &mut Backlog) {
        if self.first.as_ref().is_some_and(|first| first.kind() == Kind::Delivery)
            && let Some(unbegun) = self.keep_begun()
        {
            debug_assert_eq!(backlog.kept, 0, "the entries behind a delivery were not looked at");
            backlog.bytes += unbegun.bytes().len();
            backlog.messages += unbegun.messages() as u32;
            backlog.rest.push_front(unbegun);
        }
    }

    fn bring_forward(&mut self, backlog: &mut Backlog) {
        if self.first.is_none() {
            self.first = backlog.pop();
        }
        self.more = !backlog.rest.is_empty();
    }

    /// Adds to the notice that stands here, unless some of it is sent already.
    fn note_missing(&mut self, messages: u64, number: EntryNumber, backlog: &mut Backlog) {
        let before = match backlog.kept.checked_sub(1) {
            Some(last_kept) => backlog.rest.get_mut(last_kept as usize),
            None => self.first.as_mut().filter(|_| self.sent == 0),
        };
        match before.filter(|entry| entry.is_notice()) {
            Some(notice) => notice.add_missing(messages),
            None => {
                backlog.rest.insert(backlog.kept as usize, QueuedFrames::notice(messages, number));
                backlog.kept += 1;
            }
        }
    }
}

impl Backlog {
    /// The first entry that is no reply and no notice. Looks at each of those once.
    fn oldest_delivery(&mut self) -> Option<&Rc<QueuedFrames>> {
        while self.rest.get(self.kept as usize)?.kind() != Kind::Delivery {
            self.kept += 1;
        }
        self.rest.get(self.kept as usize)
    }

    /// Drops the first messages of the oldest delivery. Linear in the kept entries before it or in those behind it, whichever
    /// are fewer: never more than half the bound in messages, since replies over the bound leave nothing behind them.
    fn drop_first(&mut self, messages: usize) {
        let at = self.kept as usize;
        let oldest = &mut self.rest[at];
        self.bytes -= oldest.start(messages);
        self.messages -= messages as u32;
        if messages < oldest.messages() {
            *oldest = oldest.part(messages..oldest.messages());
        } else {
            self.rest.remove(at);
        }
    }
}
