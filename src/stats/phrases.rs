//! Numbers in sentences, as people read them.

use std::fmt;
use std::time::Duration;

pub fn was(number: u64) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

/// `no clients`, `1 client`, `15 000 clients`.
pub fn count(number: u64, noun: &str) -> String {
    match number {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", grouped(number)),
    }
}

/// The digits of a number in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(" ")
}

/// A share in whole per cent, rounded down: 99.9 % is not everything.
pub fn percent(share: f64) -> String {
    format!("{} %", (share * 100.0).floor())
}

/// Shows a duration with two digits.
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros() as f64;
        let (value, unit) = match micros {
            micros if micros < 1e3 => (micros, "µs"),
            micros if micros < 1e6 => (micros / 1e3, "ms"),
            micros => (micros / 1e6, "s"),
        };
        let digits = usize::from(value < 9.95 && unit != "µs");
        write!(out, "{value:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_read_them() {
        let shown = [0, 80, 999, 1_000, 2_456, 23_456, 999_999, 1_250_000, 10_000_000];
        let shown = shown.map(|micros| Shown(Duration::from_micros(micros)).to_string());
        assert_eq!(shown, ["0 µs", "80 µs", "999 µs", "1.0 ms", "2.5 ms", "23 ms", "1000 ms", "1.2 s", "10 s"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
