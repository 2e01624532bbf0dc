//! A table of medians, each with its ratio to the first broker of the row, which is the sharded one.

use std::time::Duration;

/// One workload on all brokers: their names and the median nanoseconds of a delivery.
pub struct Row {
    pub workload: &'static str,
    pub brokers: Vec<(&'static str, Option<f64>)>,
}

/// The median in nanoseconds per delivery, from samples of a duration and a number of rounds.
pub fn median_per_delivery(samples: &[(Duration, u64)], deliveries: usize) -> Option<f64> {
    let per_delivery = |&(time, rounds): &(Duration, u64)| time.as_nanos() as f64 / (rounds as f64 * deliveries as f64);
    let mut sorted: Vec<f64> = samples.iter().map(per_delivery).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(lower.midpoint(upper))
}

/// Prints Markdown, without the brokers that were left out.
pub fn print(rows: &[Row]) {
    println!("\nMedian nanoseconds per delivery, two threads (times the sharded broker's):\n");
    let names = rows.first().into_iter().flat_map(|row| &row.brokers).map(|(name, _)| *name);
    println!("| workload | {} |", names.clone().collect::<Vec<_>>().join(" | "));
    println!("|---|{}|", names.map(|_| "---:").collect::<Vec<_>>().join("|"));
    for Row { workload, brokers } in rows.iter().filter(|row| row.brokers.iter().any(|(_, median)| median.is_some())) {
        let sharded = brokers[0].1;
        let cells: Vec<String> = brokers.iter().map(|(_, median)| cell(*median, sharded)).collect();
        println!("| {workload} | {} |", cells.join(" | "));
    }
}

fn cell(median: Option<f64>, sharded: Option<f64>) -> String {
    match (median, sharded) {
        (Some(median), Some(sharded)) => format!("{median:.0} ({:.2})", median / sharded),
        (Some(median), None) => format!("{median:.0}"),
        (None, _) => String::new(),
    }
}
