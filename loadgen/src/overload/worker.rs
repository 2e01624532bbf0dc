//! One process of an overload: its clients around one epoll. Counts, and judges nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, bail};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::actor::{Actor, Came, ping};
use super::outcome;
use super::part::{Call, Part, Progress, Ready, Role, Word};
use super::priority;
use crate::clock::Nanos;
use crate::dialect::{self, Dialect, FRAME_BYTES_MAX};
use crate::latency::Latencies;
use crate::mark::Mark;
use crate::messages::{Reasons, add_reason};
use crate::target::Target;
use crate::worker::{Link, Sent, Stage, Told, reason_of};

/// How often the coordinator hears how far this process is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How often a client asks `PING`.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Clients that may be on their way in at once.
const OPENING_MAX: usize = 1_000;

/// Clients of one source address: the kernel finds the ports of so many at once.
const CLIENTS_PER_SOURCE: u32 = 10_000;

/// Reads and writes of one client before others have their turn.
const TURNS_MAX: usize = 16;

/// Lines that a flooder hands over at once.
const FLOOD_LINES: usize = 256;

const EVENTS_MAX: usize = 1_024;
const TIMER: Token = Token(usize::MAX - 1);
const CALLS: Token = Token(usize::MAX - 2);

/// Does its part of an overload; the part itself is the first line of standard input, calls follow.
pub fn work() -> anyhow::Result<()> {
    let part = io::stdin().lines().next().context("no part to do")?.context("reading the part to do")?;
    let mut worker = Worker::new(serde_json::from_str(&part).context("understanding the part to do")?)?;
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
    fn new(part: Part) -> anyhow::Result<Self> {
        let poll = Poll::new().context("creating an epoll")?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_fd().as_raw_fd()), TIMER, Interest::READABLE)?;
        let link = Link::open(poll.registry(), CALLS)?;
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
        loop {
            self.do_what_is_due(Nanos::now())?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("waiting for events")?,
            }
            for event in &events {
                match event.token() {
                    TIMER => {}
                    CALLS => match self.link.hear::<Call>()? {
                        Told::Orders(calls) => calls.into_iter().for_each(|call| self.obey(&call)),
                        Told::Leave => {
                            self.actors.iter_mut().for_each(|actor| actor.client.close());
                            return Ok(());
                        }
                    },
                    Token(index) => self.attend(index, event)?,
                }
            }
        }
    }

    fn obey(&mut self, call: &Call) {
        match *call {
            Call::Start(start) => self.due.push(Reverse((start, Due::Start))),
            Call::Finish => self.phase = Phase::Finishing(Nanos::now() + self.part.patience),
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
        if now >= self.next_progress && self.phase != Phase::Over {
            self.next_progress = now + PROGRESS_EVERY;
            self.link.tell(&Word::Progress(self.progress))?;
        }
        let due = self.due.peek().map(|Reverse((due, _))| *due).filter(|_| self.phase != Phase::Over);
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

    fn send(&mut self, index: usize, bytes: &[u8], now: Nanos) -> anyhow::Result<()> {
        match self.actors[index].client.send(bytes) {
            Ok(Sent::Whole | Sent::InPart) => Ok(()),
            Err(error) => self.end(index, reason_of(&error), now),
        }
    }

    fn connect(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let Self { actors, part, poll, .. } = self;
        let target = &part.groups[actors[index].group].target;
        let source = source(target, part.clients_before + index as u32);
        let connecting = actors[index].client.connect(target.address, source, now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let watched = connecting.and_then(|stream| poll.registry().register(stream, Token(index), interest));
        match watched {
            Err(error) => self.fail_to_connect(index, &error, now),
            Ok(()) => Ok(()),
        }
    }

    fn fail_to_connect(&mut self, index: usize, error: &io::Error, now: Nanos) -> anyhow::Result<()> {
        if error.kind() == ErrorKind::ConnectionRefused && self.connected == 0 && self.phase == Phase::Opening {
            bail!("nothing listens at {}", self.part.groups[self.actors[index].group].target);
        }
        self.end(index, reason_of(error), now)
    }

    fn open_more(&mut self, now: Nanos) -> anyhow::Result<()> {
        let total = self.actors.len();
        while self.begun < total && self.begun < self.done + OPENING_MAX {
            let index = self.begun;
            self.begun += 1;
            self.connect(index, now)?;
        }
        if now.since(self.progressed) > self.part.patience {
            let reason = format!("no answer within {}", humantime::format_duration(self.part.patience));
            for index in 0..self.begun {
                if !matches!(self.actors[index].client.stage, Stage::Ready | Stage::Ended) {
                    self.end(index, reason.clone(), now)?;
                }
            }
        }
        Ok(())
    }

    /// One client more is in, or never will be.
    fn step(&mut self) -> anyhow::Result<()> {
        self.progressed = Nanos::now();
        if self.phase != Phase::Opening || self.done < self.actors.len() {
            return Ok(());
        }
        self.phase = Phase::Waiting;
        let (connected, failed, priority) = (self.connected, self.failed.clone(), self.priority.take());
        self.link.tell(&Word::Ready(Ready { connected, failed, priority }))
    }

    /// Something has happened to a client's socket.
    fn attend(&mut self, index: usize, event: &Event) -> anyhow::Result<()> {
        let now = Nanos::now();
        if event.is_writable() {
            self.write_on(index, now)?;
        }
        if event.is_readable() && self.actors[index].is_alive() {
            let mut buffer = std::mem::take(&mut self.read_buffer);
            let read = self.read(&mut buffer, index, event.is_read_closed());
            self.read_buffer = buffer;
            read?;
        }
        Ok(())
    }

    fn write_on(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        if !self.actors[index].is_alive() {
            return Ok(());
        }
        if self.actors[index].client.stage == Stage::Connecting {
            return match self.actors[index].client.connected() {
                Ok(()) => self.greet(index, now),
                Err(error) => self.fail_to_connect(index, &error, now),
            };
        }
        if let Err(error) = self.actors[index].client.flush() {
            return self.end(index, reason_of(&error), now);
        }
        let floods = self.role(self.actors[index].group) == Role::Flooder && self.phase == Phase::Loaded;
        if floods && !self.actors[index].client.has_unsent() { self.flood(index, now) } else { Ok(()) }
    }

    fn greet(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let dialect = self.dialect(index);
        let mut out = Vec::new();
        dialect.greet(&self.part.groups[self.actors[index].group].target, &mut out);
        self.actors[index].client.stage = Stage::Opening;
        self.send(index, &out, now)?;
        if dialect.waits_for_opening() { Ok(()) } else { self.come_in(index, now) }
    }

    /// Joins its room, or asks for a first sign of life where it has none.
    fn come_in(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        if !self.actors[index].is_alive() {
            return Ok(());
        }
        let dialect = self.dialect(index);
        let group = &self.part.groups[self.actors[index].group];
        if group.role == Role::Newcomer {
            self.actors[index].client.stage = Stage::Ready;
            return Ok(());
        }
        let mut out = Vec::new();
        match &group.room {
            Some(room) => dialect.join(room, &mut out),
            None => ping(now, dialect, &mut out),
        }
        self.actors[index].client.stage = Stage::Joining;
        self.send(index, &out, now)
    }

    fn read(&mut self, buffer: &mut Vec<u8>, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        for _ in 0..TURNS_MAX {
            let filled = match self.actors[index].client.read(buffer) {
                Ok(filled) => filled,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.end(index, reason_of(&error), Nanos::now()),
            };
            let now = Nanos::now();
            let used = self.hear(index, &buffer[..filled.bytes], now)?;
            if !self.actors[index].is_alive() {
                return Ok(());
            }
            self.actors[index].client.keep(&buffer[used..filled.bytes]);
            if !filled.may_have_more && !is_read_closed {
                return Ok(());
            }
        }
        self.look_again(index)
    }

    /// Others have their turn first. A socket that is registered anew tells at once if there is something.
    fn look_again(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(stream) = self.actors[index].client.stream_mut() else { return Ok(()) };
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(stream, Token(index), interest).context("watching a socket again")
    }

    /// Everything that has come whole; returns how much that was.
    fn hear(&mut self, index: usize, input: &[u8], now: Nanos) -> anyhow::Result<usize> {
        let dialect = self.dialect(index);
        let (mut used, before) = (0, self.actors[index].deliveries);
        while self.actors[index].is_alive() {
            let actor = &mut self.actors[index];
            let is_opened = actor.is_opened(&self.part.groups[actor.group]);
            match dialect.hear(is_opened, &input[used..]) {
                Ok(None) if input.len() - used > FRAME_BYTES_MAX => {
                    self.end(index, format!("says more than {FRAME_BYTES_MAX} bytes at once"), now)?;
                }
                Ok(None) => break,
                Ok(Some((length, heard))) => {
                    used += length;
                    let came = actor.hear(heard, &self.part, now);
                    self.act_on(index, came, now)?;
                }
                Err(nonsense) => self.end(index, format!("does not speak the dialect: {:?}", nonsense.0), now)?,
            }
        }
        self.count(index, before, now);
        let answers = std::mem::take(&mut self.actors[index].answers);
        if !answers.is_empty() && self.actors[index].is_alive() {
            self.send(index, &answers, now)?;
        }
        Ok(used)
    }

    /// Counts what one read brought.
    fn count(&mut self, index: usize, before: u64, now: Nanos) {
        let actor = &mut self.actors[index];
        let deliveries = actor.deliveries - before;
        if deliveries == 0 {
            return;
        }
        self.progress.deliveries += deliveries;
        if self.part.groups[actor.group].role == Role::Watcher {
            if !actor.is_settled && actor.is_complete(&self.part) {
                actor.is_settled = true;
                self.progress.watchers_settled += 1;
            }
            actor.silence = actor.silence.max(now.since(actor.last));
            actor.last = now;
        }
    }

    fn act_on(&mut self, index: usize, came: Came, now: Nanos) -> anyhow::Result<()> {
        match came {
            Came::Nothing => Ok(()),
            Came::Opened => self.come_in(index, now),
            Came::In => {
                self.actors[index].client.stage = Stage::Ready;
                self.actors[index].was_in = true;
                self.connected += 1;
                self.done += 1;
                self.step()
            }
            Came::Answered(due) => {
                let group = self.actors[index].group;
                self.waits[group].record(now.since(due));
                if self.role(group) == Role::Newcomer {
                    self.actors[index].client.close();
                }
                Ok(())
            }
            Came::Ended => self.count_end(index),
        }
    }

    fn end(&mut self, index: usize, reason: String, now: Nanos) -> anyhow::Result<()> {
        if self.actors[index].is_alive() {
            self.actors[index].end(reason, &self.part, now);
            return self.count_end(index);
        }
        Ok(())
    }

    /// A client has ended: before it was in, or under the load.
    fn count_end(&mut self, index: usize) -> anyhow::Result<()> {
        if self.phase == Phase::Opening && !self.actors[index].was_in {
            let reason = self.actors[index].cut.clone().unwrap_or_default();
            add_reason(&mut self.failed, reason);
            self.done += 1;
            return self.step();
        }
        self.progress.cut += 1;
        if self.role(self.actors[index].group) == Role::Watcher {
            let was_settled = std::mem::replace(&mut self.actors[index].is_settled, true);
            self.progress.watchers_settled += u32::from(!was_settled);
            self.progress.watchers_cut += 1;
        }
        Ok(())
    }
}

/// A message of the load.
fn say(dialect: &dyn Dialect, mark: Mark, size: usize, out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(size);
    mark.write(size, &mut text);
    dialect.publish("", &text, out);
}

/// On loopback each ten thousand clients have a source address of their own.
fn source(target: &Target, client: u32) -> Option<IpAddr> {
    let is_loopback = target.address.ip() == Ipv4Addr::LOCALHOST;
    let address = Ipv4Addr::LOCALHOST.to_bits() + client / CLIENTS_PER_SOURCE;
    is_loopback.then(|| IpAddr::V4(Ipv4Addr::from_bits(address)))
}
