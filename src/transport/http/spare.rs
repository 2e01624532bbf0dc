//! A connection without a permit, on one of the few that a full server serves beside its clients.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A connection on a spare permit has one request, and this long for all of it, unless it is a call with a valid key.
pub const SPARE_TIME_MAX: Duration = Duration::from_secs(1);

/// What a connection without a permit is served on.
pub struct Spare {
    /// When the connection ends, unless it is kept.
    pub deadline: Instant,
    /// The spare permit, which is ready once it is revoked; `None` once the connection is kept.
    pub revoked: RefCell<Option<oneshot::Receiver<()>>>,
    /// Set once the connection is kept, for a call with a valid key.
    pub kept: Cell<Option<OwnedSemaphorePermit>>,
}

impl Spare {
    pub fn new(revoked: oneshot::Receiver<()>) -> Self {
        let deadline = Instant::now() + SPARE_TIME_MAX;
        Self { deadline, revoked: RefCell::new(Some(revoked)), kept: Cell::default() }
    }

    /// Returns once the spare permit is revoked; never for a connection that is kept.
    pub async fn revoked(&self) {
        poll_fn(|context| match &mut *self.revoked.borrow_mut() {
            Some(revoked) => Pin::new(revoked).poll(context).map(drop),
            None => Poll::Pending,
        })
        .await;
    }
}
