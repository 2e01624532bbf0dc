//! One load from its first connect to its last delivery: starts the processes, tells them when, watches the server, puts
//! together what they found. Never has a client of its own.

mod first_sight;
mod merge;
mod progress;
mod server;
mod summary;
mod timeline;

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, SystemTime};

use anyhow::bail;

use crate::bare::BareLoop;
use crate::children::Children;
use crate::clock::Nanos;
use crate::descriptors;
use crate::latency::Latencies;
use crate::messages::{Connects, News, Order, Outcome, add_reasons};
use crate::plan::Plan;
use crate::report::{ConnectReport, Report, in_words};
use crate::share::{Group, Share};
use merge::Merged;
use progress::Display;
use server::Observation;
pub use server::Watched;
use timeline::Timeline;

/// The hidden command of a process of the load.
pub const WORKER: &str = "worker";

/// How often it is looked whether somebody wants it to stop.
const INTERRUPTS_EVERY: Duration = Duration::from_millis(20);

/// From the order to begin until the first message is due: every process has heard it by then.
const START_AFTER: Duration = Duration::from_millis(50);

/// A load that is under way.
struct Run<'a> {
    plan: &'a Plan,
    shares: Vec<Share>,
    children: Children<News>,
    server: Option<Observation<'a>>,
    /// What publishes, if the clients do not.
    bare: Option<BareLoop>,
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
    published_by_bare_loop: u64,
    /// Whether the server's process has ended under the load.
    server_is_gone: bool,
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
    let Some(bare) = BareLoop::start(plan)? else { return run_on(plan, surroundings, None) };
    let server = Watched::by_id(bare.process_id())?;
    run_on(&bare.plan(plan), &Surroundings { server: Some(&server), ..*surroundings }, Some(bare))
}

fn run_on(plan: &Plan, surroundings: &Surroundings, bare: Option<BareLoop>) -> anyhow::Result<Measured> {
    let began_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut run = Run::start(plan, surroundings, bare)?;
    let driven = run.drive();
    run.display.clear();
    driven?;
    run.report(surroundings.command, began_at)
}

impl<'a> Run<'a> {
    fn start(plan: &'a Plan, surroundings: &Surroundings<'a>, bare: Option<BareLoop>) -> anyhow::Result<Self> {
        // Before any client comes.
        let server = surroundings.server.map(Observation::begin).transpose()?;
        let shares = plan.shares(descriptors::connections_max()?);
        let children = Children::start(WORKER, &shares)?;
        let connects = ConnectReport { clients: shares.iter().map(Share::connections).sum(), ..Default::default() };
        Ok(Self {
            plan,
            bare,
            timeline: Timeline::new(shares.len()),
            shares,
            children,
            server,
            interrupts: surroundings.interrupts,
            display: Display::default(),
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

    /// All phases in order.
    fn drive(&mut self) -> anyhow::Result<()> {
        self.connect()?;
        if self.interrupted {
            return Ok(());
        }
        self.server.as_mut().map_or(Ok(()), Observation::load_begins)?;
        let start = Nanos::now() + START_AFTER;
        self.children.tell(&Order::Start(start))?;
        self.bare.as_mut().map_or(Ok(()), |bare| bare.begin(start))?;
        let mut published = self.send(start)?;
        if let Some(bare) = &self.bare {
            published = bare.sent()?;
            self.published_by_bare_loop = published.iter().map(|(_, count)| u64::from(*count)).sum();
        }
        self.sent_for = Nanos::now().since(start);
        self.children.tell(&Order::Drain(published))?;
        self.drain()?;
        if self.server.as_mut().is_some_and(|server| server.load_ends().is_err()) {
            self.server = None;
            self.server_is_gone = true;
        }
        Ok(())
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
                self.connects.connected = self.timeline.clients_now();
                self.connects.seconds = Nanos::now().since(self.began).as_secs_f64();
                return Ok(());
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
            self.bare.as_mut().map_or(Ok(()), BareLoop::stop)?;
        }
        let news = self.children.hear(INTERRUPTS_EVERY)?;
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
