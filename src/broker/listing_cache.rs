//! Lists as they were a moment ago, and when they are made anew. Plain synchronous code; never looks at a clock itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::event::Listing;

/// No list that is shown is older, if it has changed since.
pub const AGE_MAX: Duration = Duration::from_millis(100);

/// As long as a shard's lists made within `AGE_MAX` had no more names than this, they are made anew whenever they have changed.
pub const NAMES_MAX: usize = 10_000;

/// What a shard has spent on lists of late.
#[derive(Debug, Default)]
pub struct ListingBudget {
    since: Option<Instant>,
    names: usize,
}

impl ListingBudget {
    fn is_spent(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= AGE_MAX) {
            (self.since, self.names) = (Some(now), 0);
        }
        self.names >= NAMES_MAX
    }
}

/// A list, kept for those who ask next.
#[derive(Debug)]
pub struct ListingCache<T> {
    cached: Option<Cached<T>>,
}

#[derive(Debug)]
struct Cached<T> {
    listing: Arc<Listing<T>>,
    at: Instant,
    is_current: bool,
}

impl<T> Default for ListingCache<T> {
    fn default() -> Self {
        Self { cached: None }
    }
}

impl<T: Ord + AsRef<str>> ListingCache<T> {
    /// What it shows is no longer so.
    pub fn invalidate(&mut self) {
        if let Some(cached) = &mut self.cached {
            cached.is_current = false;
        }
    }

    /// The list. Made of `names` unless the one at hand is still right, or the shard has made enough of them and it is not yet
    /// too old.
    pub fn get(
        &mut self,
        now: Instant,
        listing_budget: &mut ListingBudget,
        names: impl FnOnce() -> Vec<T>,
    ) -> Arc<Listing<T>> {
        if let Some(Cached { listing, at, is_current }) = &self.cached {
            let is_young = now.saturating_duration_since(*at) < AGE_MAX;
            if *is_current || (is_young && listing_budget.is_spent(now)) {
                return Arc::clone(listing);
            }
        }
        let names = names();
        // Decides when the time of the effort begins, for the first list of all.
        listing_budget.is_spent(now);
        listing_budget.names += names.len();
        let listing = Arc::new(Listing::new(names));
        self.cached = Some(Cached { listing: Arc::clone(&listing), at: now, is_current: true });
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::names::RoomName;

    /// Rooms that come one by one, of which a list is asked for after each.
    struct Rooms {
        names: Vec<RoomName>,
        listing_cache: ListingCache<RoomName>,
        listing_budget: ListingBudget,
        made: usize,
    }

    impl Rooms {
        fn of(count: usize) -> Self {
            let name = |number| RoomName::parse(&format!("{number}")).unwrap();
            let names = (0..count).map(name).collect();
            Self { names, listing_cache: ListingCache::default(), listing_budget: ListingBudget::default(), made: 0 }
        }

        fn change(&mut self) {
            self.names.push(RoomName::parse(&format!("more-{}", self.names.len())).unwrap());
            self.listing_cache.invalidate();
        }

        /// Whether the list is as the rooms are.
        fn is_exact_at(&mut self, now: Instant) -> bool {
            let (names, made) = (&self.names, &mut self.made);
            let shown = self.listing_cache.get(now, &mut self.listing_budget, || {
                *made += 1;
                names.clone()
            });
            *shown == Listing::new(self.names.clone())
        }
    }

    #[test]
    fn a_list_that_has_not_changed_is_not_made_again() {
        let mut rooms = Rooms::of(5);
        let now = Instant::now();
        assert!((0..9).all(|second| rooms.is_exact_at(now + Duration::from_secs(second))));
        assert_eq!(rooms.made, 1);
    }

    #[test]
    fn lists_are_exact_as_long_as_they_cost_little() {
        let mut rooms = Rooms::of(50);
        let now = Instant::now();
        for _ in 0..100 {
            rooms.change();
            assert!(rooms.is_exact_at(now));
        }
    }

    #[test]
    fn lists_that_cost_much_are_made_anew_at_most_a_few_times_and_exact_again_after_a_while() {
        let mut rooms = Rooms::of(NAMES_MAX / 2);
        let now = Instant::now();
        for round in 0..10 {
            let begun = now + AGE_MAX * round;
            for _ in 0..50 {
                rooms.change();
                rooms.is_exact_at(begun);
            }
            assert!(!rooms.is_exact_at(begun + AGE_MAX / 2));
        }
        assert!(rooms.made <= 30, "{}", rooms.made);
        assert!(rooms.is_exact_at(now + AGE_MAX * 10));
    }

    #[test]
    fn a_list_of_long_ago_is_not_shown_for_the_effort_of_others() {
        let (mut quiet, mut busy) = (Rooms::of(1), Rooms::of(NAMES_MAX));
        let now = Instant::now();
        assert!(quiet.is_exact_at(now));
        quiet.change();
        let later = now + AGE_MAX;
        assert!(busy.is_exact_at(later));
        quiet.listing_budget = busy.listing_budget;
        assert!(quiet.is_exact_at(later));
    }
}
