//! The sampler: once a second it adds up the counters of all workers and publishes what the dashboard shows, and reads
//! for the metrics how long each worker was busy. It waits for no worker, and asks the shards for their busiest rooms
//! only while somebody watches. Whoever opens no dashboard pays one wake-up of the main thread per second, and the
//! workers pay nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::broker::{BusiestRooms, Now, RoomActivity, WeakShards};
use crate::metrics::{Counter, ResidentMemory};
use crate::shutdown::Drain;
use crate::stats::{BusyRoom, Moment, Recorder, Stats, TopRooms};
use crate::transport::metrics::ServerMetrics;

/// The time between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Somebody watches for this long after a request for the figures.
const WATCHED_FOR: Duration = Duration::from_secs(5);

/// The least time between two looks for the busiest rooms.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(900);

/// After a look for the busiest rooms there is none for this many times as long as it has kept a shard from its work,
/// so that looks take 0.1 % of its time.
const LOOK_INTERVAL_FACTOR: u32 = 1_000;

/// A look that took so long is followed by another after this time all the same: its worker may only have been
/// descheduled.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// Samples a server until it has ended.
pub struct Sampler {
    metrics: ServerMetrics,
    shards: WeakShards,
    drain: Drain,
    publisher: watch::Sender<Arc<Stats>>,
    recorder: Recorder,
    ticks: Interval,
    started_at: Instant,
    sampled_at: Instant,
    /// Of each worker, until the server stops.
    workers: Vec<WorkerLoad>,
    memory: ResidentMemory,
    looks: Looks,
}

/// What a worker's thread has to do.
struct WorkerLoad {
    runtime: RuntimeMetrics,
    /// The time for which the thread was busy, at the last sample.
    busy: Duration,
    /// The same in nanoseconds, for the metrics.
    exposed: Arc<Counter>,
}

/// The looks for the busiest rooms.
struct Looks {
    top_rooms: TopRooms,
    /// A look on its way.
    under_way: Option<Pin<Box<dyn Future<Output = BusiestRooms>>>>,
    /// No look begins before.
    not_before: Instant,
    requests_for_figures: u64,
    /// Somebody watches until then.
    watched_until: Instant,
    /// The last look was for the same watchers, so that what the next one finds has happened a moment ago.
    is_followed: bool,
}

impl Sampler {
    /// A sampler that publishes to the receivers of `publisher`.
    pub fn new(metrics: ServerMetrics, shards: WeakShards, drain: Drain, publisher: watch::Sender<Arc<Stats>>) -> Self {
        let Now { instant, unix } = Now::read();
        let mut ticks = interval_at((instant + SAMPLE_INTERVAL).into(), SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            recorder: Recorder::new(metrics.limits, unix.0 / 1_000),
            metrics,
            shards,
            drain,
            publisher,
            ticks,
            started_at: instant,
            sampled_at: instant,
            workers: Vec::new(),
            memory: ResidentMemory::open(),
            looks: Looks::new(instant),
        }
    }

    /// Measures the load of these workers from now on, and publishes the first figures.
    pub fn watch_workers(&mut self, runtimes: Vec<RuntimeMetrics>) {
        let load = |(runtime, exposed): (RuntimeMetrics, &Arc<Counter>)| {
            let exposed = Arc::clone(exposed);
            WorkerLoad { busy: runtime.worker_total_busy_duration(0), runtime, exposed }
        };
        self.workers = runtimes.into_iter().zip(&self.metrics.busy).map(load).collect();
        self.sample();
    }

    /// Lets the runtimes of the workers go, so that each is ended by its own thread. To be called before they end.
    pub fn forget_workers(&mut self) {
        self.workers.clear();
    }

    /// Samples while something else goes on.
    pub async fn run_during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        loop {
            tokio::select! {
                biased;
                outcome = &mut other => return outcome,
                _ = self.ticks.tick() => self.sample(),
                rooms = self.looks.found() => self.looks.show(rooms, Instant::now()),
            }
        }
    }

    fn sample(&mut self) {
        let (now, totals) = (Now::read(), self.metrics.totals());
        let elapsed = now.instant.saturating_duration_since(self.sampled_at);
        self.sampled_at = now.instant;
        self.looks.begin_if_due(now.instant, totals.requests_for_figures, &self.shards);
        let moment = Moment {
            unix_millis: now.unix.0,
            uptime: self.started_at.elapsed().as_secs(),
            seconds: elapsed.as_secs_f64(),
            loads: self.workers.iter_mut().map(|worker| worker.load(elapsed)).collect(),
            memory_bytes: self.memory.bytes().unwrap_or_default(),
            is_draining: self.drain.is_announced(),
        };
        let stats = self.recorder.record(totals, &moment, self.looks.top_rooms.clone());
        self.publisher.send_replace(Arc::new(stats));
    }
}

impl WorkerLoad {
    /// The share of the time since the last sample for which the thread was busy, from 0 to 1. A turn of the thread
    /// counts where it ends.
    fn load(&mut self, elapsed: Duration) -> f64 {
        let before = std::mem::replace(&mut self.busy, self.runtime.worker_total_busy_duration(0));
        self.exposed.set(u64::try_from(self.busy.as_nanos()).unwrap_or(u64::MAX));
        self.busy.saturating_sub(before).div_duration_f64(elapsed).min(1.0)
    }
}

impl Looks {
    fn new(now: Instant) -> Self {
        Self {
            top_rooms: TopRooms::default(),
            under_way: None,
            not_before: now,
            requests_for_figures: 0,
            watched_until: now,
            is_followed: false,
        }
    }

    /// Begins a look, if somebody watches and the last one was long enough ago.
    fn begin_if_due(&mut self, now: Instant, requests_for_figures: u64, shards: &WeakShards) {
        if requests_for_figures > self.requests_for_figures {
            self.requests_for_figures = requests_for_figures;
            self.watched_until = now + WATCHED_FOR;
        }
        if now > self.watched_until {
            self.is_followed = false;
            self.top_rooms = TopRooms::default();
        } else if self.under_way.is_none() && now >= self.not_before {
            let shards = shards.clone();
            self.under_way = Some(Box::pin(async move { shards.busiest().await }));
        }
    }

    /// Waits for the look on its way; for ever if there is none.
    async fn found(&mut self) -> BusiestRooms {
        match &mut self.under_way {
            Some(look) => look.await,
            None => std::future::pending().await,
        }
    }

    fn show(&mut self, found: BusiestRooms, now: Instant) {
        self.under_way = None;
        self.not_before = now + (found.took * LOOK_INTERVAL_FACTOR).clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX);
        if !std::mem::replace(&mut self.is_followed, true) {
            // What lies behind the first look of a watcher is no rate of now.
            return;
        }
        let busy = |RoomActivity { room, members, rate }| BusyRoom { room, members, rate };
        self.top_rooms = TopRooms {
            by_members: found.by_members.into_iter().map(busy).collect(),
            by_rate: found.by_rate.into_iter().map(busy).collect(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{RoomLimiter, ShardRules, ShardSenders};
    use crate::config::{Config, Settings};
    use crate::protocol::names::RoomName;

    fn found(rate: f64) -> BusiestRooms {
        let room = RoomActivity { room: RoomName::parse("a").unwrap(), members: 3, rate };
        BusiestRooms { by_members: vec![room.clone()], by_rate: vec![room], took: Duration::from_millis(5) }
    }

    #[tokio::test]
    async fn looks_are_for_watchers_alone_and_the_first_one_has_no_rates() {
        let config = Config::try_from(Settings::default()).unwrap();
        let (senders, _mailboxes) = ShardSenders::new(1, &RoomLimiter::new(1), ShardRules::from(&config));
        let shards = senders.downgrade();
        let start = Instant::now();
        let mut looks = Looks::new(start);
        looks.begin_if_due(start + SAMPLE_INTERVAL, 0, &shards);
        assert!(looks.under_way.is_none(), "nobody watches");
        looks.begin_if_due(start + SAMPLE_INTERVAL, 1, &shards);
        assert!(looks.under_way.is_some());
        looks.show(found(1e6), start + SAMPLE_INTERVAL);
        assert_eq!(looks.top_rooms.by_members, []);
        // The next one is due after a thousand times what this one took.
        looks.begin_if_due(start + Duration::from_secs(4), 2, &shards);
        assert!(looks.under_way.is_none());
        looks.begin_if_due(start + Duration::from_secs(6), 3, &shards);
        assert!(looks.under_way.is_some());
        looks.show(found(5.0), start + Duration::from_secs(6));
        let TopRooms { by_members, by_rate } = &looks.top_rooms;
        assert_eq!((by_members[0].members, by_rate[0].rate), (3, 5.0));
        // Later nobody watches.
        looks.begin_if_due(start + Duration::from_secs(60), 3, &shards);
        assert!(looks.under_way.is_none() && looks.top_rooms.by_members.is_empty());
        looks.begin_if_due(start + Duration::from_secs(61), 4, &shards);
        looks.show(found(1e6), start + Duration::from_secs(61));
        assert_eq!(looks.top_rooms.by_rate, []);
    }
}
