//! The limits of one address: clients at a time and new connections a second, over all workers. Counts in atomic cells
//! that addresses share by chance (a count-min sketch), so that nothing waits and memory does not grow with the
//! addresses.

use std::array;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::warn;

use super::NoPermit;
use crate::config::AddressLimits;
use crate::log::LogThrottle;

/// An address has one cell in each row, and the least of its cells is its count: it is mistaken for a busier address
/// only if it shares all of its cells with busier ones.
const ROWS: usize = 4;

/// The cells of a row, as a power of two: four rows take 256 KiB for clients and 512 KiB for rates, where they are
/// limited.
const ROW_BITS: u32 = 14;

/// Connections may come at once up to what the rate allows in this time.
const BURST: Duration = Duration::from_secs(1);

/// Limits clients and new connections by address. Clones share the counts.
#[derive(Clone, Debug)]
pub struct AddressLimiter {
    keys: RandomState,
    clients: Option<Arc<Clients>>,
    connects: Option<Arc<Connects>>,
}

/// Counts a client for its address, until it is dropped.
#[derive(Debug)]
pub struct AddressPermit {
    clients: Arc<Clients>,
    cells: [usize; ROWS],
}

impl AddressLimiter {
    /// A limiter without clients. Takes memory only for what is limited.
    pub fn new(limits: AddressLimits) -> Self {
        Self {
            keys: RandomState::new(),
            clients: limits.clients_max.map(|max| Arc::new(Clients { cells: cells(), max: max.get() })),
            connects: limits.connects_per_second.map(|rate| Arc::new(Connects::new(rate))),
        }
    }

    /// Counts one more client of this address. Returns `None` if clients are not limited. Workers that accept at the
    /// same instant may each admit one client beyond the limit.
    ///
    /// # Errors
    /// The address has too many clients, or has connected too often.
    pub fn acquire(&self, address: IpAddr) -> Result<Option<AddressPermit>, NoPermit> {
        self.acquire_at(address, Instant::now()).inspect_err(|_| warn_too_many(address))
    }

    /// Like [`Self::acquire`], at a given time.
    ///
    /// # Errors
    /// As for [`Self::acquire`].
    pub fn acquire_at(&self, address: IpAddr, now: Instant) -> Result<Option<AddressPermit>, NoPermit> {
        if self.clients.is_none() && self.connects.is_none() {
            return Ok(None);
        }
        let cells = self.cells_of(address);
        if self.connects.as_ref().is_some_and(|connects| !connects.take(cells, now)) {
            return Err(NoPermit::TooManyOfAddress);
        }
        let Some(clients) = &self.clients else { return Ok(None) };
        // Dropped at once, and so not counted, if there are too many.
        let permit = AddressPermit { clients: Arc::clone(clients), cells };
        if clients.add(cells) > clients.max { Err(NoPermit::TooManyOfAddress) } else { Ok(Some(permit)) }
    }

    /// One index per row. The hash has a random key, so that an attacker cannot choose an address that shares another's
    /// cells.
    fn cells_of(&self, address: IpAddr) -> [usize; ROWS] {
        let hash = self.keys.hash_one(address_key(address));
        array::from_fn(|row| (row << ROW_BITS) | (hash >> (ROW_BITS * row as u32)) as usize & ((1 << ROW_BITS) - 1))
    }
}

/// The key of an address. An IPv6 network of 64 bits, which is one customer's, has one key.
pub fn address_key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

fn warn_too_many(address: IpAddr) {
    thread_local! { static TOO_MANY: LogThrottle = const { LogThrottle::new() }; }
    if let Some(times) = TOO_MANY.with(LogThrottle::count) {
        let remedy = "raise clients-per-address or connects-per-address, or list its proxy in trusted-proxies";
        warn!(times, %address, remedy, "an address has too many clients");
    }
}

/// Cells of all rows, at zero.
fn cells<T: Default>() -> Box<[T]> {
    (0..ROWS << ROW_BITS).map(|_| T::default()).collect()
}

/// Clients at a time, in the cells of their addresses.
#[derive(Debug)]
struct Clients {
    cells: Box<[AtomicU32]>,
    max: u32,
}

impl Clients {
    /// Adds a client, and returns at least how many its address has now.
    fn add(&self, cells: [usize; ROWS]) -> u32 {
        let counts = cells.map(|cell| self.cells[cell].fetch_add(1, Ordering::Relaxed) + 1);
        counts.into_iter().min().expect("there are rows")
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        for cell in self.cells {
            self.clients.cells[cell].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A token bucket per cell, in one number: the time at which all connections of the cell would be due if they had come
/// evenly, in nanoseconds from `begun`.
#[derive(Debug)]
struct Connects {
    cells: Box<[AtomicU64]>,
    begun: Instant,
    interval: u64,
}

impl Connects {
    fn new(per_second: NonZeroU32) -> Self {
        let interval = 1_000_000_000 / u64::from(per_second.get());
        Self { cells: cells(), begun: Instant::now(), interval }
    }

    /// Counts a connection, or returns false if there were too many within a second.
    fn take(&self, cells: [usize; ROWS], now: Instant) -> bool {
        let now = nanoseconds(now.saturating_duration_since(self.begun));
        let due = cells.map(|cell| self.cells[cell].load(Ordering::Relaxed)).into_iter().min();
        let due = due.expect("there are rows").max(now) + self.interval;
        let is_fine = due - now <= nanoseconds(BURST);
        if is_fine {
            for cell in cells {
                self.cells[cell].fetch_max(due, Ordering::Relaxed);
            }
        }
        is_fine
    }
}

/// Enough for five centuries.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
