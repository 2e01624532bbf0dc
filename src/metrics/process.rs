//! What Prometheus expects of every process, from what the kernel says of this one.

use std::fs;

use procfs::process::Process;
use rustix::process::{Resource, getrlimit};

use super::Exposition;

/// The descriptor table of the thread that asks.
const DESCRIPTORS: &str = "/proc/thread-self/fd";

impl Exposition {
    /// The metrics of the process itself. Each is left out where the kernel does not tell it.
    pub fn process(&mut self) {
        let stat = Process::myself().and_then(|process| process.stat()).ok();
        if let Some(stat) = &stat {
            let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
            let cpu = "Seconds of processor time that the server has taken, in the kernel and outside of it.";
            self.one("process_cpu_seconds_total", cpu, "counter", seconds(stat.utime + stat.stime));
            let resident = stat.rss * procfs::page_size();
            self.gauge("process_resident_memory_bytes", "Bytes of memory that the server occupies.", resident);
            self.gauge(
                "process_virtual_memory_bytes",
                "Bytes of address space that the server has mapped.",
                stat.vsize,
            );
            if let Ok(booted) = procfs::boot_time_secs() {
                let start = "When the server started, in seconds since 1970-01-01 UTC.";
                self.one("process_start_time_seconds", start, "gauge", booted as f64 + seconds(stat.starttime));
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

    fn one(&mut self, name: &str, help: &str, kind: &str, value: f64) {
        self.head(name, help, kind);
        self.sample(name, "", value);
    }
}

/// How many are open. The kernel tells since Linux 6.2; before, counting would look at each while clients wait.
fn open_descriptors() -> Option<u64> {
    fs::metadata(DESCRIPTORS).ok().map(|folder| folder.len()).filter(|&open| open > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process_what_prometheus_asks() {
        let mut out = Exposition::default();
        out.process();
        let text = out.into_text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(|value| value.parse::<f64>().unwrap())
        };
        let resident = value("process_resident_memory_bytes").unwrap();
        assert!(resident > 100_000.0 && resident < value("process_virtual_memory_bytes").unwrap(), "{text}");
        assert!(value("process_start_time_seconds").unwrap() > 1.5e9, "{text}");
        assert!(value("process_cpu_seconds_total").unwrap() >= 0.0, "{text}");
        let (open, max) = (value("process_open_fds"), value("process_max_fds").unwrap());
        assert!(open.is_none_or(|open| (3.0..=max).contains(&open)), "{text}");
    }
}
