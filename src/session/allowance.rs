//! What one client may cost the others: a token bucket of deliveries. Plain synchronous code; waits for nothing.

use std::time::{Duration, Instant};

use crate::broker::Population;
use crate::config::DeliveryLimits;

/// A client's allowance. A message costs as many deliveries as its room has members, and may put the client into debt, or
/// nobody could speak in a room that is larger than a burst.
#[derive(Debug)]
pub struct Allowance {
    limits: DeliveryLimits,
    /// Of the room that the client is in.
    population: Population,
    /// Deliveries; below zero they are debt.
    left: f64,
    counted_at: Instant,
}

/// Whether a message may be published now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Charge {
    /// It may, and has been charged.
    Paid,
    /// Not before so much time has passed. Nothing was charged.
    DueIn(Duration),
}

impl Allowance {
    /// A whole burst is left.
    pub fn new(limits: DeliveryLimits, now: Instant) -> Self {
        Self { limits, population: Population::default(), left: f64::from(limits.burst), counted_at: now }
    }

    /// Another room, whose members are counted from now on.
    pub fn move_to(&mut self, population: Population) {
        self.population = population;
    }

    /// Charges a message to the room, if anything is left.
    pub fn charge(&mut self, now: Instant) -> Charge {
        let per_second = f64::from(self.limits.per_second.get());
        let earned = now.saturating_duration_since(self.counted_at).as_secs_f64() * per_second;
        self.left = (self.left + earned).min(f64::from(self.limits.burst));
        self.counted_at = now.max(self.counted_at);
        if self.left < 1.0 {
            return Charge::DueIn(Duration::from_secs_f64((1.0 - self.left) / per_second));
        }
        self.left -= self.population.members() as f64;
        Charge::Paid
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn allowance(members: usize, now: Instant) -> Allowance {
        let limits =
            DeliveryLimits { per_second: NonZeroU32::new(100).unwrap(), burst: 200, pause_max: Duration::from_secs(1) };
        let mut allowance = Allowance::new(limits, now);
        allowance.move_to(Population::of(members));
        allowance
    }

    #[test]
    fn a_message_costs_what_the_room_has_members() {
        let now = Instant::now();
        let mut allowance = allowance(50, now);
        assert!((0..4).all(|_| allowance.charge(now) == Charge::Paid));
        assert_eq!(allowance.charge(now), Charge::DueIn(Duration::from_millis(10)));
        assert_eq!(allowance.charge(now + Duration::from_millis(20)), Charge::Paid);
    }

    #[test]
    fn a_room_larger_than_a_burst_can_be_spoken_to_and_is_paid_for_afterwards() {
        let now = Instant::now();
        let mut allowance = allowance(10_000, now);
        assert_eq!(allowance.charge(now), Charge::Paid);
        assert_eq!(allowance.charge(now), Charge::DueIn(Duration::from_millis(98_010)));
        assert_eq!(allowance.charge(now + Duration::from_secs(99)), Charge::Paid);
    }

    #[test]
    fn who_is_silent_for_long_has_one_burst_and_no_more() {
        let now = Instant::now();
        let mut allowance = allowance(100, now);
        let later = now + Duration::from_secs(3_600);
        assert_eq!((0..9).filter(|_| allowance.charge(later) == Charge::Paid).count(), 2);
    }
}
