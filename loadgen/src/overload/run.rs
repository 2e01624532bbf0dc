//! An overload in progress: its worker processes, and the server as `/proc` shows it. Never holds a client of its own.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::WORKER;
use super::messages::{
    Assignment, Progress, Ready, Role, RoleCounts, RoleResult, WorkerCommand, WorkerEvent, WorkerResult,
};
use crate::arguments::ServerArguments;
use crate::child_processes::ChildProcesses;
use crate::clock::Nanos;
use crate::coordinator::ServerProcess;
use crate::latency::{Latencies, Quantiles};
use crate::measure;
use crate::reasons::add_reasons;
use crate::spawn::SpawnedServer;
use crate::target::Target;

/// Maximum time to wait for one event.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Time from the start command to the start of the load, so that every process has received the command.
const START_AFTER: Duration = Duration::from_millis(100);

/// Interval of memory readings.
const MEMORY_EVERY: Duration = Duration::from_millis(50);

/// An overload in progress.
pub struct Run<'a> {
    processes: ChildProcesses<WorkerEvent>,
    interrupts: &'a Receiver<()>,
    server: Option<ServerProcess>,
    spawned: Option<SpawnedServer>,
    /// Progress of each process.
    progress: Vec<Progress>,
    /// When anything last happened.
    pub moved: Nanos,
    pub interrupted: bool,
    pub memory: Option<ServerMemory>,
    next_memory: Instant,
    /// How the server exited, if it has.
    pub server_exit: Option<ServerExit>,
}

/// Anonymous memory of the server, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerMemory {
    /// Before any client connected.
    pub before: u64,
    pub with_clients: u64,
    /// The largest reading.
    pub peak: u64,
}

/// The exit of the server process.
#[derive(Clone, Debug, Serialize)]
pub struct ServerExit {
    /// When the exit was noticed.
    #[serde(skip)]
    pub at: Nanos,
    /// The exit code; `None` if this program did not start the server, or if a signal ended it.
    pub code: Option<i32>,
    /// The exit status as text.
    pub status: String,
}

/// The reported result of all clients with one role.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoleReport {
    #[serde(flatten)]
    pub counts: RoleCounts,
    /// Waiting times for answers or greetings, in milliseconds.
    pub waits: Quantiles,
    /// The histogram of `waits`.
    #[serde(skip)]
    pub latencies: Latencies,
}

impl RoleReport {
    /// Number of disconnected clients.
    pub fn cut_count(&self) -> u64 {
        self.counts.cut.values().sum()
    }
}

impl<'a> Run<'a> {
    /// Starts the server if `--spawn` is given, then the worker processes.
    pub fn start(
        assignments: &[Assignment],
        server: &ServerArguments,
        targets: &[Target],
        interrupts: &'a Receiver<()>,
    ) -> anyhow::Result<Self> {
        let targets: Vec<_> = targets.iter().collect();
        let spawned = server.spawn.as_deref().map(|command| SpawnedServer::start(command, &targets)).transpose()?;
        let first = targets.first().context("no target")?;
        let server = measure::server_process(server, spawned.as_ref(), first)?;
        let now = server.as_ref().and_then(ServerProcess::private_bytes_now);
        let memory = now.map(|bytes| ServerMemory { before: bytes, with_clients: bytes, peak: bytes });
        Ok(Self {
            processes: ChildProcesses::start(WORKER, assignments)?,
            interrupts,
            server,
            spawned,
            progress: vec![Progress::default(); assignments.len()],
            moved: Nanos::now(),
            interrupted: false,
            memory,
            next_memory: Instant::now(),
            server_exit: None,
        })
    }

    /// Waits until every client has joined or failed.
    pub fn connect(&mut self) -> anyhow::Result<Ready> {
        let mut all = Ready::default();
        let mut waiting = self.processes.len();
        while waiting > 0 && !self.interrupted {
            if let Some(WorkerEvent::Ready(ready)) = self.next_event()? {
                all.connected += ready.connected;
                add_reasons(&mut all.failed, &ready.failed);
                all.priority = all.priority.or(ready.priority);
                waiting -= 1;
                // Only the watchers' process has late clients, which connect after all others.
                if waiting == 1 {
                    self.processes.send(&WorkerCommand::Open)?;
                }
            }
        }
        if all.connected == 0 && !self.interrupted {
            bail!("no client got in: {}", crate::report::format_reasons(&all.failed));
        }
        if let Some(memory) = &mut self.memory {
            memory.with_clients =
                self.server.as_ref().and_then(ServerProcess::private_bytes_now).unwrap_or(memory.with_clients);
        }
        Ok(all)
    }

    /// Starts the load and returns its start time.
    pub fn begin(&mut self) -> anyhow::Result<Nanos> {
        let start = Nanos::now() + START_AFTER;
        self.processes.send(&WorkerCommand::Start(start))?;
        self.moved = start;
        Ok(start)
    }

    /// Progress of all processes together.
    pub fn progress(&self) -> Progress {
        let mut all = Progress::default();
        for one in &self.progress {
            all.deliveries += one.deliveries;
            all.cut += one.cut;
            all.watchers_settled += one.watchers_settled;
            all.watchers_cut += one.watchers_cut;
        }
        all
    }

    /// Whether the server process is known, so that it can be stopped.
    pub fn has_server(&self) -> bool {
        self.server.is_some()
    }

    /// Sends SIGTERM to the server, as an operator would.
    pub fn stop_server(&self) -> anyhow::Result<()> {
        let server = self.server.as_ref().context("--stop-after: the server's process is not known: --pid names it")?;
        kill(Pid::from_raw(server.process_id()), Signal::SIGTERM).context("stopping the server")
    }

    /// The next event, if there is one soon. Handles progress, the server's exit and Ctrl-C itself.
    pub fn next_event(&mut self) -> anyhow::Result<Option<WorkerEvent>> {
        self.interrupted |= self.interrupts.try_recv().is_ok();
        self.check_server()?;
        match self.processes.receive(LOOK_EVERY)? {
            Some((index, WorkerEvent::Progress(progress))) => {
                if self.progress[index] != progress {
                    self.progress[index] = progress;
                    self.moved = Nanos::now();
                }
                Ok(None)
            }
            Some((_, WorkerEvent::Failed(error))) => bail!(error),
            word => Ok(word.map(|(_, word)| word)),
        }
    }

    fn check_server(&mut self) -> anyhow::Result<()> {
        if self.next_memory > Instant::now() || self.server_exit.is_some() {
            return Ok(());
        }
        self.next_memory = Instant::now() + MEMORY_EVERY;
        let status = self.spawned.as_mut().map_or(Ok(None), SpawnedServer::ended)?;
        let bytes = self.server.as_ref().and_then(ServerProcess::private_bytes_now);
        if let (Some(bytes), Some(memory)) = (bytes, &mut self.memory) {
            memory.peak = memory.peak.max(bytes);
        }
        let is_gone = status.is_some() || (self.server.is_some() && bytes.is_none());
        if is_gone && (status.is_some() || self.spawned.is_none()) {
            let words = status.map_or("gone".to_owned(), |status| status.to_string());
            let code = status.and_then(|status| status.code());
            self.server_exit = Some(ServerExit { at: Nanos::now(), code, status: words });
            self.moved = Nanos::now();
        }
        Ok(())
    }

    /// Ends the load and collects the results of all processes.
    pub fn finish(&mut self) -> anyhow::Result<Vec<WorkerResult>> {
        self.processes.send(&WorkerCommand::Finish(self.moved))?;
        let mut results = Vec::new();
        while results.len() < self.processes.len() {
            if let Some(WorkerEvent::Result(result)) = self.next_event()? {
                results.push(*result);
            }
        }
        Ok(results)
    }

    /// Ends the worker processes, and the server if it was started here.
    pub fn end(self) -> anyhow::Result<()> {
        self.processes.end()?;
        self.spawned.map_or(Ok(()), SpawnedServer::stop)
    }
}

/// Merges the results of all processes by role.
pub fn by_role(results: &[WorkerResult]) -> BTreeMap<Role, RoleReport> {
    let mut all: BTreeMap<Role, RoleReport> = BTreeMap::new();
    for (role, RoleResult { counts, waits }) in results.iter().flat_map(|result| &result.roles) {
        let report = all.entry(*role).or_default();
        report.counts.add(counts);
        report.latencies.add(waits);
        report.waits = report.latencies.quantiles();
    }
    all
}
