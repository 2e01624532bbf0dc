//! The phases of the server's stop, as tokens that every worker holds. Says when, never how.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The phases of a drain. Each begins on all workers before the next. Clones share the phases.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    announced: CancellationToken,
    stopping: CancellationToken,
    publishing: TaskTracker,
    leaving: CancellationToken,
    cutting: CancellationToken,
    serving: TaskTracker,
}

impl Drain {
    /// Begins phase 0: load balancers see the server as draining; nothing else changes.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Begins phase 1, in which clients and input are no longer accepted, and phase 2 when the last session has
    /// finished its turn. Nothing is published from then on, so a session that leaves its room misses nothing that
    /// another member gets.
    pub async fn stop_publishing(&self) {
        self.announce();
        self.stopping.cancel();
        self.serving.close();
        self.publishing.close();
        self.publishing.wait().await;
        self.leaving.cancel();
    }

    /// Begins the last phase: the grace period is over, and pending bytes are dropped.
    pub fn cut(&self) {
        self.cutting.cancel();
    }

    /// Held by a worker for as long as it has clients.
    pub fn serving(&self) -> TaskTrackerToken {
        self.serving.token()
    }

    /// Held by a session for as long as it may publish.
    pub fn publishing(&self) -> TaskTrackerToken {
        self.publishing.token()
    }

    /// Whether phase 0 has begun.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Whether phase 1 has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Whether the grace period is over.
    pub fn is_cutting(&self) -> bool {
        self.cutting.is_cancelled()
    }

    /// Waits until load balancers see the server as draining.
    pub async fn announced(&self) {
        self.announced.cancelled().await;
    }

    /// Waits until the server begins to stop.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Waits until every session has finished its turn and may leave.
    pub async fn leaving(&self) {
        self.leaving.cancelled().await;
    }

    /// Waits until the server stops and no worker has clients. Until then all workers answer over HTTP.
    pub async fn served(&self) {
        self.serving.wait().await;
    }

    /// Waits until the grace period is over.
    pub async fn cutting(&self) {
        self.cutting.cancelled().await;
    }
}
