//! The descriptor limit: raises it as far as possible, and computes how many clients it allows.

use std::fmt;

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, ConfigError, DescriptorTables};
use crate::transport::http::SPARE_CONNECTIONS;

/// What a table holds for the process itself: standard streams, the runtime of the main thread, files opened in
/// passing.
const RESERVED: u64 = 32;

/// What every table holds for each worker: epoll, wake-up, signals, listeners. It has copies of those of other workers.
const RESERVED_PER_WORKER: u64 = 16;

/// The descriptors of the process.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// The limit of one table.
    pub limit: u64,
    pub tables: u16,
    workers: u16,
}

impl Descriptors {
    /// Raises the soft limit to the hard one.
    pub fn raise(config: &Config) -> anyhow::Result<Self> {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        raised.context("cannot raise the descriptor limit")?;
        Ok(Self::after_raise(config))
    }

    /// What [`Self::raise`] would return, without a change of the limit.
    pub fn after_raise(config: &Config) -> Self {
        let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        Self::new(limit, config.workers, config.descriptor_tables)
    }

    fn new(limit: u64, workers: u16, tables: DescriptorTables) -> Self {
        let tables = match tables {
            DescriptorTables::Shared => 1,
            DescriptorTables::PerWorker => workers,
        };
        Self { limit, tables, workers }
    }

    /// The connection limit: `wanted`, or what the descriptors allow.
    ///
    /// # Errors
    /// The descriptors do not allow `wanted`, or allow no client at all.
    pub fn clients_max(self, wanted: Option<usize>) -> anyhow::Result<usize> {
        let allowed = self.allowed();
        ensure!(allowed > 0, "{self} leave none for clients: {} are needed besides", self.reserved());
        let clients_max = wanted.unwrap_or(allowed);
        if clients_max > allowed {
            let per_worker = Self { tables: self.workers, ..self };
            let remedies = match per_worker.allowed() >= clients_max {
                true => ", lower max-clients or use descriptor-tables per-worker",
                false => " or lower max-clients",
            };
            let rule = format!("at most {allowed}, what {self} allow: raise the limit (ulimit -Hn){remedies}");
            return Err(ConfigError::new("max-clients", clients_max, rule).into());
        }
        Ok(clients_max)
    }

    /// What a table holds besides clients: what all workers have, and the spare HTTP connections of the workers that
    /// use the table.
    fn reserved(self) -> u64 {
        let sharing = u64::from(self.workers / self.tables);
        RESERVED + RESERVED_PER_WORKER * u64::from(self.workers) + SPARE_CONNECTIONS as u64 * sharing
    }

    /// The clients that one table allows.
    pub fn allowed_per_table(self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.reserved())).unwrap_or(usize::MAX)
    }

    /// The clients that all tables allow.
    fn allowed(self) -> usize {
        self.allowed_per_table().saturating_mul(usize::from(self.tables))
    }
}

impl fmt::Display for Descriptors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tables > 1 {
            write!(out, "{} tables of ", self.tables)?;
        }
        write!(out, "{} descriptors", self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::DescriptorTables::{PerWorker, Shared};
    use super::*;

    #[test]
    fn clients_get_the_descriptors_that_the_process_does_not_need() {
        for (limit, workers, tables, wanted, clients_max) in [
            (20_000, 2, Shared, None, 20_000 - 32 - 2 * 32),
            (20_000, 2, Shared, Some(100), 100),
            (20_000, 3, PerWorker, None, 3 * (20_000 - 32 - 3 * 16 - 16)),
            (20_000, 1, PerWorker, None, 20_000 - 32 - 32),
            (u64::MAX, 2, PerWorker, Some(5), 5),
        ] {
            let descriptors = Descriptors::new(limit, workers, tables);
            assert_eq!(descriptors.clients_max(wanted).unwrap(), clients_max, "{descriptors:?}");
        }
        assert!(Descriptors::new(40, 1, Shared).clients_max(None).is_err());
    }
}
