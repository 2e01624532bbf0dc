//! The bare loop: a process that only sends each message to each member of its room, as cheaply as possible. It never
//! reads after a join, has no queue, and blocks where a server would need one. It is the lower bound of a server's
//! cost.

pub mod sender;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::child_processes::ChildProcesses;
use crate::clock::Nanos;
use crate::target::Scheme;
use crate::workload::{Pace, Publishers, WeightedTarget, Workload};

/// The hidden command of the bare loop.
pub const BARE_SENDER: &str = "bare-sender";

/// Time within which the bare loop must answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// A command to the bare loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SenderCommand {
    /// Start the load at this time.
    Start(Nanos),
    /// Stop sending.
    Stop,
}

/// An event from the bare loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SenderEvent {
    /// It accepts members at this address.
    Listening(SocketAddr),
    /// Everything is sent. Carries the number of messages in each room.
    Sent(Vec<(u32, u32)>),
    /// The bare loop cannot continue.
    Failed(String),
}

/// The coordinator's handle of the bare loop.
pub struct BareLoop {
    process: ChildProcesses<SenderEvent>,
    address: SocketAddr,
}

impl BareLoop {
    /// Starts the bare loop if the workload targets it.
    pub fn start(workload: &Workload) -> anyhow::Result<Option<Self>> {
        let is_limit = |assignment: &WeightedTarget| assignment.target.scheme == Scheme::Limit;
        if !workload.targets.iter().any(is_limit) {
            return Ok(None);
        }
        ensure!(workload.targets.iter().all(is_limit), "the bare loop has no other target beside it");
        ensure!(
            workload.giant.is_none() && workload.settings.churn == 0.0,
            "the bare loop knows no giant and no churn"
        );
        let process = ChildProcesses::start(BARE_SENDER, &[part(workload)])?;
        match receive(&process)? {
            SenderEvent::Listening(address) => Ok(Some(Self { process, address })),
            event => bail!("the bare loop began with {event:?}"),
        }
    }

    /// The same workload with the address of the bare loop as its target.
    pub fn workload(&self, workload: &Workload) -> Workload {
        let mut workload = workload.clone();
        workload.settings.publishers = Publishers::Target;
        workload.targets.iter_mut().for_each(|weighted| weighted.target.address = self.address);
        workload
    }

    pub fn process_id(&self) -> i32 {
        self.process.process_ids()[0]
    }

    /// Starts the load at this time.
    pub fn begin(&mut self, start: Nanos) -> anyhow::Result<()> {
        self.process.send(&SenderCommand::Start(start))
    }

    /// Stops the load early.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.send(&SenderCommand::Stop)
    }

    /// Waits until everything is sent. Returns the number of messages in each room.
    pub fn sent(&self) -> anyhow::Result<Vec<(u32, u32)>> {
        match receive(&self.process)? {
            SenderEvent::Sent(published) => Ok(published),
            event => bail!("the bare loop ended with {event:?}"),
        }
    }

    /// Ends the process.
    pub fn end(self) -> anyhow::Result<()> {
        self.process.end()
    }
}

/// All rooms in one assignment, because there is one loop.
fn part(workload: &Workload) -> Assignment {
    let mut workload = workload.clone();
    workload.settings.publishers = Publishers::First;
    if let Pace::Rate(rate) = &mut workload.pace {
        *rate /= f64::from(workload.settings.messages_per_write);
    }
    workload.assignments(u32::MAX).remove(0)
}

fn receive(process: &ChildProcesses<SenderEvent>) -> anyhow::Result<SenderEvent> {
    match process.receive(ANSWERS_WITHIN)?.context("the bare loop says nothing")? {
        (_, SenderEvent::Failed(error)) => bail!("the bare loop: {error}"),
        (_, event) => Ok(event),
    }
}
