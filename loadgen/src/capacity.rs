//! `loadgen find-capacity`: raises the load until the objective breaks, then narrows down between the last that was carried
//! and the first that was not.

use std::sync::mpsc::Receiver;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::arguments::{CapacityArguments, Vary};
use crate::end::End;
use crate::measure::{trial, write};
use crate::report::table::time;

/// One load on the way.
#[derive(Clone, Debug, Serialize)]
struct Step {
    /// Clients, or messages a second.
    load: u32,
    /// The quantile of the objective, in milliseconds.
    latency: f64,
    deliveries: f64,
    /// Why it was not carried; empty if it was.
    broken: Vec<String>,
    /// Whether the generator, not the server, was at its end.
    generator_limited: bool,
}

/// Measures and prints.
pub fn find(arguments: &CapacityArguments, interrupts: &Receiver<()>) -> anyhow::Result<End> {
    anyhow::ensure!(
        (1..=arguments.to).contains(&arguments.from),
        "--from {}: 1 to --to {}",
        arguments.from,
        arguments.to
    );
    let varied = arguments.vary == Vary::Clients && arguments.load.clients.is_some();
    anyhow::ensure!(!varied, "--clients is what is varied, from --from on: leave it out, or --vary rate");
    let paced = arguments.load.rate.is_some() || arguments.load.in_flight.is_some();
    anyhow::ensure!(arguments.vary == Vary::Clients || !paced, "--vary rate: leave --rate and --in-flight out");
    let mut steps: Vec<Step> = Vec::new();
    let mut search = Search::new(arguments.from, arguments.to, arguments.within);
    while let Some(load) = search.next() {
        eprintln!("{load} {}", unit(arguments.vary));
        let step = match run(arguments, load, interrupts) {
            Err(error) if steps.is_empty() => return Err(error),
            Err(error) => Step::failed(load, &error),
            Ok(Some(step)) => step,
            Ok(None) => {
                show(arguments, &steps)?;
                return Ok(End::Interrupted);
            }
        };
        search.learn(load, step.broken.is_empty());
        steps.push(step);
    }
    show(arguments, &steps)?;
    println!("{}", knee(arguments, &search, &steps));
    Ok(if search.carried.is_some() { End::Passed } else { End::Failed })
}

fn show(arguments: &CapacityArguments, steps: &[Step]) -> anyhow::Result<()> {
    println!("{}", table(arguments, steps));
    arguments.json.as_ref().map_or(Ok(()), |path| write(path, &serde_json::to_vec_pretty(steps)?))
}

impl Step {
    /// A load that could not even be measured.
    fn failed(load: u32, error: &anyhow::Error) -> Self {
        let broken = vec![format!("{error:#}")];
        Self { load, latency: f64::NAN, deliveries: 0.0, broken, generator_limited: false }
    }
}

/// `None` if somebody stopped it.
fn run(arguments: &CapacityArguments, load: u32, interrupts: &Receiver<()>) -> anyhow::Result<Option<Step>> {
    let mut wanted = arguments.load.clone();
    match arguments.vary {
        Vary::Clients => wanted.clients = Some(load),
        Vary::Rate => wanted.rate = Some(f64::from(load)),
    }
    let measured = trial(&wanted.plan(&arguments.targets)?, &arguments.server, interrupts)?;
    let latency = measured.latencies.quantile(arguments.slo.share());
    let generator_limited = measured.report.generator.limited.is_some();
    let mut broken = measured.report.faults;
    broken.extend(arguments.slo.fault(latency));
    let step = Step { load, latency, deliveries: measured.report.rooms.deliveries, broken, generator_limited };
    Ok((!measured.report.interrupted).then_some(step))
}

/// Where the knee is: doubling first, then halving what is between.
#[derive(Debug)]
struct Search {
    next: Option<u32>,
    to: u32,
    within: u32,
    /// The largest load that was carried.
    carried: Option<u32>,
    /// The smallest that was not.
    broken: Option<u32>,
}

impl Search {
    fn new(from: u32, to: u32, within: u32) -> Self {
        Self { next: Some(from), to, within, carried: None, broken: None }
    }

    fn next(&self) -> Option<u32> {
        self.next
    }

    fn learn(&mut self, load: u32, is_carried: bool) {
        if is_carried {
            self.carried = Some(load);
        } else {
            self.broken = Some(load);
        }
        self.next = match (self.carried, self.broken) {
            (Some(carried), None) if carried == self.to => None,
            (Some(carried), None) => Some(carried.saturating_mul(2).min(self.to)),
            (carried, Some(broken)) => {
                let carried = carried.unwrap_or_default();
                let is_near = u64::from(broken - carried) * 100 <= u64::from(broken) * u64::from(self.within);
                let between = carried + (broken - carried) / 2;
                (!is_near && between > carried).then_some(between)
            }
            (None, None) => None,
        };
    }
}

fn table(arguments: &CapacityArguments, steps: &[Step]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([unit(arguments.vary), &arguments.slo.to_string(), "deliveries/s", ""]);
    for step in steps {
        let verdict = match (&step.broken[..], step.generator_limited) {
            ([], false) => "carried".to_owned(),
            ([], true) => "carried, generator-limited".to_owned(),
            (broken, false) => broken.join("; "),
            (broken, true) => format!("generator-limited: {}", broken.join("; ")),
        };
        let latency = format!("{} ms", time(step.latency));
        table.add_row([step.load.to_string(), latency, format!("{:.0}", step.deliveries), verdict]);
    }
    table
}

fn knee(arguments: &CapacityArguments, search: &Search, steps: &[Step]) -> String {
    let unit = unit(arguments.vary);
    let limited = steps.iter().any(|step| step.generator_limited && !step.broken.is_empty());
    let whose = if limited { "; the generator was at its end first, so the server may carry more" } else { "" };
    match (search.carried, search.broken) {
        (Some(carried), Some(broken)) => format!("knee: {carried} {unit} are carried, {broken} are not{whose}"),
        (Some(carried), None) => format!("no knee up to {carried} {unit}: raise --to"),
        (None, _) => format!("no load from {} {unit} down is carried{whose}", arguments.from),
    }
}

fn unit(vary: Vary) -> &'static str {
    match vary {
        Vary::Clients => "clients",
        Vary::Rate => "messages/s",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loads tried against a server that carries so much.
    fn tried(capacity: u32, mut search: Search) -> (Vec<u32>, Option<u32>, Option<u32>) {
        let mut tried = Vec::new();
        while let Some(load) = search.next() {
            tried.push(load);
            search.learn(load, load <= capacity);
        }
        (tried, search.carried, search.broken)
    }

    #[test]
    fn the_knee_is_found_by_doubling_and_halving() {
        let (tried, carried, broken) = tried(5_000, Search::new(1_000, 100_000, 5));
        assert_eq!(tried, [1_000, 2_000, 4_000, 8_000, 6_000, 5_000, 5_500, 5_250]);
        assert_eq!((carried, broken), (Some(5_000), Some(5_250)));
    }

    #[test]
    fn a_server_that_carries_all_or_nothing_ends_the_search_too() {
        assert_eq!(tried(u32::MAX, Search::new(1_000, 3_000, 5)), (vec![1_000, 2_000, 3_000], Some(3_000), None));
        let (tried, carried, broken) = tried(0, Search::new(4, 8, 5));
        assert_eq!((tried, carried, broken), (vec![4, 2, 1], None, Some(1)));
    }
}
