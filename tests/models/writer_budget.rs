//! The budget over all outboxes as it is promised: what is held, each entry counted once, and who gives way in which order.

use std::collections::{BTreeMap, BTreeSet};

use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Counts, ENTRY_BYTES};

use crate::writer_model::Client;

/// Every entry that ever came, by its number, with the memory it takes while somebody is owed some of it.
#[derive(Default)]
pub struct Entries(BTreeMap<u64, usize>);

impl Entries {
    /// A new entry of so many bytes.
    pub fn number(&mut self, bytes: usize) -> u64 {
        let number = self.0.len() as u64;
        self.0.insert(number, bytes + ENTRY_BYTES);
        number
    }

    /// What is held for all of them together.
    pub fn held(&self, clients: &[Client]) -> usize {
        let held: BTreeSet<u64> = clients.iter().flat_map(Client::entries).collect();
        held.iter().map(|number| self.0[number]).sum()
    }
}

/// What the budget asks for, if it is passed: every measure the slowest first, and no more of it than is needed.
pub fn shed(entries: &mut Entries, clients: &mut [Client], limits: &OutboxLimits, counts: &mut Counts) {
    let enough = limits.budget - limits.budget / 16;
    if entries.held(clients) <= limits.budget || clients.iter().any(Client::is_waited_for) {
        return;
    }
    if limits.policy == SlowPolicy::DropOldest {
        while entries.held(clients) > enough
            && let Some((entry, _, slowest)) = (0..clients.len()).filter_map(|at| oldest_delivery(clients, at)).min()
        {
            clients[slowest].drop_entry(entry, counts);
        }
    }
    for slowest in by_oldest(clients) {
        if entries.held(clients) > enough && clients[slowest].is_open() {
            clients[slowest].cut_for_budget(entries, counts);
        } else if entries.held(clients) > enough {
            clients[slowest].closed(counts);
        }
    }
    for slowest in by_oldest(clients) {
        if entries.held(clients) > enough {
            clients[slowest].close_for_budget(counts);
        }
    }
}

fn oldest_delivery(clients: &[Client], at: usize) -> Option<(u64, roomcast::writer::Slot, usize)> {
    let client = &clients[at];
    let is_slow = client.is_open() && client.is_refused();
    Some((client.oldest_delivery().filter(|_| is_slow)?, client.slot, at))
}

/// Who has refused bytes, whoever is owed the oldest entry first.
fn by_oldest(clients: &[Client]) -> Vec<usize> {
    let mut slow: Vec<usize> = (0..clients.len()).filter(|&at| clients[at].is_refused()).collect();
    slow.sort_by_key(|&at| (clients[at].oldest(), clients[at].slot));
    slow
}

impl Client {
    /// Is cut, and gets no more than the message partly sent and why.
    fn cut_for_budget(&mut self, entries: &mut Entries, counts: &mut Counts) {
        counts.dropped_slow += self.drop_unbegun();
        self.close(self.now(), Disconnect::SlowConsumer, entries, counts);
    }

    fn close_for_budget(&mut self, counts: &mut Counts) {
        if !self.is_open() {
            self.closed(counts);
        }
    }
}
