//! The `process_*` metrics that Prometheus expects of every process, from what the kernel says of this one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use procfs::FromRead;
use procfs::process::{Process, StatM};
use rustix::process::{Resource, getrlimit};

use super::Exposition;

/// The descriptor table of the calling thread.
const DESCRIPTORS: &str = "/proc/thread-self/fd";

/// The pages of memory of this process, in one short line.
const MEMORY: &str = "/proc/self/statm";

/// The length of that line is below this, in bytes.
const MEMORY_BYTES_MAX: usize = 256;

/// Reads again and again how much memory the process occupies. Holds a descriptor, so that it needs none where there are
/// none left.
#[derive(Debug)]
pub struct ResidentMemory(Option<File>);

impl ResidentMemory {
    /// Opens the file of the kernel.
    pub fn open() -> Self {
        Self(File::open(MEMORY).ok())
    }

    /// Bytes of memory that the process occupies. One system call, for a number that the kernel has ready; `None` where it
    /// does not provide it.
    pub fn bytes(&self) -> Option<u64> {
        let mut line = [0; MEMORY_BYTES_MAX];
        let length = self.0.as_ref()?.read_at(&mut line, 0).ok()?;
        let pages = StatM::from_read(&line[..length]).ok()?;
        Some(pages.resident * procfs::page_size())
    }
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
