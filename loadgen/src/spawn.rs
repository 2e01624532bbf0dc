//! A server process that is started for a load and stopped after it. It never outlives this program, not even if that
//! is killed.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::listeners::listening_sockets;
use crate::target::Target;
use crate::verdict::Verdict;

/// The hidden command that replaces itself with the server's command and is killed with its parent.
pub const BOUND_TO_PARENT: &str = "bound-to-parent";

/// Time within which a server must listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// Time within which a server must exit after SIGTERM, before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(40);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A server process that this program started.
pub struct SpawnedServer {
    process: Child,
    command: String,
}

impl SpawnedServer {
    /// Starts the command and waits until it listens on the addresses of all targets.
    pub fn start(command: &str, targets: &[&Target]) -> anyhow::Result<Self> {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        ensure!(!words.is_empty(), "--spawn: a command is missing");
        if targets.iter().all(|target| target.address.ip().is_loopback()) {
            words.extend(only_on_loopback(&words));
        }
        for target in targets {
            ensure!(listening_sockets(target.address).is_empty(), "{target} is taken already: stop what listens there");
        }
        let mut start = Command::new(std::env::current_exe().context("finding this program")?);
        start.arg(BOUND_TO_PARENT).arg("--").args(&words).stdin(Stdio::null()).stdout(Stdio::null());
        let process = start.process_group(0).spawn().with_context(|| format!("starting {command:?}"))?;
        let mut spawned = Self { process, command: command.to_owned() };
        for target in targets {
            spawned.wait_until_it_listens(target.address)?;
        }
        Ok(spawned)
    }

    pub fn process_id(&self) -> i32 {
        self.process.id().cast_signed()
    }

    fn wait_until_it_listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + LISTENS_WITHIN;
        while Instant::now() < deadline {
            if !listening_sockets(address).is_empty() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("{:?} ended with {status} before it listened on {address}", self.command);
            }
            thread::sleep(LOOK_EVERY);
        }
        bail!("{:?} does not listen on {address} after {LISTENS_WITHIN:?}", self.command)
    }

    /// The exit status, if the process has exited.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.try_wait().context("asking for the server's end")
    }

    /// Sends SIGTERM unless the process has exited already, and waits for its exit.
    pub fn stop(mut self) -> anyhow::Result<()> {
        if self.ended()?.is_none() {
            kill(Pid::from_raw(self.process_id()), Signal::SIGTERM).context("stopping the server")?;
        }
        let deadline = Instant::now() + ENDS_WITHIN;
        while Instant::now() < deadline {
            if self.process.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
        bail!("{:?} has not ended {ENDS_WITHIN:?} after SIGTERM", self.command)
    }
}

impl Drop for SpawnedServer {
    fn drop(&mut self) {
        // Both fail only if the process has exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Replaces this process with the command, which the kernel kills when the parent exits.
pub fn become_bound_to_parent(command: &[String]) -> anyhow::Result<Verdict> {
    set_pdeathsig(Signal::SIGKILL).context("asking to end with the parent")?;
    let (program, arguments) = command.split_first().context("no program to become")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("starting {program:?}"))
}

/// Arguments that make a foreign server listen on loopback only, unless its command names an address.
fn only_on_loopback(words: &[&str]) -> &'static [&'static str] {
    const SERVERS: [(&str, &[&str], &[&str]); 3] = [
        ("nats-server", &["-a", "--addr", "--net", "-c", "--config"], &["-a", "127.0.0.1"]),
        ("redis-server", &["--bind"], &["--bind", "127.0.0.1"]),
        ("valkey-server", &["--bind"], &["--bind", "127.0.0.1"]),
    ];
    let program = words[0].rsplit('/').next().unwrap_or_default();
    let known = SERVERS.iter().find(|(name, ..)| *name == program);
    let is_said = |flags: &[&str]| words.iter().any(|word| flags.contains(&word.split('=').next().unwrap_or(word)));
    known.filter(|(_, flags, _)| !is_said(flags)).map_or(&[], |(_, _, added)| added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_others_listen_on_loopback_unless_the_command_says_where() {
        for (command, added) in [
            ("nats-server -p 4222", &["-a", "127.0.0.1"][..]),
            ("/usr/sbin/nats-server -a 10.0.0.1 -p 4222", &[]),
            ("nats-server --addr=10.0.0.1", &[]),
            ("redis-server --port 6379 --save", &["--bind", "127.0.0.1"]),
            ("redis-server --bind 10.0.0.1", &[]),
            ("target/release/roomcast --workers 1", &[]),
        ] {
            let words: Vec<&str> = command.split_whitespace().collect();
            assert_eq!(only_on_loopback(&words), added, "{command}");
        }
    }
}
