//! The process of the bare loop: one thread that calls `send` for each member in the order of accepting.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::{SenderCommand, SenderEvent};
use crate::assignment::Assignment;
use crate::clock::Nanos;
use crate::descriptors;
use crate::payload::Payload;
use crate::schedule::Schedule;
use crate::workload::Pace;

/// A smaller backlog makes a burst of connects wait for SYN retries of one second.
const BACKLOG: i32 = 4_096;

/// As long as a server's label, so that both send the same number of bytes.
const LABEL: &[u8] = b"[127.0.0.1:54012] ";

/// Accepts the members, then sends. The assignment is the first line of standard input; commands follow.
pub fn run() -> anyhow::Result<()> {
    let rooms = serve();
    send_event(&match &rooms {
        Ok(rooms) => SenderEvent::Sent(rooms.published()),
        Err(error) => SenderEvent::Failed(format!("{error:#}")),
    })?;
    // The sockets stay open until everything has been read. The end of the input then ends the process.
    loop {
        thread::park();
    }
}

fn serve() -> anyhow::Result<Rooms> {
    let part = io::stdin().lines().next().context("no part to do")?.context("reading the part to do")?;
    let assignment: Assignment = serde_json::from_str(&part).context("understanding the part to do")?;
    // First of all, since the parent may exit at any time.
    let commands = commands();
    let connections_max = descriptors::connections_max()?;
    let clients = assignment.connections();
    ensure!(clients <= connections_max, "{clients} members: one process may have {connections_max}");
    let mut rooms = Rooms::accept_members(&assignment)?;
    if let SenderCommand::Start(start) = commands.recv().context("nobody says when to begin")? {
        rooms.send_all(&assignment, start, &commands)?;
    }
    Ok(rooms)
}

/// Member sockets by room.
struct Rooms {
    /// Numbers of the rooms within the load.
    numbers: Vec<u32>,
    members: Vec<Vec<TcpStream>>,
    published: Vec<u32>,
    /// The bytes of one write.
    bytes: Vec<u8>,
}

impl Rooms {
    /// Accepts all members, one after the other.
    fn accept_members(assignment: &Assignment) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        send_event(&SenderEvent::Listening(listener.local_addr()?))?;
        let mut members: Vec<Vec<TcpStream>> = assignment.rooms.iter().map(|_| Vec::new()).collect();
        for _ in 0..assignment.connections() {
            let (member, _) = listener.accept().context("accepting")?;
            let room = accept_member(&member, members.len())?;
            members[room].push(member);
        }
        let numbers = assignment.rooms.iter().map(|room| room.number).collect();
        Ok(Self { numbers, published: vec![0; members.len()], members, bytes: Vec::new() })
    }

    fn published(&self) -> Vec<(u32, u32)> {
        self.numbers.iter().copied().zip(self.published.iter().copied()).collect()
    }

    /// Sends on schedule; in a closed load as fast as possible.
    fn send_all(
        &mut self,
        assignment: &Assignment,
        start: Nanos,
        commands: &Receiver<SenderCommand>,
    ) -> anyhow::Result<()> {
        let end = start + assignment.settings.warmup + assignment.settings.duration;
        let mut schedule = Schedule::new(assignment, start, end);
        let is_stopped = || commands.try_recv().is_ok();
        match assignment.pace {
            Pace::Rate(_) => {
                while let Some(due) = schedule.due().filter(|_| !is_stopped()) {
                    thread::sleep(due.since(Nanos::now()));
                    self.send(assignment, schedule.take(), due)?;
                }
            }
            Pace::InFlight(_) => {
                thread::sleep(start.since(Nanos::now()));
                for room in (0..self.members.len()).cycle() {
                    let now = Nanos::now();
                    if now >= end || is_stopped() {
                        break;
                    }
                    self.send(assignment, room, now)?;
                }
            }
        }
        Ok(())
    }

    /// One write to each member, with one or several messages. Sockets are visited in the order of accepting, which
    /// costs 3 % less than a random order.
    fn send(&mut self, assignment: &Assignment, room: usize, intended: Nanos) -> anyhow::Result<()> {
        self.bytes.clear();
        for _ in 0..assignment.settings.messages_per_write {
            self.bytes.extend_from_slice(LABEL);
            let payload = Payload { room: assignment.rooms[room].number, number: self.published[room], intended };
            payload.write(assignment.settings.size, &mut self.bytes);
            self.bytes.push(b'\n');
            self.published[room] += 1;
        }
        for member in &mut self.members[room] {
            send_whole(member, &self.bytes)?;
        }
        Ok(())
    }
}

/// Answers the join of a member and returns its room.
fn accept_member(member: &TcpStream, rooms: usize) -> anyhow::Result<usize> {
    member.set_nodelay(true)?;
    let mut line = String::new();
    BufReader::new(member).read_line(&mut line).context("hearing a member")?;
    let name = line.trim_end().strip_prefix("JOIN ").with_context(|| format!("a member says {line:?}"))?;
    let room = name.rsplit('-').next().and_then(|number| number.parse().ok()).filter(|room| *room < rooms);
    let room = room.with_context(|| format!("{name:?} is no room of this load"))?;
    (&*member).write_all(format!("Joined {name}\n").as_bytes()).context("answering a member")?;
    member.set_nonblocking(true)?;
    Ok(room)
}

/// Sends everything. Blocks while the socket of the member is full.
fn send_whole(member: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        match member.write(&bytes[sent..]) {
            Ok(written) => sent += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(member.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE).context("waiting")?;
            }
            Err(error) => return Err(error).context("sending to a member"),
        }
    }
    Ok(())
}

/// Reads commands on a thread, which sleeps meanwhile.
fn commands() -> Receiver<SenderCommand> {
    let (sender, commands) = channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let Ok(command) = serde_json::from_str(&line) else { return };
            if sender.send(command).is_err() {
                return;
            }
        }
        // The parent has exited.
        std::process::exit(0);
    });
    commands
}

fn send_event(event: &SenderEvent) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, event)?;
    out.write_all(b"\n").and_then(|()| out.flush()).context("telling the coordinator")
}
