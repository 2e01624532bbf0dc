//! The descriptor limit: raised as far as it goes, and what it means in connections of one process.

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process has open besides.
const RESERVED: u64 = 100;

/// No process is worth more than one core, and a core has enough to do with so many.
const CONNECTIONS_MAX: u64 = 20_000;

/// So many connections may one process have; its limit is raised as far as it goes.
pub fn connections_max() -> anyhow::Result<u32> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the descriptor limit")?;
    Ok(hard.saturating_sub(RESERVED).clamp(1, CONNECTIONS_MAX) as u32)
}
