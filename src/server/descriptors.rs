//! The descriptor limit: raised as far as it goes, and what it means in clients.

use crate::transport::http::SPARE_CONNECTIONS;
use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process itself needs: standard streams, the runtime of the main thread, files opened in passing.
const RESERVED: u64 = 32;

/// What a worker needs: epoll, wake-up, signals, listeners, and the HTTP connections of a full server.
const RESERVED_PER_WORKER: u64 = 16 + SPARE_CONNECTIONS as u64;

/// The limit, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What the process may have open.
    pub descriptors: u64,
    /// How many clients are let in.
    pub clients_max: usize,
}

/// Raises the soft limit to the hard one. So many clients are let in as the descriptors allow, or `wanted`.
pub fn raise_limit(wanted: Option<usize>, workers: u16) -> anyhow::Result<Limit> {
    let descriptors = raise().context("cannot raise the descriptor limit")?;
    let clients_max = allowed(descriptors, wanted, workers)?;
    Ok(Limit { descriptors, clients_max })
}

fn raise() -> rustix::io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

fn allowed(descriptors: u64, wanted: Option<usize>, workers: u16) -> anyhow::Result<usize> {
    let reserved = RESERVED + RESERVED_PER_WORKER * u64::from(workers);
    let room = usize::try_from(descriptors.saturating_sub(reserved)).unwrap_or(usize::MAX);
    ensure!(room > 0, "{descriptors} descriptors leave none for clients: {reserved} are needed besides");
    let clients_max = wanted.unwrap_or(room);
    ensure!(
        clients_max <= room,
        "max-clients {clients_max} is more than {room}, what {descriptors} descriptors allow: raise the limit (ulimit -Hn) or lower max-clients"
    );
    Ok(clients_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_the_process_does_not_need() {
        assert_eq!(allowed(20_000, None, 2).unwrap(), 20_000 - 32 - 2 * 32);
        assert_eq!(allowed(20_000, Some(100), 2).unwrap(), 100);
    }

    #[test]
    fn a_wish_beyond_the_limit_is_refused_with_both_figures() {
        let error = allowed(1_000, Some(5_000), 1).unwrap_err().to_string();
        assert!(error.contains("5000") && error.contains("936"), "{error}");
        assert!(allowed(40, None, 1).is_err());
    }
}
