//! Drop-oldest: what an outbox loses, and the notices that stand where messages are missing. Never drops a reply, never
//! a part of a message, never what one client has lost from another.

use std::mem;
use std::rc::Rc;

use super::frames::{Frames, Kind};
use super::outbox::{Backlog, Head, PendingSize};
use super::queued::{EntryNumber, QueuedFrames};
use crate::config::OutboxLimits;
use crate::protocol::dialect::Dialect;

impl PendingSize {
    /// What is more than the bounds.
    pub fn over(self, limits: &OutboxLimits) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(limits.bytes_max),
            messages: self.messages.saturating_sub(limits.messages_max),
        }
    }

    /// Whether a bound is passed.
    pub fn is_over(self, limits: &OutboxLimits) -> bool {
        self.over(limits) != Self::default()
    }
}

impl Head {
    /// Drops the oldest deliveries until what is owed is within the bounds, or until there is none but the message that is
    /// partly sent. Returns how many messages went.
    pub fn drop_to_bounds(&mut self, backlog: &mut Backlog, limits: &OutboxLimits) -> usize {
        self.drop_oldest(backlog, |pending, oldest| {
            let over = pending.over(limits);
            oldest.messages_of(over.bytes).max(over.messages).min(oldest.messages())
        })
    }

    /// Drops the oldest deliveries that came together: less of them would free no memory. Returns how many messages went.
    pub fn drop_oldest_entry(&mut self, backlog: &mut Backlog) -> usize {
        let mut is_due = true;
        self.drop_oldest(backlog, |_, oldest| if mem::take(&mut is_due) { oldest.messages() } else { 0 })
    }

    /// The oldest delivery that could be dropped.
    pub fn oldest_delivery(&self, backlog: &mut Backlog) -> Option<EntryNumber> {
        let first = self.first.as_ref().filter(|first| first.kind() == Kind::Delivery);
        let is_droppable = |first: &&Rc<QueuedFrames>| first.begun_within(self.sent as usize) < first.messages();
        let first = first.filter(is_droppable);
        first.or_else(|| backlog.oldest_delivery()).map(|oldest| oldest.number())
    }

    /// Gives the notice its bytes whose turn to be written has come. Returns how many.
    pub fn word_notice(&mut self, dialect: Dialect) -> usize {
        let unworded = self.first.as_mut().filter(|first| first.bytes().is_empty());
        unworded.map_or(0, |notice| notice.word(dialect))
    }

    /// `surplus` says how many messages of the oldest entry are to go; none is the end.
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

    /// Puts deliveries of the head behind it, but for the message that is partly sent.
    fn set_back(&mut self, backlog: &mut Backlog) {
        if self.first.as_ref().is_some_and(|first| first.kind() == Kind::Delivery)
            && let Some(unbegun) = self.keep_begun()
        {
            backlog.push_front(unbegun);
        }
    }

    fn bring_forward(&mut self, backlog: &mut Backlog) {
        if self.first.is_none() {
            self.first = backlog.pop();
        }
        self.more = !backlog.rest.is_empty();
    }

    /// Adds to the notice that stands there, unless it is on its way already.
    fn note_missing(&mut self, messages: u64, number: EntryNumber, backlog: &mut Backlog) {
        let before = match backlog.kept.checked_sub(1) {
            Some(last_kept) => backlog.rest.get_mut(last_kept as usize),
            None => self.first.as_mut().filter(|_| self.sent == 0),
        };
        match before.filter(|entry| entry.is_notice()) {
            Some(notice) => notice.add_missing(messages),
            None => backlog.insert_kept(QueuedFrames::notice(messages, number)),
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

    /// Drops messages of that entry, the first ones. Linear in what is kept before it or in what is behind it, whichever is
    /// less: never more than half the bound in messages, since replies over the bound leave nothing behind them.
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

    /// Puts a notice behind everything that is kept.
    fn insert_kept(&mut self, notice: Rc<QueuedFrames>) {
        self.rest.insert(self.kept as usize, notice);
        self.kept += 1;
    }

    /// Puts an entry of deliveries in front, where nothing is known yet of what is kept.
    fn push_front(&mut self, entry: Rc<QueuedFrames>) {
        debug_assert_eq!(self.kept, 0, "what a delivery stands before was not looked at");
        self.bytes += entry.bytes().len();
        self.messages += entry.messages() as u32;
        self.rest.push_front(entry);
    }
}
