//! What the benchmark was asked to do. Never measures, and knows no server.

use anyhow::{Context, Result, bail, ensure};
use std::{fmt, time::Duration};

const SECONDS_MAX: u64 = 600;

/// One question that the benchmark answers.
#[derive(Clone, Copy)]
pub enum Measurement {
    Delivery,
    Transports,
    Memory,
    Connect,
}

/// The command line, parsed and within its bounds.
pub struct Arguments {
    pub measurements: Vec<Measurement>,
    /// Runs of each side.
    pub pairs: usize,
    /// How long messages are published in one run.
    pub window: Duration,
    /// Worker threads of the server, and as many shards.
    pub workers: usize,
}

impl Arguments {
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut parsed = Self { measurements: Vec::new(), pairs: 7, window: Duration::from_secs(5), workers: 1 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo adds it to every benchmark's arguments.
                "--bench" => {}
                "--pairs" => parsed.pairs = count(word, words.next())?,
                "--seconds" => parsed.window = seconds(word, words.next())?,
                "--workers" => parsed.workers = count(word, words.next())?,
                name => parsed.measurements.push(measurement(name)?),
            }
        }
        if parsed.measurements.is_empty() {
            parsed.measurements =
                vec![Measurement::Delivery, Measurement::Transports, Measurement::Memory, Measurement::Connect];
        }
        Ok(parsed)
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, workers, window, .. } = self;
        let seconds = window.as_secs();
        write!(formatter, "roomcast --workers {workers} --shards {workers}; {pairs} pairs, interleaved A B B A, ")?;
        write!(formatter, "fresh processes for each run, windows of {seconds} s; figures are medians (min..max)")
    }
}

fn measurement(name: &str) -> Result<Measurement> {
    match name {
        "delivery" => Ok(Measurement::Delivery),
        "transports" => Ok(Measurement::Transports),
        "memory" => Ok(Measurement::Memory),
        "connect" => Ok(Measurement::Connect),
        _ => bail!(
            "unknown argument {name:?}: delivery, transports, memory, connect, --pairs N, --seconds N or --workers N"
        ),
    }
}

fn count(flag: &str, value: Option<&String>) -> Result<usize> {
    let value = value.with_context(|| format!("{flag} without its number"))?;
    let number = value.parse().with_context(|| format!("{flag} {value:?} is no number"))?;
    ensure!(number > 0, "{flag} 0: at least 1");
    Ok(number)
}

fn seconds(flag: &str, value: Option<&String>) -> Result<Duration> {
    let seconds = count(flag, value)? as u64;
    ensure!(seconds <= SECONDS_MAX, "{flag} {seconds} exceeds {SECONDS_MAX}");
    Ok(Duration::from_secs(seconds))
}
