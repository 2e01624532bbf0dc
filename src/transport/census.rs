//! How many clients each address has, and how fast new ones come from it, over all workers. Counts in cells that addresses share
//! by chance, so that nobody waits and memory does not grow with the addresses. Never knows a socket.

use std::array;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::AddressLimits;

/// An address has a cell in each of so many rows, and counts for what the least of them says: it is mistaken for a busier one
/// only where all of its cells are those of busier ones.
const ROWS: usize = 4;

/// The cells of a row, as a power of two: four rows take 256 KiB for counts and 512 KiB for rates, where they are limited.
const ROW_BITS: u32 = 14;

/// Connects may come at once up to what the rate allows in this time.
const BURST: Duration = Duration::from_secs(1);

/// The bits of an IPv6 address that are one customer's.
const IPV6_PREFIX_BITS: u32 = 64;

/// Who is here, by address. All clones are one.
#[derive(Clone, Debug)]
pub struct Census {
    keys: RandomState,
    clients: Option<Arc<Clients>>,
    connects: Option<Arc<Connects>>,
}

/// A client that counts for its address, until dropped.
#[derive(Debug)]
pub struct Presence {
    clients: Arc<Clients>,
    cells: [usize; ROWS],
}

/// What an address has too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// Clients.
    Clients,
    /// Connects within a second.
    Connects,
}

impl Census {
    /// Nobody is here. Takes memory only for what is limited.
    pub fn new(limits: AddressLimits) -> Self {
        Self {
            keys: RandomState::new(),
            clients: limits.clients_max.map(|max| Arc::new(Clients { cells: cells(), max: max.get() })),
            connects: limits.connects_per_second.map(|rate| Arc::new(Connects::new(rate))),
        }
    }

    /// One more client of this address, if it may have one more. `None` if clients are not counted.
    ///
    /// With several workers as many more than the limit may pass as accept at the same instant.
    ///
    /// # Errors
    /// What it has too many of.
    pub fn arrive(&self, address: IpAddr, now: Instant) -> Result<Option<Presence>, TooMany> {
        if self.clients.is_none() && self.connects.is_none() {
            return Ok(None);
        }
        let cells = self.cells_of(address);
        if self.connects.as_ref().is_some_and(|connects| !connects.take(cells, now)) {
            return Err(TooMany::Connects);
        }
        let Some(clients) = &self.clients else { return Ok(None) };
        // Dropped at once if there are too many.
        let presence = Presence { clients: Arc::clone(clients), cells };
        if clients.add(cells) > clients.max { Err(TooMany::Clients) } else { Ok(Some(presence)) }
    }

    /// An index per row. Keyed at random, so that nobody can choose an address for whose cells it has.
    fn cells_of(&self, address: IpAddr) -> [usize; ROWS] {
        let hash = match address.to_canonical() {
            IpAddr::V4(address) => self.keys.hash_one(address),
            IpAddr::V6(address) => self.keys.hash_one(address.to_bits() >> (u128::BITS - IPV6_PREFIX_BITS)),
        };
        array::from_fn(|row| (row << ROW_BITS) | (hash >> (ROW_BITS * row as u32)) as usize & ((1 << ROW_BITS) - 1))
    }
}

/// The cells of all rows, at zero.
fn cells<T: Default>() -> Box<[T]> {
    (0..ROWS << ROW_BITS).map(|_| T::default()).collect()
}

/// Clients, in the cells of their addresses.
#[derive(Debug)]
struct Clients {
    cells: Box<[AtomicU32]>,
    max: u32,
}

impl Clients {
    /// Adds one, and returns what its address has now, or more.
    fn add(&self, cells: [usize; ROWS]) -> u32 {
        let counts = cells.map(|cell| self.cells[cell].fetch_add(1, Ordering::Relaxed) + 1);
        counts.into_iter().min().expect("there are rows")
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        for cell in self.cells {
            self.clients.cells[cell].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// For each cell the time, in nanoseconds from `begun`, at which all connects there would be due, had they come evenly: a
/// token bucket in one number.
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

    /// False if there were too many within the time of a burst.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn census(clients: u32, connects: u32) -> Census {
        let limits =
            AddressLimits { clients_max: NonZeroU32::new(clients), connects_per_second: NonZeroU32::new(connects) };
        Census::new(limits)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_limit_whatever_others_have() {
        let census = census(2, 0);
        let now = Instant::now();
        let mut here: Vec<_> = (0..2).map(|_| census.arrive(address("10.0.0.1"), now).unwrap()).collect();
        assert_eq!(census.arrive(address("10.0.0.1"), now).unwrap_err(), TooMany::Clients);
        assert_eq!(census.arrive(address("::ffff:10.0.0.1"), now).unwrap_err(), TooMany::Clients, "it is the same");
        here.push(census.arrive(address("10.0.0.2"), now).unwrap());
        here.remove(0);
        assert!(census.arrive(address("10.0.0.1"), now).is_ok_and(|presence| presence.is_some()));
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let census = census(1, 0);
        let now = Instant::now();
        let _first = census.arrive(address("2001:db8::1"), now).unwrap();
        assert_eq!(census.arrive(address("2001:db8::ffff:0:1"), now).unwrap_err(), TooMany::Clients);
        assert!(census.arrive(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn a_second_brings_as_many_connects_as_the_rate_says() {
        let census = census(0, 4);
        let now = Instant::now();
        let at = |milliseconds: u64| census.arrive(address("10.0.0.1"), now + Duration::from_millis(milliseconds));
        assert!((0..4).all(|_| at(0).is_ok()));
        assert_eq!(at(0).unwrap_err(), TooMany::Connects);
        assert_eq!(at(249).unwrap_err(), TooMany::Connects);
        assert!(at(250).is_ok());
        assert_eq!(at(250).unwrap_err(), TooMany::Connects);
        assert!(census.arrive(address("10.0.0.2"), now).is_ok());
        assert_eq!((0..9).filter(|_| at(60_000).is_ok()).count(), 4);
    }

    #[test]
    fn hardly_anybody_is_taken_for_others_beside_thousands_of_busy_addresses() {
        const BUSY: u32 = 1_000;
        const QUIET: u32 = 10_000;
        let census = census(10, 0);
        let now = Instant::now();
        let address = |number: u32| IpAddr::V4(number.into());
        let busy: Vec<_> = (0..BUSY * 10).map(|number| census.arrive(address(number % BUSY), now)).collect();
        assert!(busy.iter().filter(|arrived| arrived.is_err()).count() <= 10);
        let mistaken = (BUSY..BUSY + QUIET).filter(|&number| census.arrive(address(number), now).is_err()).count();
        // One in (16 384 / 1 000)⁴, on average: 0.14.
        assert!(mistaken <= 5, "{mistaken}");
        drop(busy);
        assert!(census.clients.unwrap().cells.iter().all(|cell| cell.load(Ordering::Relaxed) == 0));
    }
}
