//! The bare loop itself: members in accept order, one thread, `send` to each.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::{News, Order};
use crate::clock::Nanos;
use crate::descriptors;
use crate::mark::Mark;
use crate::plan::Pace;
use crate::schedule::Schedule;
use crate::share::Share;

/// A smaller backlog meets a burst of connects with one-second SYN retries.
const BACKLOG: i32 = 4_096;

/// As long as a server's label is, so that both send the same number of bytes.
const LABEL: &[u8] = b"[127.0.0.1:54012] ";

/// Lets the members in, then sends as told; its part is the first line of standard input, orders follow.
pub fn run() -> anyhow::Result<()> {
    let rooms = serve();
    tell(&match &rooms {
        Ok(rooms) => News::Sent(rooms.published()),
        Err(error) => News::Failed(format!("{error:#}")),
    })?;
    // The sockets stay open until everything has been read: the end of the input ends the process.
    loop {
        thread::park();
    }
}

fn serve() -> anyhow::Result<Rooms> {
    let part = io::stdin().lines().next().context("no part to do")?.context("reading the part to do")?;
    let share: Share = serde_json::from_str(&part).context("understanding the part to do")?;
    let connections_max = descriptors::connections_max()?;
    let clients = share.connections();
    ensure!(clients <= connections_max, "{clients} members: one process may have {connections_max}");
    let mut rooms = Rooms::let_in(&share)?;
    let orders = orders();
    if let Order::Start(start) = orders.recv().context("nobody says when to begin")? {
        rooms.send_all(&share, start, &orders)?;
    }
    Ok(rooms)
}

/// Members by room.
struct Rooms {
    /// Rooms as the load numbers them.
    numbers: Vec<u32>,
    members: Vec<Vec<TcpStream>>,
    published: Vec<u32>,
    /// What is sent in one write.
    bytes: Vec<u8>,
}

impl Rooms {
    /// Accepts members one after the other; each names its room.
    fn let_in(share: &Share) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        tell(&News::Listening(listener.local_addr()?))?;
        let mut members: Vec<Vec<TcpStream>> = share.rooms.iter().map(|_| Vec::new()).collect();
        for _ in 0..share.connections() {
            let (member, _) = listener.accept().context("accepting")?;
            let room = let_in(&member, members.len())?;
            members[room].push(member);
        }
        let numbers = share.rooms.iter().map(|room| room.number).collect();
        Ok(Self { numbers, published: vec![0; members.len()], members, bytes: Vec::new() })
    }

    fn published(&self) -> Vec<(u32, u32)> {
        self.numbers.iter().copied().zip(self.published.iter().copied()).collect()
    }

    /// As the schedule says; in a closed load as fast as can be.
    fn send_all(&mut self, share: &Share, start: Nanos, orders: &Receiver<Order>) -> anyhow::Result<()> {
        let end = start + share.manner.warmup + share.manner.duration;
        let mut schedule = Schedule::new(share, start, end);
        let is_stopped = || orders.try_recv().is_ok();
        match share.pace {
            Pace::Rate(_) => {
                while let Some(due) = schedule.due().filter(|_| !is_stopped()) {
                    thread::sleep(due.since(Nanos::now()));
                    self.send(share, schedule.take(), due)?;
                }
            }
            Pace::InFlight(_) => {
                thread::sleep(start.since(Nanos::now()));
                for room in (0..self.members.len()).cycle() {
                    let now = Nanos::now();
                    if now >= end || is_stopped() {
                        break;
                    }
                    self.send(share, room, now)?;
                }
            }
        }
        Ok(())
    }

    /// One write to each member, with one message or several. Accept order: walking sockets in it costs 3 % less than at random.
    fn send(&mut self, share: &Share, room: usize, intended: Nanos) -> anyhow::Result<()> {
        self.bytes.clear();
        for _ in 0..share.manner.messages_per_write {
            self.bytes.extend_from_slice(LABEL);
            let mark = Mark { room: share.rooms[room].number, number: self.published[room], intended };
            mark.write(share.manner.size, &mut self.bytes);
            self.bytes.push(b'\n');
            self.published[room] += 1;
        }
        for member in &mut self.members[room] {
            send_whole(member, &self.bytes)?;
        }
        Ok(())
    }
}

/// Answers the one line that a member says, with its room; returns which it is.
fn let_in(member: &TcpStream, rooms: usize) -> anyhow::Result<usize> {
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

/// Waits only for a member whose socket is full.
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

/// Orders as they come. The thread sleeps meanwhile.
fn orders() -> Receiver<Order> {
    let (sender, orders) = channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else { return };
            if sender.send(order).is_err() {
                return;
            }
        }
        // Whoever started this has ended.
        std::process::exit(0);
    });
    orders
}

fn tell(news: &News) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, news)?;
    out.write_all(b"\n").and_then(|()| out.flush()).context("telling the coordinator")
}
