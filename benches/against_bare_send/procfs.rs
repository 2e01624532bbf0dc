//! What the kernel says about a process and about this host. Never asks the process itself: both targets are read from
//! outside, in the same way.

use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fs, thread};

/// Nanoseconds on a processor of each thread of a process.
pub struct ProcessorTime(BTreeMap<String, u64>);

impl ProcessorTime {
    /// Exact while the threads sleep: the kernel adds a running thread's time at its next tick.
    pub fn of(process_id: u32) -> Result<Self> {
        let tasks = format!("/proc/{process_id}/task");
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(&tasks).with_context(|| format!("listing {tasks}"))? {
            let task = task.with_context(|| format!("listing {tasks}"))?;
            let statistics = read(&task.path().join("schedstat").to_string_lossy())?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), number(&statistics, 0)?);
        }
        Ok(Self(threads))
    }

    /// Nanoseconds from `earlier` until now, over all threads.
    pub fn since(&self, earlier: &Self) -> Result<u64> {
        let Self(threads) = self;
        let lost = earlier.0.keys().find(|thread| !threads.contains_key(*thread));
        ensure!(
            lost.is_none(),
            "thread {} of the target ended, and its processor time with it",
            lost.map_or("", |name| name)
        );
        Ok(threads.values().sum::<u64>() - earlier.0.values().sum::<u64>())
    }
}

/// Bytes of memory that only this process maps.
pub fn private_bytes(process_id: u32) -> Result<u64> {
    let rollup = read(&format!("/proc/{process_id}/smaps_rollup"))?;
    let kibibytes = |name: &str| -> Result<u64> {
        let line = rollup.lines().find(|line| line.starts_with(name));
        number(line.with_context(|| format!("smaps_rollup without {name}"))?, 1)
    };
    Ok((kibibytes("Private_Clean:")? + kibibytes("Private_Dirty:")?) * 1_024)
}

/// The host in one line.
pub fn host() -> Result<String> {
    let cores = thread::available_parallelism().context("counting the cores")?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let processors = read("/proc/cpuinfo")?;
    let model = processors.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    Ok(format!("host: {cores} cores ({}), Linux {}, loopback", model.unwrap_or("unknown model"), kernel.trim_end()))
}

/// Ticks of all processors since boot: in all, and of them stolen by the hypervisor.
pub struct ProcessorTicks {
    all: u64,
    stolen: u64,
}

pub fn processor_ticks() -> Result<ProcessorTicks> {
    /// Of the numbers after `cpu` in `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. The two after
    /// them, guest times, are contained in the first two.
    const STEAL: usize = 7;
    let statistics = read("/proc/stat")?;
    let ticks = (1..=STEAL + 1).map(|field| number(&statistics, field)).collect::<Result<Vec<u64>>>()?;
    Ok(ProcessorTicks { all: ticks.iter().sum(), stolen: ticks[STEAL] })
}

pub fn stolen_percent_since(earlier: &ProcessorTicks) -> Result<f64> {
    let now = processor_ticks()?;
    Ok((now.stolen - earlier.stolen) as f64 * 100.0 / (now.all - earlier.all).max(1) as f64)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// The word at this place of the text, which the kernel promises to be a number.
fn number(text: &str, index: usize) -> Result<u64> {
    let word = text.split_ascii_whitespace().nth(index).with_context(|| format!("no word {index} in {text:?}"))?;
    word.parse().with_context(|| format!("{word:?} is no number"))
}
