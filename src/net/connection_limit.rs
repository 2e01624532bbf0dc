//! The limit of connections, over the whole server and over each descriptor table. A count and not a lock: nobody waits for
//! it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::address_limiter::{AddressLimiter, AddressPermit};

/// Allows up to a number of connections at once. Clones share one count.
#[derive(Clone, Debug)]
pub struct ConnectionLimit(Arc<Count>);

#[derive(Debug)]
struct Count {
    taken: AtomicUsize,
    connections_max: usize,
    /// Listeners of this descriptor table that have spent their reserve descriptor.
    without_reserve: AtomicUsize,
    /// The limit of the whole server, where this is one of a descriptor table.
    whole: Option<ConnectionLimit>,
}

/// Allows one connection, until it is dropped. Small, since every client has one.
#[derive(Debug)]
pub struct ConnectionPermit {
    limit: ConnectionLimit,
    _address: Option<Box<AddressPermit>>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// The server, or the descriptor table, has as many connections as its limit allows.
    Full,
    /// The limit allows more, but there is no file descriptor: other uses hold more of them than was reckoned with.
    OutOfDescriptors,
    /// The address has as many clients as one may have, or has connected too often within a second.
    TooManyOfAddress,
}

impl ConnectionLimit {
    /// Allows up to `connections_max` connections.
    pub fn new(connections_max: usize) -> Self {
        Self::with_whole(connections_max, None)
    }

    /// The limit of one descriptor table, whose connections count against this limit as well.
    pub fn part(&self, connections_max: usize) -> Self {
        Self::with_whole(connections_max, Some(self.clone()))
    }

    fn with_whole(connections_max: usize, whole: Option<Self>) -> Self {
        let (taken, without_reserve) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Count { taken, connections_max, without_reserve, whole }))
    }

    /// Whether no more connections are allowed.
    pub fn is_full(&self) -> bool {
        let Count { taken, connections_max, whole, .. } = &*self.0;
        taken.load(Ordering::Relaxed) >= *connections_max || whole.as_ref().is_some_and(Self::is_full)
    }

    /// A permit, if the limit allows one more connection.
    pub fn try_acquire(&self) -> Option<ConnectionPermit> {
        self.count_one_more().then(|| ConnectionPermit { limit: self.clone(), _address: None })
    }

    fn count_one_more(&self) -> bool {
        let Count { taken, connections_max, whole, .. } = &*self.0;
        let one_more = |taken| (taken < *connections_max).then_some(taken + 1);
        if taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return false;
        }
        let is_allowed = whole.as_ref().is_none_or(Self::count_one_more);
        if !is_allowed {
            taken.fetch_sub(1, Ordering::Relaxed);
        }
        is_allowed
    }

    fn count_one_less(&self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.whole.iter().for_each(Self::count_one_less);
    }

    /// A listener has spent its reserve descriptor.
    pub(super) fn reserve_spent(&self) {
        self.0.without_reserve.fetch_add(1, Ordering::Relaxed);
    }

    /// A listener has its reserve descriptor again.
    pub(super) fn reserve_regained(&self) {
        self.0.without_reserve.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the next free descriptor belongs to a listener: a client that kept it would leave all others unanswered.
    pub(super) fn needs_reserve(&self) -> bool {
        self.0.without_reserve.load(Ordering::Relaxed) > 0
    }
}

impl ConnectionPermit {
    /// The permit, counted for its address as well.
    ///
    /// # Errors
    /// The address has too many; the permit is given back.
    pub fn for_address(self, limiter: &AddressLimiter, address: IpAddr) -> Result<Self, NoPermit> {
        limiter.acquire(address).map(|permit| self.with(permit))
    }

    /// The permit with one for its address that was acquired before; `None` changes nothing.
    pub fn with(mut self, address: Option<AddressPermit>) -> Self {
        if let Some(address) = address {
            self._address = Some(Box::new(address));
        }
        self
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limit.count_one_less();
    }
}
