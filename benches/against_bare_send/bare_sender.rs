//! The limit: this program, run as a child that does nothing but send each message to each member of its room. Never
//! reads a socket, keeps no queue, and gives up at the first byte that the kernel refuses.

use crate::{
    load::{Load, text_after},
    target::die_with_parent,
};
use anyhow::{Context, Result, ensure};
use rustix::net::{SendFlags, SocketFlags, accept_with, listen, send, sockopt::set_tcp_nodelay};
use std::{
    fmt::Display,
    io::{Write, stdin, stdout},
    net::{Ipv4Addr, TcpListener},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

/// The hidden first argument that turns this program into the bare sender.
pub const ARGUMENT: &str = "--bare-sender";

/// A smaller backlog meets a burst of connects with one-second SYN retries.
const BACKLOG: i32 = 4_096;

/// As long as an address label is, so that both targets send the same number of bytes.
const LABEL: &str = "[127.0.0.1:54012] ";

/// Accepts the members of the load, then publishes as many messages as each line of the standard input says.
pub fn run(words: &[String]) -> Result<()> {
    die_with_parent()?;
    let load = Load::from_words(words)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a free port")?;
    listen(&listener, BACKLOG).context("raising the backlog")?;
    say(listener.local_addr().context("reading the bound address")?)?;
    let members = accept(&listener, load.rooms.members())?;
    say("accepted")?;
    for line in stdin().lines() {
        let line = line.context("reading a number of messages")?;
        let messages = line.parse().with_context(|| format!("{line:?} is no number of messages"))?;
        publish(&members, load, messages)?;
    }
    Ok(())
}

/// One line in one write: the parent takes whatever a read returns as a line.
fn say(line: impl Display) -> Result<()> {
    stdout().write_all(format!("{line}\n").as_bytes()).context("answering the benchmark")
}

fn accept(listener: &TcpListener, count: usize) -> Result<Vec<OwnedFd>> {
    let accept_one = |_| -> Result<OwnedFd> {
        let member = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).context("accepting")?;
        set_tcp_nodelay(&member, true).context("setting TCP_NODELAY")?;
        Ok(member)
    };
    (0..count).map(accept_one).collect()
}

/// Open loop: message k is due at the start plus k periods, whatever happened before.
fn publish(members: &[OwnedFd], load: Load, messages: u32) -> Result<()> {
    let line = format!("{LABEL}{}\n", text_after(LABEL));
    let start = Instant::now();
    for (message, room) in (0..messages).zip((0..load.rooms.rooms).cycle()) {
        sleep_until(start + load.period() * message);
        // Accept order: walking sockets in it costs 3 % less than at random.
        for member in &members[load.rooms.members_of(room)] {
            let sent = send(member, line.as_bytes(), SendFlags::NOSIGNAL).context("sending to a member")?;
            ensure!(sent == line.len(), "the kernel took {sent} of {} bytes", line.len());
        }
    }
    Ok(())
}

fn sleep_until(due: Instant) {
    let early = due.saturating_duration_since(Instant::now());
    if early > Duration::ZERO {
        thread::sleep(early);
    }
}
