//! The task that keeps a worker's access up to date: other rules, revocations, tokens that expire.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::access::Access;
use crate::auth::revocations::Revocation;
use crate::session::access::WorkerAccess;
use crate::shutdown::Drain;
use crate::writer::handle::WriterHandle;

/// The time between two looks at tokens that may have expired.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Commands that wait for a worker.
const COMMANDS_MAX: usize = 16;

/// A command of the server to one worker.
pub enum AccessCommand {
    /// These rules apply from the answer on.
    Replace(Arc<Access>, oneshot::Sender<()>),
    /// Ends the connections with these tokens. The answer is whether the tokens will be refused from here on.
    Revoke(Revocation, oneshot::Sender<bool>),
}

/// A new mailbox for the commands to a worker.
pub fn access_mailbox() -> (mpsc::Sender<AccessCommand>, mpsc::Receiver<AccessCommand>) {
    mpsc::channel(COMMANDS_MAX)
}

/// Follows commands and sweeps until the server stops.
pub(super) async fn keep_up_to_date(
    access: Rc<WorkerAccess>,
    mut commands: mpsc::Receiver<AccessCommand>,
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
                Some(AccessCommand::Replace(rules, answer)) => {
                    access.replace(rules, &writer);
                    let _ = answer.send(());
                }
                Some(AccessCommand::Revoke(revocation, answer)) => {
                    let _ = answer.send(access.revoke(&revocation, &writer));
                }
                None => is_open = false,
            },
        }
    }
}
