//! The line to the coordinator: orders on standard input, news on standard output. Never waits for an order.

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

/// Both directions.
pub struct Link {
    orders: File,
    /// The beginning of an order.
    received: Vec<u8>,
    news: BufWriter<io::Stdout>,
}

impl Link {
    /// Opens the pipe and reads its first line, which says what this process has to do.
    ///
    /// All reads go through this type. The buffer of `std::io::stdin` would swallow an order that was written right behind
    /// the first line, and the process would wait for it forever.
    pub fn open<P: DeserializeOwned>() -> anyhow::Result<(Self, P)> {
        let orders = io::stdin().as_fd().try_clone_to_owned().context("taking over standard input")?;
        let mut link = Self { orders: File::from(orders), received: Vec::new(), news: BufWriter::new(io::stdout()) };
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = link.orders.read(&mut buffer).context("reading the part to do")?;
            ensure!(read > 0, "no part to do");
            link.received.extend_from_slice(&buffer[..read]);
            if let Some(end) = memchr::memchr(b'\n', &link.received) {
                let line: Vec<u8> = link.received.drain(..=end).collect();
                return Ok((link, serde_json::from_slice(&line).context("understanding the part to do")?));
            }
        }
    }

    /// Watches standard input from now on. Orders that were read before cause no event: [`Link::hear`] returns them.
    pub fn watch(&self, registry: &Registry, token: Token) -> anyhow::Result<()> {
        nix::fcntl::fcntl(&self.orders, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        Ok(registry.register(&mut SourceFd(&self.orders.as_raw_fd()), token, Interest::READABLE)?)
    }

    /// The orders that have come; `None` once the coordinator has closed the pipe, which tells this process to exit.
    pub fn hear<O: DeserializeOwned>(&mut self) -> anyhow::Result<Option<Vec<O>>> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.orders.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading orders"),
            }
        }
        let Some(end) = memchr::memrchr(b'\n', &self.received) else { return Ok(Some(Vec::new())) };
        let whole: Vec<u8> = self.received.drain(..=end).collect();
        let lines = whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let orders = lines.map(serde_json::from_slice).collect::<Result<_, _>>().context("understanding an order")?;
        Ok(Some(orders))
    }

    /// Tells something.
    pub fn tell(&mut self, news: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.news, news)?;
        self.news.write_all(b"\n").and_then(|()| self.news.flush()).context("telling the coordinator")
    }
}
