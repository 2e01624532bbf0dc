//! The processes of a load: this program again, each with its part. Never outlive the coordinator: the end of their input ends
//! them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Processes that are told orders of one kind and tell news of another, a line of JSON each.
pub struct Children<N> {
    children: Vec<(Child, ChildStdin)>,
    news: Receiver<(usize, anyhow::Result<N>)>,
}

impl<N: DeserializeOwned + Send + 'static> Children<N> {
    /// Starts this program once for each part, with a hidden command that reads its part from its input.
    pub fn start(command: &str, parts: &[impl Serialize]) -> anyhow::Result<Self> {
        let (sender, news) = channel();
        let start = |(index, part)| start_one(command, index, part, &sender);
        let children = parts.iter().enumerate().map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { children, news })
    }

    /// Tells all of them.
    pub fn tell(&mut self, order: &impl Serialize) -> anyhow::Result<()> {
        self.children.iter_mut().try_for_each(|(_, orders)| write_line(orders, order))
    }

    /// The next news, and whose; `None` if nothing comes in this time.
    pub fn hear(&self, wait: Duration) -> anyhow::Result<Option<(usize, N)>> {
        match self.news.recv_timeout(wait) {
            Ok((index, news)) => Ok(Some((index, news?))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("all processes of the load have ended"),
        }
    }

    /// Their numbers.
    pub fn process_ids(&self) -> Vec<i32> {
        self.children.iter().map(|(child, _)| child.id().cast_signed()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Lets them go.
    pub fn end(self) -> anyhow::Result<()> {
        for (mut child, orders) in self.children {
            drop(orders);
            let status = child.wait().context("waiting for a process of the load")?;
            anyhow::ensure!(status.success(), "a process of the load ended with {status}");
        }
        Ok(())
    }
}

fn start_one<N: DeserializeOwned + Send + 'static>(
    command: &str,
    index: usize,
    part: &impl Serialize,
    sender: &Sender<(usize, anyhow::Result<N>)>,
) -> anyhow::Result<(Child, ChildStdin)> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut start = Command::new(program);
    // A group of its own: Ctrl-C is for the coordinator, who tells the others what to do.
    start.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = start.spawn().context("starting a process of the load")?;
    let mut orders = child.stdin.take().context("a process without input")?;
    let news = BufReader::new(child.stdout.take().context("a process without output")?);
    write_line(&mut orders, part)?;
    let sender = sender.clone();
    thread::spawn(move || {
        for line in news.lines() {
            let line = line.context("hearing a process of the load");
            let news = line.and_then(|line| serde_json::from_str(&line).context("understanding a process of the load"));
            if sender.send((index, news)).is_err() {
                return;
            }
        }
    });
    Ok((child, orders))
}

fn write_line(orders: &mut ChildStdin, order: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    orders.write_all(&line).context("a process of the load has ended")
}
