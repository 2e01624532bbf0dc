//! Limits the deliveries that one client may cause: a token bucket per client, and a record of what the disconnected
//! clients of each address have spent. Plain synchronous code; never waits.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::DeliveryLimits;
use crate::net::address_limiter::address_key;

/// The number of cells for addresses: 512 KiB of address space, of which only the used pages take memory.
const CELLS: usize = 1 << 16;

/// A client's token bucket, of deliveries. A message costs one delivery per member of its room. It may put the client
/// into debt, since a room may have more members than a whole burst.
#[derive(Debug)]
pub struct RateLimiter {
    limits: DeliveryLimits,
    /// Deliveries that the client may cause; below zero they are debt.
    available: f64,
    updated_at: Instant,
}

/// What the clients of each address had spent when they disconnected, so that a new connection does not bring a new
/// burst. Clones share the record. Addresses share a cell by chance; then one begins with less of a burst for what
/// another has spent.
#[derive(Clone, Debug)]
pub struct SpentDeliveries {
    hasher: RandomState,
    started: Instant,
    /// The time at which the addresses of a cell have a whole burst again, in nanoseconds after `started`.
    full_at: Arc<[AtomicU64]>,
}

impl SpentDeliveries {
    /// A record without any spending.
    pub fn new(now: Instant) -> Self {
        Self { hasher: RandomState::new(), started: now, full_at: (0..CELLS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The time until the address has a whole burst again.
    fn full_within(&self, address: IpAddr, now: Instant) -> Duration {
        let full_at = Duration::from_nanos(self.cell(address).load(Ordering::Relaxed));
        full_at.saturating_sub(now.saturating_duration_since(self.started))
    }

    fn record(&self, address: IpAddr, now: Instant, full_within: Duration) {
        let full_at = now.saturating_duration_since(self.started) + full_within;
        self.cell(address).fetch_max(u64::try_from(full_at.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn cell(&self, address: IpAddr) -> &AtomicU64 {
        let hash = self.hasher.hash_one(address_key(address));
        &self.full_at[hash as usize % CELLS]
    }
}

impl RateLimiter {
    /// A bucket with one burst, less what disconnected clients of the address have spent recently.
    pub fn new(limits: DeliveryLimits, spent: &SpentDeliveries, address: IpAddr, now: Instant) -> Self {
        let spent = spent.full_within(address, now).as_secs_f64() * f64::from(limits.per_second.get());
        Self { limits, available: f64::from(limits.burst) - spent, updated_at: now }
    }

    /// Charges a message to a room with that many members.
    ///
    /// # Errors
    /// The time until a message is allowed. Nothing was charged.
    pub fn acquire(&mut self, members: usize, now: Instant) -> Result<(), Duration> {
        let per_second = f64::from(self.limits.per_second.get());
        let earned = now.saturating_duration_since(self.updated_at).as_secs_f64() * per_second;
        self.available = (self.available + earned).min(f64::from(self.limits.burst));
        self.updated_at = now.max(self.updated_at);
        if self.available < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.available) / per_second));
        }
        self.available -= members as f64;
        Ok(())
    }

    /// Charges deliveries that were caused already, beyond what the message that has caused them was charged.
    pub fn owe(&mut self, deliveries: usize) {
        self.available -= deliveries as f64;
    }

    /// Records for the address what the client has spent.
    pub fn end(&self, spent: &SpentDeliveries, address: IpAddr) {
        let deliveries = (f64::from(self.limits.burst) - self.available).max(0.0);
        let full_within = Duration::try_from_secs_f64(deliveries / f64::from(self.limits.per_second.get()));
        spent.record(address, self.updated_at, full_within.unwrap_or(Duration::MAX / 2));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn rate_limiter(spent: &SpentDeliveries, address: &str, now: Instant) -> RateLimiter {
        let per_second = NonZeroU32::new(100).unwrap();
        let limits = DeliveryLimits { per_second, burst: 200, pause_max: Duration::ZERO };
        RateLimiter::new(limits, spent, address.parse().unwrap(), now)
    }

    #[test]
    fn a_message_costs_one_delivery_per_member_and_a_large_room_is_paid_for_afterwards() {
        let now = Instant::now();
        for (members, messages, wait) in [(50, 4, 10), (100, 2, 10), (10_000, 1, 98_010)] {
            let mut limiter = rate_limiter(&SpentDeliveries::new(now), "192.0.2.1", now);
            // However long a client is silent, it has one burst.
            for now in [now, now + 3_600_000 * MILLISECOND] {
                let allowed = (0..9).take_while(|_| limiter.acquire(members, now).is_ok()).count();
                assert_eq!(allowed, messages, "{members}");
                assert_eq!(limiter.acquire(members, now), Err(wait * MILLISECOND), "{members}");
            }
        }
    }

    #[test]
    fn a_new_connection_of_an_address_has_no_new_burst() {
        let now = Instant::now();
        let spent = SpentDeliveries::new(now);
        let mut first = rate_limiter(&spent, "192.0.2.1", now);
        assert_eq!([first.acquire(150, now), first.acquire(150, now)], [Ok(()); 2]);
        first.end(&spent, "192.0.2.1".parse().unwrap());
        // 300 of 200 were spent, and 100 are earned per second.
        let mut second = rate_limiter(&spent, "192.0.2.1", now);
        assert_eq!(second.acquire(150, now), Err(1_010 * MILLISECOND));
        assert_eq!(second.acquire(150, now + 2_000 * MILLISECOND), Ok(()));
        for (address, after) in [("192.0.2.2", 0), ("192.0.2.1", 4_000)] {
            let other = rate_limiter(&spent, address, now + after * MILLISECOND);
            assert!((other.available - 200.0).abs() < 0.01, "{address}: {}", other.available);
        }
    }
}
