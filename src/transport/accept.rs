//! Accepting: one loop per listener, under one limit for all that share a descriptor table and one for the whole server.
//! Never reads or parses, and never leaves a client waiting for want of a descriptor.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::census::{Census, Presence};
use crate::config::canonical;
use crate::fault;
use crate::log::Occasion;
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
    /// How many listeners of this descriptor table are without their reserve.
    lacking: AtomicUsize,
    /// Whose places these are as well.
    whole: Option<Admission>,
    /// Who has the one place that there is, where that is counted.
    _visit: Visit,
}

/// A client's place, given back when dropped. As small as can be, since every client has one: what few have stands behind it.
#[derive(Debug)]
pub struct Place(Arc<Places>);

/// What a client counts for its address; `None` where that is not counted.
pub type Visit = Option<Presence>;

/// One more client of this address, if it may have one more.
///
/// # Errors
/// It may not.
pub fn visit(census: &Census, address: IpAddr) -> Result<Visit, NoPlace> {
    census.arrive(address, Instant::now()).map_err(|_| {
        warn_too_many(address);
        NoPlace::TooManyOfAddress
    })
}

/// What an operator can do about connections that are refused, in at most one line each ten seconds for each worker.
fn warn_full() {
    thread_local! { static FULL: Occasion = const { Occasion::new() }; }
    if let Some(times) = FULL.with(Occasion::arises) {
        warn!(times, "the server is full: raise max-clients, or the descriptor limit where that is the bound");
    }
}

fn warn_too_many(address: IpAddr) {
    thread_local! { static TOO_MANY: Occasion = const { Occasion::new() }; }
    if let Some(times) = TOO_MANY.with(Occasion::arises) {
        let remedy = "raise clients-per-address or connects-per-address, or list its proxy in trusted-proxies";
        warn!(times, %address, remedy, "an address has too many clients");
    }
}

impl Place {
    /// The place of a client from this address, if that may have one more.
    ///
    /// # Errors
    /// It may not, and the place is free again.
    pub fn of_address(self, census: &Census, address: IpAddr) -> Result<Self, NoPlace> {
        let visit = visit(census, address)?;
        Ok(self.with(visit))
    }

    /// The place of a client that counts for its address already.
    pub fn with(mut self, visit: Visit) -> Self {
        if visit.is_some() {
            let whole = Some(Admission(Arc::clone(&self.0)));
            self.0 = Arc::new(Places { taken: AtomicUsize::new(1), whole, _visit: visit, ..Places::new(1) });
        }
        self
    }
}

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
        Self(Arc::new(Places { whole, ..Places::new(places_max) }))
    }

    /// Whether the next descriptor is for a listener's reserve. A client that took it would keep all others from an answer.
    fn is_lacking(&self) -> bool {
        self.0.lacking.load(Ordering::Relaxed) > 0
    }

    /// Whether every place is taken.
    pub fn is_full(&self) -> bool {
        let Places { taken, places_max, whole, .. } = &*self.0;
        taken.load(Ordering::Relaxed) >= *places_max || whole.as_ref().is_some_and(Self::is_full)
    }

    /// A place, if there is one.
    pub fn admit(&self) -> Option<Place> {
        self.0.take().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Places {
    fn new(places_max: usize) -> Self {
        let [taken, lacking] = [(); 2].map(|()| AtomicUsize::new(0));
        Self { taken, places_max, lacking, whole: None, _visit: None }
    }

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

/// A listener is without its reserve, until this is dropped.
#[derive(Debug)]
struct Lack(Arc<Places>);

impl Lack {
    fn of(admission: &Admission) -> Self {
        admission.0.lacking.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&admission.0))
    }
}

impl Drop for Lack {
    fn drop(&mut self) {
        self.0.lacking.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listener. When dropped it listens no more, though another descriptor table may hold a copy, which closing leaves be.
///
/// It keeps a descriptor in reserve: when there is no other it gives that up for the client at the head of the queue, who
/// can then be told so. Otherwise clients would wait unanswered, and the queue would wake us for ever.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// A copy of the socket, good only for its number.
    reserve: Option<OwnedFd>,
    /// It was given up.
    lack: Option<Lack>,
    /// There was none for the newest client.
    is_short: bool,
}

impl Listener {
    /// To be called on the runtime that accepts.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub fn from_std(listener: StdListener) -> io::Result<Self> {
        let socket = TcpListener::from_std(listener)?;
        let reserve = Some(socket.as_fd().try_clone_to_owned()?);
        Ok(Self { socket, reserve, lack: None, is_short: false })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next client; `None` if it has gone already, or nobody can be let in for a while.
    async fn next(&mut self, admission: &Admission) -> Option<Arrival> {
        if self.reserve.is_none() {
            self.reserve = self.socket.as_fd().try_clone_to_owned().ok();
        }
        let accepted = if self.reserve.is_some() {
            self.lack = None;
            self.socket.accept().await
        } else {
            // Others are refused until there is a reserve, whether anybody comes here or not.
            timeout(RETRY_AFTER, self.socket.accept()).await.ok()?
        };
        match accepted {
            Ok((stream, peer)) => {
                let on_reserve = admission.is_lacking();
                if self.is_short && !on_reserve {
                    self.is_short = false;
                    info!("there are descriptors again");
                }
                Some(Arrival { stream, peer, on_reserve })
            }
            Err(error) if is_out_of_descriptors(&error) => self.next_on_reserve(error, admission).await,
            Err(error) => after(error).await,
        }
    }

    /// Linux looks for a descriptor before it looks for a client, so perhaps nobody is there.
    async fn next_on_reserve(&mut self, error: io::Error, admission: &Admission) -> Option<Arrival> {
        if !std::mem::replace(&mut self.is_short, true) {
            warn!(%error, "out of descriptors: clients are refused");
        }
        if self.reserve.take().is_none() {
            sleep(RETRY_AFTER).await;
            return None;
        }
        self.lack = Some(Lack::of(admission));
        match self.socket.accept().now_or_never()? {
            Ok((stream, peer)) => Some(Arrival { stream, peer, on_reserve: true }),
            Err(error) => after(error).await,
        }
    }
}

/// The client has gone already, and the next one may be fine; or it is something that only time gives back.
async fn after<T>(error: io::Error) -> Option<T> {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        warn!(%error, "accept failed");
        sleep(RETRY_AFTER).await;
    }
    None
}

/// Of the process or of the whole system.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Who came, on which descriptor.
struct Arrival {
    stream: TcpStream,
    peer: SocketAddr,
    /// Which is needed for the next one, here or at another listener.
    on_reserve: bool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Fails for none that listens.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

/// A client that was let in, or for whom there is no place.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub stream: TcpStream,
    /// Its address; of IPv4 even where the listener is of IPv6.
    pub peer: SocketAddr,
    /// Its place among the clients, or why it has none.
    pub place: Result<Place, NoPlace>,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// Every place is taken, in the server or in the descriptor table.
    Full,
    /// There are places, but no descriptors: others hold more of them than was foreseen.
    OutOfDescriptors,
    /// Its address has as many as one may have, or too many came from it within a second.
    TooManyOfAddress,
}

/// Accepts until the server stops. The listener closes when this returns.
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
pub async fn accept(mut listener: Listener, admission: Admission, mut on_client: impl FnMut(Accepted)) {
    loop {
        if let Some(Arrival { stream, peer, on_reserve }) = listener.next(&admission).await {
            fault::may_strike("accept");
            let place = if on_reserve {
                Err(NoPlace::OutOfDescriptors)
            } else {
                admission.admit().ok_or(NoPlace::Full).inspect_err(|_| warn_full())
            };
            on_client(Accepted { stream, peer: canonical(peer), place });
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
