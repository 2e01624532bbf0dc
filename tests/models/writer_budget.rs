//! A model of the budget over all outboxes: how many bytes are held, with each entry counted once, and the order in
//! which clients lose messages or are cut when the budget is exceeded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::disconnect::Disconnect;
use roomcast::writer::{Counts, ENTRY_BYTES, Slot};

use crate::writer_model::Client;

/// The size of every entry so far, by its number. An entry takes that memory while any of it is pending for a client.
#[derive(Default)]
pub struct Entries(BTreeMap<u64, usize>);

impl Entries {
    /// Registers an entry of this many bytes and returns its number.
    pub fn number(&mut self, bytes: usize) -> u64 {
        let number = self.0.len() as u64;
        self.0.insert(number, bytes + ENTRY_BYTES);
        number
    }

    /// The bytes held for all clients together. Entries that clients share count once.
    pub fn held(&self, clients: &[Client]) -> usize {
        let held: BTreeSet<u64> = clients.iter().flat_map(Client::entries).collect();
        held.iter().map(|number| self.0[number]).sum()
    }
}

/// Frees memory if the budget is exceeded: first drops old deliveries if the policy allows it, then cuts blocked
/// clients, then closes them. Each step begins with the client that has the most pending bytes and stops as soon as
/// enough is free.
pub fn shed(entries: &mut Entries, clients: &mut [Client], limits: &OutboxLimits, counts: &mut Counts) {
    let enough = limits.budget - limits.budget / 16;
    if entries.held(clients) <= limits.budget || clients.iter().any(Client::awaits_writer) {
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
            cut(entries, clients, largest, counts);
        } else if entries.held(clients) > enough {
            clients[largest].closed(Disconnect::SlowConsumer, counts);
        }
    }
    for largest in by_pending_bytes(clients) {
        if entries.held(clients) > enough {
            clients[largest].close_for_budget(counts);
        }
    }
}

/// Cuts a client. Of a message that is partly sent only its own bytes are held, unless others hold its entry.
fn cut(entries: &mut Entries, clients: &mut [Client], at: usize, counts: &mut Counts) {
    let partly_sent = clients[at].partly_sent().map(|message| message.entry);
    let is_shared = |entry| (0..clients.len()).any(|other| other != at && clients[other].entries().any(|e| e == entry));
    let is_own = partly_sent.is_some_and(|entry| !is_shared(entry));
    counts.dropped_slow += clients[at].drop_unsent();
    if let Some(message) = clients[at].partly_sent().filter(|_| is_own) {
        message.entry = entries.number(message.bytes.len());
    }
    clients[at].cut_for_budget(entries, counts);
}

/// The sort key of a client that could lose its oldest delivery, with the entry of that delivery and the client's
/// index. The client with the most pending bytes sorts first.
fn oldest_delivery(clients: &[Client], at: usize) -> Option<(Reverse<usize>, Slot, u64, usize)> {
    let client = &clients[at];
    let can_lose = client.is_open() && client.is_blocked();
    Some((Reverse(client.bytes()), client.slot, client.oldest_delivery().filter(|_| can_lose)?, at))
}

/// The indices of the blocked clients, in descending order of their pending bytes.
fn by_pending_bytes(clients: &[Client]) -> Vec<usize> {
    let is_asked = |&at: &usize| clients[at].is_blocked() && clients[at].has_pending();
    let mut blocked: Vec<usize> = (0..clients.len()).filter(is_asked).collect();
    blocked.sort_by_key(|&at| (Reverse(clients[at].bytes()), clients[at].slot));
    blocked
}

impl Client {
    /// Cuts the client. It still gets the rest of a partly sent message and the line with the reason.
    fn cut_for_budget(&mut self, entries: &mut Entries, counts: &mut Counts) {
        self.close(self.now(), Disconnect::SlowConsumer, entries, counts);
    }

    fn close_for_budget(&mut self, counts: &mut Counts) {
        if !self.is_open() {
            self.closed(Disconnect::SlowConsumer, counts);
        }
    }
}
