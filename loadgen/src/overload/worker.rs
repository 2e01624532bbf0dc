//! One worker process of an overload: its clients on one epoll. It counts and judges nothing.

mod sockets;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::Context;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::client::{OverloadClient, ping};
use super::messages::{Assignment, Progress, Role, WorkerCommand, WorkerEvent};
use super::results;
use crate::clock::Nanos;
use crate::dialect::{self, Dialect};
use crate::latency::Latencies;
use crate::payload::Payload;
use crate::priority;
use crate::reasons::Reasons;
use crate::tls::TlsConnector;
use crate::worker::{CoordinatorPipe, SendResult, reason_of, tls_connector};

/// Interval of progress reports.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Interval of a client's `PING`s.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Maximum reads or writes of one client before others are served.
const TURNS_MAX: usize = 16;

/// Lines that a flooder writes at once.
const FLOOD_LINES: usize = 256;

const EVENTS_MAX: usize = 1_024;
const TIMER: Token = Token(usize::MAX - 1);
const COMMANDS: Token = Token(usize::MAX - 2);

/// Runs a worker process. The assignment is the first line of standard input; commands follow.
pub fn work() -> anyhow::Result<()> {
    let (coordinator, assignment) = CoordinatorPipe::open()?;
    let mut worker = Worker::new(assignment, coordinator)?;
    if let Err(error) = worker.work() {
        // Fails if the coordinator has exited, which is then the cause of the error.
        let _ = worker.coordinator.send(&WorkerEvent::Failed(format!("{error:#}")));
    }
    Ok(())
}

/// The phase of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients connect and join.
    Connecting,
    /// All clients have joined or failed; nothing is published.
    Waiting,
    /// The load is running.
    Loaded,
    /// Nothing new is sent. Answers may arrive until this time.
    Finishing(Nanos),
    /// The result is sent.
    Over,
}

/// What happens at a scheduled time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ScheduledEvent {
    /// The load begins.
    Start,
    /// This client sends `PING`.
    Ping(usize),
    /// A newcomer of this group connects.
    Newcomer(usize),
}

/// A worker process.
pub struct Worker {
    pub assignment: Assignment,
    pub clients: Vec<OverloadClient>,
    /// For each group, what opens its connections over TLS.
    tls_connectors: Vec<Option<TlsConnector>>,
    /// Waiting times for answers and greetings, by group.
    pub waits: Vec<Latencies>,
    /// Messages handed to the kernel or still unsent.
    pub said: u64,
    /// Clients that failed to connect, by reason.
    pub failed: Reasons,
    coordinator: CoordinatorPipe,
    poll: Poll,
    timer: TimerFd,
    phase: Phase,
    due: BinaryHeap<Reverse<(Nanos, ScheduledEvent)>>,
    next_progress: Nanos,
    /// When anything last happened, as the coordinator reports it at the end.
    pub moved: Nanos,
    /// Whether late clients may connect.
    is_open: bool,
    begun: usize,
    done: usize,
    connected: u32,
    progressed: Nanos,
    progress: Progress,
    /// Number of the next message of the flood.
    flood_number: u32,
    read_buffer: Vec<u8>,
    priority: Option<String>,
}

impl Worker {
    fn new(assignment: Assignment, coordinator: CoordinatorPipe) -> anyhow::Result<Self> {
        let poll = Poll::new().context("creating an epoll")?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        coordinator.watch(poll.registry(), COMMANDS)?;
        let seated = assignment.groups.iter().enumerate().filter(|(_, group)| group.role != Role::Newcomer);
        let clients =
            seated.flat_map(|(index, group)| (0..group.clients).map(move |_| OverloadClient::new(index))).collect();
        let connectors = assignment.groups.iter().map(|group| tls_connector(&group.target, &assignment.tls));
        Ok(Self {
            clients,
            tls_connectors: connectors.collect::<anyhow::Result<_>>()?,
            waits: assignment.groups.iter().map(|_| Latencies::default()).collect(),
            said: 0,
            failed: Reasons::new(),
            coordinator,
            poll,
            timer,
            phase: Phase::Connecting,
            due: BinaryHeap::new(),
            next_progress: Nanos::now(),
            moved: Nanos(0),
            is_open: false,
            begun: 0,
            done: 0,
            connected: 0,
            progressed: Nanos::now(),
            progress: Progress::default(),
            flood_number: 0,
            read_buffer: Vec::new(),
            priority: assignment.high_priority.then(priority::take_best),
            assignment,
        })
    }

    fn work(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.step()?;
        let mut is_wanted = self.execute_commands()?;
        while is_wanted {
            self.run_timers(Nanos::now())?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("waiting for events")?,
            }
            for event in &events {
                match event.token() {
                    TIMER => {}
                    COMMANDS => is_wanted = self.execute_commands()?,
                    Token(index) => self.handle_event(index, event)?,
                }
            }
        }
        self.clients.iter_mut().for_each(|client| client.socket.close());
        Ok(())
    }

    /// Executes all commands that have arrived. Returns false once the coordinator has closed the pipe.
    fn execute_commands(&mut self) -> anyhow::Result<bool> {
        let Some(commands) = self.coordinator.receive::<WorkerCommand>()? else { return Ok(false) };
        commands.iter().for_each(|command| self.execute(command));
        Ok(true)
    }

    fn execute(&mut self, command: &WorkerCommand) {
        match *command {
            WorkerCommand::Start(start) => self.due.push(Reverse((start, ScheduledEvent::Start))),
            WorkerCommand::Open => {
                self.is_open = true;
                self.progressed = Nanos::now();
            }
            WorkerCommand::Finish(moved) => {
                self.moved = moved;
                self.phase = Phase::Finishing(Nanos::now() + self.assignment.patience);
            }
        }
    }

    fn run_timers(&mut self, now: Nanos) -> anyhow::Result<()> {
        match self.phase {
            Phase::Connecting => self.connect_more(now)?,
            Phase::Waiting | Phase::Loaded => self.keep_schedule(now)?,
            Phase::Finishing(until) if now >= until || !self.is_waiting() => {
                self.phase = Phase::Over;
                let result = results::collect(self, now);
                self.coordinator.send(&WorkerEvent::Result(Box::new(result)))?;
            }
            Phase::Finishing(_) | Phase::Over => {}
        }
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_EVERY;
            if self.phase != Phase::Over {
                self.coordinator.send(&WorkerEvent::Progress(self.progress))?;
            }
        }
        // After the load nothing is due. A process with real-time priority must not spin on an overdue timer.
        let is_under_way = matches!(self.phase, Phase::Waiting | Phase::Loaded);
        let due = self.due.peek().map(|Reverse((due, _))| *due).filter(|_| is_under_way);
        let next = due.map_or(self.next_progress, |due| due.min(self.next_progress)).max(now + Duration::from_nanos(1));
        let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(next.0)));
        self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).context("setting the timer")
    }

    /// Whether an answer or a greeting is outstanding.
    fn is_waiting(&self) -> bool {
        self.clients.iter().any(|client| client.is_alive() && !client.waiting.is_empty())
    }

    fn keep_schedule(&mut self, now: Nanos) -> anyhow::Result<()> {
        while let Some(&Reverse((at, due))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            match due {
                ScheduledEvent::Start => self.start(at, now)?,
                ScheduledEvent::Ping(index) => self.send_ping(index, at, now)?,
                ScheduledEvent::Newcomer(group) => self.connect_newcomer(group, at, now)?,
            }
        }
        Ok(())
    }

    fn start(&mut self, start: Nanos, now: Nanos) -> anyhow::Result<()> {
        self.phase = Phase::Loaded;
        let mut speaker = self.assignment.first_speaker;
        let asking = self.clients.iter().filter(|client| self.role(client.group).sends_pings()).count() as u32;
        let mut asker = 0;
        for index in 0..self.clients.len() {
            self.clients[index].last = start;
            match self.role(self.clients[index].group) {
                Role::Speaker => {
                    self.publish_burst(index, speaker, start, now)?;
                    speaker += 1;
                }
                Role::Flooder => self.flood(index, now)?,
                role if role.sends_pings() => {
                    self.due.push(Reverse((start + PING_EVERY * asker / asking, ScheduledEvent::Ping(index))));
                    asker += 1;
                }
                _ => {}
            }
        }
        for (index, group) in self.assignment.groups.iter().enumerate() {
            if group.role == Role::Newcomer && group.clients > 0 {
                self.due.push(Reverse((start, ScheduledEvent::Newcomer(index))));
            }
        }
        Ok(())
    }

    fn role(&self, group: usize) -> Role {
        self.assignment.groups[group].role
    }

    fn dialect(&self, index: usize) -> &'static dyn Dialect {
        dialect::of(self.assignment.groups[self.clients[index].group].target.scheme)
    }

    fn publish_burst(&mut self, index: usize, speaker: u32, start: Nanos, now: Nanos) -> anyhow::Result<()> {
        if !self.clients[index].is_alive() {
            return Ok(());
        }
        let first = speaker * self.assignment.messages;
        let dialect = self.dialect(index);
        let mut out = Vec::new();
        for number in first..first + self.assignment.messages {
            encode_message(dialect, Payload { room: 0, number, intended: start }, self.assignment.size, &mut out);
        }
        self.said += u64::from(self.assignment.messages);
        self.send(index, &out, now)
    }

    /// Publishes as much as the socket accepts. The rest of a line waits until the socket is writable.
    fn flood(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let dialect = self.dialect(index);
        for _ in 0..TURNS_MAX {
            let mut out = Vec::new();
            for _ in 0..FLOOD_LINES {
                let payload = Payload { room: 0, number: self.flood_number, intended: now };
                encode_message(dialect, payload, self.assignment.size, &mut out);
                self.flood_number = self.flood_number.wrapping_add(1);
            }
            self.said += FLOOD_LINES as u64;
            match self.clients[index].socket.send(&out) {
                Ok(SendResult::Complete) => {}
                Ok(SendResult::Partial) => return Ok(()),
                Err(error) => return self.end(index, reason_of(&error), now),
            }
        }
        self.clients[index].socket.reregister(self.poll.registry(), Token(index))
    }

    fn send_ping(&mut self, index: usize, due: Nanos, now: Nanos) -> anyhow::Result<()> {
        if !self.clients[index].is_alive() {
            return Ok(());
        }
        self.due.push(Reverse((due + PING_EVERY, ScheduledEvent::Ping(index))));
        let mut out = Vec::new();
        ping(due, self.dialect(index), &mut out);
        self.clients[index].waiting.push_back(due);
        self.send(index, &out, now)
    }

    fn connect_newcomer(&mut self, group: usize, due: Nanos, now: Nanos) -> anyhow::Result<()> {
        self.due.push(Reverse((
            due + Duration::from_secs(1) / self.assignment.groups[group].clients,
            ScheduledEvent::Newcomer(group),
        )));
        let index = self.clients.len();
        let mut client = OverloadClient::new(group);
        client.waiting.push_back(due);
        self.clients.push(client);
        self.connect(index, now)
    }
}

/// Encodes the publishing of one message.
fn encode_message(dialect: &dyn Dialect, payload: Payload, size: usize, out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(size);
    payload.write(size, &mut text);
    dialect.publish("", &text, out);
}
