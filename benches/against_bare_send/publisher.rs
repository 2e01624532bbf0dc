//! Who publishes in a run: the bare sender by itself when told to, or the first member of each room on a timer of ours.
//! Open loop either way: a message is due when the schedule says so, and is never skipped.

use crate::{
    crowd::{Crowd, TIMER},
    load::{Load, text_after},
    target::{Side, Target},
    websocket,
};
use anyhow::{Context, Result, ensure};
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::read,
    net::{SendFlags, getsockname, send},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime},
};
use std::{net::SocketAddr, os::fd::OwnedFd, time::Duration};

/// One way of publishing, chosen by the side.
pub enum Publisher {
    Target,
    Members(Schedule),
}

impl Publisher {
    pub fn new(side: Side, crowd: &Crowd, load: Load) -> Result<Self> {
        match side {
            Side::BareSend => Ok(Self::Target),
            Side::Roomcast | Side::WebSocket => Schedule::new(side, crowd, load).map(Self::Members),
        }
    }

    /// The first message is due at once.
    pub fn start(&mut self, target: &mut Target, messages: usize) -> Result<()> {
        match self {
            Self::Target => target.publish(messages),
            Self::Members(schedule) => schedule.start(messages),
        }
    }

    /// Called when the timer fires.
    pub fn publish_due(&mut self, members: &[OwnedFd]) -> Result<()> {
        match self {
            Self::Target => Ok(()),
            Self::Members(schedule) => schedule.publish_due(members),
        }
    }
}

/// What the first member of a room publishes, again and again.
struct Publication {
    member: usize,
    message: Vec<u8>,
}

/// Messages to come, one each time the kernel's timer says so, for each room in turn.
pub struct Schedule {
    timer: OwnedFd,
    period: Duration,
    /// One for each room.
    publications: Vec<Publication>,
    published: usize,
    end: usize,
}

impl Schedule {
    fn new(side: Side, crowd: &Crowd, load: Load) -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).context("creating a timer")?;
        epoll::add(&crowd.epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN).context("watching the timer")?;
        let publications = (0..load.rooms.rooms).map(|room| publication(side, crowd, room)).collect::<Result<_>>()?;
        Ok(Self { timer, period: load.period(), publications, published: 0, end: 0 })
    }

    fn start(&mut self, messages: usize) -> Result<()> {
        self.published = 0;
        self.end = messages;
        self.set_timer(Duration::from_nanos(1), self.period)
    }

    fn publish_due(&mut self, members: &[OwnedFd]) -> Result<()> {
        let mut expirations = [0; size_of::<u64>()];
        read(&self.timer, &mut expirations).context("reading the timer")?;
        let due = usize::try_from(u64::from_ne_bytes(expirations))?.min(self.end - self.published);
        for _ in 0..due {
            self.publish_next(members)?;
        }
        if self.published == self.end {
            self.set_timer(Duration::ZERO, Duration::ZERO)?;
        }
        Ok(())
    }

    fn publish_next(&mut self, members: &[OwnedFd]) -> Result<()> {
        let Publication { member, message } = &self.publications[self.published % self.publications.len()];
        let sent = send(&members[*member], message, SendFlags::NOSIGNAL).context("publishing")?;
        ensure!(sent == message.len(), "the kernel took {sent} of {} bytes of a message", message.len());
        self.published += 1;
        Ok(())
    }

    /// Zero stops it.
    fn set_timer(&self, first: Duration, period: Duration) -> Result<()> {
        let times = Itimerspec { it_interval: Timespec::try_from(period)?, it_value: Timespec::try_from(first)? };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times).context("setting the timer")?;
        Ok(())
    }
}

fn publication(side: Side, crowd: &Crowd, room: usize) -> Result<Publication> {
    let member = crowd.rooms.members_of(room).start;
    if side == Side::WebSocket {
        return Ok(Publication { member, message: websocket::message() });
    }
    let address = getsockname(&crowd.members[member]).context("reading a member's address")?;
    let address = SocketAddr::try_from(address).context("a member without an internet address")?;
    Ok(Publication { member, message: format!("{}\n", text_after(&format!("[{address}] "))).into() })
}
