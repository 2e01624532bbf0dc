//! CPU time, memory and context switches of the server process, read from `/proc`. Never asks the server itself.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use procfs::process::{MemoryMap, Process, all_processes};

use super::first_memory;
use crate::clock::Nanos;
use crate::listeners::listening_sockets;
use crate::report::ServerReport;

/// A process that is observed through `/proc`.
pub struct ServerProcess(Process);

/// CPU time and context switches of a process so far.
#[derive(Clone, Debug)]
struct Usage {
    /// Nanoseconds on a processor by thread.
    processor: HashMap<i32, u64>,
    /// Voluntary context switches.
    voluntary: u64,
    /// Involuntary context switches.
    involuntary: u64,
}

/// Resource usage of the server during one load.
pub struct ServerUsage<'a> {
    watched: &'a ServerProcess,
    /// Whether no earlier load on this process is known.
    is_fresh: bool,
    memory_before: u64,
    memory: u64,
    began: Nanos,
    before: Usage,
    nanos: u64,
    elapsed: Duration,
    voluntary: u64,
    involuntary: u64,
}

impl<'a> ServerUsage<'a> {
    /// Starts before any client connects.
    pub fn begin(watched: &'a ServerProcess) -> anyhow::Result<Self> {
        let (memory, before) = (watched.private_bytes()?, watched.used()?);
        let first = first_memory::remembered(&watched.0, memory);
        let (is_fresh, memory_before) = (first.is_none(), first.unwrap_or(memory));
        let (nanos, voluntary, involuntary) = (0, 0, 0);
        let (began, elapsed) = (Nanos::now(), Duration::ZERO);
        Ok(Self { watched, is_fresh, memory_before, memory, began, before, nanos, elapsed, voluntary, involuntary })
    }

    /// Records the memory with all clients and starts to count, before any message is published.
    pub fn load_begins(&mut self) -> anyhow::Result<()> {
        self.memory = self.watched.private_bytes()?;
        self.before = self.watched.used()?;
        self.began = Nanos::now();
        Ok(())
    }

    /// Stops counting, after the last delivery.
    pub fn load_ends(&mut self) -> anyhow::Result<()> {
        let used = self.watched.used()?;
        self.elapsed = Nanos::now().since(self.began);
        self.nanos = used.nanos_since(&self.before);
        self.voluntary = used.voluntary.saturating_sub(self.before.voluntary);
        self.involuntary = used.involuntary.saturating_sub(self.before.involuntary);
        Ok(())
    }

    /// The report for this number of clients and deliveries.
    pub fn report(&self, clients: u32, deliveries: u64) -> ServerReport {
        let per_delivery = |count: u64| count as f64 / deliveries.max(1) as f64;
        ServerReport {
            process_id: self.watched.process_id(),
            nanos_per_delivery: per_delivery(self.nanos),
            cores: self.nanos as f64 / self.elapsed.as_nanos().max(1) as f64,
            bytes_per_client: self.memory.saturating_sub(self.memory_before) as f64 / f64::from(clients.max(1)),
            bytes: self.memory,
            bytes_before: self.memory_before,
            is_fresh: self.is_fresh,
            voluntary_switches_per_delivery: per_delivery(self.voluntary),
            involuntary_switches_per_delivery: per_delivery(self.involuntary),
        }
    }
}

impl ServerProcess {
    /// The process with this number.
    pub fn by_id(process_id: i32) -> anyhow::Result<Self> {
        Ok(Self(Process::new(process_id).with_context(|| format!("no process {process_id}"))?))
    }

    /// The process on this host that listens on this address, if `/proc` lets this user see it.
    pub fn by_listener(address: SocketAddr) -> Option<Self> {
        let sockets = listening_sockets(address);
        let mut processes = all_processes().ok()?.filter_map(Result::ok);
        processes.find(|process| holds_any(process.pid(), &sockets)).map(Self)
    }

    pub fn process_id(&self) -> i32 {
        self.0.pid()
    }

    /// Resource usage so far. Exact only while the threads sleep: the kernel adds the time of a running thread at its
    /// next tick.
    fn used(&self) -> anyhow::Result<Usage> {
        let mut used = Usage { processor: HashMap::new(), voluntary: 0, involuntary: 0 };
        for task in self.0.tasks().context("listing the server's threads")? {
            // A thread may exit between the listing and the read.
            let Ok(task) = task else { continue };
            let (Ok(times), Ok(status)) = (task.schedstat(), task.status()) else { continue };
            used.processor.insert(task.tid, times.sum_exec_runtime);
            used.voluntary += status.voluntary_ctxt_switches.unwrap_or_default();
            used.involuntary += status.nonvoluntary_ctxt_switches.unwrap_or_default();
        }
        ensure!(!used.processor.is_empty(), "no thread of process {} may be looked at", self.process_id());
        Ok(used)
    }

    /// Resident anonymous memory in bytes, cheap enough to poll; `None` once the process has exited.
    pub fn private_bytes_now(&self) -> Option<u64> {
        let kibibytes = self.0.status().ok()?.rssanon?;
        Some(kibibytes * 1024)
    }

    /// Anonymous memory in bytes. Code pages are left out, because other processes share them.
    fn private_bytes(&self) -> anyhow::Result<u64> {
        let rollup = self.0.smaps_rollup().context("reading the server's memory")?;
        let of_map = |map: MemoryMap| map.extension.map.get("Anonymous").copied().unwrap_or_default();
        Ok(rollup.memory_map_rollup.into_iter().map(of_map).sum())
    }
}

impl Usage {
    /// CPU nanoseconds since an earlier reading, without threads that have exited since.
    fn nanos_since(&self, earlier: &Self) -> u64 {
        let before = |thread: &i32| earlier.processor.get(thread).copied().unwrap_or_default();
        // Less than before if another thread has reused the number.
        let since = |(thread, now): (&i32, &u64)| now.saturating_sub(before(thread));
        self.processor.iter().map(since).sum()
    }
}

/// Whether any thread of the process has one of these sockets open. Threads are searched one by one, because each may
/// have a descriptor table of its own.
fn holds_any(process_id: i32, sockets: &HashSet<String>) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process_id}/task")) else { return false };
    let descriptors = tasks.flatten().filter_map(|task| fs::read_dir(task.path().join("fd")).ok()).flatten().flatten();
    let mut links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_where_it_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let watched = ServerProcess::by_listener(address).unwrap();
        assert_eq!(watched.process_id(), std::process::id() as i32);
        drop(listener);
        assert!(ServerProcess::by_listener(address).is_none());
    }

    #[test]
    fn what_it_uses_only_grows() {
        let watched = ServerProcess::by_id(std::process::id() as i32).unwrap();
        let before = watched.used().unwrap();
        let mut bytes = vec![0u8; 8 << 20];
        bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
        assert!(watched.private_bytes().unwrap() > bytes.len() as u64);
        assert!(watched.used().unwrap().nanos_since(&before) > 0, "{}", bytes[1000]);
    }
}
