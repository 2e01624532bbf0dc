//! Stage 4, `examples/chat_rooms_locked.rs`: rooms behind one lock, with a `broadcast` channel for each room.
#![expect(clippy::disallowed_types, reason = "this bench measures the cost of shared state behind a lock")]

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

use crate::common::sink::Sink;
use crate::shared::Rooms;

/// The capacity of the channel in the example. No round publishes more to a room.
const MESSAGES_KEPT: usize = 1_024;

#[derive(Default)]
pub struct LockedBroadcast(Arc<RwLock<HashMap<String, Room>>>);

struct Room {
    members: usize,
    messages: Sender<Bytes>,
}

impl Rooms for LockedBroadcast {
    const NAME: &'static str = "rwlock_broadcast";

    type Mailbox = Receiver<Bytes>;

    fn join(&self, room: &str, _member: usize) -> Receiver<Bytes> {
        let empty = || Room { members: 0, messages: Sender::new(MESSAGES_KEPT) };
        let mut rooms = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let room = rooms.entry(room.to_owned()).or_insert_with(empty);
        room.members += 1;
        room.messages.subscribe()
    }

    fn leave(&self, name: &str, _member: usize) {
        let mut rooms = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get_mut(name) {
            room.members -= 1;
            if room.members == 0 {
                rooms.remove(name);
            }
        }
    }

    fn publish(&self, room: &str, message: Bytes) {
        if let Some(room) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(room) {
            room.messages.send(message).expect("members stay");
        }
    }

    async fn take_all(mut mailbox: Receiver<Bytes>, mut sink: Sink) {
        loop {
            match mailbox.recv().await {
                Ok(message) => sink.take(&message),
                Err(RecvError::Closed) => return,
                Err(RecvError::Lagged(lost)) => panic!("a member lost {lost} messages: a round keeps within the ring"),
            }
        }
    }
}
