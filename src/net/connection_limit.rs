//! The limit of connections, for the whole server and for each descriptor table. Its counts are atomic, so nothing
//! waits.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::NoPermit;
use super::address_limiter::{AddressLimiter, AddressPermit};

/// Limits the connections at a time. Clones share one count.
#[derive(Clone, Debug)]
pub struct ConnectionLimit(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    taken: AtomicUsize,
    connections_max: usize,
    /// Listeners of this descriptor table that have spent their reserve descriptor.
    without_reserve: AtomicUsize,
    /// The limit of the whole server, where this is one of a descriptor table.
    whole: Option<ConnectionLimit>,
}

/// Allows one connection, until it is dropped. Small, since every client holds one.
#[derive(Debug)]
pub struct ConnectionPermit {
    limit: ConnectionLimit,
    _address: Option<Box<AddressPermit>>,
}

impl ConnectionLimit {
    /// Allows up to `connections_max` connections.
    pub fn new(connections_max: usize) -> Self {
        Self(Arc::new(Count { connections_max, ..Count::default() }))
    }

    /// The limit of one descriptor table, whose connections count against this limit as well.
    pub fn part(&self, connections_max: usize) -> Self {
        Self(Arc::new(Count { connections_max, whole: Some(self.clone()), ..Count::default() }))
    }

    /// Whether no more connections are allowed.
    pub fn is_full(&self) -> bool {
        let Count { taken, connections_max, whole, .. } = &*self.0;
        taken.load(Ordering::Relaxed) >= *connections_max || whole.as_ref().is_some_and(Self::is_full)
    }

    /// Returns a permit, if the limit allows one more connection.
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

    /// Whether a listener needs the next free descriptor: a client that kept it would leave all others unanswered.
    pub(super) fn needs_reserve(&self) -> bool {
        self.0.without_reserve.load(Ordering::Relaxed) > 0
    }
}

impl ConnectionPermit {
    /// The same permit, with one for the client's address.
    ///
    /// # Errors
    /// The address has too many clients; the permit is given back.
    pub fn for_address(self, limiter: &AddressLimiter, address: IpAddr) -> Result<Self, NoPermit> {
        limiter.acquire(address).map(|permit| self.with(permit))
    }

    /// The same permit, with one for the client's address that was acquired before; `None` changes nothing.
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
