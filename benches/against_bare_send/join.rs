//! How a crowd gets in: nonblocking connects, a bounded number at a time, each member done once it was told all it must be
//! told. Never waits for one member alone, and never takes an answer that PROTOCOL.md does not promise.

use crate::{
    crowd::{Crowd, STALL},
    load::Rooms,
};
use anyhow::{Context, Result, ensure};
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{
        AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, send, socket_with,
        sockopt::{set_socket_linger, set_tcp_nodelay, socket_error},
    },
};
use std::{net::SocketAddr, os::fd::OwnedFd, time::Duration};

/// Well below the backlog, so that no connect is dropped and retried a second later.
const IN_FLIGHT_MAX: usize = 1_000;

/// A source address has 28 000 ports, and the kernel's search for a free one takes a second in all for the last few hundred
/// of 15 000 members: that would be measured as the server's.
const MEMBERS_PER_SOURCE: usize = 5_000;

const GREETING: &str = "Welcome! Commands: JOIN <room>, LEAVE, LIST";

/// What a member says once connected, and all that it must then be told. Empty for a target that says nothing.
#[derive(Default)]
pub struct Conversation {
    says: String,
    is_told: String,
}

impl Conversation {
    pub fn join(room: usize) -> Self {
        Self { says: format!("JOIN r{room}\n"), is_told: format!("{GREETING}\nJoined r{room}\n") }
    }
}

/// Connects every member and has it join its room.
pub fn join(address: SocketAddr, rooms: Rooms, conversations: &[Conversation]) -> Result<Crowd> {
    let progress = vec![Progress::Connecting; rooms.members()];
    let mut joining = Joining { crowd: Crowd::new(rooms)?, address, conversations, progress, joined: 0 };
    while joining.joined < rooms.members() {
        joining.start_some()?;
        let events = joining.crowd.wait(STALL)?;
        ensure!(events > 0, "{} of {} members joined, then nothing for {STALL:?}", joining.joined, rooms.members());
        for index in 0..events {
            let (member, flags) = joining.crowd.event(index);
            joining.advance(usize::try_from(member)?, flags)?;
        }
    }
    Ok(joining.crowd)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Connecting,
    /// Connected, and told this many bytes.
    Told(usize),
}

struct Joining<'a> {
    crowd: Crowd,
    address: SocketAddr,
    /// One for each room.
    conversations: &'a [Conversation],
    /// One for each member.
    progress: Vec<Progress>,
    joined: usize,
}

impl Joining<'_> {
    fn start_some(&mut self) -> Result<()> {
        while self.crowd.members.len() < self.progress.len() && self.crowd.members.len() - self.joined < IN_FLIGHT_MAX {
            self.start_one().with_context(|| format!("connecting member {}", self.crowd.members.len()))?;
        }
        Ok(())
    }

    fn start_one(&mut self) -> Result<()> {
        let member = self.crowd.members.len();
        let socket = start_connect(source(member)?, self.address)?;
        let data = EventData::new_u64(member as u64);
        // Edges, so that one registration serves the connect and all reads after it.
        epoll::add(&self.crowd.epoll, &socket, data, EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
        self.crowd.members.push(socket);
        Ok(())
    }

    fn advance(&mut self, member: usize, flags: EventFlags) -> Result<()> {
        let conversation = &self.conversations[self.crowd.rooms.room_of(member)];
        let before = self.progress[member];
        let mut told = match before {
            Progress::Told(bytes) => bytes,
            Progress::Connecting => {
                let spoken = speak(&self.crowd.members[member], conversation);
                spoken.with_context(|| format!("connecting member {member}"))?;
                0
            }
        };
        if flags.contains(EventFlags::IN) {
            told = self.listen(member, told, &conversation.is_told)?;
        }
        self.progress[member] = Progress::Told(told);
        let has_all = told == conversation.is_told.len();
        self.joined += usize::from(has_all && self.progress[member] != before);
        Ok(())
    }

    /// How much of its expected text the member has been told by now.
    fn listen(&mut self, member: usize, mut told: usize, expected: &str) -> Result<usize> {
        self.crowd.read(member, |bytes| {
            let rest = &expected.as_bytes()[told..];
            ensure!(rest.starts_with(bytes), "member {member} was told {:?}", String::from_utf8_lossy(bytes));
            told += bytes.len();
            Ok(())
        })?;
        Ok(told)
    }
}

/// 127.0.0.1 and the loopback addresses after it, with any port.
fn source(member: usize) -> Result<SocketAddr> {
    let last = u8::try_from(1 + member / MEMBERS_PER_SOURCE).context("more members than source addresses")?;
    Ok(SocketAddr::from(([127, 0, 0, last], 0)))
}

fn start_connect(source: SocketAddr, address: SocketAddr) -> Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    // A reset at the end of the run: thousands of ports in TIME_WAIT would slow the connects of the next.
    set_socket_linger(&socket, Some(Duration::ZERO))?;
    set_tcp_nodelay(&socket, true)?;
    bind(&socket, &source)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error).context("connecting"),
    }
}

fn speak(socket: &OwnedFd, conversation: &Conversation) -> Result<()> {
    socket_error(socket)??;
    if conversation.says.is_empty() {
        return Ok(());
    }
    let sent = send(socket, conversation.says.as_bytes(), SendFlags::NOSIGNAL)?;
    ensure!(sent == conversation.says.len(), "the kernel took {sent} bytes of {:?}", conversation.says);
    Ok(())
}
