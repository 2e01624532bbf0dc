//! Two sides measured in turn, and the figures of many runs as a median with its spread. Never keeps the best run only.

use crate::target::Side;
use anyhow::{Context, Result};
use std::fmt;

/// One measurement of both sides, taken one right after the other.
pub struct Pair<T> {
    pub first: T,
    pub second: T,
}

/// Runs A B B A …, so that a drift of the machine falls on both sides alike.
pub fn interleaved<T>(
    pairs: usize,
    [first, second]: [Side; 2],
    mut run: impl FnMut(Side) -> Result<T>,
) -> Result<Vec<Pair<T>>> {
    let run_pair = |pair: usize| {
        let mut run = |side| run(side).with_context(|| format!("pair {} of {pairs}, {side}", pair + 1));
        if pair.is_multiple_of(2) {
            let first = run(first)?;
            Ok(Pair { first, second: run(second)? })
        } else {
            let second = run(second)?;
            Ok(Pair { first: run(first)?, second })
        }
    };
    (0..pairs).map(run_pair).collect()
}

/// The figures of several runs, in ascending order. Written as `median (min..max)`, with the asked precision.
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    fn median(&self) -> f64 {
        let Self(figures) = self;
        match figures.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => figures[length / 2],
            length => f64::midpoint(figures[length / 2 - 1], figures[length / 2]),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = formatter.precision().unwrap_or(2);
        let (Some(min), Some(max)) = (self.0.first(), self.0.last()) else {
            return formatter.write_str("no run");
        };
        write!(formatter, "{:.decimals$} ({min:.decimals$}..{max:.decimals$})", self.median())
    }
}
