//! Cached listings and when to rebuild them. Plain synchronous code; never reads a clock itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::listing::Listing;

/// A listing that has changed is shown for no longer than this.
pub const AGE_MAX: Duration = Duration::from_millis(100);

/// Names that a shard may put into new listings within `AGE_MAX` before it shows older ones.
const NAMES_MAX: usize = 10_000;

/// The listings that a shard has built recently, over all of its rooms: clients that list many rooms at once would otherwise
/// make it build one for each. A sorted set instead would cost every join into a new room and not help `WHO`.
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

/// A listing, kept for the next client that requests it.
#[derive(Debug)]
pub struct ListingCache<T>(Option<Cached<T>>);

#[derive(Debug)]
struct Cached<T> {
    listing: Arc<Listing<T>>,
    at: Instant,
    is_current: bool,
}

impl<T> Default for ListingCache<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Ord + AsRef<str>> ListingCache<T> {
    pub fn invalidate(&mut self) {
        if let Some(cached) = &mut self.0 {
            cached.is_current = false;
        }
    }

    /// The listing. It is rebuilt from `names` unless it is current, or it is young and the budget is spent.
    pub fn get(&mut self, now: Instant, budget: &mut ListingBudget, names: impl FnOnce() -> Vec<T>) -> Arc<Listing<T>> {
        if let Some(Cached { listing, at, is_current }) = &self.0 {
            let is_young = now.saturating_duration_since(*at) < AGE_MAX;
            if *is_current || (is_young && budget.is_spent(now)) {
                return Arc::clone(listing);
            }
        }
        let names = names();
        // The first listing of all starts the budget's time.
        budget.is_spent(now);
        budget.names += names.len();
        let listing = Arc::new(Listing::new(names));
        self.0 = Some(Cached { listing: Arc::clone(&listing), at: now, is_current: true });
        listing
    }
}
