//! Permits for a bounded number of connections of one worker, of which the oldest gives way to the next one, so that slow
//! clients never keep others out.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;

/// The permits that are taken, the oldest first. Dropping a sender revokes its permit.
#[derive(Debug)]
pub struct RevocablePermits {
    taken: RefCell<VecDeque<oneshot::Sender<()>>>,
    max: usize,
}

impl RevocablePermits {
    /// Up to this many permits at a time.
    pub fn new(max: usize) -> Self {
        Self { taken: RefCell::default(), max }
    }

    /// Returns a permit, which is held until it is dropped and is ready once it is revoked. Revokes the oldest if all
    /// are taken. Linear in the permits.
    pub fn take(&self) -> oneshot::Receiver<()> {
        let (revoke, permit) = oneshot::channel();
        let taken = &mut *self.taken.borrow_mut();
        taken.retain(|revoke| !revoke.is_closed());
        if taken.len() >= self.max {
            taken.pop_front();
        }
        taken.push_back(revoke);
        permit
    }
}
