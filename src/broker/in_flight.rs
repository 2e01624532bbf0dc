//! How much a client, and all clients of a room together, may have on the way to it: bytes that are said and not yet in the
//! room's order. A client that has more waits, and is not read meanwhile. Its answers are held up by nothing of others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that one client may have on its way. One message of any size always may.
const CLIENT_BYTES_MAX: u32 = 32 * 1024;

/// The rooms of a shard share this many windows, by their hash: a room that fills its own holds up few others.
const WINDOWS: usize = 16;

/// Bytes that may be on their way to the rooms of one window: 64 MiB for a shard.
const WINDOW_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// About what a command takes in memory beside its text.
const COMMAND_BYTES: usize = 192;

const NEVER_CLOSED: &str = "a window is never closed";

/// What one client has on its way. Takes memory only once it has said something.
#[derive(Clone, Debug, Default)]
pub struct ClientWindow(Option<Arc<Semaphore>>);

/// What all clients together have on their way to the rooms of one shard.
#[derive(Clone, Debug)]
pub(super) struct ShardWindow([Arc<Semaphore>; WINDOWS]);

/// Lets one command be on its way, until dropped.
#[derive(Debug)]
pub struct InFlightPermit {
    _client: OwnedSemaphorePermit,
    /// Of the room's window, where the command is a message to it.
    _room: Option<OwnedSemaphorePermit>,
}

impl ClientWindow {
    /// Returns once nothing of the client's is on its way.
    pub async fn emptied(&self) {
        if let Some(window) = &self.0 {
            let _all = window.acquire_many(CLIENT_BYTES_MAX).await;
        }
    }

    /// A permit for an answer of so many bytes, if there is one at once.
    pub(super) fn try_enter(&mut self, bytes: usize) -> Option<InFlightPermit> {
        let client = self.semaphore().try_acquire_many_owned(cost(bytes, CLIENT_BYTES_MAX)).ok()?;
        Some(InFlightPermit { _client: client, _room: None })
    }

    /// A permit for an answer of so many bytes.
    pub(super) async fn enter(&mut self, bytes: usize) -> InFlightPermit {
        let client = self.semaphore().acquire_many_owned(cost(bytes, CLIENT_BYTES_MAX)).await;
        InFlightPermit { _client: client.expect(NEVER_CLOSED), _room: None }
    }

    fn semaphore(&mut self) -> Arc<Semaphore> {
        Arc::clone(self.0.get_or_insert_with(|| Arc::new(Semaphore::new(CLIENT_BYTES_MAX as usize))))
    }
}

impl ShardWindow {
    pub fn new() -> Self {
        Self(std::array::from_fn(|_| Arc::new(Semaphore::new(WINDOW_BYTES_MAX as usize))))
    }

    /// A permit for a message of so many bytes to the room of this hash, if there is one at once.
    pub fn try_enter(&self, client: &mut ClientWindow, room_hash: u64, text_bytes: usize) -> Option<InFlightPermit> {
        let mut permit = client.try_enter(text_bytes)?;
        permit._room = Some(self.of(room_hash).try_acquire_many_owned(cost(text_bytes, WINDOW_BYTES_MAX)).ok()?);
        Some(permit)
    }

    /// A permit for a message of so many bytes to the room of this hash. Whoever waits longest is first.
    pub async fn enter(&self, client: &mut ClientWindow, room_hash: u64, text_bytes: usize) -> InFlightPermit {
        let mut permit = client.enter(text_bytes).await;
        let room = self.of(room_hash).acquire_many_owned(cost(text_bytes, WINDOW_BYTES_MAX)).await;
        permit._room = Some(room.expect(NEVER_CLOSED));
        permit
    }

    fn of(&self, room_hash: u64) -> Arc<Semaphore> {
        Arc::clone(&self.0[room_hash as usize % WINDOWS])
    }
}

/// What a text takes of a window: no more than there is.
fn cost(text_bytes: usize, bytes_max: u32) -> u32 {
    u32::try_from(text_bytes + COMMAND_BYTES).unwrap_or(u32::MAX).min(bytes_max)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_client_waits_for_its_own_and_not_for_others() {
        let shard = ShardWindow::new();
        let (mut busy, mut other) = (ClientWindow::default(), ClientWindow::default());
        let permits: Vec<_> = std::iter::from_fn(|| shard.try_enter(&mut busy, 0, 1_000)).collect();
        assert_eq!(permits.len(), CLIENT_BYTES_MAX as usize / (1_000 + COMMAND_BYTES));
        assert!(shard.try_enter(&mut other, 0, 1_000).is_some());
        assert!(busy.emptied().now_or_never().is_none());
        drop(permits);
        assert!(busy.emptied().now_or_never().is_some());
        assert!(shard.try_enter(&mut busy, 0, 1_000).is_some());
    }

    #[test]
    fn a_message_longer_than_a_window_may_go_alone_and_holds_up_neither_other_rooms_nor_answers() {
        let shard = ShardWindow::new();
        let (mut client, mut other) = (ClientWindow::default(), ClientWindow::default());
        let long = shard.try_enter(&mut client, 0, 1 << 30).unwrap();
        assert!(shard.try_enter(&mut client, 0, 0).is_none());
        assert!(shard.try_enter(&mut other, 0, 0).is_none(), "the window of the room is taken as well");
        assert!(shard.try_enter(&mut other, 1, 0).is_some() && other.try_enter(0).is_some());
        drop(long);
        assert!(shard.try_enter(&mut client, 0, 0).is_some());
    }
}
