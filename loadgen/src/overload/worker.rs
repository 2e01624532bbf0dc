//! One process of an overload: its clients around one epoll. Counts, and judges nothing.

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

use super::actor::{Actor, ping};
use super::outcome;
use super::part::{Call, Part, Progress, Role, Word};
use super::priority;
use crate::clock::Nanos;
use crate::dialect::{self, Dialect};
use crate::latency::Latencies;
use crate::mark::Mark;
use crate::messages::Reasons;
use crate::worker::{Link, Sent, reason_of};

/// How often the coordinator hears how far this process is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How often a client asks `PING`.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Reads and writes of one client before others have their turn.
const TURNS_MAX: usize = 16;

/// Lines that a flooder hands over at once.
const FLOOD_LINES: usize = 256;

const EVENTS_MAX: usize = 1_024;
const TIMER: Token = Token(usize::MAX - 1);
const CALLS: Token = Token(usize::MAX - 2);

/// Does its part of an overload; the part itself is the first line of standard input, calls follow.
pub fn work() -> anyhow::Result<()> {
    let (link, part) = Link::open()?;
    let mut worker = Worker::new(part, link)?;
    if let Err(error) = worker.work() {
        // It cannot be told if the coordinator has ended, which is then why it failed.
        let _ = worker.link.tell(&Word::Failed(format!("{error:#}")));
    }
    Ok(())
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Clients come in.
    Opening,
    /// All are in; nothing is said.
    Waiting,
    /// The load.
    Loaded,
    /// Nothing new is asked or said; answers may come until then.
    Finishing(Nanos),
    /// All is told.
    Over,
}

/// What the time brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The load begins.
    Start,
    /// This client asks `PING`.
    Ping(usize),
    /// A client of this group comes, of so many a second.
    Newcomer(usize),
}

/// A process.
pub struct Worker {
    pub part: Part,
    pub actors: Vec<Actor>,
    /// How long answers and greetings took, by group.
    pub waits: Vec<Latencies>,
    /// Messages handed whole to the kernel, or kept for it until it takes them.
    pub said: u64,
    /// What newcomers met that could not connect.
    pub failed: Reasons,
    link: Link,
    poll: Poll,
    timer: TimerFd,
    phase: Phase,
    due: BinaryHeap<Reverse<(Nanos, Due)>>,
    next_progress: Nanos,
    /// When anything moved last, as the coordinator says at the end.
    pub moved: Nanos,
    /// Whether those that come late may.
    is_open: bool,
    begun: usize,
    done: usize,
    connected: u32,
    progressed: Nanos,
    progress: Progress,
    /// Of the next message of the flood.
    flood_number: u32,
    read_buffer: Vec<u8>,
    priority: Option<String>,
}

impl Worker {
    fn new(part: Part, link: Link) -> anyhow::Result<Self> {
        let poll = Poll::new().context("creating an epoll")?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        link.watch(poll.registry(), CALLS)?;
        let seated = part.groups.iter().enumerate().filter(|(_, group)| group.role != Role::Newcomer);
        let actors = seated.flat_map(|(index, group)| (0..group.clients).map(move |_| Actor::new(index))).collect();
        Ok(Self {
            actors,
            waits: part.groups.iter().map(|_| Latencies::default()).collect(),
            said: 0,
            failed: Reasons::new(),
            link,
            poll,
            timer,
            phase: Phase::Opening,
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
            priority: part.is_prompt.then(priority::take_best),
            part,
        })
    }

    fn work(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.step()?;
        let mut is_wanted = self.obey_calls()?;
        while is_wanted {
            self.do_what_is_due(Nanos::now())?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("waiting for events")?,
            }
            for event in &events {
                match event.token() {
                    TIMER => {}
                    CALLS => is_wanted = self.obey_calls()?,
                    Token(index) => self.attend(index, event)?,
                }
            }
        }
        self.actors.iter_mut().for_each(|actor| actor.client.close());
        Ok(())
    }

    /// Obeys all calls that have come. Returns false once the coordinator has closed the pipe.
    fn obey_calls(&mut self) -> anyhow::Result<bool> {
        let Some(calls) = self.link.hear::<Call>()? else { return Ok(false) };
        calls.iter().for_each(|call| self.obey(call));
        Ok(true)
    }

    fn obey(&mut self, call: &Call) {
        match *call {
            Call::Start(start) => self.due.push(Reverse((start, Due::Start))),
            Call::Open => {
                self.is_open = true;
                self.progressed = Nanos::now();
            }
            Call::Finish(moved) => {
                self.moved = moved;
                self.phase = Phase::Finishing(Nanos::now() + self.part.patience);
            }
        }
    }

    fn do_what_is_due(&mut self, now: Nanos) -> anyhow::Result<()> {
        match self.phase {
            Phase::Opening => self.open_more(now)?,
            Phase::Waiting | Phase::Loaded => self.keep_schedule(now)?,
            Phase::Finishing(until) if now >= until || !self.is_waiting() => {
                self.phase = Phase::Over;
                let outcome = outcome::of(self, now);
                self.link.tell(&Word::Outcome(Box::new(outcome)))?;
            }
            Phase::Finishing(_) | Phase::Over => {}
        }
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_EVERY;
            if self.phase != Phase::Over {
                self.link.tell(&Word::Progress(self.progress))?;
            }
        }
        // When the load is over nothing is due any more: a process that runs before all others must not spin.
        let is_under_way = matches!(self.phase, Phase::Waiting | Phase::Loaded);
        let due = self.due.peek().map(|Reverse((due, _))| *due).filter(|_| is_under_way);
        let next = due.map_or(self.next_progress, |due| due.min(self.next_progress)).max(now + Duration::from_nanos(1));
        let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(next.0)));
        self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).context("setting the timer")
    }

    /// Whether an answer or a greeting is still to come.
    fn is_waiting(&self) -> bool {
        self.actors.iter().any(|actor| actor.is_alive() && !actor.waiting.is_empty())
    }

    fn keep_schedule(&mut self, now: Nanos) -> anyhow::Result<()> {
        while let Some(&Reverse((at, due))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            match due {
                Due::Start => self.start(at, now)?,
                Due::Ping(index) => self.ask(index, at, now)?,
                Due::Newcomer(group) => self.let_come(group, at, now)?,
            }
        }
        Ok(())
    }

    fn start(&mut self, start: Nanos, now: Nanos) -> anyhow::Result<()> {
        self.phase = Phase::Loaded;
        let mut speaker = self.part.first_speaker;
        let asking = self.actors.iter().filter(|actor| self.role(actor.group).asks()).count() as u32;
        let mut asker = 0;
        for index in 0..self.actors.len() {
            self.actors[index].last = start;
            match self.role(self.actors[index].group) {
                Role::Speaker => {
                    self.speak(index, speaker, start, now)?;
                    speaker += 1;
                }
                Role::Flooder => self.flood(index, now)?,
                role if role.asks() => {
                    self.due.push(Reverse((start + PING_EVERY * asker / asking, Due::Ping(index))));
                    asker += 1;
                }
                _ => {}
            }
        }
        for (index, group) in self.part.groups.iter().enumerate() {
            if group.role == Role::Newcomer && group.clients > 0 {
                self.due.push(Reverse((start, Due::Newcomer(index))));
            }
        }
        Ok(())
    }

    fn role(&self, group: usize) -> Role {
        self.part.groups[group].role
    }

    fn dialect(&self, index: usize) -> &'static dyn Dialect {
        dialect::of(self.part.groups[self.actors[index].group].target.scheme)
    }

    fn speak(&mut self, index: usize, speaker: u32, start: Nanos, now: Nanos) -> anyhow::Result<()> {
        if !self.actors[index].is_alive() {
            return Ok(());
        }
        let first = speaker * self.part.messages;
        let dialect = self.dialect(index);
        let mut out = Vec::new();
        for number in first..first + self.part.messages {
            say(dialect, Mark { room: 0, number, intended: start }, self.part.size, &mut out);
        }
        self.said += u64::from(self.part.messages);
        self.send(index, &out, now)
    }

    /// As much as the socket takes; the rest of a line waits until it takes more.
    fn flood(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let dialect = self.dialect(index);
        for _ in 0..TURNS_MAX {
            let mut out = Vec::new();
            for _ in 0..FLOOD_LINES {
                let mark = Mark { room: 0, number: self.flood_number, intended: now };
                say(dialect, mark, self.part.size, &mut out);
                self.flood_number = self.flood_number.wrapping_add(1);
            }
            self.said += FLOOD_LINES as u64;
            match self.actors[index].client.send(&out) {
                Ok(Sent::Whole) => {}
                Ok(Sent::InPart) => return Ok(()),
                Err(error) => return self.end(index, reason_of(&error), now),
            }
        }
        self.look_again(index)
    }

    fn ask(&mut self, index: usize, due: Nanos, now: Nanos) -> anyhow::Result<()> {
        if !self.actors[index].is_alive() {
            return Ok(());
        }
        self.due.push(Reverse((due + PING_EVERY, Due::Ping(index))));
        let mut out = Vec::new();
        ping(due, self.dialect(index), &mut out);
        self.actors[index].waiting.push_back(due);
        self.send(index, &out, now)
    }

    fn let_come(&mut self, group: usize, due: Nanos, now: Nanos) -> anyhow::Result<()> {
        self.due.push(Reverse((due + Duration::from_secs(1) / self.part.groups[group].clients, Due::Newcomer(group))));
        let index = self.actors.len();
        let mut actor = Actor::new(group);
        actor.waiting.push_back(due);
        self.actors.push(actor);
        self.connect(index, now)
    }
}

/// A message of the load.
fn say(dialect: &dyn Dialect, mark: Mark, size: usize, out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(size);
    mark.write(size, &mut text);
    dialect.publish("", &text, out);
}
