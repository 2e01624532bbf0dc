//! Servers that run on this machine, as processes: who listens where by `/proc`, and one process by a descriptor that never
//! names another. Connects to nobody.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::config::canonical;

/// The name of the server's program.
const PROGRAM: &str = "roomcast";

/// A server that runs.
pub(super) struct Running {
    /// Its process id.
    pub(super) pid: Pid,
    /// Names the process also when it has ended and its id is given to another one.
    descriptor: OwnedFd,
}

impl Running {
    /// The server whose process listens at this address.
    ///
    /// # Errors
    /// None does, several do, or it is not visible from here.
    pub(super) fn at(http: SocketAddr) -> anyhow::Result<Self> {
        ensure!(http.port() != 0, "port 0 of --http is any port: --pid says which server is meant");
        let sockets = listening_at(http)?;
        ensure!(!sockets.is_empty(), "no server listens at {http}: --http or --pid says which one is meant");
        let processes = all_processes().context("cannot read /proc")?.flatten();
        let pids = processes.filter(|found| has_any(found, &sockets)).map(|found| found.pid);
        let found: Vec<(i32, String)> = pids.filter_map(|pid| Some((pid, program_of(pid)?))).collect();
        // Others may have the socket too, such as what has started the server, or a child of theirs that is to become another
        // program.
        let servers: Vec<i32> = found.iter().filter(|(_, program)| is_server(program)).map(|(pid, _)| *pid).collect();
        match (&servers[..], &found[..]) {
            ([pid], _) => Self::open(*pid),
            ([], [(pid, program), ..]) => bail!(no_server(*pid, program)),
            ([], []) => {
                bail!("a server listens at {http}, but is not visible from here: run this as its user, or give --pid")
            }
            _ => bail!("several servers listen at {http}: --pid says which of {servers:?} is meant"),
        }
    }

    /// The server with this process id.
    ///
    /// # Errors
    /// There is no such process, or it is no server of ours.
    pub(super) fn open(pid: i32) -> anyhow::Result<Self> {
        let none = || anyhow!("there is no process {pid}");
        let id = Pid::from_raw(pid).with_context(none)?;
        let descriptor = pidfd_open(id, PidfdFlags::empty()).map_err(|error| match error {
            Errno::SRCH => none(),
            error => anyhow!("cannot open process {pid}: {error}"),
        })?;
        let running = Self { pid: id, descriptor };
        let program = program_of(pid).filter(|_| !running.has_ended()).with_context(none)?;
        ensure!(is_server(&program), no_server(pid, &program));
        Ok(running)
    }

    /// Whether it is known to listen at this address. It is not known of another user's process, or in another container.
    pub(super) fn listens_at(&self, http: SocketAddr) -> bool {
        let process = Process::new(self.pid.as_raw_pid());
        process.is_ok_and(|process| listening_at(http).is_ok_and(|sockets| has_any(&process, &sockets)))
    }

    /// Asks it to stop. A server that stops already goes on with it.
    ///
    /// # Errors
    /// It is another user's.
    pub(super) fn begin_stop(&self) -> anyhow::Result<()> {
        match pidfd_send_signal(&self.descriptor, Signal::USR2) {
            // It has just ended.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(anyhow!("cannot stop process {}: {error}", self.pid)),
        }
    }

    /// Waits until it has ended, or this time is over. Returns whether it has ended.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        poll(&mut polled, Some(&time)).is_ok_and(|ready| ready > 0)
    }

    fn has_ended(&self) -> bool {
        self.wait(Duration::ZERO)
    }
}

fn is_server(program: &str) -> bool {
    program.starts_with(PROGRAM)
}

fn no_server(pid: i32, program: &str) -> String {
    format!("process {pid} is {program}, no server of {PROGRAM}")
}

/// Whether a server that listens at `listened` can be reached at `http`.
fn covers(listened: SocketAddr, http: SocketAddr) -> bool {
    let (listened, http) = (canonical(listened), canonical(http));
    let is_same = listened.ip() == http.ip() || listened.ip().is_unspecified();
    listened.port() == http.port() && is_same
}

/// The sockets at which servers listen that can be reached at this address, by their inodes.
fn listening_at(http: SocketAddr) -> anyhow::Result<HashSet<u64>> {
    let own = Process::myself().context("cannot read /proc")?;
    // There is no list for IPv6 where the kernel has none.
    let listed = own.tcp().context("cannot read /proc")?.into_iter().chain(own.tcp6().unwrap_or_default());
    let listening = listed.filter(|entry| entry.state == TcpState::Listen && covers(entry.local_address, http));
    Ok(listening.map(|entry| entry.inode).collect())
}

/// Whether the process is seen to have one of the sockets. The descriptors of another user's process are not seen.
fn has_any(process: &Process, sockets: &HashSet<u64>) -> bool {
    let mut descriptors = process.fd().into_iter().flatten().flatten();
    descriptors.any(|found| matches!(found.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
}

/// The name of the process's program, also when its file has been replaced since; that of the process where the program
/// cannot be read.
fn program_of(pid: i32) -> Option<String> {
    let process = Process::new(pid).ok()?;
    let path = process.exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    name.or_else(|| process.stat().ok().map(|stat| stat.comm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_at_every_address_is_found_at_each_of_them_and_others_at_their_own() {
        for (listened, http, is_found) in [
            ("127.0.0.1:3000", "127.0.0.1:3000", true),
            ("0.0.0.0:3000", "127.0.0.1:3000", true),
            ("[::]:3000", "127.0.0.1:3000", true),
            ("[::ffff:127.0.0.1]:3000", "127.0.0.1:3000", true),
            ("127.0.0.1:3000", "127.0.0.1:3001", false),
            ("127.0.0.1:3000", "127.0.0.2:3000", false),
            ("127.0.0.1:3000", "0.0.0.0:3000", false),
        ] {
            assert_eq!(covers(listened.parse().unwrap(), http.parse().unwrap()), is_found, "{listened} {http}");
        }
    }
}
