//! The descriptor limit: raised as far as it goes, and what it means in clients.

use std::fmt;

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{ConfigError, DescriptorTables};
use crate::transport::http::SPARE_CONNECTIONS;

/// What a table holds for the process itself: standard streams, the runtime of the main thread, files opened in passing.
const RESERVED: u64 = 32;

/// What every table holds for each worker: epoll, wake-up, signals, listeners. Of those of other workers it has copies.
const RESERVED_PER_WORKER: u64 = 16;

/// The limit, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What a descriptor table may hold.
    pub descriptors: u64,
    /// How many tables there are.
    pub tables: u16,
    /// How many clients are let in.
    pub clients_max: usize,
    /// How many of them one table has room for.
    pub table_clients_max: usize,
}

/// Raises the soft limit to the hard one. So many clients are let in as the descriptors allow, or `wanted`.
pub fn raise_limit(wanted: Option<usize>, workers: u16, tables: DescriptorTables) -> anyhow::Result<Limit> {
    let descriptors = raise().context("cannot raise the descriptor limit")?;
    Layout::new(descriptors, workers, tables).allow(wanted)
}

/// Refuses what [`raise_limit`] would refuse, and changes nothing.
pub fn check_limit(wanted: Option<usize>, workers: u16, tables: DescriptorTables) -> anyhow::Result<()> {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    Layout::new(descriptors, workers, tables).allow(wanted).map(drop)
}

fn raise() -> rustix::io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Who shares which descriptors.
#[derive(Clone, Copy)]
struct Layout {
    /// Of each table.
    descriptors: u64,
    workers: u16,
    tables: u16,
}

impl Layout {
    fn new(descriptors: u64, workers: u16, tables: DescriptorTables) -> Self {
        let tables = match tables {
            DescriptorTables::Shared => 1,
            DescriptorTables::PerWorker => workers,
        };
        Self { descriptors, workers, tables }
    }

    fn allow(self, wanted: Option<usize>) -> anyhow::Result<Limit> {
        let room = self.room();
        ensure!(room > 0, "{self} leave none for clients: {} are needed besides", self.reserved());
        let clients_max = wanted.unwrap_or(room);
        let instead = Self { tables: self.workers, ..self };
        let remedies = if instead.room() >= clients_max {
            ", lower max-clients or use descriptor-tables per-worker"
        } else {
            " or lower max-clients"
        };
        if clients_max > room {
            let rule = format!("at most {room}, what {self} allow: raise the limit (ulimit -Hn){remedies}");
            return Err(ConfigError::new("max-clients", clients_max, rule).into());
        }
        let Self { descriptors, tables, .. } = self;
        Ok(Limit { descriptors, tables, clients_max, table_clients_max: self.table_room() })
    }

    /// What a table holds besides clients: what all workers have, and the HTTP connections of those whose table it is when
    /// they are full.
    fn reserved(self) -> u64 {
        let sharing = u64::from(self.workers / self.tables);
        RESERVED + RESERVED_PER_WORKER * u64::from(self.workers) + SPARE_CONNECTIONS as u64 * sharing
    }

    /// The clients of a table.
    fn table_room(self) -> usize {
        usize::try_from(self.descriptors.saturating_sub(self.reserved())).unwrap_or(usize::MAX)
    }

    /// The clients of all tables.
    fn room(self) -> usize {
        self.table_room().saturating_mul(usize::from(self.tables))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tables > 1 {
            write!(out, "{} tables of ", self.tables)?;
        }
        write!(out, "{} descriptors", self.descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::DescriptorTables::{PerWorker, Shared};
    use super::*;

    fn refused(layout: Layout, wanted: usize) -> String {
        layout.allow(Some(wanted)).unwrap_err().to_string()
    }

    #[test]
    fn clients_get_what_the_process_does_not_need() {
        let shared = Layout::new(20_000, 2, Shared);
        assert_eq!(shared.allow(None).unwrap().clients_max, 20_000 - 32 - 2 * 32);
        assert_eq!(shared.allow(Some(100)).unwrap().clients_max, 100);
    }

    #[test]
    fn with_a_table_per_worker_each_has_room_for_what_the_workers_do_not_need() {
        let limit = Layout::new(20_000, 3, PerWorker).allow(None).unwrap();
        assert_eq!(limit.table_clients_max, 20_000 - 32 - 3 * 16 - 16);
        assert_eq!((limit.tables, limit.clients_max), (3, 3 * limit.table_clients_max));
        let one = |tables| Layout::new(20_000, 1, tables).allow(None).unwrap().clients_max;
        assert_eq!(one(PerWorker), one(Shared));
        assert_eq!(Layout::new(u64::MAX, 2, PerWorker).allow(Some(5)).unwrap().clients_max, 5);
    }

    #[test]
    fn a_wish_beyond_the_limit_is_refused_with_both_figures() {
        let error = refused(Layout::new(1_000, 1, Shared), 5_000);
        assert!(error.contains("5000") && error.contains("936"), "{error}");
        assert!(error.ends_with("or lower max-clients"), "one worker has one table either way: {error}");
        let error = refused(Layout::new(1_000, 2, PerWorker), 5_000);
        assert!(error.contains("at most 1840, what 2 tables of 1000 descriptors allow"), "{error}");
        assert!(Layout::new(40, 1, Shared).allow(None).is_err());
    }

    #[test]
    fn tables_per_worker_are_named_where_they_would_grant_the_wish() {
        let named = |workers, wanted| {
            refused(Layout::new(1_000, workers, Shared), wanted).ends_with("or use descriptor-tables per-worker")
        };
        assert!(named(2, 1_840));
        assert!(!named(2, 1_841));
        assert!(!named(1, 1_000));
    }
}
