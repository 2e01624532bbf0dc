//! The phases of the server's stop, as tokens that every worker holds, and how long it takes. Says when, never how.

use std::future::pending;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The phases of a drain. Each begins on all workers before the next. Clones share the phases.
#[derive(Clone, Debug)]
pub struct Drain {
    spread: Duration,
    retry_seconds: u32,
    announced: CancellationToken,
    turning_away: CancellationToken,
    stopping: CancellationToken,
    publishing: TaskTracker,
    leaving: CancellationToken,
    cutting: CancellationToken,
    serving: TaskTracker,
}

/// What a stop has begun with clients that are connected, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainPhase {
    /// They are served.
    Serving,
    /// Nobody is let in. Those who are connected are served, and end one after another over the spread.
    TurningAway,
    /// All of them end.
    Stopping,
    /// The grace period is over, and pending bytes are dropped.
    Cutting,
}

impl Default for Drain {
    /// The stop of a server that is alone and ends all clients at once.
    fn default() -> Self {
        Self::new(Duration::ZERO, false)
    }
}

impl Drain {
    /// A stop that ends its clients over this time, of a server that is a node of a cluster or alone.
    pub fn new(spread: Duration, is_in_cluster: bool) -> Self {
        Self {
            spread,
            retry_seconds: retry_seconds(spread, is_in_cluster),
            announced: CancellationToken::new(),
            turning_away: CancellationToken::new(),
            stopping: CancellationToken::new(),
            publishing: TaskTracker::new(),
            leaving: CancellationToken::new(),
            cutting: CancellationToken::new(),
            serving: TaskTracker::new(),
        }
    }

    /// Begins phase 0: load balancers see the server as draining; nothing else changes.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Begins phase 1, in which nobody is let in and the writers end their clients one after another. Returns when the
    /// spread is over, or the last session has ended.
    pub async fn spread_endings(&self) {
        self.announce();
        self.turning_away.cancel();
        self.publishing.close();
        // Either way the next phase may begin.
        let _ = timeout(self.spread, self.publishing.wait()).await;
    }

    /// Begins phase 2, in which input is no longer accepted, and phase 3 when the last session has finished its turn.
    /// Nothing is published from then on, so a session that leaves its room misses nothing that another member gets.
    pub async fn stop_publishing(&self) {
        self.announce();
        self.turning_away.cancel();
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

    /// The time over which clients end; zero where all end at once.
    pub fn spread(&self) -> Duration {
        self.spread
    }

    /// The seconds after which clients that a stop ends come back.
    pub fn retry_seconds(&self) -> u32 {
        self.retry_seconds
    }

    /// Whether phase 0 has begun.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Whether phase 1 has begun.
    pub fn is_turning_away(&self) -> bool {
        self.turning_away.is_cancelled()
    }

    /// Whether phase 2 has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// What has begun with clients.
    pub fn phase(&self) -> DrainPhase {
        // In this order, so that writers ask once in each of their turns while nothing has begun.
        if !self.is_turning_away() {
            DrainPhase::Serving
        } else if !self.is_stopping() {
            DrainPhase::TurningAway
        } else if !self.cutting.is_cancelled() {
            DrainPhase::Stopping
        } else {
            DrainPhase::Cutting
        }
    }

    /// Waits until load balancers see the server as draining.
    pub async fn announced(&self) {
        self.announced.cancelled().await;
    }

    /// Waits until a later phase has begun.
    pub async fn later_than(&self, phase: DrainPhase) {
        match phase {
            DrainPhase::Serving => self.turning_away.cancelled().await,
            DrainPhase::TurningAway => self.stopping.cancelled().await,
            DrainPhase::Stopping => self.cutting.cancelled().await,
            DrainPhase::Cutting => pending().await,
        }
    }

    /// Waits until nobody is let in any more.
    pub async fn turning_away(&self) {
        self.turning_away.cancelled().await;
    }

    /// Waits until the server ends all clients.
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
}

/// The seconds after which clients that a stop ends come back. The other nodes of a cluster take them at once. A server
/// that is alone takes them when it has been started again, which is after the spread: each comes back as long after its
/// own end, so that they come back over the same time over which they have ended.
fn retry_seconds(spread: Duration, is_in_cluster: bool) -> u32 {
    let away = if is_in_cluster { 0 } else { u32::try_from(spread.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX) };
    away.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_a_node_come_back_at_once_and_those_of_a_server_that_is_alone_after_its_spread() {
        let seconds = |millis, is_in_cluster| retry_seconds(Duration::from_millis(millis), is_in_cluster);
        assert_eq!([0, 1, 1_000, 1_001, 10_000].map(|millis| seconds(millis, false)), [1, 2, 2, 3, 11]);
        assert_eq!([0, 1, 10_000].map(|millis| seconds(millis, true)), [1, 1, 1]);
        assert_eq!(retry_seconds(Duration::MAX, false), u32::MAX);
    }
}
