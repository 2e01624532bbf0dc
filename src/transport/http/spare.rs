//! The places in which a full server still answers: a few, and the oldest gives way to whoever comes next, so that slow clients
//! never keep a monitor from its answer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::oneshot;

/// The spare places of one worker.
#[derive(Debug)]
pub struct SparePermits {
    /// The oldest first; who is dropped here is to go.
    taken: RefCell<VecDeque<(u64, oneshot::Sender<()>)>>,
    permits_max: usize,
    /// The number of the next one.
    next: Cell<u64>,
}

/// A spare place, free again when dropped.
#[derive(Debug)]
pub struct SparePermit {
    places: Rc<SparePermits>,
    number: u64,
    revoked: oneshot::Receiver<()>,
}

impl SparePermits {
    /// All of them free.
    pub fn new(permits_max: usize) -> Rc<Self> {
        Rc::new(Self { taken: RefCell::default(), permits_max, next: Cell::new(0) })
    }

    /// A place, if need be that of the oldest, who is told.
    pub fn take(self: &Rc<Self>) -> SparePermit {
        let number = self.next.replace(self.next.get() + 1);
        let (keep, revoked) = oneshot::channel();
        let taken = &mut *self.taken.borrow_mut();
        if taken.len() >= self.permits_max {
            taken.pop_front();
        }
        taken.push_back((number, keep));
        SparePermit { places: Rc::clone(self), number, revoked }
    }
}

impl SparePermit {
    /// Returns when another needs the place.
    pub async fn revoked(&mut self) {
        // Nothing is ever sent: the other end is dropped.
        let _ = (&mut self.revoked).await;
    }
}

impl Drop for SparePermit {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_that_is_still_there_gives_way_to_a_newcomer() {
        let places = SparePermits::new(2);
        let mut gone = places.take();
        let mut oldest = places.take();
        assert!(gone.revoked().now_or_never().is_none());
        drop(gone);
        let mut second = places.take();
        assert!(oldest.revoked().now_or_never().is_none(), "a permit was free");
        let mut third = places.take();
        assert!(oldest.revoked().now_or_never().is_some());
        drop(oldest);
        assert!(second.revoked().now_or_never().is_none() && third.revoked().now_or_never().is_none());
    }
}
