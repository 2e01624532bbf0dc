//! The budget over all outboxes as it is promised: what is held, each entry counted once, and who gives way in which
//! order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Counts, ENTRY_BYTES, Slot};

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

/// What the budget asks for, if it is passed: every measure to the largest first, and no more of it than is needed.
pub fn shed(entries: &mut Entries, clients: &mut [Client], limits: &OutboxLimits, counts: &mut Counts) {
    let enough = limits.budget - limits.budget / 16;
    if entries.held(clients) <= limits.budget || clients.iter().any(Client::is_waited_for) {
        return;
    }
    if limits.policy == SlowPolicy::DropOldest {
        while entries.held(clients) > enough
            && let Some((_, _, entry, largest)) = (0..clients.len()).filter_map(|at| oldest_delivery(clients, at)).min()
        {
            clients[largest].drop_entry(entry, counts);
        }
    }
    for largest in by_pending_bytes(clients) {
        if entries.held(clients) > enough && clients[largest].is_open() {
            clients[largest].cut_for_budget(entries, counts);
        } else if entries.held(clients) > enough {
            clients[largest].closed(counts);
        }
    }
    for largest in by_pending_bytes(clients) {
        if entries.held(clients) > enough {
            clients[largest].close_for_budget(counts);
        }
    }
}

/// For a client that could lose messages: who is first, and with which entry.
fn oldest_delivery(clients: &[Client], at: usize) -> Option<(Reverse<usize>, Slot, u64, usize)> {
    let client = &clients[at];
    let can_lose = client.is_open() && client.is_blocked();
    Some((Reverse(client.bytes()), client.slot, client.oldest_delivery().filter(|_| can_lose)?, at))
}

/// The blocked clients, whoever has the most pending bytes first.
fn by_pending_bytes(clients: &[Client]) -> Vec<usize> {
    let is_asked = |&at: &usize| clients[at].is_blocked() && clients[at].has_pending();
    let mut blocked: Vec<usize> = (0..clients.len()).filter(is_asked).collect();
    blocked.sort_by_key(|&at| (Reverse(clients[at].bytes()), clients[at].slot));
    blocked
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
