//! Stores the counts as readable text, and compares new counts with the stored ones.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

/// The largest change that is not reported, in percent. Repeated counts differ by far less.
const TOLERANCE_PERCENT: f64 = 3.0;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt");
const HEAD: &str =
    "# Instructions for each message, delivery, member or command, as `benches/instructions/cases.rs` says.
# Written by `cargo bench -p instructions -- --update`; not to be edited.
";
const PLATFORM: &str = "platform: ";

/// The counts of all cases, by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    /// The platform of the counts. Counts of different platforms cannot be compared.
    pub platform: String,
    pub counts: Vec<(String, u64)>,
}

impl Counts {
    pub fn load() -> Result<Self> {
        Self::parse(&fs::read_to_string(PATH).with_context(|| format!("reading {PATH}"))?)
    }

    pub fn save(&self) -> Result<()> {
        let counts = self.counts.iter().map(|(name, count)| format!("{name:<28} {count:>8}\n"));
        let text = format!("{HEAD}{PLATFORM}{}\n{}", self.platform, counts.collect::<String>());
        print!("{text}");
        fs::write(PATH, text).with_context(|| format!("writing {PATH}"))
    }

    pub fn of(&self, name: &str) -> Option<u64> {
        let found = self.counts.iter().find(|(known, _)| known == name);
        found.map(|(_, count)| *count)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let platform =
            lines.next().and_then(|line| line.strip_prefix(PLATFORM)).context("counts without a platform")?;
        let count = |line: &str| {
            let (name, count) = line.split_once(' ').with_context(|| format!("{line:?} is no name and count"))?;
            Ok((name.to_owned(), count.trim().parse().with_context(|| format!("{line:?} has no count"))?))
        };
        Ok(Self { platform: platform.to_owned(), counts: lines.map(count).collect::<Result<_>>()? })
    }
}

/// The result of comparing a count with the stored one.
pub enum Verdict {
    Same,
    More { percent: f64 },
    Less { percent: f64 },
    Unknown,
}

impl Verdict {
    pub fn of(kept: Option<u64>, now: u64) -> Self {
        let Some(kept) = kept else { return Self::Unknown };
        let percent = (now as f64 / kept as f64 - 1.0) * 100.0;
        match percent {
            _ if percent > TOLERANCE_PERCENT => Self::More { percent },
            _ if percent < -TOLERANCE_PERCENT => Self::Less { percent },
            _ => Self::Same,
        }
    }

    /// A count without a stored one fails as well, because it would never be compared.
    pub fn fails(&self) -> bool {
        matches!(self, Self::More { .. } | Self::Unknown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => out.write_str("same"),
            Self::More { percent } => write!(out, "FAILED: {percent:+.1} %, over {TOLERANCE_PERCENT} %"),
            Self::Less { percent } => write!(out, "{percent:+.1} %: keep it with -- --update"),
            Self::Unknown => out.write_str("FAILED: none is kept; -- --update"),
        }
    }
}
