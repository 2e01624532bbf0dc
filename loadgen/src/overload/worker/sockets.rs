//! The sockets of an overload's process: how clients come in, read and end. Never decides what is said when.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, bail};
use mio::event::Event;
use mio::{Interest, Token};

use super::super::actor::{Came, ping};
use super::super::part::{Ready, Role, Word};
use super::{Phase, TURNS_MAX, Worker};
use crate::clock::Nanos;
use crate::dialect::FRAME_BYTES_MAX;
use crate::messages::add_reason;
use crate::target::{Scheme, Target};
use crate::worker::{Sent, Stage, reason_of};

/// Clients that may be on their way in at once.
const OPENING_MAX: usize = 1_000;

/// Clients of one source address: the kernel finds the ports of so many at once.
const CLIENTS_PER_SOURCE: u32 = 10_000;

/// What a client that only counts lines reads at once.
const SKIMMED_BYTES: usize = 256 * 1024;

impl Worker {
    pub(super) fn send(&mut self, index: usize, bytes: &[u8], now: Nanos) -> anyhow::Result<()> {
        match self.actors[index].client.send(bytes) {
            Ok(Sent::Whole | Sent::InPart) => Ok(()),
            Err(error) => self.end(index, reason_of(&error), now),
        }
    }

    pub(super) fn connect(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
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

    pub(super) fn open_more(&mut self, now: Nanos) -> anyhow::Result<()> {
        let total = if self.is_open { self.actors.len() } else { self.actors.len() - self.part.late as usize };
        while self.begun < total && self.begun < self.done + OPENING_MAX {
            let index = self.begun;
            self.begun += 1;
            self.connect(index, now)?;
        }
        if self.done < self.begun && now.since(self.progressed) > self.part.patience {
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
    pub(super) fn step(&mut self) -> anyhow::Result<()> {
        self.progressed = Nanos::now();
        if self.phase != Phase::Opening || self.done < self.actors.len() {
            return Ok(());
        }
        self.phase = Phase::Waiting;
        let (connected, failed, priority) = (self.connected, self.failed.clone(), self.priority.take());
        self.link.tell(&Word::Ready(Ready { connected, failed, priority }))
    }

    /// Something has happened to a client's socket.
    pub(super) fn attend(&mut self, index: usize, event: &Event) -> anyhow::Result<()> {
        let now = Nanos::now();
        if event.is_writable() {
            self.write_on(index, now)?;
        }
        if event.is_readable() && self.actors[index].is_alive() {
            let mut buffer = std::mem::take(&mut self.read_buffer);
            let read = if self.skims(index) {
                self.skim(&mut buffer, index, event.is_read_closed())
            } else {
                self.read(&mut buffer, index, event.is_read_closed())
            };
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

    /// Whether it is enough to count its lines: the crowd costs less of the machine that it shares with the server then.
    fn skims(&self, index: usize) -> bool {
        let actor = &self.actors[index];
        let group = &self.part.groups[actor.group];
        let is_crowd = matches!(group.role, Role::Speaker | Role::Member | Role::Flooder);
        is_crowd && group.target.scheme == Scheme::Tcp && actor.client.stage == Stage::Ready
    }

    fn skim(&mut self, buffer: &mut Vec<u8>, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        buffer.resize(buffer.len().max(SKIMMED_BYTES), 0);
        for _ in 0..TURNS_MAX {
            let Some(stream) = self.actors[index].client.stream_mut() else { return Ok(()) };
            let read = match stream.read(&mut buffer[..SKIMMED_BYTES]) {
                Ok(0) => {
                    let words = self.actors[index].skimmed.last_words();
                    let reason = words.unwrap_or_else(|| reason_of(&ErrorKind::UnexpectedEof.into()));
                    return self.end(index, reason, Nanos::now());
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let words = self.actors[index].skimmed.last_words();
                    return self.end(index, words.unwrap_or_else(|| reason_of(&error)), Nanos::now());
                }
            };
            let lines = self.actors[index].skimmed.add(&buffer[..read]);
            self.actors[index].deliveries += lines;
            self.progress.deliveries += lines;
            if read < SKIMMED_BYTES && !is_read_closed {
                return Ok(());
            }
        }
        self.look_again(index)
    }

    /// Others have their turn first. A socket that is registered anew tells at once if there is something.
    pub(super) fn look_again(&mut self, index: usize) -> anyhow::Result<()> {
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

    pub(super) fn end(&mut self, index: usize, reason: String, now: Nanos) -> anyhow::Result<()> {
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

/// On loopback each ten thousand clients have a source address of their own.
fn source(target: &Target, client: u32) -> Option<IpAddr> {
    let is_loopback = target.address.ip() == Ipv4Addr::LOCALHOST;
    let address = Ipv4Addr::LOCALHOST.to_bits() + client / CLIENTS_PER_SOURCE;
    is_loopback.then(|| IpAddr::V4(Ipv4Addr::from_bits(address)))
}
