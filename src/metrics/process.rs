//! The `process_*` metrics that Prometheus expects of every process, from what the kernel says of this one.

use std::fs;

use procfs::FromRead;
use procfs::process::{Process, StatM};
use rustix::process::{Resource, getrlimit};

use super::Exposition;

/// The descriptor table of the calling thread.
const DESCRIPTORS: &str = "/proc/thread-self/fd";

/// The pages of memory of this process, in one short line.
const MEMORY: &str = "/proc/self/statm";

/// Bytes of memory that the process occupies. Reads one file of the kernel, which has the number ready; `None` where the
/// kernel does not provide it.
pub fn resident_bytes() -> Option<u64> {
    StatM::from_file(MEMORY).ok().map(|pages| pages.resident * procfs::page_size())
}

impl Exposition {
    /// Appends the metrics of the process. Leaves out those that the kernel does not provide.
    pub fn process(&mut self) {
        let stat = Process::myself().and_then(|process| process.stat()).ok();
        if let Some(stat) = &stat {
            let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
            let help = "Seconds of processor time that the server has taken, in the kernel and outside of it.";
            let cpu = seconds(stat.utime + stat.stime);
            self.family("counter", "process_cpu_seconds_total", help, [(String::new(), cpu)]);
            let resident = stat.rss * procfs::page_size();
            self.gauge("process_resident_memory_bytes", "Bytes of memory that the server occupies.", resident);
            let help = "Bytes of address space that the server has mapped.";
            self.gauge("process_virtual_memory_bytes", help, stat.vsize);
            if let Ok(booted) = procfs::boot_time_secs() {
                let help = "When the server started, in seconds since 1970-01-01 UTC.";
                let start = booted as f64 + seconds(stat.starttime);
                self.family("gauge", "process_start_time_seconds", help, [(String::new(), start)]);
            }
        }
        if let Some(open) = open_descriptors() {
            let help =
                "File descriptors that are open; with descriptor-tables per-worker, those of the worker that answers.";
            self.gauge("process_open_fds", help, open);
        }
        let help = "File descriptors that may be open at once; with descriptor-tables per-worker, for each worker.";
        self.gauge("process_max_fds", help, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
    }
}

/// The number of open descriptors, which the kernel provides since Linux 6.2. Before, it would have to be counted
/// descriptor by descriptor while clients wait.
fn open_descriptors() -> Option<u64> {
    fs::metadata(DESCRIPTORS).ok().map(|folder| folder.len()).filter(|&open| open > 0)
}
