//! What one client may cost the others: a token bucket of deliveries, and what addresses have spent whose clients have gone.
//! Plain synchronous code; waits for nothing.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::broker::MemberCount;
use crate::config::DeliveryLimits;
use crate::net::address_limiter::address_key;

/// A client's allowance. A message costs as many deliveries as its room has members, and may put the client into debt, or
/// nobody could speak in a room that is larger than a burst.
#[derive(Debug)]
pub struct RateLimiter {
    limits: DeliveryLimits,
    /// Of the room that the client is in.
    member_count: MemberCount,
    /// Deliveries; below zero they are debt.
    left: f64,
    counted_at: Instant,
}

/// Whether a message may be published now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// It may, and has been charged.
    Allowed,
    /// Not before so much time has passed. Nothing was charged.
    RetryAfter(Duration),
}

/// The cells in which addresses share what they have spent: 512 KiB, of which only those take memory that are used.
const CELLS: usize = 1 << 16;

/// What the clients of an address had spent when they went, so that nobody has a whole burst again by connecting anew. All
/// clones are one. Addresses share cells by chance: whoever meets the cell of a spender begins with less of a burst.
#[derive(Clone, Debug)]
pub struct SpentDeliveries {
    keys: RandomState,
    begun: Instant,
    /// When all is earned again, in nanoseconds since it was begun.
    earned_at: Arc<[AtomicU64]>,
}

impl SpentDeliveries {
    /// Nobody has spent anything.
    pub fn new(now: Instant) -> Self {
        Self { keys: RandomState::new(), begun: now, earned_at: (0..CELLS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// How long an address has to wait until it has earned a whole burst.
    fn earned_within(&self, address: IpAddr, now: Instant) -> Duration {
        let earned_at = Duration::from_nanos(self.cell(address).load(Ordering::Relaxed));
        earned_at.saturating_sub(now.saturating_duration_since(self.begun))
    }

    fn remember(&self, address: IpAddr, now: Instant, earned_within: Duration) {
        let earned_at = now.saturating_duration_since(self.begun) + earned_within;
        self.cell(address).fetch_max(u64::try_from(earned_at.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn cell(&self, address: IpAddr) -> &AtomicU64 {
        let hash = self.keys.hash_one(address_key(address));
        &self.earned_at[hash as usize % CELLS]
    }
}

impl RateLimiter {
    /// A burst is left, less what others from this address have spent that is not earned again.
    pub fn new(limits: DeliveryLimits, spent: &SpentDeliveries, address: IpAddr, now: Instant) -> Self {
        let spent = spent.earned_within(address, now).as_secs_f64() * f64::from(limits.per_second.get());
        let left = f64::from(limits.burst) - spent;
        Self { limits, member_count: MemberCount::default(), left, counted_at: now }
    }

    /// The client goes, and its address is remembered for what it has spent.
    pub fn end(&self, spent: &SpentDeliveries, address: IpAddr) {
        let deliveries = (f64::from(self.limits.burst) - self.left).max(0.0);
        let earned_within = Duration::try_from_secs_f64(deliveries / f64::from(self.limits.per_second.get()));
        spent.remember(address, self.counted_at, earned_within.unwrap_or(Duration::MAX / 2));
    }

    /// Another room, whose members are counted from now on.
    pub fn move_to(&mut self, member_count: MemberCount) {
        self.member_count = member_count;
    }

    /// Charges a message to the room, if anything is left.
    pub fn acquire(&mut self, now: Instant) -> Decision {
        let per_second = f64::from(self.limits.per_second.get());
        let earned = now.saturating_duration_since(self.counted_at).as_secs_f64() * per_second;
        self.left = (self.left + earned).min(f64::from(self.limits.burst));
        self.counted_at = now.max(self.counted_at);
        if self.left < 1.0 {
            return Decision::RetryAfter(Duration::from_secs_f64((1.0 - self.left) / per_second));
        }
        self.left -= self.member_count.members() as f64;
        Decision::Allowed
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate_limiter(members: usize, now: Instant) -> RateLimiter {
        let limits =
            DeliveryLimits { per_second: NonZeroU32::new(100).unwrap(), burst: 200, pause_max: Duration::from_secs(1) };
        allowance_of(limits, &SpentDeliveries::new(now), members, now)
    }

    fn allowance_of(limits: DeliveryLimits, spent: &SpentDeliveries, members: usize, now: Instant) -> RateLimiter {
        let mut rate_limiter = RateLimiter::new(limits, spent, address("192.0.2.1"), now);
        rate_limiter.move_to(MemberCount::of(members));
        rate_limiter
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn whoever_connects_anew_has_no_new_burst_and_others_have() {
        let now = Instant::now();
        let spent = SpentDeliveries::new(now);
        let limits = rate_limiter(0, now).limits;
        let mut first = allowance_of(limits, &spent, 150, now);
        assert_eq!(first.acquire(now), Decision::Allowed);
        assert_eq!(first.acquire(now), Decision::Allowed);
        first.end(&spent, address("192.0.2.1"));
        // 300 were spent of 200: what is missing is earned at 100 a second.
        let mut second = allowance_of(limits, &spent, 150, now);
        assert_eq!(second.acquire(now), Decision::RetryAfter(Duration::from_millis(1_010)));
        assert_eq!(second.acquire(now + Duration::from_secs(2)), Decision::Allowed);
        let other = RateLimiter::new(limits, &spent, address("192.0.2.2"), now);
        assert!((other.left - 200.0).abs() < 0.01, "{}", other.left);
        let later = RateLimiter::new(limits, &spent, address("192.0.2.1"), now + Duration::from_secs(4));
        assert!((later.left - 200.0).abs() < 0.01, "{}", later.left);
    }

    #[test]
    fn a_message_costs_what_the_room_has_members() {
        let now = Instant::now();
        let mut rate_limiter = rate_limiter(50, now);
        assert!((0..4).all(|_| rate_limiter.acquire(now) == Decision::Allowed));
        assert_eq!(rate_limiter.acquire(now), Decision::RetryAfter(Duration::from_millis(10)));
        assert_eq!(rate_limiter.acquire(now + Duration::from_millis(20)), Decision::Allowed);
    }

    #[test]
    fn a_room_larger_than_a_burst_can_be_spoken_to_and_is_paid_for_afterwards() {
        let now = Instant::now();
        let mut rate_limiter = rate_limiter(10_000, now);
        assert_eq!(rate_limiter.acquire(now), Decision::Allowed);
        assert_eq!(rate_limiter.acquire(now), Decision::RetryAfter(Duration::from_millis(98_010)));
        assert_eq!(rate_limiter.acquire(now + Duration::from_secs(99)), Decision::Allowed);
    }

    #[test]
    fn who_is_silent_for_long_has_one_burst_and_no_more() {
        let now = Instant::now();
        let mut rate_limiter = rate_limiter(100, now);
        let later = now + Duration::from_secs(3_600);
        assert_eq!((0..9).filter(|_| rate_limiter.acquire(later) == Decision::Allowed).count(), 2);
    }
}
