//! What is done to a server that runs: other rules, revocations, another certificate.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::tls_files::{Change, ReloadRequest};
use crate::access::Access;
use crate::auth::revocations::Revocation;
use crate::broker::WeakShards;
use crate::worker::AccessCommand;

/// The way to all workers of a server that runs. Clones lead to the same server; one that has stopped does nothing.
#[derive(Clone)]
pub struct Control {
    shards: WeakShards,
    workers: Arc<[mpsc::Sender<AccessCommand>]>,
    certificate: mpsc::Sender<ReloadRequest>,
    access: Arc<Access>,
}

impl Control {
    pub(super) fn new(
        workers: Vec<mpsc::Sender<AccessCommand>>,
        shards: WeakShards,
        certificate: mpsc::Sender<ReloadRequest>,
        access: Arc<Access>,
    ) -> Self {
        Self { shards, workers: workers.into(), certificate, access }
    }

    /// What the server has begun with.
    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access)
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

    /// Ends the connections of all clients with a revoked token, and refuses it from here on, until the server ends.
    /// False if so many are revoked already that this one is not remembered: a client may then connect again.
    pub async fn revoke(&self, revocation: Revocation) -> bool {
        let mut is_remembered = true;
        for worker in self.workers.iter() {
            let (answer, answered) = oneshot::channel();
            let is_sent = worker.send(AccessCommand::Revoke(revocation.clone(), answer)).await.is_ok();
            is_remembered &= !is_sent || answered.await.unwrap_or(true);
        }
        is_remembered
    }

    /// Makes these rules apply from its return on, to the rooms that exist and the clients that are connected as well.
    pub(super) async fn replace(&self, access: &Arc<Access>) {
        self.shards.apply_rules(Arc::clone(&access.rooms)).await;
        for worker in self.workers.iter() {
            let (answer, answered) = oneshot::channel();
            // A worker that has ended has no clients.
            if worker.send(AccessCommand::Replace(Arc::clone(access), answer)).await.is_ok() {
                let _ = answered.await;
            }
        }
    }
}
