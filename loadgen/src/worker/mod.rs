//! One worker process: tens of thousands of clients on one epoll loop with shared buffers and no task per client. It
//! counts and reports to the coordinator, and never judges a result.

mod backoff;
mod churn;
mod client;
mod connecting;
mod coordinator_pipe;
mod counters;
mod delivery_checker;
mod failover;
mod publishing;
mod receiving;
mod reconnecting;
mod results;
mod resumption;
mod socket_events;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::Context;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::assignment::Assignment;
use crate::clock::{Nanos, processor_time};
use crate::dialect::Api;
use crate::inflate::Inflater;
use crate::messages::{WorkerCommand, WorkerEvent};
use crate::payload::{self, PAYLOAD_BYTES_MIN};
use crate::priority;
use crate::schedule::Schedule;
use crate::tls::TlsConnector;
use crate::tokens;
use crate::workload::{failover_targets, has_several_nodes};
use churn::Churn;
pub use client::{Client, SendResult, Stage};
use connecting::ConnectPhase;
pub use connecting::{reason_of, tls_connector};
pub use coordinator_pipe::CoordinatorPipe;
use counters::Counters;
use delivery_checker::DeliveryChecker;
use reconnecting::Reconnects;

/// Interval of progress reports.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Interval of checks whether all deliveries have arrived.
const DRAINED_EVERY: Duration = Duration::from_millis(20);

/// Time to wait for unexpected deliveries after all expected ones have arrived.
const LINGER: Duration = Duration::from_millis(100);

/// Maximum socket events of one poll.
const EVENTS_MAX: usize = 1024;

const TIMER: Token = Token(usize::MAX - 1);
const COMMANDS: Token = Token(usize::MAX - 2);

/// Runs a worker process. The assignment is the first line of standard input; commands follow.
pub fn run() -> anyhow::Result<()> {
    let (coordinator, assignment) = CoordinatorPipe::open()?;
    let mut worker = Worker::new(assignment, coordinator)?;
    if let Err(error) = worker.work() {
        // Fails if the coordinator has exited, which is then the cause of the error.
        let _ = worker.coordinator.send(&WorkerEvent::Failed(format!("{error:#}")));
    }
    Ok(())
}

/// A worker process.
struct Worker {
    assignment: Assignment,
    poll: Poll,
    timer: TimerFd,
    /// The time to which the timer is set.
    timer_is_set_to: Option<Nanos>,
    coordinator: CoordinatorPipe,
    clients: Vec<Client>,
    /// For each target, what opens its connections over TLS.
    tls_connectors: Vec<Option<TlsConnector>>,
    /// Presented by turns; empty if clients present none.
    tokens: Vec<String>,
    /// The server API with the key of this load.
    api: &'static Api,
    rooms: Vec<Room>,
    /// For each target, where its clients come back.
    failover_targets: Vec<Vec<u8>>,
    has_several_nodes: bool,
    phase: Phase,
    connecting: ConnectPhase,
    schedule: Option<Schedule>,
    /// The measured time: messages due and deliveries received in it count.
    measured: Range<Nanos>,
    /// Whether a closed load has yet to publish its first messages.
    rooms_to_fill: bool,
    churn: Churn,
    reconnects: Reconnects,
    random: fastrand::Rng,
    counters: Counters,
    /// When the next progress report is due.
    next_progress: Nanos,
    /// When the last progress report was sent.
    progress_told: Nanos,
    /// The text of messages in a load with compression; empty in any other.
    words: Vec<u8>,
    /// Shared by all clients that offer compression.
    inflater: Inflater,
    /// Shared by all clients.
    read_buffer: Vec<u8>,
    /// Shared by all clients.
    write_buffer: Vec<u8>,
}

/// A room and its members in this process.
struct Room {
    checker: DeliveryChecker,
    name: String,
    number: u32,
    is_whole: bool,
    /// Whether the room has no clients that are to be cut, while other rooms have.
    is_beside: bool,
    /// Whether this process publishes to the room.
    is_published_here: bool,
    /// Client index of each member.
    members: Vec<u32>,
    /// The client that publishes without being one of the counted members.
    separate_publisher: Option<u32>,
    /// In a closed load, the member whose deliveries trigger the next messages.
    pacing_member: u32,
    /// Messages that the pacing member has received and that still need a successor.
    to_publish: u32,
}

/// The phase of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients connect and join.
    Connecting,
    /// All clients have joined or failed; the load has not started.
    Waiting,
    /// Messages are published from `start` to `end`.
    Sending { start: Nanos, end: Nanos },
    /// Everything is published; the coordinator will send the totals.
    Sent,
    /// Remaining deliveries arrive, until none has come for the patience.
    Draining { received: u64, since: Nanos, complete: Option<Nanos> },
    /// The result is sent.
    Over,
}

impl Worker {
    fn new(assignment: Assignment, coordinator: CoordinatorPipe) -> anyhow::Result<Self> {
        let poll = Poll::new().context("creating an epoll")?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        coordinator.watch(poll.registry(), COMMANDS)?;
        let reconnects = Reconnects::new(&assignment);
        let (rooms, clients) = connecting::rooms_and_clients(&assignment, &reconnects);
        let tls_connectors = connecting::tls_connectors(&assignment)?;
        let is_deflated = assignment.targets.iter().any(|weighted| weighted.target.is_deflated);
        let words = payload::words(if is_deflated { assignment.settings.size - PAYLOAD_BYTES_MIN } else { 0 });
        let (token_file, key_file) = (&assignment.settings.token_file, &assignment.settings.api_key_file);
        let tokens = token_file.as_deref().map(tokens::read_tokens).transpose()?.unwrap_or_default();
        let key = key_file.as_deref().map(tokens::read_api_key).transpose()?.unwrap_or_default();
        if rooms.iter().any(|room| room.is_beside) {
            // What these rooms show is to be the server's delay, and not that of a generator busy with those who come back.
            priority::take_best();
        }
        Ok(Self {
            connecting: ConnectPhase::new(&assignment, clients.len()),
            random: assignment.random(),
            churn: Churn::new(assignment.settings.churn * assignment.fraction),
            reconnects,
            failover_targets: failover_targets(&assignment.targets),
            has_several_nodes: has_several_nodes(&assignment.targets),
            assignment,
            poll,
            timer,
            timer_is_set_to: None,
            coordinator,
            clients,
            tls_connectors,
            tokens,
            api: Box::leak(Box::new(Api::new(key))),
            rooms,
            phase: Phase::Connecting,
            schedule: None,
            measured: Nanos(0)..Nanos(0),
            rooms_to_fill: false,
            counters: Counters::default(),
            next_progress: Nanos::now(),
            progress_told: Nanos::now(),
            words,
            inflater: Inflater::default(),
            read_buffer: Vec::new(),
            write_buffer: Vec::new(),
        })
    }

    fn work(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut is_wanted = self.execute_commands()?;
        while is_wanted {
            self.run_timers(Nanos::now())?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.context("waiting for events")?,
            }
            for event in &events {
                match event.token() {
                    TIMER => self.timer_is_set_to = None,
                    COMMANDS => is_wanted = self.execute_commands()?,
                    Token(client) => self.handle_event(client, event)?,
                }
            }
        }
        self.clients.iter_mut().for_each(Client::close);
        Ok(())
    }

    /// Executes all commands that have arrived. Returns false once the coordinator has closed the pipe.
    fn execute_commands(&mut self) -> anyhow::Result<bool> {
        let Some(commands) = self.coordinator.receive::<WorkerCommand>()? else { return Ok(false) };
        commands.into_iter().for_each(|command| self.execute(command));
        Ok(true)
    }

    /// Does everything that is due by now.
    fn run_timers(&mut self, now: Nanos) -> anyhow::Result<()> {
        match self.phase {
            Phase::Connecting => self.connect_more(now)?,
            Phase::Sending { start, end } => {
                if now >= start {
                    self.start_closed_load(now);
                }
                self.publish_due(now);
                self.churn_due(now);
                if now >= end {
                    self.stop_sending(now)?;
                }
            }
            Phase::Draining { .. } => self.check_drained(now)?,
            Phase::Waiting | Phase::Sent | Phase::Over => {}
        }
        if self.is_loaded() {
            self.reconnect_due(now)?;
        }
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_EVERY;
            self.send_progress()?;
        }
        self.set_timer()
    }

    fn execute(&mut self, command: WorkerCommand) {
        match command {
            WorkerCommand::Start(start) => self.start(start),
            WorkerCommand::Stop => {
                if let Phase::Sending { start, .. } = self.phase {
                    self.phase = Phase::Sending { start, end: Nanos::now() };
                    self.schedule.iter_mut().for_each(Schedule::stop);
                    self.reconnects.stop(Nanos::now());
                }
            }
            WorkerCommand::AllBack(at) => self.all_are_back(at),
            WorkerCommand::Drain(published) => {
                for (number, count) in published {
                    let room = self.rooms.iter_mut().filter(|room| room.number == number);
                    room.for_each(|room| room.checker.raise_published(count));
                }
                self.phase = Phase::Draining { received: 0, since: Nanos::now(), complete: None };
            }
        }
    }

    fn start(&mut self, start: Nanos) {
        let from = start + self.assignment.settings.warmup;
        let end = from + self.assignment.settings.duration;
        self.measured = from..end;
        self.stall_clients();
        self.plan_reconnects();
        self.counters.processor_before = processor_time();
        self.schedule = Some(Schedule::new(&self.assignment, start, end));
        self.churn.start(start);
        self.phase = Phase::Sending { start, end };
        self.rooms_to_fill = true;
    }

    fn stop_sending(&mut self, now: Nanos) -> anyhow::Result<()> {
        let Phase::Sending { start, .. } = self.phase else { return Ok(()) };
        let used = processor_time().saturating_sub(self.counters.processor_before);
        self.counters.result.busy = used.as_secs_f64() / now.since(start).as_secs_f64().max(f64::EPSILON);
        self.phase = Phase::Sent;
        let published = self.rooms.iter().filter(|room| !room.is_whole && room.is_published_here);
        let published = published.map(|room| (room.number, room.checker.published())).collect();
        self.coordinator.send(&WorkerEvent::Published(published))
    }

    /// Ends the load when all deliveries have arrived, or none has come for the patience.
    fn check_drained(&mut self, now: Nanos) -> anyhow::Result<()> {
        let Phase::Draining { received, since, complete } = self.phase else { return Ok(()) };
        let received_now = self.counters.result.tally.received;
        let since = if received_now > received || self.reconnects.has_return_behind(now) { now } else { since };
        let is_complete = self.waiting_for_answer() == 0
            && self.reconnects.are_over()
            && self.rooms.iter().all(|room| room.checker.is_complete());
        let complete = complete.or(Some(now)).filter(|_| is_complete);
        self.phase = Phase::Draining { received: received_now, since, complete };
        let is_over = complete.is_some_and(|complete| now.since(complete) >= LINGER);
        if is_over || now.since(since) > self.assignment.settings.patience {
            self.send_progress()?;
            self.send_result()?;
        }
        Ok(())
    }

    /// Whether the load has started and its result is not sent yet.
    fn is_loaded(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. } | Phase::Sent | Phase::Draining { .. })
    }

    /// Number of joins, leaves and publishes that are not answered yet, without the joins of clients that come back.
    fn waiting_for_answer(&self) -> u64 {
        let is_asking = |client: &&Client| {
            client.resumption.is_none() && matches!(client.stage, Stage::Joining | Stage::Leaving(_))
        };
        let publishes: usize = self.clients.iter().map(|client| client.unanswered.len()).sum();
        (self.clients.iter().filter(is_asking).count() + publishes) as u64
    }

    /// Sets the timer to the next event of the schedule.
    fn set_timer(&mut self) -> anyhow::Result<()> {
        let mut next = self.next_progress;
        match self.phase {
            Phase::Connecting => next = next.min(self.connecting.next()),
            Phase::Sending { start, .. } if self.rooms_to_fill => next = next.min(start),
            Phase::Sending { end, .. } => {
                let due = self.schedule.as_ref().and_then(Schedule::due);
                next = next.min(end).min(due.unwrap_or(end)).min(self.churn.next());
            }
            Phase::Draining { .. } => next = next.min(Nanos::now() + DRAINED_EVERY),
            Phase::Waiting | Phase::Sent | Phase::Over => {}
        }
        if self.is_loaded() {
            next = next.min(self.reconnects.next());
        }
        if self.timer_is_set_to != Some(next) {
            let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(next.0.max(1))));
            self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).context("setting the timer")?;
            self.timer_is_set_to = Some(next);
        }
        Ok(())
    }
}
