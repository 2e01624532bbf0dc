//! A server that is started for a load and stopped after it. Never outlives this program, however that ends.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::end::End;
use crate::target::Target;

/// The hidden command that becomes another one which ends with this program.
pub const BOUND_TO_PARENT: &str = "bound-to-parent";

/// A server that does not listen by then will not.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A server that does not end by then is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(40);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A server.
pub struct Spawned {
    process: Child,
    command: String,
}

impl Spawned {
    /// Starts it and waits until it listens wherever the load will go.
    pub fn start(command: &str, targets: &[&Target]) -> anyhow::Result<Self> {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        ensure!(!words.is_empty(), "--spawn: a command is missing");
        if targets.iter().all(|target| target.address.ip().is_loopback()) {
            words.extend(only_on_loopback(&words));
        }
        for target in targets {
            ensure!(!listens(target.address), "{target} is taken already: stop what listens there");
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

    /// Its number.
    pub fn process_id(&self) -> i32 {
        self.process.id().cast_signed()
    }

    fn wait_until_it_listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + LISTENS_WITHIN;
        while Instant::now() < deadline {
            if listens(address) {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("{:?} ended with {status} before it listened on {address}", self.command);
            }
            thread::sleep(LOOK_EVERY);
        }
        bail!("{:?} does not listen on {address} after {LISTENS_WITHIN:?}", self.command)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.try_wait().context("asking for the server's end")
    }

    /// Ends it as an operator would, unless it has ended already.
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

impl Drop for Spawned {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Becomes another program that dies with this one's parent, even if that is killed.
pub fn become_bound_to_parent(command: &[String]) -> anyhow::Result<End> {
    set_pdeathsig(Signal::SIGKILL).context("asking to end with the parent")?;
    let (program, arguments) = command.split_first().context("no program to become")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("starting {program:?}"))
}

/// What keeps a server of others from listening on every address of this host, unless the command says where it listens.
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

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
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
