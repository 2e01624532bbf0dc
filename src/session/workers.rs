//! The ways of commands to all workers: other rules, revocations, orders to clients, counts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::orders::{Addressee, NotObeyed, Obeyed, Order};
use crate::access::Access;
use crate::auth::revocations::Revocation;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::publication::UserId;

/// Commands that wait for a worker.
const COMMANDS_MAX: usize = 64;

/// How long an application waits for its order to be obeyed. The order is obeyed all the same.
const ORDER_TIME_MAX: Duration = Duration::from_secs(5);

/// A command to one worker. The answer comes once it holds.
pub enum WorkerCommand {
    /// These rules apply from the answer on.
    Replace(Arc<Access>, oneshot::Sender<()>),
    /// Ends the connections with these tokens. The answer is whether the tokens will be refused from here on.
    Revoke(Revocation, oneshot::Sender<bool>),
    /// Gives an order to clients.
    Order(Arc<(Addressee, Order)>, oneshot::Sender<Vec<Obeyed>>),
    /// Ends the connections of all clients for this reason.
    EndAll(Disconnect, oneshot::Sender<()>),
    /// Counts the clients, and lists the users that have proved who they are.
    Count(oneshot::Sender<(usize, Vec<UserId>)>),
}

/// The ways to all workers. Clones lead to the same ones. A worker that has ended has no clients.
#[derive(Clone)]
pub struct WorkerSenders(Arc<[mpsc::Sender<WorkerCommand>]>);

/// New mailboxes for the commands to all workers, and the ways to them.
pub fn worker_mailboxes(workers: u16) -> (WorkerSenders, Vec<mpsc::Receiver<WorkerCommand>>) {
    let (senders, mailboxes): (Vec<_>, _) = (0..workers).map(|_| mpsc::channel(COMMANDS_MAX)).unzip();
    (WorkerSenders(senders.into()), mailboxes)
}

impl WorkerSenders {
    /// Makes these rules apply, to clients that are connected as well.
    pub async fn replace(&self, access: &Arc<Access>) {
        self.request_all(|answer| WorkerCommand::Replace(Arc::clone(access), answer)).await;
    }

    /// Ends the connections of all clients with a revoked token, and refuses it from here on, until the server ends.
    /// False if so many are revoked already that this one is not remembered: a client may then connect again.
    pub async fn revoke(&self, revocation: &Revocation) -> bool {
        let remembered = self.request_all(|answer| WorkerCommand::Revoke(revocation.clone(), answer)).await;
        remembered.into_iter().all(|is_remembered| is_remembered)
    }

    /// Gives an order to clients, and returns once they have obeyed. Clients that are gone have obeyed.
    ///
    /// # Errors
    /// The first of those why a client has not.
    pub async fn order(&self, addressee: Addressee, order: Order) -> Result<(), NotObeyed> {
        let order = Arc::new((addressee, order));
        let given = self.request_all(|answer| WorkerCommand::Order(Arc::clone(&order), answer)).await;
        let all = async {
            let mut result = Ok(());
            for obeyed in given.into_iter().flatten() {
                result = result.and(obeyed.await.unwrap_or(Ok(())));
            }
            result
        };
        timeout(ORDER_TIME_MAX, all).await.unwrap_or(Err(NotObeyed::Busy))
    }

    /// Ends the connections of all clients for this reason.
    pub async fn end_all(&self, reason: Disconnect) {
        self.request_all(|answer| WorkerCommand::EndAll(reason, answer)).await;
    }

    /// Counts the clients of all workers, and the users that have proved who they are.
    pub async fn count(&self) -> (usize, usize) {
        let counts = self.request_all(WorkerCommand::Count).await;
        let clients = counts.iter().map(|(clients, _)| clients).sum();
        let users: HashSet<UserId> = counts.into_iter().flat_map(|(_, users)| users).collect();
        (clients, users.len())
    }

    /// The answers of all workers that have not ended. All are asked before the first has answered.
    async fn request_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> WorkerCommand) -> Vec<T> {
        let mut requests = Vec::with_capacity(self.0.len());
        for worker in self.0.iter() {
            let (answer, answered) = oneshot::channel();
            if worker.send(command(answer)).await.is_ok() {
                requests.push(answered);
            }
        }
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.extend(request.await.ok());
        }
        answers
    }
}
