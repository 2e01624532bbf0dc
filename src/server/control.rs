//! What is done to a server that runs: other rules, another certificate.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::service::ServiceManager;
use super::tls_files::{Change, ReloadRequest};
use crate::access::Access;
use crate::broker::WeakShards;
use crate::metrics::Counter;
use crate::session::workers::WorkerSenders;
use crate::transport::metrics::ServerMetrics;

/// The way to all workers of a server that runs. Clones lead to the same server; one that has stopped does nothing.
#[derive(Clone)]
pub struct Control {
    shards: WeakShards,
    workers: WorkerSenders,
    certificate: mpsc::Sender<ReloadRequest>,
    access: Arc<Access>,
    manager: ServiceManager,
    last_reload_failed: Arc<Counter>,
}

impl Control {
    pub(super) fn new(
        workers: WorkerSenders,
        shards: WeakShards,
        certificate: mpsc::Sender<ReloadRequest>,
        access: Arc<Access>,
        manager: ServiceManager,
        metrics: &ServerMetrics,
    ) -> Self {
        let last_reload_failed = Arc::clone(&metrics.last_reload_failed);
        Self { shards, workers, certificate, access, manager, last_reload_failed }
    }

    /// What the server has begun with.
    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access)
    }

    /// Who hears of a reload.
    pub(super) fn manager(&self) -> &ServiceManager {
        &self.manager
    }

    /// Reads the files of the certificate again, and uses them for new connections from here on.
    ///
    /// # Errors
    /// The files are wrong; the certificate in use stays.
    pub(super) async fn reload_certificate(&self) -> anyhow::Result<Change> {
        let (answer, answered) = oneshot::channel();
        let is_sent = self.certificate.send(answer).await.is_ok();
        // A server that stops gets no other certificate.
        if is_sent { answered.await.unwrap_or(Ok(Change::Unchanged)) } else { Ok(Change::Unchanged) }
    }

    /// Shows in the metrics whether the last reload has failed. For the reloader alone.
    pub(super) fn show_reload(&self, has_failed: bool) {
        self.last_reload_failed.set(has_failed.into());
    }

    /// The ways of orders to the clients of all workers.
    pub fn workers(&self) -> &WorkerSenders {
        &self.workers
    }

    /// Makes these rules apply from its return on, to the rooms that exist and the clients that are connected as well.
    pub(super) async fn replace(&self, access: &Arc<Access>) {
        self.shards.apply_rules(Arc::clone(&access.rooms)).await;
        self.workers.replace(access).await;
    }
}
