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
        let words: Vec<&str> = command.split_whitespace().collect();
        ensure!(!words.is_empty(), "--spawn: a command is missing");
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

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
