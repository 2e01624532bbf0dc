//! The clients of one worker, by their ids and their users, and the orders of the application that wait for them. Never
//! waits.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::orders::{Addressee, CloseWords, Duty, NotObeyed, Obeyed, ObeyedAnswer, Order};
use crate::memory::shrink;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::publication::{ClientId, UserId};
use crate::writer::Slot;
use crate::writer::handle::WriterHandle;

/// Orders that may wait for one client. One more is refused.
const ORDERS_MAX: usize = 16;

/// The clients of one worker that have begun their connection.
#[derive(Default)]
pub struct Clients {
    by_id: RefCell<FxHashMap<ClientId, Slot>>,
    /// Users that have proved who they are, each with its clients.
    users: RefCell<HashMap<UserId, Vec<ClientId>>>,
    orders: RefCell<FxHashMap<Slot, VecDeque<Pending>>>,
    /// Whether any order waits, so that a session can ask at each command.
    is_ordering: Cell<bool>,
    /// The application's own words for the end of a connection.
    closing: RefCell<FxHashMap<Slot, CloseWords>>,
}

/// An order that waits for its client.
pub struct Pending {
    /// What the client has to do.
    pub duty: Duty,
    /// Where the client says so once it is done.
    pub answer: ObeyedAnswer,
}

impl Clients {
    /// Adds a client that has begun its connection.
    pub(super) fn add(&self, client: ClientId, user: &UserId, slot: Slot) {
        self.by_id.borrow_mut().insert(client, slot);
        self.add_to_user(client, user);
    }

    /// The client has proved to be another user than before, if it was known already.
    pub(super) fn change_user(&self, client: ClientId, before: &UserId, user: &UserId) {
        if before != user && self.by_id.borrow().contains_key(&client) {
            self.remove_from_user(client, before);
            self.add_to_user(client, user);
        }
    }

    /// Removes a client that ends, with the orders that wait for it.
    pub(super) fn remove(&self, client: ClientId, user: &UserId, slot: Slot) {
        let mut by_id = self.by_id.borrow_mut();
        if by_id.remove(&client).is_none() {
            return;
        }
        shrink(&mut by_id);
        self.remove_from_user(client, user);
        self.closing.borrow_mut().remove(&slot);
        self.take_orders(slot);
    }

    /// The clients, and the users that have proved who they are.
    pub fn count(&self) -> (usize, Vec<UserId>) {
        (self.by_id.borrow().len(), self.users.borrow().keys().cloned().collect())
    }

    /// Ends the connections of all clients that have begun theirs.
    pub fn end_all(&self, reason: Disconnect, writer: &WriterHandle) {
        self.by_id.borrow().values().for_each(|slot| writer.disconnect(*slot, reason));
    }

    /// Gives an order to all clients that are addressed. Each of them answers once it has obeyed.
    pub fn give(&self, addressee: &Addressee, order: &Order, writer: &WriterHandle) -> Vec<Obeyed> {
        self.addressed(addressee).into_iter().map(|slot| self.give_one(slot, order, writer)).collect()
    }

    fn give_one(&self, slot: Slot, order: &Order, writer: &WriterHandle) -> Obeyed {
        let (answer, obeyed) = oneshot::channel();
        match order {
            Order::End(reason, words) => {
                if let Some(words) = words {
                    self.closing.borrow_mut().insert(slot, words.clone());
                }
                writer.disconnect(slot, *reason);
                let _ = answer.send(Ok(()));
            }
            Order::Obey(duty) => self.queue(slot, Pending { duty: duty.clone(), answer }, writer),
        }
        obeyed
    }

    fn queue(&self, slot: Slot, pending: Pending, writer: &WriterHandle) {
        let mut orders = self.orders.borrow_mut();
        let waiting = orders.entry(slot).or_default();
        if waiting.len() >= ORDERS_MAX {
            let _ = pending.answer.send(Err(NotObeyed::Busy));
            return;
        }
        waiting.push_back(pending);
        self.is_ordering.set(true);
        writer.wake(slot);
    }

    /// The next order for a client.
    pub(super) fn next_order(&self, slot: Slot) -> Option<Pending> {
        let mut orders = self.orders.borrow_mut();
        let waiting = orders.get_mut(&slot)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            drop(orders);
            self.take_orders(slot);
        }
        next
    }

    /// Whether an order waits for a client.
    pub(super) fn has_order(&self, slot: Slot) -> bool {
        self.is_ordering.get() && self.orders.borrow().contains_key(&slot)
    }

    /// The application's own words for the end of a connection, if it has given some.
    pub(super) fn take_closing(&self, slot: Slot) -> Option<CloseWords> {
        self.closing.borrow_mut().remove(&slot)
    }

    fn addressed(&self, Addressee { user, client, except }: &Addressee) -> Vec<Slot> {
        let (by_id, users) = (self.by_id.borrow(), self.users.borrow());
        let of_user = users.get(user).map(Vec::as_slice).unwrap_or_default();
        let clients = match client {
            None => of_user,
            Some(client) if user.as_str().is_empty() || of_user.contains(client) => std::slice::from_ref(client),
            Some(_) => &[],
        };
        let clients = clients.iter().filter(|client| !except.contains(client));
        clients.filter_map(|client| by_id.get(client).copied()).collect()
    }

    fn add_to_user(&self, client: ClientId, user: &UserId) {
        if !user.as_str().is_empty() {
            self.users.borrow_mut().entry(user.clone()).or_default().push(client);
        }
    }

    fn remove_from_user(&self, client: ClientId, user: &UserId) {
        let mut users = self.users.borrow_mut();
        let Some(clients) = users.get_mut(user) else { return };
        // Those that came last are often the first to go.
        if let Some(place) = clients.iter().rposition(|other| *other == client) {
            clients.swap_remove(place);
        }
        if clients.is_empty() {
            users.remove(user);
            shrink(&mut users);
        }
    }

    fn take_orders(&self, slot: Slot) {
        let mut orders = self.orders.borrow_mut();
        orders.remove(&slot);
        if orders.is_empty() {
            *orders = FxHashMap::default();
            self.is_ordering.set(false);
        }
    }
}
