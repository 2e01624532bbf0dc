//! Permits for a few connections beside the clients of a full server. The oldest gives way to the next connection, so
//! that slow clients never keep a monitor from its answer.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::SPARE_CONNECTIONS;

/// The spare permits of one worker that are taken, the oldest first. Dropping a sender revokes its permit.
#[derive(Default)]
pub struct SparePermits(RefCell<VecDeque<oneshot::Sender<()>>>);

impl SparePermits {
    /// Returns a permit, which is held until it is dropped and is ready once it is revoked. Revokes the oldest if all
    /// are taken.
    pub fn take(&self) -> oneshot::Receiver<()> {
        let (revoke, permit) = oneshot::channel();
        let taken = &mut *self.0.borrow_mut();
        taken.retain(|revoke| !revoke.is_closed());
        if taken.len() >= SPARE_CONNECTIONS {
            taken.pop_front();
        }
        taken.push_back(revoke);
        permit
    }
}
