//! Rooms that hold a flume mailbox for each member and send to all of them under a lock: `DashMap`'s lock of the room,
//! or one `parking_lot::RwLock` over all rooms.
#![expect(clippy::disallowed_types, reason = "this bench measures the cost of shared state behind a lock")]

use std::collections::HashMap;

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::RwLock;

use crate::common::sink::Sink;
use crate::shared::Rooms;

/// The capacity of a mailbox, equal to that of a `broadcast` channel in stage 4. No round publishes more to a room.
const MAILBOX_MESSAGES: usize = 1_024;

type Mailbox = flume::Receiver<Bytes>;

/// The mailboxes of one room, by member.
#[derive(Default)]
struct Room(HashMap<usize, flume::Sender<Bytes>>);

impl Room {
    fn join(&mut self, member: usize) -> Mailbox {
        let (sender, mailbox) = flume::bounded(MAILBOX_MESSAGES);
        self.0.insert(member, sender);
        mailbox
    }

    /// Removes a member. Returns whether the room is empty now.
    fn leave(&mut self, member: usize) -> bool {
        self.0.remove(&member);
        self.0.is_empty()
    }

    fn publish(&self, message: &Bytes) {
        for mailbox in self.0.values() {
            mailbox.try_send(message.clone()).expect("a round keeps within the mailboxes");
        }
    }
}

async fn take_all(mailbox: Mailbox, mut sink: Sink) {
    while let Ok(message) = mailbox.recv_async().await {
        sink.take(&message);
    }
}

#[derive(Default)]
pub struct DashMapMailboxes(DashMap<String, Room>);

impl Rooms for DashMapMailboxes {
    const NAME: &'static str = "dashmap_mailboxes";

    type Mailbox = Mailbox;

    fn join(&self, room: &str, member: usize) -> Mailbox {
        self.0.entry(room.to_owned()).or_default().join(member)
    }

    fn leave(&self, room: &str, member: usize) {
        self.0.remove_if_mut(room, |_, room| room.leave(member));
    }

    fn publish(&self, room: &str, message: Bytes) {
        if let Some(room) = self.0.get(room) {
            room.publish(&message);
        }
    }

    fn take_all(mailbox: Mailbox, sink: Sink) -> impl Future<Output = ()> + Send {
        take_all(mailbox, sink)
    }
}

#[derive(Default)]
pub struct LockedMailboxes(RwLock<HashMap<String, Room>>);

impl Rooms for LockedMailboxes {
    const NAME: &'static str = "parking_lot_mailboxes";

    type Mailbox = Mailbox;

    fn join(&self, room: &str, member: usize) -> Mailbox {
        self.0.write().entry(room.to_owned()).or_default().join(member)
    }

    fn leave(&self, name: &str, member: usize) {
        let mut rooms = self.0.write();
        if rooms.get_mut(name).is_some_and(|room| room.leave(member)) {
            rooms.remove(name);
        }
    }

    fn publish(&self, room: &str, message: Bytes) {
        if let Some(room) = self.0.read().get(room) {
            room.publish(&message);
        }
    }

    fn take_all(mailbox: Mailbox, sink: Sink) -> impl Future<Output = ()> + Send {
        take_all(mailbox, sink)
    }
}
