//! The members of one run as a client process sees them: their sockets on one epoll, read through one buffer, counted.
//! Never blocks on a socket, and leaves none behind in TIME_WAIT.

use crate::{load::Rooms, publisher::Publisher, target::Side};
use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{Timespec, epoll},
    io::{Errno, retry_on_intr},
    net::{RecvFlags, recv},
};
use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// A run in which nothing happens for this long has failed.
pub const STALL: Duration = Duration::from_secs(20);

/// Marks the publishing timer among the members' events.
pub const TIMER: u64 = u64::MAX;

const BUFFER_BYTES: usize = 64 * 1_024;

/// Few enough that the schedule is looked at every half millisecond, even when every member has something to read.
const EVENTS_PER_WAIT: usize = 256;

/// The sockets of all members, in the order in which they connected.
pub struct Crowd {
    pub rooms: Rooms,
    pub epoll: OwnedFd,
    pub members: Vec<OwnedFd>,
    events: Vec<epoll::Event>,
    buffer: Box<[u8]>,
}

/// What the members have received in one phase.
pub struct Tally {
    pub lines: usize,
    pub reads: usize,
    bytes: usize,
    lines_of: Vec<usize>,
}

impl Crowd {
    pub fn new(rooms: Rooms) -> Result<Self> {
        let no_event = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        Ok(Self {
            rooms,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("creating an epoll")?,
            members: Vec::with_capacity(rooms.members()),
            events: vec![no_event; EVENTS_PER_WAIT],
            buffer: vec![0; BUFFER_BYTES].into(),
        })
    }

    /// How many events came within this time; `event` tells them one by one.
    pub fn wait(&mut self, timeout: Duration) -> Result<usize> {
        let timeout = Timespec::try_from(timeout).context("converting a timeout")?;
        let events = &mut self.events[..];
        retry_on_intr(|| epoll::wait(&self.epoll, &mut *events, Some(&timeout))).context("waiting for events")
    }

    pub fn event(&self, index: usize) -> (u64, epoll::EventFlags) {
        let epoll::Event { flags, data } = self.events[index];
        (data.u64(), flags)
    }

    /// What one member has to read, handed on piece by piece; returns the number of pieces.
    pub fn read(&mut self, member: usize, mut on_bytes: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut pieces = 0;
        loop {
            let length = match recv(&self.members[member], &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => bail!("member {member} was disconnected"),
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok(pieces),
                Err(error) => return Err(error).with_context(|| format!("reading as member {member}")),
            };
            pieces += 1;
            on_bytes(&self.buffer[..length])?;
            // A short read has emptied the socket, and what comes next is a new edge: the second call is saved.
            if length < BUFFER_BYTES {
                return Ok(pieces);
            }
        }
    }

    /// Publishes where that is this process's part, and reads until each member has received this many messages.
    pub fn receive(&mut self, side: Side, messages_per_room: usize, publisher: &mut Publisher) -> Result<Tally> {
        let mut tally = Tally { lines: 0, reads: 0, bytes: 0, lines_of: vec![0; self.members.len()] };
        let expected = self.members.len() * messages_per_room;
        while tally.lines < expected {
            let events = self.wait(STALL)?;
            ensure!(events > 0, "lost: {} of {expected} deliveries received, then nothing for {STALL:?}", tally.lines);
            for index in 0..events {
                match self.event(index) {
                    (TIMER, _) => publisher.publish_due(&self.members)?,
                    (member, _) => {
                        self.receive_as(usize::try_from(member)?, side.marker(), messages_per_room, &mut tally)?
                    }
                }
            }
        }
        // Each member has at most its share and all together have the whole, so each has exactly its share.
        ensure!(tally.bytes == expected * side.message_bytes(), "{expected} lines had {} bytes", tally.bytes);
        Ok(tally)
    }

    fn receive_as(&mut self, member: usize, marker: u8, lines_max: usize, tally: &mut Tally) -> Result<()> {
        let mut lines = 0;
        tally.reads += self.read(member, |bytes| {
            lines += bytes.iter().filter(|byte| **byte == marker).count();
            tally.bytes += bytes.len();
            Ok(())
        })?;
        tally.lines += lines;
        tally.lines_of[member] += lines;
        ensure!(
            tally.lines_of[member] <= lines_max,
            "duplicated: member {member} received more than {lines_max} lines"
        );
        Ok(())
    }

    /// Fails if anything at all arrives within this time: after a complete phase it could only be a duplicate. An event alone
    /// means nothing: what it announced may have been read with the message before.
    pub fn expect_silence(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let events = self.wait(left)?;
            for index in 0..events {
                let (member, _) = self.event(index);
                let pieces = self.read(usize::try_from(member)?, |_| Ok(()))?;
                ensure!(pieces == 0, "duplicated: member {member} had more to read after all deliveries");
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }
}
