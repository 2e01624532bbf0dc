//! One process of the load: tens of thousands of clients in one loop around epoll, one shared buffer, no task for each. Never
//! decides what a result means: it counts, and tells the coordinator.

mod churn;
mod client;
mod conversation;
mod link;
mod listener;
mod opening;
mod publishing;
mod room;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::Context;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::clock::Nanos;
use crate::latency::Latencies;
use crate::messages::{News, Order, Outcome, Progress};
use crate::schedule::Schedule;
use crate::share::Share;
use churn::Churn;
pub use client::{Client, Sent, Stage};
pub use link::Link;
use opening::Opening;
pub use opening::reason_of;
use room::Room;

/// How often the coordinator hears of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How often it is looked whether everything has come.
const DRAINED_EVERY: Duration = Duration::from_millis(20);

/// When everything has come, so long it is waited for what should not.
const LINGER: Duration = Duration::from_millis(100);

/// Sockets that are attended to in one round.
const EVENTS_MAX: usize = 1024;

const TIMER: Token = Token(usize::MAX - 1);
const ORDERS: Token = Token(usize::MAX - 2);

/// Does its part of a load; the part itself is the first line of standard input, orders follow.
pub fn run() -> anyhow::Result<()> {
    let (link, share) = Link::open()?;
    let mut worker = Worker::new(share, link)?;
    if let Err(error) = worker.work() {
        // It cannot be told if the coordinator has ended, which is then why it failed.
        let _ = worker.link.tell(&News::Failed(format!("{error:#}")));
    }
    Ok(())
}

/// A process of the load.
struct Worker {
    share: Share,
    poll: Poll,
    timer: TimerFd,
    /// For when the timer is set.
    timer_is_set_to: Option<Nanos>,
    link: Link,
    clients: Vec<Client>,
    rooms: Vec<Lobby>,
    phase: Phase,
    opening: Opening,
    schedule: Option<Schedule>,
    /// Messages due in this time count; so do deliveries received in it.
    measured: Range<Nanos>,
    /// Whether a closed load has yet to begin.
    rooms_to_fill: bool,
    churn: Churn,
    random: fastrand::Rng,
    counted: Counted,
    /// When the coordinator hears of progress again.
    next_progress: Nanos,
    /// When it heard of progress last.
    progress_told: Nanos,
    /// Into which all clients read.
    read_buffer: Vec<u8>,
    /// In which messages are written.
    write_buffer: Vec<u8>,
}

/// A room and who is in it.
struct Lobby {
    room: Room,
    name: String,
    number: u32,
    is_whole: bool,
    /// Whether its messages come from here.
    is_published_here: bool,
    /// Clients by their seat.
    members: Vec<u32>,
    /// Who publishes without being one of them.
    publisher_apart: Option<u32>,
    /// The seat of the member who, in a closed load, calls for the next message.
    witness: u32,
    /// Messages that the witness has seen and that have not been followed by another.
    owed: u32,
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients connect and join.
    Opening,
    /// All are in; the load has not begun.
    Waiting,
    /// Messages are sent, from the first time to the second.
    Sending { start: Nanos, end: Nanos },
    /// All are sent; how many, the coordinator will say.
    Sent,
    /// What is on its way may come, as long as anything does.
    Draining { received: u64, since: Nanos, complete: Option<Nanos> },
    /// All is told.
    Over,
}

/// What is counted on the way.
#[derive(Default)]
struct Counted {
    outcome: Outcome,
    /// Of measured deliveries since the last progress.
    latencies: Latencies,
    lags: Latencies,
    /// Received when the coordinator heard of progress last.
    received_before: u64,
    clients: u32,
    /// The worker's processor time when the load began.
    processor_before: Duration,
}

impl Worker {
    fn new(share: Share, link: Link) -> anyhow::Result<Self> {
        let poll = Poll::new().context("creating an epoll")?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        link.watch(poll.registry(), ORDERS)?;
        let (rooms, clients) = opening::seat(&share);
        Ok(Self {
            opening: Opening::new(&share, clients.len()),
            random: fastrand::Rng::with_seed(share.manner.seed.wrapping_add(u64::from(share.index))),
            churn: Churn::new(share.manner.churn * share.part),
            share,
            poll,
            timer,
            timer_is_set_to: None,
            link,
            clients,
            rooms,
            phase: Phase::Opening,
            schedule: None,
            measured: Nanos(0)..Nanos(0),
            rooms_to_fill: false,
            counted: Counted::default(),
            next_progress: Nanos::now(),
            progress_told: Nanos::now(),
            read_buffer: Vec::new(),
            write_buffer: Vec::new(),
        })
    }

    fn work(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut is_wanted = self.obey_orders()?;
        while is_wanted {
            self.do_what_is_due(Nanos::now())?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.context("waiting for events")?,
            }
            for event in &events {
                match event.token() {
                    TIMER => self.timer_is_set_to = None,
                    ORDERS => is_wanted = self.obey_orders()?,
                    Token(client) => self.attend(client, event)?,
                }
            }
        }
        self.clients.iter_mut().for_each(Client::close);
        Ok(())
    }

    /// Obeys all orders that have come. Returns false once the coordinator has closed the pipe.
    fn obey_orders(&mut self) -> anyhow::Result<bool> {
        let Some(orders) = self.link.hear::<Order>()? else { return Ok(false) };
        orders.into_iter().for_each(|order| self.obey(order));
        Ok(true)
    }

    /// What the time alone brings about.
    fn do_what_is_due(&mut self, now: Nanos) -> anyhow::Result<()> {
        match self.phase {
            Phase::Opening => self.open_more(now)?,
            Phase::Sending { start, end } => {
                if now >= start {
                    self.fill_rooms(now);
                }
                self.publish_due(now);
                self.churn_due(now);
                if now >= end {
                    self.stop_sending(now)?;
                }
            }
            Phase::Draining { .. } => self.look_whether_drained(now)?,
            Phase::Waiting | Phase::Sent | Phase::Over => {}
        }
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_EVERY;
            self.tell_progress()?;
        }
        self.set_timer()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start(start) => self.start(start),
            Order::Stop => {
                if let Phase::Sending { start, .. } = self.phase {
                    self.phase = Phase::Sending { start, end: Nanos::now() };
                    self.schedule.iter_mut().for_each(Schedule::stop);
                }
            }
            Order::Drain(published) => {
                for (number, count) in published {
                    let room = self.rooms.iter_mut().filter(|lobby| lobby.number == number);
                    room.for_each(|lobby| lobby.room.expect(count));
                }
                self.phase = Phase::Draining { received: 0, since: Nanos::now(), complete: None };
            }
        }
    }

    fn start(&mut self, start: Nanos) {
        let from = start + self.share.manner.warmup;
        let end = from + self.share.manner.duration;
        self.measured = from..end;
        self.stall_some();
        self.counted.processor_before = processor_time();
        self.schedule = Some(Schedule::new(&self.share, start, end));
        self.churn.start(start);
        self.phase = Phase::Sending { start, end };
        self.rooms_to_fill = true;
    }

    fn stop_sending(&mut self, now: Nanos) -> anyhow::Result<()> {
        let Phase::Sending { start, .. } = self.phase else { return Ok(()) };
        let used = processor_time().saturating_sub(self.counted.processor_before);
        self.counted.outcome.busy = used.as_secs_f64() / now.since(start).as_secs_f64().max(f64::EPSILON);
        self.phase = Phase::Sent;
        let published = self.rooms.iter().filter(|lobby| !lobby.is_whole && lobby.is_published_here);
        let published = published.map(|lobby| (lobby.number, lobby.room.published())).collect();
        self.link.tell(&News::Published(published))
    }

    /// Nothing more will come if all has, or if nothing has for a long time.
    fn look_whether_drained(&mut self, now: Nanos) -> anyhow::Result<()> {
        let Phase::Draining { received, since, complete } = self.phase else { return Ok(()) };
        let received_now = self.counted.outcome.tally.received;
        let since = if received_now > received { now } else { since };
        let is_complete = self.asking() == 0 && self.rooms.iter().all(|lobby| lobby.room.is_complete());
        let complete = complete.or(Some(now)).filter(|_| is_complete);
        self.phase = Phase::Draining { received: received_now, since, complete };
        let is_over = complete.is_some_and(|complete| now.since(complete) >= LINGER);
        if is_over || now.since(since) > self.share.manner.patience {
            self.tell_progress()?;
            self.tell_outcome()?;
        }
        Ok(())
    }

    /// How many clients wait for the answer to a join or a leave.
    fn asking(&self) -> u64 {
        let is_asking = |client: &&Client| matches!(client.stage, Stage::Joining | Stage::Leaving(_));
        self.clients.iter().filter(is_asking).count() as u64
    }

    fn tell_progress(&mut self) -> anyhow::Result<()> {
        let received = self.counted.outcome.tally.received;
        let deliveries = received - std::mem::replace(&mut self.counted.received_before, received);
        let latencies = self.counted.latencies.take();
        let now = Nanos::now();
        let over = now.since(std::mem::replace(&mut self.progress_told, now));
        self.link.tell(&News::Progress(Progress { clients: self.counted.clients, deliveries, over, latencies }))
    }

    fn tell_outcome(&mut self) -> anyhow::Result<()> {
        self.phase = Phase::Over;
        // There is none after the outcome, which has taken all that was counted.
        self.next_progress = Nanos(u64::MAX);
        let mut outcome = std::mem::take(&mut self.counted.outcome);
        outcome.tally.unanswered = self.asking();
        let measured = |intended| self.measured.contains(&intended);
        let mut spreads = Latencies::default();
        for lobby in &self.rooms {
            outcome.tally.lost += lobby.room.settle();
            outcome.tally.stray += lobby.room.invented();
            outcome.tally.received -= lobby.room.invented();
            if lobby.is_whole {
                lobby.room.record_spreads(measured, &mut spreads);
            } else {
                outcome.records.push((lobby.number, lobby.room.record(measured)));
            }
        }
        outcome.spreads = spreads.counts();
        outcome.lags = self.counted.lags.counts();
        outcome.processor_nanos = processor_time().saturating_sub(self.counted.processor_before).as_nanos() as u64;
        self.link.tell(&News::Outcome(Box::new(outcome)))
    }

    /// For the next thing that the time alone brings about.
    fn set_timer(&mut self) -> anyhow::Result<()> {
        let mut next = self.next_progress;
        match self.phase {
            Phase::Opening => next = next.min(self.opening.next()),
            Phase::Sending { start, .. } if self.rooms_to_fill => next = next.min(start),
            Phase::Sending { end, .. } => {
                let due = self.schedule.as_ref().and_then(Schedule::due);
                next = next.min(end).min(due.unwrap_or(end)).min(self.churn.next());
            }
            Phase::Draining { .. } => next = next.min(Nanos::now() + DRAINED_EVERY),
            Phase::Waiting | Phase::Sent | Phase::Over => {}
        }
        if self.timer_is_set_to != Some(next) {
            let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(next.0.max(1))));
            self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).context("setting the timer")?;
            self.timer_is_set_to = Some(next);
        }
        Ok(())
    }
}

/// What this process has used, in its own code and in the kernel.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask about itself");
    let time = usage.user_time() + usage.system_time();
    Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000)
}
