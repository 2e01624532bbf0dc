//! The limit of open descriptors: raises it and derives the number of connections that one process may hold.

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors reserved for everything that is not a connection.
const RESERVED: u64 = 100;

/// Maximum connections of one process. This many keep one core busy, and a process cannot use more than one.
const CONNECTIONS_MAX: u64 = 20_000;

/// Raises the descriptor limit to its hard limit and returns the number of connections that it allows.
pub fn connections_max() -> anyhow::Result<u32> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the descriptor limit")?;
    Ok(hard.saturating_sub(RESERVED).clamp(1, CONNECTIONS_MAX) as u32)
}
