//! Runs one load from the first connect to the last delivery: starts the worker processes, sends them commands,
//! observes the server and merges the results. Never holds a client of its own.

mod first_memory;
mod merge;
mod progress_line;
mod server;
mod summary;
mod timeline;

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use anyhow::{bail, ensure};

use crate::assignment::{Assignment, RoomGroup};
use crate::bare::BareLoop;
use crate::child_processes::ChildProcesses;
use crate::clock::Nanos;
use crate::descriptors;
use crate::latency::Latencies;
use crate::messages::{ConnectResult, WorkerCommand, WorkerEvent, WorkerResult};
use crate::reasons::add_reasons;
use crate::report::{ConnectReport, Report, format_reasons};
use crate::workload::Workload;
use merge::Merged;
use progress_line::ProgressLine;
pub use server::ServerProcess;
use server::ServerUsage;
use timeline::Timeline;

/// The hidden command of a worker process.
pub const WORKER: &str = "worker";

/// Interval of checks for Ctrl-C.
const INTERRUPTS_EVERY: Duration = Duration::from_millis(20);

/// Time from the start command to the first message, so that every process has received the command.
const START_AFTER: Duration = Duration::from_millis(50);

/// A load in progress.
struct Run<'a> {
    workload: &'a Workload,
    assignments: Vec<Assignment>,
    processes: ChildProcesses<WorkerEvent>,
    server: Option<ServerUsage<'a>>,
    /// Publishes in place of the clients, if the target is the bare loop.
    bare: Option<BareLoop>,
    interrupts: &'a Receiver<()>,
    progress_line: ProgressLine,
    began: Nanos,
    connects: ConnectReport,
    connect_latencies: Latencies,
    groups: BTreeMap<RoomGroup, Merged>,
    timeline: Timeline,
    returns: Returns,
    generator: Generator,
    /// Time in which messages were sent.
    sent_for: Duration,
    published_by_bare_loop: u64,
    /// Whether the server process exited during the load.
    server_is_gone: bool,
    interrupted: bool,
}

/// Processes with clients that were cut and are not back yet.
struct Returns {
    waiting: usize,
    /// When the last client so far was back.
    last: Nanos,
}

/// Resources that the worker processes have used.
#[derive(Default)]
struct Generator {
    processor_nanos: u64,
    busy: f64,
}

/// What a run needs besides its workload.
pub struct RunContext<'a> {
    /// The server process, if it runs on this host.
    pub server: Option<&'a ServerProcess>,
    /// Receives one message at Ctrl-C.
    pub interrupts: &'a Receiver<()>,
    /// The command line, for the report.
    pub command: &'a str,
}

/// The result of one load.
pub struct Measurement {
    pub report: Report,
    /// Latencies of all deliveries, over all groups.
    pub latencies: Latencies,
}

/// Runs the workload and reports its result.
///
/// # Errors
/// Nothing listens, no client is admitted, or a worker process fails.
pub fn run(workload: &Workload, context: &RunContext) -> anyhow::Result<Measurement> {
    let Some(bare) = BareLoop::start(workload)? else { return run_on(workload, context, None) };
    let server = ServerProcess::by_id(bare.process_id())?;
    run_on(&bare.workload(workload), &RunContext { server: Some(&server), ..*context }, Some(bare))
}

fn run_on(workload: &Workload, context: &RunContext, bare: Option<BareLoop>) -> anyhow::Result<Measurement> {
    let began_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut run = Run::start(workload, context, bare)?;
    let driven = run.drive();
    run.progress_line.clear();
    driven?;
    run.report(context.command, began_at)
}

impl<'a> Run<'a> {
    fn start(workload: &'a Workload, context: &RunContext<'a>, bare: Option<BareLoop>) -> anyhow::Result<Self> {
        // Measured before any client connects.
        let server = context.server.map(ServerUsage::begin).transpose()?;
        let assignments = workload.assignments(descriptors::connections_max()?);
        // Only the process that publishes to a room knows which messages may never come.
        let are_whole = assignments.iter().flat_map(|assignment| &assignment.rooms).all(|room| room.is_whole);
        ensure!(are_whole || workload.settings.failover.is_none(), "--failover: a room is too large for one process");
        let processes = ChildProcesses::start(WORKER, &assignments)?;
        let connects =
            ConnectReport { clients: assignments.iter().map(Assignment::connections).sum(), ..Default::default() };
        Ok(Self {
            workload,
            bare,
            timeline: Timeline::new(assignments.len()),
            returns: Returns { waiting: assignments.len(), last: Nanos(0) },
            assignments,
            processes,
            server,
            interrupts: context.interrupts,
            progress_line: ProgressLine::default(),
            began: Nanos::now(),
            connects,
            connect_latencies: Latencies::default(),
            groups: BTreeMap::new(),
            generator: Generator::default(),
            sent_for: Duration::ZERO,
            published_by_bare_loop: 0,
            server_is_gone: false,
            interrupted: false,
        })
    }

    /// Runs all phases in order.
    fn drive(&mut self) -> anyhow::Result<()> {
        self.connect()?;
        if self.interrupted {
            return Ok(());
        }
        self.server.as_mut().map_or(Ok(()), ServerUsage::load_begins)?;
        let start = Nanos::now() + START_AFTER;
        self.processes.send(&WorkerCommand::Start(start))?;
        self.bare.as_mut().map_or(Ok(()), |bare| bare.begin(start))?;
        let mut published = self.send(start)?;
        if let Some(bare) = &self.bare {
            published = bare.sent()?;
            self.published_by_bare_loop = published.iter().map(|(_, count)| u64::from(*count)).sum();
        }
        self.sent_for = Nanos::now().since(start);
        self.processes.send(&WorkerCommand::Drain(published))?;
        self.drain()?;
        if self.server.as_mut().is_some_and(|server| server.load_ends().is_err()) {
            self.server = None;
            self.server_is_gone = true;
        }
        Ok(())
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        let mut waiting = self.processes.len();
        let (mut began, mut ended) = (Nanos(u64::MAX), Nanos(0));
        while waiting > 0 {
            if let Some(WorkerEvent::Ready(connects)) = self.next_event()?.map(|(_, event)| event) {
                began = began.min(connects.began);
                ended = ended.max(connects.ended);
                self.add_connects(&connects);
                waiting -= 1;
            }
            self.progress_line.connecting(self.timeline.clients_now(), self.connects.clients);
            if self.interrupted {
                self.connects.connected = self.timeline.clients_now();
                self.connects.seconds = Nanos::now().since(self.began).as_secs_f64();
                return Ok(());
            }
        }
        self.connects.seconds = ended.since(began).as_secs_f64();
        self.connects.latency = self.connect_latencies.quantiles();
        if self.connects.connected == 0 {
            bail!("no client got in: {}", format_reasons(&self.connects.failed));
        }
        Ok(())
    }

    fn add_connects(&mut self, connects: &ConnectResult) {
        self.connects.connected += connects.connected;
        self.connect_latencies.add(&connects.latencies);
        add_reasons(&mut self.connects.failed, &connects.failed);
    }

    /// Waits until every process has published everything. Returns the number of messages in each split room.
    fn send(&mut self, start: Nanos) -> anyhow::Result<Vec<(u32, u32)>> {
        let mut waiting = self.processes.len();
        let mut published = Vec::new();
        while waiting > 0 {
            if let Some(WorkerEvent::Published(rooms)) = self.next_event()?.map(|(_, event)| event) {
                published.extend(rooms);
                waiting -= 1;
            }
            self.show(start);
        }
        Ok(published)
    }

    fn show(&self, start: Nanos) {
        let elapsed = Nanos::now().since(start);
        let whole = self.workload.settings.warmup + self.workload.settings.duration;
        let phase = if elapsed < self.workload.settings.warmup { "warming up" } else { "sending" };
        let deliveries = self.timeline.samples.last().map_or(0.0, |sample| sample.deliveries);
        let p99 = (self.timeline.all.count() > 0).then(|| self.timeline.all.quantile(0.99));
        self.progress_line.sending(phase, elapsed, whole, deliveries, p99);
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        let mut waiting = self.processes.len();
        while waiting > 0 {
            if let Some((index, WorkerEvent::Result(result))) = self.next_event()? {
                self.add_result(self.assignments[index].group, *result);
                waiting -= 1;
            }
            self.progress_line.draining(self.timeline.received);
        }
        self.groups.values_mut().for_each(Merged::compare);
        Ok(())
    }

    fn add_result(&mut self, group: RoomGroup, result: WorkerResult) {
        self.generator.processor_nanos += result.processor_nanos;
        self.generator.busy = self.generator.busy.max(result.busy);
        self.groups.entry(group).or_default().add(result);
    }

    /// Tells all processes when the clients of every process are back.
    fn add_return(&mut self, at: Nanos) -> anyhow::Result<()> {
        let Returns { waiting, last } = &mut self.returns;
        *waiting -= 1;
        *last = at.max(*last);
        if *waiting > 0 {
            return Ok(());
        }
        self.processes.send(&WorkerCommand::AllBack(*last))
    }

    /// The next event, if there is one soon. Handles progress, returns and Ctrl-C itself.
    fn next_event(&mut self) -> anyhow::Result<Option<(usize, WorkerEvent)>> {
        if !self.interrupted && self.interrupts.try_recv().is_ok() {
            self.interrupted = true;
            self.processes.send(&WorkerCommand::Stop)?;
            self.bare.as_mut().map_or(Ok(()), BareLoop::stop)?;
        }
        let event = self.processes.receive(INTERRUPTS_EVERY)?;
        self.timeline.advance(self.began);
        match event {
            Some((index, WorkerEvent::Progress(progress))) => {
                self.groups.entry(self.assignments[index].group).or_default().latencies.add(&progress.latencies);
                self.timeline.add(index, &progress);
                Ok(None)
            }
            Some((_, WorkerEvent::AllBack(at))) => self.add_return(at).map(|()| None),
            Some((_, WorkerEvent::Failed(error))) => bail!(error),
            event => Ok(event),
        }
    }
}
