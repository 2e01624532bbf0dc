//! The task that keeps a worker's access up to date: other rules, revocations, tokens that expire, orders to clients.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::session::access::WorkerAccess;
use crate::session::clients::Clients;
use crate::session::workers::WorkerCommand;
use crate::shutdown::Drain;
use crate::writer::handle::WriterHandle;

/// The time between two looks at tokens that may have expired.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Follows commands and sweeps until the server stops.
pub(super) async fn keep_up_to_date(
    access: Rc<WorkerAccess>,
    clients: Rc<Clients>,
    mut commands: mpsc::Receiver<WorkerCommand>,
    writer: WriterHandle,
    drain: Drain,
) {
    let mut sweeps = interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_open = true;
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            _ = sweeps.tick() => access.sweep(Instant::now(), &writer),
            command = commands.recv(), if is_open => match command {
                Some(WorkerCommand::Replace(rules, answer)) => {
                    access.replace(rules, &writer);
                    let _ = answer.send(());
                }
                Some(WorkerCommand::Revoke(revocation, answer)) => {
                    let _ = answer.send(access.revoke(&revocation, &writer));
                }
                Some(WorkerCommand::Order(order, answer)) => {
                    let _ = answer.send(clients.give(&order.0, &order.1, &writer));
                }
                Some(WorkerCommand::EndAll(reason, answer)) => {
                    clients.end_all(reason, &writer);
                    let _ = answer.send(());
                }
                Some(WorkerCommand::Count(answer)) => drop(answer.send(clients.count())),
                None => is_open = false,
            },
        }
    }
}
