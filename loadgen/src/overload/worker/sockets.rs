//! The sockets of an overload's worker process: connecting, reading and closing. Never decides when something is
//! published.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};

use anyhow::bail;
use mio::Token;
use mio::event::Event;

use super::super::client::{ClientEvent, ping};
use super::super::messages::{Ready, Role, WorkerEvent};
use super::{Phase, TURNS_MAX, Worker};
use crate::clock::Nanos;
use crate::dialect::FRAME_BYTES_MAX;
use crate::reasons::add_reason;
use crate::target::Target;
use crate::worker::{SendResult, Stage, reason_of};

/// Maximum clients that are connecting at a time.
const CONNECTING_MAX: usize = 1_000;

/// Clients per source address: the kernel finds free ports quickly up to about this many.
const CLIENTS_PER_SOURCE: u32 = 10_000;

/// Bytes of one read of a client whose lines are only counted.
const COUNTED_READ_BYTES: usize = 256 * 1024;

impl Worker {
    pub(super) fn send(&mut self, index: usize, bytes: &[u8], now: Nanos) -> anyhow::Result<()> {
        match self.clients[index].socket.send(bytes) {
            Ok(SendResult::Complete | SendResult::Partial) => Ok(()),
            Err(error) => self.end(index, reason_of(&error), now),
        }
    }

    pub(super) fn connect(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let Self { clients, assignment, poll, .. } = self;
        let target = &assignment.groups[clients[index].group].target;
        let source = source(target, assignment.clients_before + index as u32);
        match clients[index].socket.connect(target.address, source, now, (poll.registry(), Token(index))) {
            Err(error) => self.fail_to_connect(index, &error, now),
            Ok(()) => Ok(()),
        }
    }

    fn fail_to_connect(&mut self, index: usize, error: &io::Error, now: Nanos) -> anyhow::Result<()> {
        if error.kind() == ErrorKind::ConnectionRefused && self.connected == 0 && self.phase == Phase::Connecting {
            bail!("nothing listens at {}", self.assignment.groups[self.clients[index].group].target);
        }
        self.end(index, reason_of(error), now)
    }

    pub(super) fn connect_more(&mut self, now: Nanos) -> anyhow::Result<()> {
        let total = if self.is_open { self.clients.len() } else { self.clients.len() - self.assignment.late as usize };
        while self.begun < total && self.begun < self.done + CONNECTING_MAX {
            let index = self.begun;
            self.begun += 1;
            self.connect(index, now)?;
        }
        if self.done < self.begun && now.since(self.progressed) > self.assignment.patience {
            let reason = format!("no answer within {}", humantime::format_duration(self.assignment.patience));
            for index in 0..self.begun {
                if !matches!(self.clients[index].socket.stage, Stage::Ready | Stage::Ended) {
                    self.end(index, reason.clone(), now)?;
                }
            }
        }
        Ok(())
    }

    /// Records that one more client has joined or failed.
    pub(super) fn step(&mut self) -> anyhow::Result<()> {
        self.progressed = Nanos::now();
        if self.phase != Phase::Connecting || self.done < self.clients.len() {
            return Ok(());
        }
        self.phase = Phase::Waiting;
        let (connected, failed, priority) = (self.connected, self.failed.clone(), self.priority.take());
        self.coordinator.send(&WorkerEvent::Ready(Ready { connected, failed, priority }))
    }

    /// Handles an event of a client's socket.
    pub(super) fn handle_event(&mut self, index: usize, event: &Event) -> anyhow::Result<()> {
        let now = Nanos::now();
        if event.is_writable() {
            self.handle_writable(index, now)?;
        }
        if event.is_readable() && self.clients[index].is_alive() {
            let mut buffer = std::mem::take(&mut self.read_buffer);
            let read = if self.counts_lines_only(index) {
                self.count_lines(&mut buffer, index, event.is_read_closed())
            } else {
                self.read(&mut buffer, index, event.is_read_closed())
            };
            self.read_buffer = buffer;
            read?;
        }
        Ok(())
    }

    fn handle_writable(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        if !self.clients[index].is_alive() {
            return Ok(());
        }
        if self.clients[index].socket.stage == Stage::Connecting {
            let client = &mut self.clients[index];
            let connected = client.socket.connected();
            let connector = self.tls_connectors[client.group].as_ref();
            let secured =
                connected.and_then(|()| connector.map(|connector| client.socket.start_tls(connector)).transpose());
            return match secured {
                Ok(None) => self.start_handshake(index, now),
                Ok(Some(())) => Ok(()),
                Err(error) => self.fail_to_connect(index, &error, now),
            };
        }
        if let Err(error) = self.clients[index].socket.flush() {
            return self.end(index, reason_of(&error), now);
        }
        let floods = self.role(self.clients[index].group) == Role::Flooder && self.phase == Phase::Loaded;
        if floods && !self.clients[index].socket.has_unsent() { self.flood(index, now) } else { Ok(()) }
    }

    fn start_handshake(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        let dialect = self.dialect(index);
        let mut out = Vec::new();
        dialect.encode_handshake(&self.assignment.groups[self.clients[index].group].target, &mut out);
        self.clients[index].socket.stage = Stage::Handshake;
        self.send(index, &out, now)?;
        if dialect.has_handshake() { Ok(()) } else { self.join_room(index, now) }
    }

    /// Joins the room, or sends a first `PING` if there is none to join.
    fn join_room(&mut self, index: usize, now: Nanos) -> anyhow::Result<()> {
        if !self.clients[index].is_alive() {
            return Ok(());
        }
        let dialect = self.dialect(index);
        let group = &self.assignment.groups[self.clients[index].group];
        if group.role == Role::Newcomer {
            self.clients[index].socket.stage = Stage::Ready;
            return Ok(());
        }
        let mut out = Vec::new();
        match &group.room {
            Some(room) => dialect.join(room, &mut out),
            None => ping(now, dialect, &mut out),
        }
        self.clients[index].socket.stage = Stage::Joining;
        self.send(index, &out, now)
    }

    fn read(&mut self, buffer: &mut Vec<u8>, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        for _ in 0..TURNS_MAX {
            let read = match self.clients[index].socket.read(buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.end(index, reason_of(&error), Nanos::now()),
            };
            let now = Nanos::now();
            if self.clients[index].socket.has_finished_tls() {
                self.start_handshake(index, now)?;
            }
            let used = self.decode_all(index, &buffer[..read.bytes], now)?;
            if !self.clients[index].is_alive() {
                return Ok(());
            }
            self.clients[index].socket.keep(&buffer[used..read.bytes]);
            if !read.may_have_more && !is_read_closed {
                return Ok(());
            }
        }
        self.clients[index].socket.reregister(self.poll.registry(), Token(index))
    }

    /// Whether counting the lines of what the socket returns is enough. It keeps the crowd cheap, which shares the machine with the server.
    fn counts_lines_only(&self, index: usize) -> bool {
        let client = &self.clients[index];
        let group = &self.assignment.groups[client.group];
        let is_crowd = matches!(group.role, Role::Speaker | Role::Member | Role::Flooder);
        is_crowd && group.target.is_plain_lines() && client.socket.stage == Stage::Ready
    }

    fn count_lines(&mut self, buffer: &mut Vec<u8>, index: usize, is_read_closed: bool) -> anyhow::Result<()> {
        buffer.resize(buffer.len().max(COUNTED_READ_BYTES), 0);
        for _ in 0..TURNS_MAX {
            let Some(stream) = self.clients[index].socket.stream_mut() else { return Ok(()) };
            let read = match stream.read(&mut buffer[..COUNTED_READ_BYTES]) {
                Ok(0) => {
                    let words = self.clients[index].line_counter.close_reason();
                    let reason = words.unwrap_or_else(|| reason_of(&ErrorKind::UnexpectedEof.into()));
                    return self.end(index, reason, Nanos::now());
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    let words = self.clients[index].line_counter.close_reason();
                    return self.end(index, words.unwrap_or_else(|| reason_of(&error)), Nanos::now());
                }
            };
            let lines = self.clients[index].line_counter.add(&buffer[..read]);
            self.clients[index].deliveries += lines;
            self.progress.deliveries += lines;
            if read < COUNTED_READ_BYTES && !is_read_closed {
                return Ok(());
            }
        }
        self.clients[index].socket.reregister(self.poll.registry(), Token(index))
    }

    /// Decodes everything that is complete and returns its length.
    fn decode_all(&mut self, index: usize, input: &[u8], now: Nanos) -> anyhow::Result<usize> {
        let dialect = self.dialect(index);
        let (mut used, before) = (0, self.clients[index].deliveries);
        while self.clients[index].is_alive() {
            let client = &mut self.clients[index];
            let is_handshake_done = client.is_handshake_done(&self.assignment.groups[client.group]);
            match dialect.decode(is_handshake_done, &input[used..]) {
                Ok(None) if input.len() - used > FRAME_BYTES_MAX => {
                    self.end(index, format!("says more than {FRAME_BYTES_MAX} bytes at once"), now)?;
                }
                Ok(None) => break,
                Ok(Some((length, incoming))) => {
                    used += length;
                    let event = client.handle(incoming, &self.assignment, now);
                    self.handle(index, event, now)?;
                }
                Err(error) => self.end(index, format!("does not speak the dialect: {:?}", error.0), now)?,
            }
        }
        self.count(index, before, now);
        let answers = std::mem::take(&mut self.clients[index].answers);
        if !answers.is_empty() && self.clients[index].is_alive() {
            self.send(index, &answers, now)?;
        }
        Ok(used)
    }

    /// Counts the deliveries of one read.
    fn count(&mut self, index: usize, before: u64, now: Nanos) {
        let client = &mut self.clients[index];
        let deliveries = client.deliveries - before;
        if deliveries == 0 {
            return;
        }
        self.progress.deliveries += deliveries;
        if self.assignment.groups[client.group].role == Role::Watcher {
            if !client.is_settled && client.is_complete(&self.assignment) {
                client.is_settled = true;
                self.progress.watchers_settled += 1;
            }
            client.silence = client.silence.max(now.since(client.last));
            client.last = now;
        }
    }

    fn handle(&mut self, index: usize, event: ClientEvent, now: Nanos) -> anyhow::Result<()> {
        match event {
            ClientEvent::Nothing => Ok(()),
            ClientEvent::HandshakeDone => self.join_room(index, now),
            ClientEvent::Joined => {
                self.clients[index].socket.stage = Stage::Ready;
                self.clients[index].was_in = true;
                self.connected += 1;
                self.done += 1;
                self.step()
            }
            ClientEvent::Answered(due) => {
                let group = self.clients[index].group;
                self.waits[group].record(now.since(due));
                if self.role(group) == Role::Newcomer {
                    self.clients[index].socket.close();
                }
                Ok(())
            }
            ClientEvent::Closed => self.count_end(index),
        }
    }

    pub(super) fn end(&mut self, index: usize, reason: String, now: Nanos) -> anyhow::Result<()> {
        if self.clients[index].is_alive() {
            self.clients[index].end(reason, &self.assignment, now);
            return self.count_end(index);
        }
        Ok(())
    }

    /// Records that a client has ended, while connecting or during the load.
    fn count_end(&mut self, index: usize) -> anyhow::Result<()> {
        if self.phase == Phase::Connecting && !self.clients[index].was_in {
            let reason = self.clients[index].cut.clone().unwrap_or_default();
            add_reason(&mut self.failed, reason);
            self.done += 1;
            return self.step();
        }
        self.progress.cut += 1;
        if self.role(self.clients[index].group) == Role::Watcher {
            let was_settled = std::mem::replace(&mut self.clients[index].is_settled, true);
            self.progress.watchers_settled += u32::from(!was_settled);
            self.progress.watchers_cut += 1;
        }
        Ok(())
    }
}

/// The source address of a client. On loopback every ten thousand clients have one of their own.
fn source(target: &Target, client: u32) -> Option<IpAddr> {
    let is_loopback = target.address.ip() == Ipv4Addr::LOCALHOST;
    let address = Ipv4Addr::LOCALHOST.to_bits() + client / CLIENTS_PER_SOURCE;
    is_loopback.then(|| IpAddr::V4(Ipv4Addr::from_bits(address)))
}
