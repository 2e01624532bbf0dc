//! The process under measurement, the bare sender or the server: started, spoken to, ended. Never outlives the benchmark,
//! however that ends, and never shares its process with an earlier run.

use crate::{ROOMCAST, bare_sender, crowd::STALL, join::Conversation, load::Load, ready_file::ReadyFile};
use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process, set_parent_process_death_signal},
};
use std::{
    env, fmt,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The hidden first argument that turns this program into the command after it, bound to the life of its parent.
pub const EXEC_ARGUMENT: &str = "--exec-bound-to-parent";

/// How long a target may take to end once it was told to.
const END_WITHIN: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The two sides of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    BareSend,
    Roomcast,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::BareSend => "bare send",
            Self::Roomcast => "roomcast",
        })
    }
}

/// One running process; dropping it kills it.
pub struct Target {
    side: Side,
    process: Child,
    address: SocketAddr,
}

impl Target {
    /// Starts the side and waits until it accepts.
    pub fn start(side: Side, load: Load, workers: usize) -> Result<Self> {
        match side {
            Side::BareSend => Self::start_bare_sender(load),
            Side::Roomcast => Self::start_roomcast(workers),
        }
    }

    fn start_bare_sender(load: Load) -> Result<Self> {
        let mut command = Command::new(env::current_exe().context("finding this program")?);
        command.arg(bare_sender::ARGUMENT).args(load.to_words());
        let mut target = Self::spawn(Side::BareSend, command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let line = target.line()?;
        target.address = line.parse().with_context(|| format!("{line:?} is no address"))?;
        Ok(target)
    }

    fn start_roomcast(workers: usize) -> Result<Self> {
        let ready_file = ReadyFile::new();
        let workers = workers.to_string();
        let mut command = Command::new(env::current_exe().context("finding this program")?);
        command.args([EXEC_ARGUMENT, ROOMCAST, "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "warn"]);
        command.args(["--workers", &workers, "--shards", &workers, "--ready-file"]).arg(ready_file.path());
        let mut target = Self::spawn(Side::Roomcast, command.stdin(Stdio::null()))?;
        target.address = ready_file.wait_for_address(&mut target.process)?;
        Ok(target)
    }

    fn spawn(side: Side, command: &mut Command) -> Result<Self> {
        let process = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { side, process, address: SocketAddr::from(([127, 0, 0, 1], 0)) })
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a member of each room says and must be told before it counts as connected.
    pub fn conversations(&self, rooms: usize) -> Vec<Conversation> {
        let conversation = |room| match self.side {
            Side::BareSend => Conversation::default(),
            Side::Roomcast => Conversation::join(room),
        };
        (0..rooms).map(conversation).collect()
    }

    /// The server has answered each member by now; the bare sender may still be accepting.
    pub fn wait_until_accepted(&mut self) -> Result<()> {
        if self.side == Side::BareSend {
            let line = self.line()?;
            ensure!(line == "accepted", "the bare sender said {line:?}");
        }
        Ok(())
    }

    /// Has the bare sender publish on its own schedule.
    pub fn publish(&mut self, messages: usize) -> Result<()> {
        let orders = self.process.stdin.as_mut().context("this target takes no orders")?;
        writeln!(orders, "{messages}").context("telling the bare sender to publish")
    }

    fn line(&mut self) -> Result<String> {
        let answers = self.process.stdout.as_mut().context("this target says nothing")?;
        let timeout = Timespec::try_from(STALL).context("converting the timeout")?;
        let ready =
            poll(&mut [PollFd::new(answers, PollFlags::IN)], Some(&timeout)).context("waiting for the target")?;
        ensure!(ready > 0, "the bare sender said nothing for {STALL:?}");
        let mut line = [0; 64];
        let length = answers.read(&mut line).context("reading from the bare sender")?;
        ensure!(length > 0, "the bare sender ended early");
        Ok(String::from_utf8_lossy(&line[..length]).trim_end().to_owned())
    }

    /// Ends the process as an operator would; a target that ends badly makes its figures worthless.
    pub fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        if self.side == Side::Roomcast {
            kill_process(Pid::from_child(&self.process), Signal::TERM).context("sending SIGTERM to the server")?;
        }
        let status = self.wait_for_end()?;
        ensure!(status.success(), "{} ended with {status}", self.side);
        Ok(())
    }

    fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().context("waiting for the target's end")? {
                return Ok(status);
            }
            thread::sleep(POLL_INTERVAL);
        }
        bail!("{} had not ended {END_WITHIN:?} after it was told to", self.side)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Both fail only if the process has ended and been waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Becomes the given command; the process keeps its id and dies with the benchmark even if that is killed.
pub fn exec_bound_to_parent(words: &[String]) -> Result<()> {
    die_with_parent()?;
    let (program, arguments) = words.split_first().context("no program to become")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("becoming {program}"))
}

/// A guard's `Drop` does not run when the benchmark itself is killed; the kernel's signal does.
pub fn die_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking to die with the benchmark")
}
