//! Accepting: one loop per listener, under one limit for all that share a descriptor table and one for the whole server.
//! Never reads or parses.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

use crate::shutdown::Drain;

/// The pause after an accept that failed for want of something that only time or leaving clients can give back.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How many clients there may be at once, over all that share it. A count, not a lock: nobody waits for it.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Places>);

#[derive(Debug)]
struct Places {
    taken: AtomicUsize,
    places_max: usize,
    /// Whose places these are as well.
    whole: Option<Admission>,
}

/// A client's place, given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Admission {
    /// Room for so many.
    pub fn new(clients_max: usize) -> Self {
        Self::of(clients_max, None)
    }

    /// Room for so many as far as there is room here, where their places count as well.
    pub fn part(&self, clients_max: usize) -> Self {
        Self::of(clients_max, Some(self.clone()))
    }

    fn of(places_max: usize, whole: Option<Self>) -> Self {
        Self(Arc::new(Places { taken: AtomicUsize::new(0), places_max, whole }))
    }

    /// Whether every place is taken.
    pub fn is_full(&self) -> bool {
        let Places { taken, places_max, whole } = &*self.0;
        taken.load(Ordering::Relaxed) >= *places_max || whole.as_ref().is_some_and(Self::is_full)
    }

    /// A place, if there is one.
    pub fn admit(&self) -> Option<Place> {
        self.0.take().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Places {
    fn take(&self) -> bool {
        let one_more = |taken| (taken < self.places_max).then_some(taken + 1);
        if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return false;
        }
        let has_place = self.whole.as_ref().is_none_or(|whole| whole.0.take());
        if !has_place {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        has_place
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.0.give_back();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A listener. When dropped it listens no more, though another descriptor table may hold a copy, which closing leaves be.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// To be called on the runtime that accepts.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub fn from_std(listener: StdListener) -> io::Result<Self> {
        TcpListener::from_std(listener).map(Self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Fails for none that listens.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

/// A client that was let in, or for whom there is no place.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub stream: TcpStream,
    /// Its address.
    pub peer: SocketAddr,
    /// `None` when the server is full, or the descriptor table.
    pub place: Option<Place>,
}

/// Accepts line clients until the server stops. The listener closes when this returns.
pub async fn accept_until_stop(
    listener: Listener,
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
pub async fn accept(listener: Listener, admission: Admission, mut on_client: impl FnMut(Accepted)) {
    loop {
        match listener.0.accept().await {
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
    #[test]
    fn a_part_is_full_when_its_own_places_or_those_of_the_whole_are_taken() {
        let whole = Admission::new(3);
        let (one, other) = (whole.part(2), whole.part(2));
        let mut first = [one.admit(), one.admit()];
        assert!(first.iter().all(Option::is_some) && one.admit().is_none());
        assert!(one.is_full() && !other.is_full() && !whole.is_full());
        let _third = other.admit().unwrap();
        assert!(other.admit().is_none() && other.is_full() && whole.is_full());
        first[0] = None;
        assert!(!one.is_full() && !other.is_full());
        let _fourth = other.admit().unwrap();
        assert!(one.admit().is_none(), "the whole is full");
        first[1] = None;
        assert!(one.admit().is_some());
    }

    #[tokio::test]
    async fn a_dropped_listener_refuses_though_a_copy_of_its_descriptor_is_left() {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, _copy) = (listener.local_addr().unwrap(), listener.try_clone().unwrap());
        let listener = Listener::from_std(listener).unwrap();
        std::net::TcpStream::connect(address).unwrap();
        drop(listener);
        assert_eq!(std::net::TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
