//! The pipes to the coordinator: commands on standard input, events on standard output. Never blocks for a command.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, ensure};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that one read of standard input asks for.
const READ_BYTES: usize = 16 * 1024;

/// The two pipes.
pub struct CoordinatorPipe {
    commands: File,
    /// The part of a command that has arrived so far.
    received: Vec<u8>,
    output: BufWriter<io::Stdout>,
}

impl CoordinatorPipe {
    /// Opens the pipes and reads the assignment, which is the first line.
    ///
    /// All reads go through this type. The buffer of `std::io::stdin` would swallow a command that was written right
    /// behind the assignment, and the process would wait for it forever.
    pub fn open<A: DeserializeOwned>() -> anyhow::Result<(Self, A)> {
        let commands = io::stdin().as_fd().try_clone_to_owned().context("taking over standard input")?;
        let mut coordinator =
            Self { commands: File::from(commands), received: Vec::new(), output: BufWriter::new(io::stdout()) };
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = coordinator.commands.read(&mut buffer).context("reading the part to do")?;
            ensure!(read > 0, "no part to do");
            coordinator.received.extend_from_slice(&buffer[..read]);
            if let Some(end) = memchr::memchr(b'\n', &coordinator.received) {
                let line: Vec<u8> = coordinator.received.drain(..=end).collect();
                return Ok((coordinator, serde_json::from_slice(&line).context("understanding the part to do")?));
            }
        }
    }

    /// Registers standard input. Commands that arrived with the assignment cause no event; [`CoordinatorPipe::receive`]
    /// returns them.
    pub fn watch(&self, registry: &Registry, token: Token) -> anyhow::Result<()> {
        nix::fcntl::fcntl(&self.commands, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        Ok(registry.register(&mut SourceFd(&self.commands.as_raw_fd()), token, Interest::READABLE)?)
    }

    /// The commands that have arrived; `None` once the coordinator has closed the pipe, which tells this process to
    /// exit.
    pub fn receive<C: DeserializeOwned>(&mut self) -> anyhow::Result<Option<Vec<C>>> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.commands.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading commands"),
            }
        }
        let Some(end) = memchr::memrchr(b'\n', &self.received) else { return Ok(Some(Vec::new())) };
        let whole: Vec<u8> = self.received.drain(..=end).collect();
        let lines = whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let commands =
            lines.map(serde_json::from_slice).collect::<Result<_, _>>().context("understanding a command")?;
        Ok(Some(commands))
    }

    /// Sends an event.
    pub fn send(&mut self, output: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.output, output)?;
        self.output.write_all(b"\n").and_then(|()| self.output.flush()).context("telling the coordinator")
    }
}
