//! One load from its first connect to its last delivery: starts the processes, tells them when, watches the server, puts
//! together what they found. Never has a client of its own.

mod children;
mod merge;
mod progress;
mod server;
mod summary;
mod timeline;

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::messages::{Connects, News, Order, Outcome, add_reasons};
use crate::plan::Plan;
use crate::report::{ConnectReport, Report, in_words};
use crate::share::{Group, Share};
use children::Children;
use merge::Merged;
use progress::Display;
use server::Observation;
pub use server::Watched;
use timeline::Timeline;

/// The hidden command of a process of the load.
pub const WORKER: &str = "worker";

/// How often it is looked whether somebody wants it to stop.
const PATIENCE: Duration = Duration::from_millis(20);

/// From the order to begin until the first message is due: every process has heard it by then.
const START_AFTER: Duration = Duration::from_millis(50);

/// No process has more clients, whatever its descriptors: its source address has 28 000 ports, and the search for a free one
/// slows down when most are taken.
const CONNECTIONS_MAX: u64 = 20_000;

/// What a process has open besides its clients.
const DESCRIPTORS_RESERVED: u64 = 100;

/// A load that is under way.
struct Run<'a> {
    plan: &'a Plan,
    shares: Vec<Share>,
    children: Children<News>,
    server: Option<Observation<'a>>,
    interrupts: &'a Receiver<()>,
    display: Display,
    began: Nanos,
    connects: ConnectReport,
    connect_latencies: Latencies,
    groups: BTreeMap<Group, Merged>,
    timeline: Timeline,
    generator: Generator,
    /// How long messages were sent.
    sent_for: Duration,
    interrupted: bool,
}

/// What the processes of the load have used.
#[derive(Default)]
struct Generator {
    processor_nanos: u64,
    busy: f64,
}

/// What is to be done besides.
pub struct Surroundings<'a> {
    /// The server's process, if it runs here.
    pub server: Option<&'a Watched>,
    /// Somebody wants it to stop.
    pub interrupts: &'a Receiver<()>,
    /// As it was typed.
    pub command: &'a str,
}

/// What came of a load.
pub struct Measured {
    /// Judged.
    pub report: Report,
    /// Of all its deliveries.
    pub latencies: Latencies,
}

/// Puts a load on its targets and says what came of it.
///
/// # Errors
/// Nobody listens, nobody is let in, or a process of the load fails.
pub fn run(plan: &Plan, surroundings: &Surroundings) -> anyhow::Result<Measured> {
    let began_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut run = Run::start(plan, surroundings)?;
    let driven = run.drive();
    run.display.clear();
    driven?;
    run.report(surroundings.command, began_at)
}

impl<'a> Run<'a> {
    fn start(plan: &'a Plan, surroundings: &Surroundings<'a>) -> anyhow::Result<Self> {
        let shares = plan.shares(connections_max()?);
        let children = Children::start(WORKER, &shares)?;
        let connects = ConnectReport { clients: shares.iter().map(Share::connections).sum(), ..Default::default() };
        Ok(Self {
            plan,
            timeline: Timeline::new(shares.len()),
            shares,
            children,
            server: surroundings.server.map(Observation::begin).transpose()?,
            interrupts: surroundings.interrupts,
            display: Display::default(),
            began: Nanos::now(),
            connects,
            connect_latencies: Latencies::default(),
            groups: BTreeMap::new(),
            generator: Generator::default(),
            sent_for: Duration::ZERO,
            interrupted: false,
        })
    }

    /// All phases in order.
    fn drive(&mut self) -> anyhow::Result<()> {
        self.connect()?;
        self.server.as_mut().map_or(Ok(()), Observation::load_begins)?;
        let start = Nanos::now() + START_AFTER;
        self.children.tell(&Order::Start(start))?;
        let published = self.send(start)?;
        self.sent_for = Nanos::now().since(start);
        self.children.tell(&Order::Drain(published))?;
        self.drain()?;
        self.server.as_mut().map_or(Ok(()), Observation::load_ends)
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        let mut waiting = self.children.len();
        let (mut began, mut ended) = (Nanos(u64::MAX), Nanos(0));
        while waiting > 0 {
            if let Some(News::Ready(connects)) = self.hear()?.map(|(_, news)| news) {
                began = began.min(connects.began);
                ended = ended.max(connects.ended);
                self.add_connects(&connects);
                waiting -= 1;
            }
            self.display.connecting(self.timeline.clients_now(), self.connects.clients);
            if self.interrupted {
                bail!("stopped before all clients were in");
            }
        }
        self.connects.seconds = ended.since(began).as_secs_f64();
        self.connects.latency = self.connect_latencies.quantiles();
        if self.connects.connected == 0 {
            bail!("no client got in: {}", in_words(&self.connects.failed));
        }
        Ok(())
    }

    fn add_connects(&mut self, connects: &Connects) {
        self.connects.connected += connects.connected;
        self.connect_latencies.add(&connects.latencies);
        add_reasons(&mut self.connects.failed, &connects.failed);
    }

    /// Until every process has sent everything. Returns how many messages there were in rooms that lie in several.
    fn send(&mut self, start: Nanos) -> anyhow::Result<Vec<(u32, u32)>> {
        let mut waiting = self.children.len();
        let mut published = Vec::new();
        while waiting > 0 {
            if let Some(News::Published(rooms)) = self.hear()?.map(|(_, news)| news) {
                published.extend(rooms);
                waiting -= 1;
            }
            self.show(start);
        }
        Ok(published)
    }

    fn show(&self, start: Nanos) {
        let elapsed = Nanos::now().since(start);
        let whole = self.plan.manner.warmup + self.plan.manner.duration;
        let phase = if elapsed < self.plan.manner.warmup { "warming up" } else { "sending" };
        let deliveries = self.timeline.moments.last().map_or(0.0, |moment| moment.deliveries);
        let p99 = (self.timeline.all.count() > 0).then(|| self.timeline.all.quantile(0.99));
        self.display.sending(phase, elapsed, whole, deliveries, p99);
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        let mut waiting = self.children.len();
        while waiting > 0 {
            if let Some((index, News::Outcome(outcome))) = self.hear()? {
                self.add_outcome(self.shares[index].group, *outcome);
                waiting -= 1;
            }
            self.display.draining(self.timeline.received);
        }
        self.groups.values_mut().for_each(Merged::compare);
        Ok(())
    }

    fn add_outcome(&mut self, group: Group, outcome: Outcome) {
        self.generator.processor_nanos += outcome.processor_nanos;
        self.generator.busy = self.generator.busy.max(outcome.busy);
        self.groups.entry(group).or_default().add(outcome);
    }

    /// The next news, if any comes soon. Progress is dealt with here, and so is whoever wants to stop.
    fn hear(&mut self) -> anyhow::Result<Option<(usize, News)>> {
        if !self.interrupted && self.interrupts.try_recv().is_ok() {
            self.interrupted = true;
            self.children.tell(&Order::Stop)?;
        }
        let news = self.children.hear(PATIENCE)?;
        self.timeline.advance(self.began);
        match news {
            Some((index, News::Progress(progress))) => {
                self.groups.entry(self.shares[index].group).or_default().latencies.add(&progress.latencies);
                self.timeline.add(index, &progress);
                Ok(None)
            }
            Some((_, News::Failed(error))) => bail!(error),
            news => Ok(news),
        }
    }
}

/// The limit is raised as far as it goes; some are left for the process itself.
fn connections_max() -> anyhow::Result<u32> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the descriptor limit")?;
    let descriptors = hard.saturating_sub(DESCRIPTORS_RESERVED).clamp(1, CONNECTIONS_MAX);
    Ok(descriptors as u32)
}
