//! A latency objective: a quantile and its limit, for example `p99=50ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};

/// A quantile of the latency and the limit that it must not exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The quantile in percent.
    percent: f64,
    limit: Duration,
}

impl Objective {
    /// The quantile as a fraction from 0 to 1.
    pub fn quantile(&self) -> f64 {
        self.percent / 100.0
    }

    /// The limit in milliseconds.
    pub fn limit(&self) -> f64 {
        self.limit.as_secs_f64() * 1e3
    }

    /// The fault to report if this latency exceeds the limit.
    pub fn fault(&self, milliseconds: f64) -> Option<String> {
        (milliseconds > self.limit()).then(|| format!("p{} is {milliseconds:.2} ms: {self} is missed", self.percent))
    }
}

impl FromStr for Objective {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parse = || {
            let (percent, limit) = text.strip_prefix('p')?.split_once('=')?;
            Some(Self { percent: percent.parse().ok()?, limit: humantime::parse_duration(limit).ok()? })
        };
        let objective = parse().with_context(|| format!("{text:?}: a quantile and a time, as p99=50ms"))?;
        let percent = objective.percent;
        ensure!(percent > 0.0 && percent <= 100.0, "{text:?}: p{percent} is no quantile, above 0 to 100");
        Ok(objective)
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "p{}={}", self.percent, humantime::format_duration(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_a_quantile_and_a_time() {
        let objective: Objective = "p99.9=50ms".parse().unwrap();
        assert!((objective.quantile() - 0.999).abs() < 1e-9);
        assert_eq!(objective.fault(50.0), None);
        assert_eq!(objective.fault(50.1).unwrap(), "p99.9 is 50.10 ms: p99.9=50ms is missed");
        for wrong in ["99=50ms", "p99", "p0=1s", "p101=1s", "p99=fast"] {
            assert!(wrong.parse::<Objective>().is_err(), "{wrong}");
        }
    }
}
