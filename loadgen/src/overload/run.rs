//! An overload under way: its processes, and the server as the kernel sees it. Never has a client of its own.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::WORKER;
use super::part::{Call, OfRole, Outcome, Part, Progress, Ready, Role, Word};
use crate::arguments::ServerArguments;
use crate::children::Children;
use crate::clock::Nanos;
use crate::coordinator::Watched;
use crate::latency::{Latencies, Quantiles};
use crate::measure;
use crate::messages::{Reasons, add_reasons};
use crate::spawn::Spawned;
use crate::target::Target;

/// How often it is looked what has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// From the call to begin until the load begins: every process has heard it by then.
const START_AFTER: Duration = Duration::from_millis(100);

/// How often the server's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(50);

/// A load.
pub struct Run<'a> {
    children: Children<Word>,
    interrupts: &'a Receiver<()>,
    watched: Option<Watched>,
    spawned: Option<Spawned>,
    /// How far each process is.
    progress: Vec<Progress>,
    /// When anything happened last.
    pub moved: Nanos,
    pub interrupted: bool,
    pub memory: Option<Memory>,
    next_memory: Instant,
    /// How the server ended, if it has.
    pub server_end: Option<ServerEnd>,
}

/// Private memory of the server, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Before any client came.
    pub before: u64,
    /// With all clients in.
    pub with_clients: u64,
    /// The most that was seen.
    pub peak: u64,
}

/// The end of the server's process.
#[derive(Clone, Debug, Serialize)]
pub struct ServerEnd {
    /// As it was noticed.
    #[serde(skip)]
    pub at: Nanos,
    /// Its exit code; `None` if it was not started here, or was killed.
    pub code: Option<i32>,
    /// In words.
    pub status: String,
}

/// What clients of one role have met, as it is reported.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoleReport {
    /// Clients that were in.
    pub clients: u32,
    /// Messages that they were sent.
    pub deliveries: u64,
    /// Those that were cut, by reason.
    pub cut: Reasons,
    /// Those cut without having heard a ping of the server.
    pub cut_without_ping: u32,
    /// Pings of the server that they have answered.
    pub pings: u64,
    /// How long answers or greetings took, in milliseconds.
    pub waits: Quantiles,
    /// The same, each of them.
    #[serde(skip)]
    pub latencies: Latencies,
    /// Answers or greetings that never came.
    pub unanswered: u64,
    /// Messages that did not follow the one before, or were none.
    pub disordered: u64,
    /// What they were refused.
    pub refused: Reasons,
}

impl RoleReport {
    /// How many were cut.
    pub fn cut_count(&self) -> u64 {
        self.cut.values().sum()
    }
}

impl<'a> Run<'a> {
    /// Starts the server, if that is wanted, and the processes.
    pub fn start(
        parts: &[Part],
        server: &ServerArguments,
        targets: &[Target],
        interrupts: &'a Receiver<()>,
    ) -> anyhow::Result<Self> {
        let targets: Vec<_> = targets.iter().collect();
        let spawned = server.spawn.as_deref().map(|command| Spawned::start(command, &targets)).transpose()?;
        let first = targets.first().context("no target")?;
        let watched = measure::watched(server, spawned.as_ref(), first)?;
        let now = watched.as_ref().and_then(Watched::private_bytes_now);
        let memory = now.map(|bytes| Memory { before: bytes, with_clients: bytes, peak: bytes });
        Ok(Self {
            children: Children::start(WORKER, parts)?,
            interrupts,
            watched,
            spawned,
            progress: vec![Progress::default(); parts.len()],
            moved: Nanos::now(),
            interrupted: false,
            memory,
            next_memory: Instant::now(),
            server_end: None,
        })
    }

    /// Until all clients are in, or never will be.
    pub fn connect(&mut self) -> anyhow::Result<Ready> {
        let mut all = Ready::default();
        let mut waiting = self.children.len();
        while waiting > 0 && !self.interrupted {
            if let Some(Word::Ready(ready)) = self.hear()? {
                all.connected += ready.connected;
                add_reasons(&mut all.failed, &ready.failed);
                all.priority = all.priority.or(ready.priority);
                waiting -= 1;
                // The process of the watchers is the only one in which some come late: behind all others.
                if waiting == 1 {
                    self.children.tell(&Call::Open)?;
                }
            }
        }
        if all.connected == 0 && !self.interrupted {
            bail!("no client got in: {}", crate::report::in_words(&all.failed));
        }
        if let Some(memory) = &mut self.memory {
            memory.with_clients =
                self.watched.as_ref().and_then(Watched::private_bytes_now).unwrap_or(memory.with_clients);
        }
        Ok(all)
    }

    /// The load begins; returns when.
    pub fn begin(&mut self) -> anyhow::Result<Nanos> {
        let start = Nanos::now() + START_AFTER;
        self.children.tell(&Call::Start(start))?;
        self.moved = start;
        Ok(start)
    }

    /// How far all processes are.
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

    /// Whether the server is one that may be stopped.
    pub fn has_server(&self) -> bool {
        self.watched.is_some()
    }

    /// Asks the server to stop, as an operator would.
    pub fn stop_server(&self) -> anyhow::Result<()> {
        let watched =
            self.watched.as_ref().context("--stop-after: the server's process is not known: --pid names it")?;
        kill(Pid::from_raw(watched.process_id()), Signal::SIGTERM).context("stopping the server")
    }

    /// The next word, if one comes soon. Progress, the server and whoever wants to stop are dealt with here.
    pub fn hear(&mut self) -> anyhow::Result<Option<Word>> {
        self.interrupted |= self.interrupts.try_recv().is_ok();
        self.look_at_server()?;
        match self.children.hear(LOOK_EVERY)? {
            Some((index, Word::Progress(progress))) => {
                if self.progress[index] != progress {
                    self.progress[index] = progress;
                    self.moved = Nanos::now();
                }
                Ok(None)
            }
            Some((_, Word::Failed(error))) => bail!(error),
            word => Ok(word.map(|(_, word)| word)),
        }
    }

    fn look_at_server(&mut self) -> anyhow::Result<()> {
        if self.next_memory > Instant::now() || self.server_end.is_some() {
            return Ok(());
        }
        self.next_memory = Instant::now() + MEMORY_EVERY;
        let status = self.spawned.as_mut().map_or(Ok(None), Spawned::ended)?;
        let bytes = self.watched.as_ref().and_then(Watched::private_bytes_now);
        if let (Some(bytes), Some(memory)) = (bytes, &mut self.memory) {
            memory.peak = memory.peak.max(bytes);
        }
        let is_gone = status.is_some() || (self.watched.is_some() && bytes.is_none());
        if is_gone && (status.is_some() || self.spawned.is_none()) {
            let words = status.map_or("gone".to_owned(), |status| status.to_string());
            let code = status.and_then(|status| status.code());
            self.server_end = Some(ServerEnd { at: Nanos::now(), code, status: words });
            self.moved = Nanos::now();
        }
        Ok(())
    }

    /// Ends the load and gathers what the processes have found; then stops the server if it was started here.
    pub fn finish(&mut self) -> anyhow::Result<Vec<Outcome>> {
        self.children.tell(&Call::Finish(self.moved))?;
        let mut outcomes = Vec::new();
        while outcomes.len() < self.children.len() {
            if let Some(Word::Outcome(outcome)) = self.hear()? {
                outcomes.push(*outcome);
            }
        }
        Ok(outcomes)
    }

    /// Lets the processes go, and the server if it was started here.
    pub fn end(self) -> anyhow::Result<()> {
        self.children.end()?;
        self.spawned.map_or(Ok(()), Spawned::stop)
    }
}

/// What clients have met, over all processes, by role.
pub fn by_role(outcomes: &[Outcome]) -> BTreeMap<Role, RoleReport> {
    let mut all: BTreeMap<Role, (RoleReport, Latencies)> = BTreeMap::new();
    for (role, found) in outcomes.iter().flat_map(|outcome| &outcome.roles) {
        let (report, waits) = all.entry(*role).or_default();
        let OfRole { clients, deliveries, cut_without_ping, pings, unanswered, disordered, .. } = *found;
        report.clients += clients;
        report.deliveries += deliveries;
        report.cut_without_ping += cut_without_ping;
        report.pings += pings;
        report.unanswered += unanswered;
        report.disordered += disordered;
        add_reasons(&mut report.cut, &found.cut);
        add_reasons(&mut report.refused, &found.refused);
        waits.add(&found.waits);
    }
    let finish = |(role, (report, waits)): (Role, (RoleReport, Latencies))| {
        (role, RoleReport { waits: waits.quantiles(), latencies: waits, ..report })
    };
    all.into_iter().map(finish).collect()
}
