//! What metrics are made of: numbers that one task counts and anybody reads, and their exposition as text. Knows none of the
//! things that are counted.
//!
//! A count is a plain load and store of an atomic that only its owner writes, so nothing is contended and a scrape waits
//! for nobody.

mod process;

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number with one owner, who counts up, or sets it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts up. For the owner alone: two would lose counts.
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Counts down. For the owner alone.
    pub fn subtract(&self, fewer: u64) {
        self.0.store(self.get().wrapping_sub(fewer), Ordering::Relaxed);
    }

    /// Replaces the number. For the owner alone.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
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

/// Histogram, by how long they were. One owner.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Those within each bound but not within the one before; the last is for those over every bound.
    buckets: [Counter; BUCKETS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    /// Counts a time, so many times. A few nanoseconds.
    pub fn record(&self, time: Duration, times: u64) {
        let bucket = BUCKETS.partition_point(|(bound, _)| *bound < time);
        self.buckets[bucket].add(times);
        self.nanoseconds.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).wrapping_mul(times));
    }
}

/// Metrics as the Prometheus text exposition format 0.0.4 has them.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// The media type of the text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

    /// One number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.sample(name, "", value);
    }

    /// One number that goes up, under a name that the rules of counters would not have.
    pub fn untyped(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "untyped");
        self.sample(name, "", value);
    }

    /// One number that goes up.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(String::new(), value)]);
    }

    /// Numbers that go up, each with its labels as they stand between the braces.
    pub fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, u64)>) {
        self.head(name, help, "counter");
        for (labels, value) in values {
            self.sample(name, &labels, value);
        }
    }

    /// Numbers that go up and down, each with its labels.
    pub fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (String, u64)>) {
        self.head(name, help, "gauge");
        for (labels, value) in values {
            self.sample(name, &labels, value);
        }
    }

    /// The times of all owners together.
    pub fn histogram<'a>(&mut self, name: &str, help: &str, owners: impl Iterator<Item = &'a Histogram> + Clone) {
        self.head(name, help, "histogram");
        let in_bucket = |bucket: usize| owners.clone().map(|times| times.buckets[bucket].get()).sum::<u64>();
        let mut count = 0;
        for (bucket, (_, bound)) in BUCKETS.iter().enumerate() {
            count += in_bucket(bucket);
            self.sample(&format!("{name}_bucket"), &format!("le=\"{bound}\""), count);
        }
        count += in_bucket(BUCKETS.len());
        self.sample(&format!("{name}_bucket"), "le=\"+Inf\"", count);
        let nanoseconds: u64 = owners.map(|times| times.nanoseconds.get()).sum();
        self.sample(&format!("{name}_sum"), "", nanoseconds as f64 / 1e9);
        self.sample(&format!("{name}_count"), "", count);
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes every byte");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        writeln!(self.text, "{name}{open}{labels}{close} {value}").expect("a string takes every byte");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_goes_up_and_down() {
        let count = Counter::default();
        count.add(5);
        count.subtract(2);
        assert_eq!(count.get(), 3);
    }

    #[test]
    fn numbers_stand_alone_or_with_labels() {
        let mut exposition = Exposition::default();
        exposition.gauge("rooms", "Rooms.", 2);
        exposition.counters("ends", "Ends.", [("reason=\"quit\"".to_owned(), 1)]);
        let text = exposition.into_text();
        let rooms = "# HELP rooms Rooms.\n# TYPE rooms gauge\nrooms 2\n";
        assert_eq!(text, format!("{rooms}# HELP ends Ends.\n# TYPE ends counter\nends{{reason=\"quit\"}} 1\n"));
    }

    #[test]
    fn times_of_all_owners_add_up_bound_by_bound() {
        let owners = [Histogram::default(), Histogram::default()];
        owners[0].record(Duration::from_micros(50), 2);
        owners[1].record(Duration::from_micros(51), 1);
        owners[1].record(Duration::from_secs(11), 1);
        let mut exposition = Exposition::default();
        exposition.histogram("t_seconds", "Histogram.", owners.iter());
        let text = exposition.into_text();
        for line in [
            "t_seconds_bucket{le=\"0.00005\"} 2\n",
            "t_seconds_bucket{le=\"0.0001\"} 3\n",
            "t_seconds_bucket{le=\"10\"} 3\n",
            "t_seconds_bucket{le=\"+Inf\"} 4\n",
            "t_seconds_sum 11.000151\n",
            "t_seconds_count 4\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
