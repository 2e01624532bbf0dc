//! `loadgen find-capacity`: doubles the load until the objective is missed, then bisects between the last load that was
//! carried and the first that was not. Stops at the connection limit of the server.

use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use serde::Serialize;

use crate::arguments::{CapacityArguments, LINES, Vary};
use crate::measure::{command_line, run_once};
use crate::output::{self, Console, OutputFile};
use crate::report::chart::{Axis, Chart, Scale, Series};
use crate::report::html::TablePage;
use crate::report::table::time;
use crate::verdict::Verdict;

/// One measured load of the search.
#[derive(Clone, Debug, Serialize)]
struct Step {
    /// Clients, or messages per second.
    load: u32,
    /// The latency at the quantile of the objective, in milliseconds.
    latency: f64,
    deliveries: f64,
    /// Why the load was not carried; empty if it was.
    broken: Vec<String>,
    /// Whether the generator rather than the server was the bottleneck.
    generator_limited: bool,
    /// Number of clients that a full server admitted; `None` if it was not full.
    full_at: Option<u32>,
}

/// Runs the command.
pub fn find(arguments: &CapacityArguments, interrupts: &Receiver<()>) -> anyhow::Result<Verdict> {
    check(arguments)?;
    let began = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut json = OutputFile::open(arguments.output.json.as_deref())?;
    let mut html = OutputFile::open(arguments.output.html.as_deref())?;
    let console = Console::beside(&[&json, &html]);
    let columns = Columns::of(arguments);
    let mut steps: Vec<Step> = Vec::new();
    let mut search = Search::new(arguments.from, arguments.to, arguments.within);
    let mut is_interrupted = false;
    console.print(&columns.header());
    while let Some(load) = search.next() {
        let step = match run(arguments, load, interrupts) {
            Err(error) if steps.is_empty() => return Err(error),
            Err(error) => Step::failed(load, &error),
            Ok(Some(step)) => step,
            Ok(None) => {
                is_interrupted = true;
                break;
            }
        };
        console.print(&columns.row(&step));
        match step.full_at.filter(|_| arguments.vary == Vary::Clients) {
            Some(clients) => search.record_full(load, clients),
            None => search.record(load, step.broken.is_empty()),
        }
        steps.push(step);
    }
    reasons(&steps).iter().for_each(|reason| console.print(&output::wrapped(reason)));
    let verdict = if is_interrupted { "stopped before its time".to_owned() } else { knee(arguments, &search, &steps) };
    console.print(&output::wrapped(&verdict));
    output::write(&mut json, || Ok(serde_json::to_vec_pretty(&steps)?))?;
    let is_carried = search.carried.is_some();
    output::write(&mut html, || Ok(table_page(arguments, &steps, began, (is_carried, verdict)).page()?.into_bytes()))?;
    console.print_path("report", html.as_ref());
    Ok(match (is_interrupted, is_carried) {
        (true, _) => Verdict::Interrupted,
        (false, true) => Verdict::Passed,
        (false, false) => Verdict::Failed,
    })
}

fn check(arguments: &CapacityArguments) -> anyhow::Result<()> {
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
    Ok(())
}

impl Step {
    /// A load that could not be measured.
    fn failed(load: u32, error: &anyhow::Error) -> Self {
        let broken = vec![format!("{error:#}")];
        Self { load, latency: f64::NAN, deliveries: 0.0, broken, generator_limited: false, full_at: None }
    }

    /// The verdict in a few words, without its reasons.
    fn verdict(&self) -> &'static str {
        match (&self.broken[..], self.full_at, self.generator_limited) {
            ([], _, false) => "carried",
            ([], _, true) => "carried, generator-limited",
            (_, Some(_), _) => "the server is full",
            (_, None, false) => "broken",
            (_, None, true) => "broken, generator-limited",
        }
    }
}

/// Measures one load; `None` if Ctrl-C stopped it.
fn run(arguments: &CapacityArguments, load: u32, interrupts: &Receiver<()>) -> anyhow::Result<Option<Step>> {
    let mut wanted = arguments.load.clone();
    match arguments.vary {
        Vary::Clients => wanted.clients = Some(load),
        Vary::Rate => wanted.rate = Some(f64::from(load)),
    }
    let measured = run_once(&wanted.workload(arguments.targets.all())?, &arguments.server, interrupts)?;
    let latency = measured.latencies.quantile(arguments.slo.quantile());
    let generator_limited = measured.report.generator.limited.is_some();
    let connects = &measured.report.connects;
    let full_at = connects.is_full().then_some(connects.connected);
    let mut broken = measured.report.faults;
    broken.extend(arguments.slo.fault(latency));
    let deliveries = measured.report.rooms.deliveries;
    let step = Step { load, latency, deliveries, broken, generator_limited, full_at };
    Ok((!measured.report.interrupted).then_some(step))
}

/// Searches the largest load that is carried: doubles first, then bisects.
#[derive(Debug)]
struct Search {
    next: Option<u32>,
    to: u32,
    within: u32,
    /// The largest load that was carried.
    carried: Option<u32>,
    /// The smallest load that was not carried.
    broken: Option<u32>,
    /// Number of clients that the server holds, once it has been full.
    full_at: Option<u32>,
}

impl Search {
    fn new(from: u32, to: u32, within: u32) -> Self {
        Self { next: Some(from), to, within, carried: None, broken: None, full_at: None }
    }

    fn next(&self) -> Option<u32> {
        self.next
    }

    /// Records that the server was full. A connection limit is no knee, so the search tries what the server holds once
    /// and stops.
    fn record_full(&mut self, load: u32, clients: u32) {
        let held = clients.min(load.saturating_sub(1)).min(self.full_at.unwrap_or(u32::MAX));
        let was_full = self.full_at.replace(held).is_some();
        self.to = held;
        let is_worth_it = !was_full && self.carried.is_none_or(|carried| carried < held) && held > 0;
        self.next = is_worth_it.then_some(held);
    }

    fn record(&mut self, load: u32, is_carried: bool) {
        if is_carried {
            self.carried = Some(load);
        } else {
            self.broken = Some(load);
        }
        self.next = match (self.carried, self.broken) {
            (Some(carried), None) if carried >= self.to => None,
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

/// The columns of the table, with widths fixed before the first row.
struct Columns {
    names: [String; 3],
    widths: [usize; 3],
}

impl Columns {
    fn of(arguments: &CapacityArguments) -> Self {
        let names = [unit(arguments.vary).to_owned(), arguments.slo.to_string(), "deliveries/s".to_owned()];
        let widths = [0, 1, 2].map(|column: usize| names[column].chars().count().max(12));
        Self { names, widths }
    }

    fn header(&self) -> String {
        let [load, latency, deliveries] = &self.names;
        self.line([load, latency, deliveries], "")
    }

    fn row(&self, step: &Step) -> String {
        let [load, latency, deliveries] = cells(step);
        self.line([&load, &latency, &deliveries], step.verdict())
    }

    fn line(&self, cells: [&str; 3], verdict: &str) -> String {
        let cells = cells.iter().zip(self.widths).map(|(cell, width)| format!("{cell:>width$}"));
        let line = cells.chain([verdict.to_owned()]).collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    }
}

fn cells(step: &Step) -> [String; 3] {
    let latency = if step.latency.is_finite() { format!("{} ms", time(step.latency)) } else { String::new() };
    [step.load.to_string(), latency, format!("{:.0}", step.deliveries)]
}

/// Why loads were not carried. A reason that several loads share is listed once.
fn reasons(steps: &[Step]) -> Vec<String> {
    let mut reasons: Vec<(String, String)> = Vec::new();
    for step in steps.iter().filter(|step| !step.broken.is_empty()) {
        let reason = step.broken.join("; ");
        match reasons.iter_mut().find(|(_, known)| *known == reason) {
            Some((loads, _)) => loads.push_str(&format!(", {}", step.load)),
            None => reasons.push((step.load.to_string(), reason)),
        }
    }
    reasons.into_iter().map(|(loads, reason)| format!("{loads}: {reason}")).collect()
}

fn knee(arguments: &CapacityArguments, search: &Search, steps: &[Step]) -> String {
    let unit = unit(arguments.vary);
    let limited = steps.iter().any(|step| step.generator_limited && !step.broken.is_empty());
    let whose = if limited { "; the generator was at its end first, so the server may carry more" } else { "" };
    let full = search.full_at.map(|held| {
        format!("the server is full at {held} clients: that is its limit of connections (--max-clients, or what its descriptors allow)")
    });
    match (search.carried, search.broken, full) {
        (Some(carried), Some(broken), _) => format!("knee: {carried} {unit} are carried, {broken} are not{whose}"),
        (Some(carried), None, Some(full)) => format!("no knee: {carried} {unit} are carried, and {full}"),
        (Some(carried), None, None) => format!("no knee up to {carried} {unit}: raise --to"),
        (None, None, Some(full)) => full,
        (None, ..) => format!("no load from {} {unit} down is carried{whose}", arguments.from),
    }
}

fn unit(vary: Vary) -> &'static str {
    match vary {
        Vary::Clients => "clients",
        Vary::Rate => "messages/s",
    }
}

fn table_page(arguments: &CapacityArguments, steps: &[Step], began: String, verdict: (bool, String)) -> TablePage {
    let mut by_load: Vec<&Step> = steps.iter().filter(|step| step.latency.is_finite()).collect();
    by_load.sort_by_key(|step| step.load);
    let points = by_load.iter().map(|step| (f64::from(step.load), step.latency));
    let chart = Chart {
        title: "Latency by load".to_owned(),
        x: Axis::new(unit(arguments.vary), Scale::Linear),
        y: Axis::new("milliseconds", Scale::Linear),
        series: vec![Series::unbroken("latency", points)],
        empty: "no load was measured".to_owned(),
        height: 300.0,
    };
    let names = Columns::of(arguments).names;
    let targets: Vec<String> = arguments.targets.all().iter().map(ToString::to_string).collect();
    TablePage {
        kind: "Search for the capacity",
        title: if targets.is_empty() { LINES.to_owned() } else { targets.join(", ") },
        began,
        command: command_line(),
        verdict: vec![verdict],
        heading: "Loads",
        charts: vec![chart],
        header: names.into_iter().chain([String::new()]).collect(),
        rows: steps.iter().map(|step| cells(step).into_iter().chain([step.verdict().to_owned()]).collect()).collect(),
        notes: reasons(steps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loads tried on a server of this capacity.
    fn tried(capacity: u32, mut search: Search) -> (Vec<u32>, Option<u32>, Option<u32>) {
        let mut tried = Vec::new();
        while let Some(load) = search.next() {
            tried.push(load);
            search.record(load, load <= capacity);
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
    fn a_full_server_ends_the_search_at_what_it_holds() {
        let mut search = Search::new(10, 1_000, 5);
        search.record(10, true);
        search.record(20, true);
        search.record_full(40, 25);
        assert_eq!(search.next(), Some(25), "what it holds is tried");
        search.record(25, true);
        assert_eq!((search.next(), search.carried, search.full_at), (None, Some(25), Some(25)));
        let mut search = Search::new(40, 1_000, 5);
        search.record_full(40, 25);
        search.record_full(25, 24);
        assert_eq!(search.next(), None, "others may hold some of its places");
        search = Search::new(40, 1_000, 5);
        search.record_full(40, 0);
        assert_eq!(search.next(), None);
    }

    #[test]
    fn a_server_that_carries_all_or_nothing_ends_the_search_too() {
        assert_eq!(tried(u32::MAX, Search::new(1_000, 3_000, 5)), (vec![1_000, 2_000, 3_000], Some(3_000), None));
        let (tried, carried, broken) = tried(0, Search::new(4, 8, 5));
        assert_eq!((tried, carried, broken), (vec![4, 2, 1], None, Some(1)));
    }
}
