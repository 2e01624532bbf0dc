//! The line to the coordinator: orders on standard input, news on standard output. Never waits for an order.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::Context;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Both directions.
pub struct Link {
    orders: File,
    /// The beginning of an order.
    received: Vec<u8>,
    news: BufWriter<io::Stdout>,
}

/// What has come from the coordinator.
#[derive(Debug)]
pub enum Told<O> {
    /// These orders.
    Orders(Vec<O>),
    /// To go.
    Leave,
}

impl Link {
    /// Watches standard input.
    pub fn open(registry: &Registry, token: Token) -> anyhow::Result<Self> {
        let orders = io::stdin().as_fd().try_clone_to_owned().context("taking over standard input")?;
        let orders = File::from(orders);
        nix::fcntl::fcntl(&orders, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        registry.register(&mut SourceFd(&orders.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { orders, received: Vec::new(), news: BufWriter::new(io::stdout()) })
    }

    /// What has come.
    pub fn hear<O: DeserializeOwned>(&mut self) -> anyhow::Result<Told<O>> {
        let mut buffer = [0; 4096];
        loop {
            match self.orders.read(&mut buffer) {
                Ok(0) => return Ok(Told::Leave),
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading orders"),
            }
        }
        let Some(end) = memchr::memrchr(b'\n', &self.received) else { return Ok(Told::Orders(Vec::new())) };
        let whole: Vec<u8> = self.received.drain(..=end).collect();
        let lines = whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let orders = lines.map(serde_json::from_slice).collect::<Result<_, _>>().context("understanding an order")?;
        Ok(Told::Orders(orders))
    }

    /// Tells something.
    pub fn tell(&mut self, news: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.news, news)?;
        self.news.write_all(b"\n").and_then(|()| self.news.flush()).context("telling the coordinator")
    }
}
