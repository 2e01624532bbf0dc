//! How a crowd gets in: nonblocking connects, a bounded number at a time, each member done once it was told all it must be
//! told. Never waits for one member alone, and never takes an answer that PROTOCOL.md does not promise.

use crate::{
    crowd::{Crowd, STALL},
    load::Rooms,
    websocket,
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

/// What a member says once connected, and the last that it must then be told. Empty for a target that says nothing.
#[derive(Default)]
pub struct Conversation {
    says: Vec<u8>,
    is_told_last: Vec<u8>,
}

impl Conversation {
    pub fn join(room: usize) -> Self {
        Self { says: format!("JOIN r{room}\n").into(), is_told_last: format!("Joined r{room}\n").into() }
    }

    /// All in one write, as a client may.
    pub fn join_as_websocket(room: usize) -> Self {
        let nick = websocket::from_client(&format!("NICK {}", websocket::NICK));
        let says = [websocket::HANDSHAKE.into(), nick, websocket::from_client(&format!("JOIN r{room}"))].concat();
        Self { says, is_told_last: websocket::from_server(&format!("Joined r{room}")) }
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
    Talking,
    Joined,
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
        if self.progress[member] == Progress::Connecting {
            let spoken = speak(&self.crowd.members[member], conversation);
            spoken.with_context(|| format!("connecting member {member}"))?;
            self.progress[member] = Progress::Talking;
        }
        let was_told = flags.contains(EventFlags::IN) && self.listen(member, &conversation.is_told_last)?;
        let has_all = was_told || conversation.is_told_last.is_empty();
        if has_all && self.progress[member] == Progress::Talking {
            self.progress[member] = Progress::Joined;
            self.joined += 1;
        }
        Ok(())
    }

    /// Whether what the member is told now ends with what it must be told. A server writes an answer whole.
    fn listen(&mut self, member: usize, expected: &[u8]) -> Result<bool> {
        let mut was_told = false;
        self.crowd.read(member, |bytes| {
            was_told = bytes.ends_with(expected);
            Ok(())
        })?;
        Ok(was_told)
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
    let sent = send(socket, &conversation.says, SendFlags::NOSIGNAL)?;
    ensure!(sent == conversation.says.len(), "the kernel took {sent} of {} bytes", conversation.says.len());
    Ok(())
}
