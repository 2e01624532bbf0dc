//! The file in which the server says where it listens. Never waits for longer than a stalled run may take.

use crate::crowd::STALL;
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Child},
    thread,
    time::{Duration, Instant},
};

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Removed when dropped.
pub struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    pub fn new() -> Self {
        let path = env::temp_dir().join(format!("roomcast-bench-{}.ready", process::id()));
        // A leftover of a killed run that had the same process id would be believed.
        let _ = fs::remove_file(&path);
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the server has written where this listener of it is.
    pub fn wait_for_address(&self, listener: &str, server: &mut Child) -> Result<SocketAddr> {
        let deadline = Instant::now() + STALL;
        while Instant::now() < deadline {
            if let Some(address) = self.address(listener)? {
                return Ok(address);
            }
            if let Some(status) = server.try_wait().context("watching the server start")? {
                bail!("the server ended with {status} before it was ready");
            }
            thread::sleep(POLL_INTERVAL);
        }
        bail!("the server was not ready within {STALL:?}")
    }

    /// `None` while the file is not there or not yet whole.
    fn address(&self, listener: &str) -> Result<Option<SocketAddr>> {
        let content = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            content => content.with_context(|| format!("reading {}", self.path.display()))?,
        };
        let mut whole_lines = content.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let Some(address) = whole_lines.find_map(|line| line.strip_prefix(listener)) else {
            return Ok(None);
        };
        address.parse().map(Some).with_context(|| format!("{address:?} in the ready file is no address"))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
