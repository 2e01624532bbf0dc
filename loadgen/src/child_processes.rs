//! Worker processes: this program again, each with its own assignment. They exit when their input ends, so none
//! outlives the coordinator.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Child processes that receive commands and send events, each as one line of JSON.
pub struct ChildProcesses<E> {
    processes: Vec<(Child, ChildStdin)>,
    events: Receiver<(usize, anyhow::Result<E>)>,
}

impl<E: DeserializeOwned + Send + 'static> ChildProcesses<E> {
    /// Starts this program once for each assignment, with a hidden command that reads the assignment from standard
    /// input.
    pub fn start(command: &str, assignments: &[impl Serialize]) -> anyhow::Result<Self> {
        let (sender, events) = channel();
        let start = |(index, assignment)| start_one(command, index, assignment, &sender);
        let processes = assignments.iter().enumerate().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { processes, events })
    }

    /// Sends a command to all processes.
    pub fn send(&mut self, command: &impl Serialize) -> anyhow::Result<()> {
        self.processes.iter_mut().try_for_each(|(_, commands)| write_line(commands, command))
    }

    /// The next event and the index of its process; `None` if there is none within `wait`.
    pub fn receive(&self, wait: Duration) -> anyhow::Result<Option<(usize, E)>> {
        match self.events.recv_timeout(wait) {
            Ok((index, events)) => Ok(Some((index, events?))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("all processes of the load have ended"),
        }
    }

    pub fn process_ids(&self) -> Vec<i32> {
        self.processes.iter().map(|(child, _)| child.id().cast_signed()).collect()
    }

    /// Number of processes.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Closes the input of each process and waits for its exit.
    pub fn end(self) -> anyhow::Result<()> {
        for (mut child, commands) in self.processes {
            drop(commands);
            let status = child.wait().context("waiting for a process of the load")?;
            anyhow::ensure!(status.success(), "a process of the load ended with {status}");
        }
        Ok(())
    }
}

fn start_one<E: DeserializeOwned + Send + 'static>(
    command: &str,
    index: usize,
    assignment: &impl Serialize,
    sender: &Sender<(usize, anyhow::Result<E>)>,
) -> anyhow::Result<(Child, ChildStdin)> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut start = Command::new(program);
    // A process group of its own, so that Ctrl-C reaches only the coordinator, which then stops the others.
    start.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = start.spawn().context("starting a process of the load")?;
    let mut commands = child.stdin.take().context("a process without input")?;
    let events = BufReader::new(child.stdout.take().context("a process without output")?);
    write_line(&mut commands, assignment)?;
    let sender = sender.clone();
    thread::spawn(move || {
        for line in events.lines() {
            let line = line.context("hearing a process of the load");
            let events =
                line.and_then(|line| serde_json::from_str(&line).context("understanding a process of the load"));
            if sender.send((index, events)).is_err() {
                return;
            }
        }
        // Sending fails once the receiver is dropped, after a regular exit.
        let _ = sender.send((index, Err(anyhow!("a process of the load has ended before it was told to"))));
    });
    Ok((child, commands))
}

fn write_line(commands: &mut ChildStdin, command: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    commands.write_all(&line).context("a process of the load has ended")
}
