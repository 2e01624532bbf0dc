//! Counters, histograms and their text exposition for Prometheus. Knows none of the things that are counted.
//!
//! Each counter has a single writer, which counts with a plain load and store of an atomic: nothing is contended, and a
//! scrape waits for nobody.

mod buckets;
mod process;

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::buckets::BucketCounts;
pub use self::process::ResidentMemory;

/// A counter or gauge with a single writer, readable from any thread. Two writers would lose counts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number.
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Subtracts from the number.
    pub fn subtract(&self, fewer: u64) {
        self.set(self.get().wrapping_sub(fewer));
    }

    /// Replaces the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads the number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of the buckets, with their labels in seconds.
const BUCKETS: [(Duration, &str); 14] = [
    (Duration::from_micros(50), "0.00005"),
    (Duration::from_micros(100), "0.0001"),
    (Duration::from_micros(250), "0.00025"),
    (Duration::from_micros(500), "0.0005"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_micros(2_500), "0.0025"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_secs(1), "1"),
    (Duration::from_secs(10), "10"),
];

/// A histogram of durations with a single writer.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Durations above the previous bound and up to this one; the last bucket holds those above every bound.
    buckets: [Counter; BUCKETS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    /// Counts a duration `times` times. Costs a few nanoseconds.
    pub fn record(&self, time: Duration, times: u64) {
        let bucket = BUCKETS.partition_point(|(bound, _)| *bound < time);
        self.buckets[bucket].add(times);
        self.nanoseconds.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).wrapping_mul(times));
    }
}

/// Metrics in the Prometheus text exposition format 0.0.4.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// The media type of the text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

    /// Appends a gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family("gauge", name, help, [(String::new(), value)]);
    }

    /// Appends a counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(String::new(), value)]);
    }

    /// Appends counters of one name, each with its labels as they stand between the braces.
    pub fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, u64)>) {
        self.family("counter", name, help, values);
    }

    /// Appends gauges of one name, each with its labels.
    pub fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, u64)>) {
        self.family("gauge", name, help, values);
    }

    /// Appends the samples of one name and type, each with its labels.
    pub fn family<V: Display>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        self.head(kind, name, help);
        for (labels, value) in values {
            self.sample(name, &labels, value);
        }
    }

    /// Appends the sum of histograms.
    pub fn histogram<'a>(&mut self, name: &str, help: &str, parts: impl Iterator<Item = &'a Histogram> + Clone) {
        self.head("histogram", name, help);
        let bucket_name = format!("{name}_bucket");
        let bounds = BUCKETS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        let mut count = 0;
        for (bucket, bound) in bounds.enumerate() {
            count += parts.clone().map(|part| part.buckets[bucket].get()).sum::<u64>();
            self.sample(&bucket_name, &format!("le=\"{bound}\""), count);
        }
        let nanoseconds: u64 = parts.map(|part| part.nanoseconds.get()).sum();
        self.sample(&format!("{name}_sum"), "", nanoseconds as f64 / 1e9);
        self.sample(&format!("{name}_count"), "", count);
    }

    /// Returns the whole text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes every byte");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        writeln!(self.text, "{name}{open}{labels}{close} {value}").expect("a string takes every byte");
    }
}
