//! Permits for a few connections beside the clients of a full server. The oldest gives way to the next connection, so that
//! slow clients never keep a monitor from its answer.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;

/// The spare permits of one worker.
pub struct SparePermits {
    /// The oldest first. Dropping one of these revokes the permit.
    taken: RefCell<VecDeque<oneshot::Sender<()>>>,
    permits_max: usize,
}

impl SparePermits {
    pub fn new(permits_max: usize) -> Self {
        Self { taken: RefCell::default(), permits_max }
    }

    /// Returns a permit, which is held until it is dropped and is ready once it is revoked. Revokes the oldest if all are
    /// taken.
    pub fn take(&self) -> oneshot::Receiver<()> {
        let (revoke, permit) = oneshot::channel();
        let taken = &mut *self.taken.borrow_mut();
        taken.retain(|revoke| !revoke.is_closed());
        if taken.len() >= self.permits_max {
            taken.pop_front();
        }
        taken.push_back(revoke);
        permit
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError::{Closed, Empty};

    use super::*;

    #[test]
    fn the_oldest_permit_that_is_still_held_is_revoked_for_a_new_one() {
        let permits = SparePermits::new(2);
        let (dropped, mut oldest) = (permits.take(), permits.take());
        drop(dropped);
        let mut second = permits.take();
        assert_eq!(oldest.try_recv(), Err(Empty), "a permit was free");
        let mut third = permits.take();
        assert_eq!(
            [&mut oldest, &mut second, &mut third].map(|permit| permit.try_recv()),
            [Err(Closed), Err(Empty), Err(Empty)]
        );
    }
}
