//! Bounds on what is in flight to the rooms: bytes that a client has published and the room has not yet put in order. A
//! client over its bound waits and is not read meanwhile. Replies never wait for other clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::command::Act;

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
pub struct ClientWindow {
    bytes: Option<Arc<Semaphore>>,
    /// One permit: see [`LongReplyTurn`].
    turn: Option<Arc<Semaphore>>,
    uncharged: Option<Uncharged>,
}

/// The deliveries that a client has caused in rooms that it is not in, and was not charged yet: it does not know how many
/// members they have. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Uncharged(Arc<AtomicUsize>);

impl Uncharged {
    /// A command has cost this many deliveries, of which its client was charged one.
    pub(super) fn add(&self, deliveries: usize) {
        self.0.fetch_add(deliveries.saturating_sub(1), Ordering::Relaxed);
    }
}

/// A client's turn to get a long reply, such as the history of a room. It ends when the client's socket has taken the
/// reply: a client that asks for more than it reads would else be disconnected as a slow consumer for what it asked.
#[derive(Debug)]
pub struct LongReplyTurn(pub(super) OwnedSemaphorePermit);

/// The windows of all clients together, for the rooms of one shard.
#[derive(Clone, Debug)]
pub(super) struct ShardWindow([Arc<Semaphore>; WINDOWS]);

/// Counts one command as in flight until it is dropped.
#[derive(Debug)]
pub struct InFlightPermit {
    /// From the client's window, if a client has sent it.
    _client: Option<OwnedSemaphorePermit>,
    /// From the room's window, for a publication.
    _room: Option<OwnedSemaphorePermit>,
}

impl ClientWindow {
    /// Where rooms count what the client costs them.
    pub fn uncharged(&mut self) -> Uncharged {
        self.uncharged.get_or_insert_default().clone()
    }

    /// The deliveries that the client was not charged yet, which it is to be charged now.
    pub fn take_uncharged(&self) -> usize {
        self.uncharged.as_ref().map_or(0, |uncharged| uncharged.0.swap(0, Ordering::Relaxed))
    }

    /// Returns once nothing from the client is in flight.
    pub async fn emptied(&self) {
        if let Some(window) = &self.bytes {
            let _all = window.acquire_many(CLIENT_BYTES_MAX).await;
        }
    }

    /// Permits of the client's own window, if it has room for them.
    fn try_enter(&mut self, permits: u32) -> Option<OwnedSemaphorePermit> {
        self.semaphore().try_acquire_many_owned(permits).ok()
    }

    async fn enter(&mut self, permits: u32) -> OwnedSemaphorePermit {
        self.semaphore().acquire_many_owned(permits).await.expect(NEVER_CLOSED)
    }

    fn semaphore(&mut self) -> Arc<Semaphore> {
        Arc::clone(self.bytes.get_or_insert_with(|| Arc::new(Semaphore::new(CLIENT_BYTES_MAX as usize))))
    }

    /// The client's turn, if no long reply is on its way to the client.
    pub fn try_turn(&mut self) -> Option<LongReplyTurn> {
        self.turns().try_acquire_owned().ok().map(LongReplyTurn)
    }

    /// The client's turn, once the long reply that is on its way to the client has left.
    pub fn turn(&mut self) -> impl Future<Output = LongReplyTurn> + use<> {
        let turns = self.turns();
        async move { LongReplyTurn(turns.acquire_owned().await.expect(NEVER_CLOSED)) }
    }

    fn turns(&mut self) -> Arc<Semaphore> {
        Arc::clone(self.turn.get_or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

impl ShardWindow {
    pub fn new() -> Self {
        Self(std::array::from_fn(|_| Arc::new(Semaphore::new(WINDOW_BYTES_MAX as usize))))
    }

    /// A permit for what a member does in the room of this hash, if both windows have room.
    pub fn try_enter(&self, client: &mut ClientWindow, room_hash: u64, act: &Act) -> Option<InFlightPermit> {
        let (of_client, of_room) = permits(act);
        let client = client.try_enter(of_client)?;
        let room = of_room.map(|permits| self.of(room_hash).try_acquire_many_owned(permits)).transpose().ok()?;
        Some(InFlightPermit { _client: Some(client), _room: room })
    }

    /// A permit for what a member does in the room of this hash. Clients that wait get theirs in order.
    pub async fn enter(&self, client: &mut ClientWindow, room_hash: u64, act: &Act) -> InFlightPermit {
        let (of_client, of_room) = permits(act);
        let client = client.enter(of_client).await;
        let room = match of_room {
            Some(permits) => Some(self.of(room_hash).acquire_many_owned(permits).await.expect(NEVER_CLOSED)),
            None => None,
        };
        InFlightPermit { _client: Some(client), _room: room }
    }

    /// A permit for that many bytes to the room of this hash, from no client.
    pub async fn enter_room(&self, room_hash: u64, bytes: usize) -> InFlightPermit {
        let permits = permits_for(bytes).min(WINDOW_BYTES_MAX);
        let room = self.of(room_hash).acquire_many_owned(permits).await.expect(NEVER_CLOSED);
        InFlightPermit { _client: None, _room: Some(room) }
    }

    fn of(&self, room_hash: u64) -> Arc<Semaphore> {
        Arc::clone(&self.0[room_hash as usize % WINDOWS])
    }
}

/// The permits that an act takes from the window of its client, and what a publication takes from that of its room. At
/// most all of them.
fn permits(act: &Act) -> (u32, Option<u32>) {
    let permits = permits_for(act.in_flight_bytes());
    let of_room = act.is_publish().then(|| permits.min(WINDOW_BYTES_MAX));
    (permits.min(CLIENT_BYTES_MAX), of_room)
}

fn permits_for(bytes: usize) -> u32 {
    u32::try_from(bytes + COMMAND_BYTES).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::FutureExt;

    use super::*;
    use crate::protocol::publication::Data;

    #[test]
    fn a_client_waits_for_its_own_window_and_a_long_message_blocks_one_window_of_rooms() {
        let shard = ShardWindow::new();
        let publish = |bytes| Act::Publish(Data::Text("x".repeat(bytes).into()), Instant::now());
        let (mut busy, mut other) = (ClientWindow::default(), ClientWindow::default());
        let permits: Vec<_> = std::iter::from_fn(|| shard.try_enter(&mut busy, 0, &publish(1_000))).collect();
        assert_eq!(permits.len(), CLIENT_BYTES_MAX as usize / (1_000 + COMMAND_BYTES));
        assert!(shard.try_enter(&mut other, 0, &publish(1_000)).is_some());
        drop(permits);
        let long = shard.try_enter(&mut busy, 0, &publish(1 << 23)).unwrap();
        assert!(shard.try_enter(&mut busy, 0, &publish(0)).is_none());
        assert!(shard.try_enter(&mut other, 0, &publish(0)).is_none(), "the room's window is full as well");
        let reply = Act::Reply("reply".into());
        assert!(
            shard.try_enter(&mut other, 1, &publish(0)).is_some() && shard.try_enter(&mut other, 0, &reply).is_some()
        );
        drop(long);
        assert!(shard.try_enter(&mut busy, 0, &publish(0)).is_some());
    }

    #[test]
    fn a_client_gets_one_long_reply_at_a_time() {
        let mut window = ClientWindow::default();
        let turn = window.try_turn().unwrap();
        let mut next = Box::pin(window.turn());
        assert!(window.try_turn().is_none() && next.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(next.now_or_never().is_some() && window.try_turn().is_some());
    }
}
