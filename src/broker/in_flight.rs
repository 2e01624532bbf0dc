//! How much a client, and all clients together, may have on the way to a shard: bytes that are said and not yet in a room's
//! order. A client that has more waits, and is not read meanwhile; others are not held up.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that one client may have on its way. One message of any size always may.
const CLIENT_BYTES_MAX: u32 = 32 * 1024;

/// Bytes that may be on their way to one shard: 64 MiB.
const SHARD_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// About what a command takes in memory beside its text.
const COMMAND_BYTES: usize = 192;

/// What one client has on its way. Takes memory only once it has said something.
#[derive(Clone, Debug, Default)]
pub struct ClientWindow(Option<Arc<Semaphore>>);

/// What all clients together have on their way to one shard.
#[derive(Clone, Debug)]
pub(super) struct ShardWindow(Arc<Semaphore>);

/// Lets one command be on its way, until dropped.
#[derive(Debug)]
pub struct Permit {
    _client: OwnedSemaphorePermit,
    _shard: OwnedSemaphorePermit,
}

impl ClientWindow {
    /// Returns once nothing of the client's is on its way.
    pub async fn emptied(&self) {
        if let Some(window) = &self.0 {
            let _all = window.acquire_many(CLIENT_BYTES_MAX).await;
        }
    }

    fn semaphore(&mut self) -> Arc<Semaphore> {
        Arc::clone(self.0.get_or_insert_with(|| Arc::new(Semaphore::new(CLIENT_BYTES_MAX as usize))))
    }
}

impl ShardWindow {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(SHARD_BYTES_MAX as usize)))
    }

    /// A permit for a text of so many bytes, if there is one at once.
    pub fn try_enter(&self, client: &mut ClientWindow, text_bytes: usize) -> Option<Permit> {
        let client = client.semaphore().try_acquire_many_owned(cost(text_bytes, CLIENT_BYTES_MAX)).ok()?;
        let shard = Arc::clone(&self.0).try_acquire_many_owned(cost(text_bytes, SHARD_BYTES_MAX)).ok()?;
        Some(Permit { _client: client, _shard: shard })
    }

    /// A permit for a text of so many bytes. Whoever waits longest is first.
    pub async fn enter(&self, client: &mut ClientWindow, text_bytes: usize) -> Permit {
        const NEVER_CLOSED: &str = "a window is never closed";
        let client = client.semaphore().acquire_many_owned(cost(text_bytes, CLIENT_BYTES_MAX)).await;
        let shard = Arc::clone(&self.0).acquire_many_owned(cost(text_bytes, SHARD_BYTES_MAX)).await;
        Permit { _client: client.expect(NEVER_CLOSED), _shard: shard.expect(NEVER_CLOSED) }
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
        let permits: Vec<_> = std::iter::from_fn(|| shard.try_enter(&mut busy, 1_000)).collect();
        assert_eq!(permits.len(), CLIENT_BYTES_MAX as usize / (1_000 + COMMAND_BYTES));
        assert!(shard.try_enter(&mut other, 1_000).is_some());
        assert!(busy.emptied().now_or_never().is_none());
        drop(permits);
        assert!(busy.emptied().now_or_never().is_some());
        assert!(shard.try_enter(&mut busy, 1_000).is_some());
    }

    #[test]
    fn a_message_longer_than_a_window_may_go_alone() {
        let shard = ShardWindow::new();
        let mut client = ClientWindow::default();
        let long = shard.try_enter(&mut client, 1 << 30).unwrap();
        assert!(shard.try_enter(&mut client, 0).is_none());
        assert!(shard.try_enter(&mut ClientWindow::default(), 0).is_none(), "the shard's window is taken as well");
        drop(long);
        assert!(shard.try_enter(&mut client, 0).is_some());
    }
}
