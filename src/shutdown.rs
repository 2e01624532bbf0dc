//! The phases in which a server stops, as tokens that every worker holds. Says when, never how.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The phases of a drain. Each begins on all workers before the next; a clone is the same drain.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    announced: CancellationToken,
    stopping: CancellationToken,
    publishing: TaskTracker,
    leaving: CancellationToken,
    cutting: CancellationToken,
    serving: TaskTracker,
}

/// Held by a session for as long as it may still publish.
#[derive(Debug)]
pub struct PublishToken {
    _token: TaskTrackerToken,
}

/// Held by a worker for as long as it has clients.
#[derive(Debug)]
pub struct ServingToken {
    _token: TaskTrackerToken,
}

impl Drain {
    /// Phase 0: load balancers are told, and nothing else changes yet.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Phases 1 and 2: no more clients and no more input; returns when every session has finished its turn. From then on
    /// nothing can be published, so whoever leaves misses nothing that another member gets.
    pub async fn stop_publishing(&self) {
        self.announce();
        self.stopping.cancel();
        self.serving.close();
        self.publishing.close();
        self.publishing.wait().await;
        self.leaving.cancel();
    }

    /// The grace period is over: what is still owed is dropped.
    pub fn cut(&self) {
        self.cutting.cancel();
    }

    /// A worker is made.
    pub fn serving(&self) -> ServingToken {
        ServingToken { _token: self.serving.token() }
    }

    /// A session begins.
    pub fn publishing(&self) -> PublishToken {
        PublishToken { _token: self.publishing.token() }
    }

    /// Whether load balancers are to send nobody any more.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Whether the server has begun to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Whether the grace period is over.
    pub fn is_cutting(&self) -> bool {
        self.cutting.is_cancelled()
    }

    /// Returns when the server begins to stop.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Returns when every session has finished its turn and may leave.
    pub async fn leaving(&self) {
        self.leaving.cancelled().await;
    }

    /// Returns when the server stops and no worker has clients any more: until then all of them answer over HTTP.
    pub async fn served(&self) {
        self.serving.wait().await;
    }

    /// Returns when the grace period is over.
    pub async fn cutting(&self) {
        self.cutting.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_leaves_before_the_last_has_finished_talking() {
        let drain = Drain::default();
        let publishing = drain.publishing();
        let other = drain.clone();
        let stopped = tokio::spawn(async move { other.stop_publishing().await });
        drain.stopping().await;
        assert!(!drain.leaving.is_cancelled());
        drop(publishing);
        drain.leaving().await;
        stopped.await.unwrap();
    }
}
