//! The service manager that has started the process, as systemd, and what it is told by sd_notify(3): the phases of the
//! server, how many clients it has, and that its threads run. It is told by a task of its own, for which nothing else of
//! the server waits. Without a manager there is no task.

mod socket;
mod threads;
mod watchdog;

use std::env;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tracing::warn;

use self::socket::NotifySocket;
use self::threads::Threads;
use crate::probe::Probe;
use crate::shutdown::Drain;
use crate::transport::metrics::ServerMetrics;

/// News that wait for the task. One more waits for a few seconds at most: so long a manager may read nothing.
const NEWS_MAX: usize = 8;

/// The time between two looks at what a start has done.
const START_PERIOD: Duration = Duration::from_secs(5);

/// The least time between two messages of how many clients there are.
const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// The time between two messages while the server stops.
const STOP_PERIOD: Duration = Duration::from_secs(1);

/// The time that the manager is asked for in each message of a start or a stop that goes on.
const MORE_TIME: NotifyState<'static> = NotifyState::ExtendTimeoutUsec(15_000_000);

/// The service manager. Clones lead to the same one.
#[derive(Clone)]
pub(super) struct ServiceManager(Option<mpsc::Sender<News>>);

/// What the task cannot see by itself.
enum News {
    /// Clients are accepted, or a reload has ended.
    Ready,
    /// A reload begins.
    Reloading,
}

impl ServiceManager {
    /// The manager that the environment names, if any. It is told from here on, by a task, how a start goes on. `probes`
    /// lead to the threads that its watchdog watches, and no stop takes longer than `stop_time_max`.
    pub fn of_environment(metrics: &ServerMetrics, probes: Vec<Probe>, drain: &Drain, stop_time_max: Duration) -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Self(None);
        };
        match NotifySocket::parse(&address) {
            Ok(socket) => {
                let (sender, news) = mpsc::channel(NEWS_MAX);
                let told_within = sd_notify::watchdog_enabled().filter(|told_within| !told_within.is_zero());
                let threads = told_within.map(|told_within| Threads::new(probes, told_within));
                let reporter = Reporter {
                    socket,
                    news,
                    metrics: metrics.clone(),
                    threads,
                    drain: drain.clone(),
                    stop_time_max,
                    phase: Phase::Starting(0),
                    ticks: ticks(START_PERIOD),
                    status: String::new(),
                    has_failed: false,
                };
                spawn_local(reporter.run());
                Self(Some(sender))
            }
            Err(error) => {
                warn!(%error, ?address, "cannot use NOTIFY_SOCKET: the service manager is told nothing");
                Self(None)
            }
        }
    }

    /// Says that clients are accepted, or that a reload has ended.
    pub async fn ready(&self) {
        self.tell(News::Ready).await;
    }

    /// Says that a reload begins.
    pub async fn reloading(&self) {
        self.tell(News::Reloading).await;
    }

    async fn tell(&self, news: News) {
        if let Some(sender) = &self.0 {
            // The task ends with the process alone.
            let _ = sender.send(news).await;
        }
    }
}

/// What the server does.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It catches up with its cluster. The start has come as far as this message of the stream.
    Starting(u64),
    Serving,
    /// It stops since this time.
    Stopping(Instant),
}

/// The task that tells the manager.
struct Reporter {
    socket: NotifySocket,
    news: mpsc::Receiver<News>,
    metrics: ServerMetrics,
    /// `None` where the manager has no watchdog for this process.
    threads: Option<Threads>,
    drain: Drain,
    stop_time_max: Duration,
    phase: Phase,
    ticks: Interval,
    /// The last status that was sent.
    status: String,
    /// A message could not be sent. That is logged once.
    has_failed: bool,
}

enum Step {
    News(News),
    Stop,
    AllRun,
    Tick,
}

impl Reporter {
    async fn run(mut self) {
        loop {
            let step = tokio::select! {
                // News are older than the stop, if both have come.
                biased;
                Some(news) = self.news.recv() => Step::News(news),
                () = self.drain.announced(), if !matches!(self.phase, Phase::Stopping(_)) => Step::Stop,
                // The manager counts from when the server is ready.
                () = Threads::all_run(self.threads.as_mut()), if !matches!(self.phase, Phase::Starting(_)) => Step::AllRun,
                _ = self.ticks.tick() => Step::Tick,
            };
            match step {
                Step::News(news) => self.take_news(&news).await,
                Step::Stop => self.stop().await,
                Step::AllRun => self.send(&[NotifyState::Watchdog]).await,
                Step::Tick => self.tell_progress().await,
            }
        }
    }

    async fn take_news(&mut self, news: &News) {
        match (self.phase, news) {
            // A reload that the stop has overtaken.
            (Phase::Stopping(_), _) => {}
            (_, News::Reloading) => match NotifyState::monotonic_usec_now() {
                Ok(now) => self.send(&[NotifyState::Reloading, now]).await,
                Err(error) => self.fail(&error),
            },
            (_, News::Ready) => {
                (self.phase, self.ticks) = (Phase::Serving, ticks(STATUS_PERIOD));
                self.tell_status(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]).await;
            }
        }
    }

    async fn stop(&mut self) {
        (self.phase, self.ticks) = (Phase::Stopping(Instant::now()), ticks(STOP_PERIOD));
        self.tell_status(&[NotifyState::Stopping, MORE_TIME]).await;
    }

    async fn tell_progress(&mut self) {
        match self.phase {
            Phase::Starting(before) => {
                let place = self.metrics.backplane.as_ref().map_or(0, |backplane| backplane.place().0);
                // A start that makes no progress is given no more time.
                if place > before {
                    self.phase = Phase::Starting(place);
                    self.tell_status(&[MORE_TIME]).await;
                }
            }
            Phase::Serving if self.status_now() == self.status => {}
            Phase::Serving => self.tell_status(&[]).await,
            Phase::Stopping(since) if since.elapsed() < self.stop_time_max => self.tell_status(&[MORE_TIME]).await,
            Phase::Stopping(_) => {}
        }
    }

    /// Sends these and the status.
    async fn tell_status(&mut self, states: &[NotifyState<'_>]) {
        let status = self.status_now();
        self.send(&[states, &[NotifyState::Status(&status)]].concat()).await;
        self.status = status;
    }

    fn status_now(&self) -> String {
        let totals = self.metrics.totals();
        match self.phase {
            Phase::Starting(place) => format!("catching up with the cluster: has followed {place} messages"),
            Phase::Serving => format!("serving {} clients, {} rooms", totals.clients(), totals.rooms),
            Phase::Stopping(_) => format!("draining: {} clients left", totals.clients()),
        }
    }

    async fn send(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = self.socket.send(states).await {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            warn!(%error, "cannot tell the service manager how the server is");
        }
    }
}

/// Ticks of this period, the first after one.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
