//! `loadgen compare`: runs the same load on several candidates in the order A B B A, so that a drift of the machine
//! affects all of them alike. Only ratios within one round are reported.

use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::arguments::{CompareArguments, ServerArguments};
use crate::candidate::Candidate;
use crate::measure::{command_line, run_once};
use crate::median_range::MedianRange;
use crate::output::{self, Console, OutputFile};
use crate::report::Report;
use crate::report::html::TablePage;
use crate::target::Scheme;
use crate::verdict::Verdict;

/// A compared metric: its name with the unit, how to read it from a report, and its number of decimals.
struct Metric {
    name: &'static str,
    read: fn(&Report) -> Option<f64>,
    decimals: usize,
}

const METRICS: [Metric; 8] = [
    Metric {
        name: "server, µs/delivery",
        read: |report| Some(report.server.as_ref()?.nanos_per_delivery / 1e3),
        decimals: 3,
    },
    Metric {
        name: "server, bytes/client",
        read: |report| Some(report.server.as_ref()?.bytes_per_client).filter(|_| !is_limit(report)),
        decimals: 0,
    },
    Metric { name: "wire, bytes/delivery", read: |report| Some(report.generator.bytes_per_delivery), decimals: 0 },
    Metric { name: "deliveries/s", read: |report| Some(report.rooms.deliveries), decimals: 0 },
    Metric { name: "p50, ms", read: |report| Some(report.rooms.latency.p50), decimals: 3 },
    Metric { name: "p99, ms", read: |report| Some(report.rooms.latency.p99), decimals: 3 },
    Metric { name: "connecting, s", read: |report| Some(report.connects.seconds), decimals: 2 },
    Metric {
        name: "generator, µs/delivery",
        read: |report| Some(report.generator.nanos_per_delivery / 1e3),
        decimals: 3,
    },
];

/// All runs of one candidate.
#[derive(Serialize)]
struct Runs {
    #[serde(rename = "contestant")]
    candidate: String,
    reports: Vec<Report>,
}

/// Runs the command.
pub fn compare(arguments: &CompareArguments, interrupts: &Receiver<()>) -> anyhow::Result<Verdict> {
    anyhow::ensure!(arguments.rounds > 0, "--rounds 0: at least 1");
    let began = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut json = OutputFile::open(arguments.output.json.as_deref())?;
    let mut html = OutputFile::open(arguments.output.html.as_deref())?;
    let console = Console::beside(&[&json, &html]);
    let candidates = &arguments.candidates;
    let mut runs: Vec<Runs> =
        candidates.iter().map(|side| Runs { candidate: side.to_string(), reports: vec![] }).collect();
    let end = measure_all(arguments, interrupts, &mut runs);
    // The runs before an error are still reported.
    let comparison = Comparison { names: short_names(candidates), runs: &runs };
    console.print(&comparison.tables());
    output::write(&mut json, || Ok(serde_json::to_vec_pretty(&runs)?))?;
    let (verdict, notes) = verdict(&comparison);
    comparison.legend().iter().chain(&notes).for_each(|note| console.print(&output::wrapped(note)));
    output::write(&mut html, || Ok(comparison.table_page(began, verdict, &notes).page()?.into_bytes()))?;
    console.print_path("report", html.as_ref());
    end.map(|end| if end == Verdict::Passed { verdict } else { end })
}

/// Measures every candidate once per round. Every other round runs backwards.
fn measure_all(arguments: &CompareArguments, interrupts: &Receiver<()>, runs: &mut [Runs]) -> anyhow::Result<Verdict> {
    let candidates = &arguments.candidates;
    for round in 0..arguments.rounds {
        let mut turns: Vec<usize> = (0..candidates.len()).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            eprintln!("round {} of {}: {}", round + 1, arguments.rounds, candidates[turn]);
            let report = run(&candidates[turn], arguments, interrupts)?;
            if report.interrupted {
                return Ok(Verdict::Interrupted);
            }
            runs[turn].reports.push(report);
        }
    }
    Ok(Verdict::Passed)
}

fn run(candidate: &Candidate, arguments: &CompareArguments, interrupts: &Receiver<()>) -> anyhow::Result<Report> {
    let workload = arguments.load.workload(std::slice::from_ref(&candidate.target))?;
    let server = ServerArguments { pid: None, spawn: candidate.command.clone() };
    Ok(run_once(&workload, &server, interrupts)?.report)
}

/// All candidates with their short names and runs.
struct Comparison<'a> {
    names: Vec<String>,
    runs: &'a [Runs],
}

impl Comparison<'_> {
    /// The rows of the table: a name, then one cell per candidate.
    fn rows(&self) -> Vec<Vec<String>> {
        let Self { names, runs } = self;
        let mut rows = Vec::new();
        for metric in &METRICS {
            rows.push(row(metric.name.to_owned(), runs, |of| spread(metric, of)));
            let ratio = format!("  over {}", names[0]);
            rows.push(row(ratio, runs, |of| Some(format!("{:.2} ×", ratios(metric, of, &runs[0])?))));
        }
        if let Some(limit) = self.limit() {
            let efficiency = |of: &Runs| Some(format!("{:.2}", ratios(&METRICS[0], limit, of)?));
            rows.push(row("efficiency".to_owned(), runs, efficiency));
        }
        rows
    }

    fn limit(&self) -> Option<&Runs> {
        self.runs.iter().find(|runs| runs.reports.iter().all(is_limit))
    }

    /// One table with as many candidates as the terminal is wide enough for, then further tables below it.
    fn tables(&self) -> String {
        let rows = self.rows();
        let Some(columns) = output::columns() else { return self.table(&rows, 0..self.names.len()).to_string() };
        let fits = |table: &Table| table.lines().all(|line| line.chars().count() <= usize::from(columns));
        let mut tables = Vec::new();
        let mut first = 0;
        while first < self.names.len() {
            let widest = (first + 2..=self.names.len()).rev().find(|&end| fits(&self.table(&rows, first..end)));
            let end = widest.unwrap_or(first + 1);
            let mut table = self.table(&rows, first..end);
            if !fits(&table) {
                output::fit(&mut table);
            }
            tables.push(table.to_string());
            first = end;
        }
        tables.join("\n")
    }

    fn table(&self, rows: &[Vec<String>], columns: Range<usize>) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(std::iter::once("").chain(self.names[columns.clone()].iter().map(String::as_str)));
        for row in rows {
            table.add_row(std::iter::once(&row[0]).chain(&row[1 + columns.start..=columns.end]));
        }
        table
    }

    /// Explains the short names.
    fn legend(&self) -> Vec<String> {
        let named = self.names.iter().zip(self.runs).filter(|(name, runs)| **name != runs.candidate);
        let mut legend: Vec<String> = named.map(|(name, runs)| format!("{name}: {}", runs.candidate)).collect();
        legend.extend(self.limit().map(|_| "efficiency: the limit's cost per delivery over its own".to_owned()));
        legend
    }

    fn table_page(&self, began: String, verdict: Verdict, notes: &[String]) -> TablePage {
        let words = if verdict == Verdict::Passed { "Every run was well" } else { "Some runs failed" };
        TablePage {
            kind: "Comparison",
            title: self.names.join(", "),
            began,
            command: command_line(),
            verdict: vec![(verdict == Verdict::Passed, words.to_owned())],
            heading: "Median of all rounds, and its spread",
            charts: Vec::new(),
            header: std::iter::once(String::new()).chain(self.names.iter().cloned()).collect(),
            rows: self.rows(),
            notes: self.legend().into_iter().chain(notes.iter().cloned()).collect(),
        }
    }
}

/// Short names: the program or the port, with the scheme, and a number where two would be equal.
fn short_names(candidates: &[Candidate]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for Candidate { target, command } in candidates {
        let program = command.as_deref().and_then(|command| command.split_whitespace().next());
        let program = program.and_then(|program| program.rsplit('/').next());
        let scheme = &target.scheme_name()[..];
        let name = match program {
            _ if target.scheme == Scheme::Limit => "limit".to_owned(),
            Some(program) if program.starts_with(scheme) => program.to_owned(),
            Some(program) => format!("{program} {scheme}"),
            None => format!("{scheme} :{}", target.address.port()),
        };
        let same = names.iter().filter(|known| known.split(" #").next() == Some(&name)).count();
        names.push(if same == 0 { name } else { format!("{name} #{}", same + 1) });
    }
    names
}

fn row(name: String, runs: &[Runs], cell: impl Fn(&Runs) -> Option<String>) -> Vec<String> {
    let cells = runs.iter().map(|of| cell(of).unwrap_or_default());
    std::iter::once(name).chain(cells).collect()
}

fn spread(metric: &Metric, runs: &Runs) -> Option<String> {
    let decimals = metric.decimals;
    MedianRange::of(runs.reports.iter().filter_map(metric.read)).map(|spread| format!("{spread:.decimals$}"))
}

/// The ratio of a metric between two candidates, round by round.
fn ratios(metric: &Metric, of: &Runs, over: &Runs) -> Option<MedianRange> {
    let rounds = of.reports.iter().zip(&over.reports);
    let ratio = |(of, over): (&Report, &Report)| Some((metric.read)(of)? / (metric.read)(over)?);
    MedianRange::of(rounds.filter_map(ratio).filter(|ratio| ratio.is_finite()))
}

fn is_limit(report: &Report) -> bool {
    report.workload.targets.iter().any(|weighted| weighted.target.scheme == Scheme::Limit)
}

/// The verdict, with a note for each fault and for each candidate whose runs were limited by the generator.
fn verdict(comparison: &Comparison) -> (Verdict, Vec<String>) {
    let (mut end, mut notes) = (Verdict::Passed, Vec::new());
    for (name, Runs { reports, .. }) in comparison.names.iter().zip(comparison.runs) {
        let mut limited = reports.iter().filter_map(|report| report.generator.limited.as_ref());
        if let Some(limited) = limited.next() {
            let count = limited_count(reports);
            notes.push(format!("generator-limited in {count} of {} runs of {name}: {limited}", reports.len()));
        }
        for fault in reports.iter().flat_map(|report| &report.faults) {
            notes.push(format!("failed, {name}: {fault}"));
            end = Verdict::Failed;
        }
    }
    (end, notes)
}

fn limited_count(reports: &[Report]) -> usize {
    reports.iter().filter(|report| report.generator.limited.is_some()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(words: &[&str]) -> Vec<String> {
        let candidates: Vec<Candidate> = words.iter().map(|words| words.parse().expect("a candidate")).collect();
        short_names(&candidates)
    }

    #[test]
    fn names_are_short_and_told_apart() {
        let lines = "tcp://127.0.0.1:8080 target/release/roomcast --workers 1";
        let websocket = "ws://127.0.0.1:3000/ws target/release/roomcast --workers 1";
        let nats = "nats://127.0.0.1:4222 /usr/sbin/nats-server -p 4222";
        assert_eq!(sides(&["limit", lines, websocket, nats]), ["limit", "roomcast tcp", "roomcast ws", "nats-server"]);
        assert_eq!(sides(&[lines, lines, "tcp://127.0.0.1:8080"]), ["roomcast tcp", "roomcast tcp #2", "tcp :8080"]);
        let tls = "tls://127.0.0.1:8080 target/release/roomcast --workers 1 --tls both";
        assert_eq!(sides(&[lines, tls, "wss://127.0.0.1:3000/ws"]), ["roomcast tcp", "roomcast tls", "wss :3000"]);
    }
}
