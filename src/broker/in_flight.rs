//! Bounds on what is in flight to the rooms: bytes that a client has published and the room has not yet put in order. A
//! client over its bound waits and is not read meanwhile. Replies never wait for other clients.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that one client may have in flight. One message of any size is always allowed.
const CLIENT_BYTES_MAX: u32 = 32 * 1024;

/// The rooms of a shard share this many windows, by their hash: a room that fills its window delays few others.
const WINDOWS: usize = 16;

/// Bytes in flight to the rooms of one window: 64 MiB for a shard.
const WINDOW_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// About the memory of a command beside its text.
const COMMAND_BYTES: usize = 192;

const NEVER_CLOSED: &str = "a window is never closed";

/// The window of one client. It takes memory only once the client has sent something.
#[derive(Clone, Debug, Default)]
pub struct ClientWindow(Option<Arc<Semaphore>>);

/// The windows of all clients together, for the rooms of one shard.
#[derive(Clone, Debug)]
pub(super) struct ShardWindow([Arc<Semaphore>; WINDOWS]);

/// Counts one command as in flight until it is dropped.
#[derive(Debug)]
pub struct InFlightPermit {
    _client: OwnedSemaphorePermit,
    /// From the room's window, for a message to the room.
    _room: Option<OwnedSemaphorePermit>,
}

impl ClientWindow {
    /// Returns once nothing from the client is in flight.
    pub async fn emptied(&self) {
        if let Some(window) = &self.0 {
            let _all = window.acquire_many(CLIENT_BYTES_MAX).await;
        }
    }

    /// A permit for a reply of this many bytes, if the window has room.
    pub(super) fn try_enter(&mut self, bytes: usize) -> Option<InFlightPermit> {
        let client = self.semaphore().try_acquire_many_owned(cost(bytes, CLIENT_BYTES_MAX)).ok()?;
        Some(InFlightPermit { _client: client, _room: None })
    }

    /// A permit for a reply of this many bytes.
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

    /// A permit for a message to the room of this hash, if both windows have room.
    pub fn try_enter(&self, client: &mut ClientWindow, room_hash: u64, text_bytes: usize) -> Option<InFlightPermit> {
        let mut permit = client.try_enter(text_bytes)?;
        permit._room = Some(self.of(room_hash).try_acquire_many_owned(cost(text_bytes, WINDOW_BYTES_MAX)).ok()?);
        Some(permit)
    }

    /// A permit for a message to the room of this hash. Clients that wait get theirs in order.
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

/// The permits that a text takes from a window, at most all of them.
fn cost(text_bytes: usize, bytes_max: u32) -> u32 {
    u32::try_from(text_bytes + COMMAND_BYTES).unwrap_or(u32::MAX).min(bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_for_its_own_window_and_a_long_message_blocks_one_window_of_rooms() {
        let shard = ShardWindow::new();
        let (mut busy, mut other) = (ClientWindow::default(), ClientWindow::default());
        let permits: Vec<_> = std::iter::from_fn(|| shard.try_enter(&mut busy, 0, 1_000)).collect();
        assert_eq!(permits.len(), CLIENT_BYTES_MAX as usize / (1_000 + COMMAND_BYTES));
        assert!(shard.try_enter(&mut other, 0, 1_000).is_some());
        drop(permits);
        let long = shard.try_enter(&mut busy, 0, 1 << 30).unwrap();
        assert!(shard.try_enter(&mut busy, 0, 0).is_none());
        assert!(shard.try_enter(&mut other, 0, 0).is_none(), "the room's window is full as well");
        assert!(shard.try_enter(&mut other, 1, 0).is_some() && other.try_enter(0).is_some());
        drop(long);
        assert!(shard.try_enter(&mut busy, 0, 0).is_some());
    }
}
