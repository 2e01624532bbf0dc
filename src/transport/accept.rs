//! Accepting: one loop per listener, under one limit for the whole server. Never reads or parses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

use crate::shutdown::Drain;

/// The pause after an accept that failed for want of something that only time or leaving clients can give back.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How many clients there may be at once, over all workers. A count, not a lock: nobody waits for it.
#[derive(Clone, Debug)]
pub struct Admission {
    clients: Arc<AtomicUsize>,
    clients_max: usize,
}

/// A client's place, given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Admission {
    /// Room for so many.
    pub fn new(clients_max: usize) -> Self {
        Self { clients: Arc::default(), clients_max }
    }

    /// Whether every place is taken.
    pub fn is_full(&self) -> bool {
        self.clients.load(Ordering::Relaxed) >= self.clients_max
    }

    /// A place, if there is one.
    pub fn admit(&self) -> Option<Place> {
        let place = |clients| (clients < self.clients_max).then_some(clients + 1);
        self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place).ok()?;
        Some(Place(Arc::clone(&self.clients)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that was let in, or for whom there is no place.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub stream: TcpStream,
    /// Its address.
    pub peer: SocketAddr,
    /// `None` when the server is full.
    pub place: Option<Place>,
}

/// Accepts line clients until the server stops. The listener closes when this returns.
pub async fn accept_until_stop(
    listener: TcpListener,
    admission: Admission,
    drain: Drain,
    on_client: impl FnMut(Accepted),
) {
    tokio::select! {
        biased;
        () = drain.stopping() => {}
        () = accept(listener, admission, on_client) => {}
    }
}

/// Accepts for ever.
pub async fn accept(listener: TcpListener, admission: Admission, mut on_client: impl FnMut(Accepted)) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => on_client(Accepted { stream, peer, place: admission.admit() }),
            // The client has gone already; the next one may be fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                warn!(%error, "accept failed");
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_client_is_gone() {
        let admission = Admission::new(2);
        let first = admission.admit();
        let second = admission.admit();
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit().is_none());
        drop(first);
        assert!(admission.admit().is_some());
    }
}
