//! Accepting: one loop per listener, under the limit of its descriptor table. Never reads or parses, and never leaves a
//! client unanswered for lack of a descriptor.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use futures_util::FutureExt;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::NoPermit;
use super::connection_limit::{ConnectionLimit, ConnectionPermit};
use super::stream::Stream;
use crate::config::canonical;
use crate::fault;
use crate::log::LogThrottle;
use crate::shutdown::Drain;

/// The pause after an accept that failed for lack of something that only time or leaving clients can give back.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A listener. A dropped one does not listen any more, even if another descriptor table holds a copy of its descriptor.
///
/// Its reserve descriptor is given up when there is no other, so that the client at the head of the queue can be
/// accepted and refused with a reason. Without it, clients would wait unanswered while epoll reported them without end.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    limit: ConnectionLimit,
    /// A copy of the listening socket, held only to have a descriptor.
    reserve: Option<OwnedFd>,
    /// There was no descriptor for the newest client.
    is_out_of_descriptors: bool,
}

/// An accepted socket.
#[derive(Debug)]
pub struct Accepted {
    /// The client's stream.
    pub stream: Stream,
    /// The client's address; an IPv4 address even where the listener is of IPv6.
    pub peer: SocketAddr,
    /// Allows the connection, or says why it is refused.
    pub permit: Result<ConnectionPermit, NoPermit>,
}

impl Listener {
    /// A listener under a limit, to be called on the runtime that accepts.
    ///
    /// # Errors
    /// The runtime cannot register it, or there is no descriptor for its reserve.
    pub fn new(listener: StdListener, limit: ConnectionLimit) -> io::Result<Self> {
        let socket = TcpListener::from_std(listener)?;
        let reserve = Some(socket.as_fd().try_clone_to_owned()?);
        Ok(Self { socket, limit, reserve, is_out_of_descriptors: false })
    }

    /// The bound address.
    ///
    /// # Errors
    /// The system does not provide it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until nobody is let in any more, then closes the listener.
    pub async fn accept_until_stop(self, drain: Drain, on_client: impl FnMut(Accepted)) {
        tokio::select! {
            biased;
            () = drain.turning_away() => {}
            () = self.accept(on_client) => {}
        }
    }

    /// Accepts forever.
    pub async fn accept(mut self, mut on_client: impl FnMut(Accepted)) {
        loop {
            if let Some(accepted) = self.next().await {
                fault::inject("accept");
                on_client(accepted);
            }
            // Everything else on the worker has its turn before the next client. Each costs about as much again when it
            // joins, and in a crowd that comes back, when it is sent what it has missed: accepted without a pause, a
            // crowd of ten thousand holds up the others for hundreds of milliseconds.
            yield_now().await;
        }
    }

    /// Returns the next client; `None` if it has gone already, or if no client can be accepted for a while.
    async fn next(&mut self) -> Option<Accepted> {
        self.regain_reserve();
        let accepted = if self.reserve.is_some() {
            self.socket.accept().await
        } else {
            // The other listeners refuse their clients until this one has its reserve, so it does not wait for a
            // client.
            timeout(RETRY_AFTER, self.socket.accept()).await.ok()?
        };
        match accepted {
            Ok(accepted) if self.limit.needs_reserve() => Some(out_of_descriptors(accepted)),
            Ok((stream, peer)) => {
                if std::mem::take(&mut self.is_out_of_descriptors) {
                    info!("there are descriptors again");
                }
                let permit = self.limit.try_acquire().ok_or(NoPermit::Full).inspect_err(|_| warn_full());
                Some(Accepted { stream: stream.into(), peer: canonical(peer), permit })
            }
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => {
                self.next_on_reserve(error).await
            }
            Err(error) => pause_after(error).await,
        }
    }

    /// Accepts on the reserve descriptor. Linux looks for a descriptor before it looks for a client, so there may be
    /// none.
    async fn next_on_reserve(&mut self, error: io::Error) -> Option<Accepted> {
        if !std::mem::replace(&mut self.is_out_of_descriptors, true) {
            warn!(%error, "out of descriptors: clients are refused");
        }
        if self.reserve.take().is_none() {
            sleep(RETRY_AFTER).await;
            return None;
        }
        self.limit.reserve_spent();
        match self.socket.accept().now_or_never()? {
            Ok(accepted) => Some(out_of_descriptors(accepted)),
            Err(error) => pause_after(error).await,
        }
    }

    fn regain_reserve(&mut self) {
        if self.reserve.is_none()
            && let Ok(reserve) = self.socket.as_fd().try_clone_to_owned()
        {
            self.reserve = Some(reserve);
            self.limit.reserve_regained();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.reserve.is_none() {
            self.limit.reserve_regained();
        }
        // Never fails for a socket that listens.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

/// A client on a descriptor that a listener needs back at once.
fn out_of_descriptors((stream, peer): (TcpStream, SocketAddr)) -> Accepted {
    Accepted { stream: stream.into(), peer: canonical(peer), permit: Err(NoPermit::OutOfDescriptors) }
}

/// Pauses, unless the client has gone already: then the next one may be fine.
async fn pause_after<T>(error: io::Error) -> Option<T> {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        warn!(%error, "accept failed");
        sleep(RETRY_AFTER).await;
    }
    None
}

fn warn_full() {
    thread_local! { static FULL: LogThrottle = const { LogThrottle::new() }; }
    if let Some(times) = FULL.with(LogThrottle::count) {
        warn!(times, "the server is full: raise max-clients, or the descriptor limit where that is the bound");
    }
}
