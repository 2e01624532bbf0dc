//! `loadgen compare`: the same load on several targets by turns, A B B A, so that a drift of the machine falls on all alike.
//! Only ratios of one round are believed.

use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::arguments::{CompareArguments, ServerArguments};
use crate::contestant::Contestant;
use crate::end::End;
use crate::measure::{command_line, trial};
use crate::output::{self, Sink, Words};
use crate::report::Report;
use crate::report::html::Sheet;
use crate::spread::Spread;
use crate::target::Scheme;

/// A figure that is compared: its name, its unit, how it is read off a report, and how many decimals it deserves.
struct Figure {
    name: &'static str,
    read: fn(&Report) -> Option<f64>,
    decimals: usize,
}

const FIGURES: [Figure; 7] = [
    Figure {
        name: "server, µs/delivery",
        read: |report| Some(report.server.as_ref()?.nanos_per_delivery / 1e3),
        decimals: 3,
    },
    Figure {
        name: "server, bytes/client",
        read: |report| Some(report.server.as_ref()?.bytes_per_client).filter(|_| !is_limit(report)),
        decimals: 0,
    },
    Figure { name: "deliveries/s", read: |report| Some(report.rooms.deliveries), decimals: 0 },
    Figure { name: "p50, ms", read: |report| Some(report.rooms.latency.p50), decimals: 3 },
    Figure { name: "p99, ms", read: |report| Some(report.rooms.latency.p99), decimals: 3 },
    Figure { name: "connecting, s", read: |report| Some(report.connects.seconds), decimals: 2 },
    Figure {
        name: "generator, µs/delivery",
        read: |report| Some(report.generator.nanos_per_delivery / 1e3),
        decimals: 3,
    },
];

/// All runs of one contestant.
#[derive(Serialize)]
struct Runs {
    contestant: String,
    reports: Vec<Report>,
}

/// Measures and prints.
pub fn compare(arguments: &CompareArguments, interrupts: &Receiver<()>) -> anyhow::Result<End> {
    anyhow::ensure!(arguments.rounds > 0, "--rounds 0: at least 1");
    let began = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut json = Sink::open(arguments.json.as_deref())?;
    let mut html = Sink::open(arguments.html.as_deref())?;
    let words = Words::beside(&[&json, &html]);
    let contestants = &arguments.contestants;
    let mut runs: Vec<Runs> =
        contestants.iter().map(|side| Runs { contestant: side.to_string(), reports: vec![] }).collect();
    let end = measure_all(arguments, interrupts, &mut runs);
    // What was measured before an error is worth as much as it was.
    let sides = Sides { names: short_names(contestants), runs: &runs };
    words.say(&sides.tables());
    output::write(&mut json, || Ok(serde_json::to_vec_pretty(&runs)?))?;
    let (verdict, notes) = verdict(&sides);
    sides.legend().iter().chain(&notes).for_each(|note| words.say(&output::wrapped(note)));
    output::write(&mut html, || Ok(sides.sheet(began, verdict, &notes).page()?.into_bytes()))?;
    words.say_where("report", html.as_ref());
    end.map(|end| if end == End::Passed { verdict } else { end })
}

/// Every contestant in every round, the rounds by turns in one order and the other.
fn measure_all(arguments: &CompareArguments, interrupts: &Receiver<()>, runs: &mut [Runs]) -> anyhow::Result<End> {
    let contestants = &arguments.contestants;
    for round in 0..arguments.rounds {
        let mut turns: Vec<usize> = (0..contestants.len()).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            eprintln!("round {} of {}: {}", round + 1, arguments.rounds, contestants[turn]);
            let report = run(&contestants[turn], arguments, interrupts)?;
            if report.interrupted {
                return Ok(End::Interrupted);
            }
            runs[turn].reports.push(report);
        }
    }
    Ok(End::Passed)
}

fn run(contestant: &Contestant, arguments: &CompareArguments, interrupts: &Receiver<()>) -> anyhow::Result<Report> {
    let plan = arguments.load.plan(std::slice::from_ref(&contestant.target))?;
    let server = ServerArguments { pid: None, spawn: contestant.command.clone() };
    Ok(trial(&plan, &server, interrupts)?.report)
}

/// All contestants, by short names.
struct Sides<'a> {
    names: Vec<String>,
    runs: &'a [Runs],
}

impl Sides<'_> {
    /// Names of rows, and a cell for each contestant.
    fn rows(&self) -> Vec<Vec<String>> {
        let Self { names, runs } = self;
        let mut rows = Vec::new();
        for figure in &FIGURES {
            rows.push(row(figure.name.to_owned(), runs, |of| spread(figure, of)));
            let ratio = format!("  over {}", names[0]);
            rows.push(row(ratio, runs, |of| Some(format!("{:.2} ×", ratios(figure, of, &runs[0])?))));
        }
        if let Some(limit) = self.limit() {
            let efficiency = |of: &Runs| Some(format!("{:.2}", ratios(&FIGURES[0], limit, of)?));
            rows.push(row("efficiency".to_owned(), runs, efficiency));
        }
        rows
    }

    fn limit(&self) -> Option<&Runs> {
        self.runs.iter().find(|runs| runs.reports.iter().all(is_limit))
    }

    /// As many contestants beside each other as the terminal has room for, the others below.
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

    fn table(&self, rows: &[Vec<String>], sides: Range<usize>) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(std::iter::once("").chain(self.names[sides.clone()].iter().map(String::as_str)));
        for row in rows {
            table.add_row(std::iter::once(&row[0]).chain(&row[1 + sides.start..=sides.end]));
        }
        table
    }

    /// What the short names stand for.
    fn legend(&self) -> Vec<String> {
        let named = self.names.iter().zip(self.runs).filter(|(name, runs)| **name != runs.contestant);
        let mut legend: Vec<String> = named.map(|(name, runs)| format!("{name}: {}", runs.contestant)).collect();
        legend.extend(self.limit().map(|_| "efficiency: the limit's cost per delivery over its own".to_owned()));
        legend
    }

    fn sheet(&self, began: String, verdict: End, notes: &[String]) -> Sheet {
        let words = if verdict == End::Passed { "Every run was well" } else { "Some runs failed" };
        Sheet {
            kind: "Comparison",
            title: self.names.join(", "),
            began,
            command: command_line(),
            verdict: vec![(verdict == End::Passed, words.to_owned())],
            heading: "Median of all rounds, and its spread",
            charts: Vec::new(),
            header: std::iter::once(String::new()).chain(self.names.iter().cloned()).collect(),
            rows: self.rows(),
            notes: self.legend().into_iter().chain(notes.iter().cloned()).collect(),
        }
    }
}

/// The program that is started, or where it listens; with its transport, and a number where that is not enough.
fn short_names(contestants: &[Contestant]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for Contestant { target, command } in contestants {
        let program = command.as_deref().and_then(|command| command.split_whitespace().next());
        let program = program.and_then(|program| program.rsplit('/').next());
        let name = match (target.scheme, program) {
            (Scheme::Limit, _) => "limit".to_owned(),
            (scheme, Some(program)) if program.starts_with(scheme.name()) => program.to_owned(),
            (scheme, Some(program)) => format!("{program} {}", scheme.name()),
            (scheme, None) => format!("{} :{}", scheme.name(), target.address.port()),
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

fn spread(figure: &Figure, runs: &Runs) -> Option<String> {
    let decimals = figure.decimals;
    Spread::of(runs.reports.iter().filter_map(figure.read)).map(|spread| format!("{spread:.decimals$}"))
}

/// The figure of one over the other's, round by round.
fn ratios(figure: &Figure, of: &Runs, over: &Runs) -> Option<Spread> {
    let rounds = of.reports.iter().zip(&over.reports);
    let ratio = |(of, over): (&Report, &Report)| Some((figure.read)(of)? / (figure.read)(over)?);
    Spread::of(rounds.filter_map(ratio).filter(|ratio| ratio.is_finite()))
}

fn is_limit(report: &Report) -> bool {
    report.plan.targets.iter().any(|share| share.target.scheme == Scheme::Limit)
}

/// A figure of a run that failed is worth nothing; one that the generator limited, little. Both are said.
fn verdict(sides: &Sides) -> (End, Vec<String>) {
    let (mut end, mut notes) = (End::Passed, Vec::new());
    for (name, Runs { reports, .. }) in sides.names.iter().zip(sides.runs) {
        let mut limited = reports.iter().filter_map(|report| report.generator.limited.as_ref());
        if let Some(limited) = limited.next() {
            let count = limited_count(reports);
            notes.push(format!("generator-limited in {count} of {} runs of {name}: {limited}", reports.len()));
        }
        for fault in reports.iter().flat_map(|report| &report.faults) {
            notes.push(format!("failed, {name}: {fault}"));
            end = End::Failed;
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
        let contestants: Vec<Contestant> = words.iter().map(|words| words.parse().expect("a contestant")).collect();
        short_names(&contestants)
    }

    #[test]
    fn names_are_short_and_told_apart() {
        let lines = "tcp://127.0.0.1:8080 target/release/roomcast --workers 1";
        let websocket = "ws://127.0.0.1:3000/ws target/release/roomcast --workers 1";
        let nats = "nats://127.0.0.1:4222 /usr/sbin/nats-server -p 4222";
        assert_eq!(sides(&["limit", lines, websocket, nats]), ["limit", "roomcast tcp", "roomcast ws", "nats-server"]);
        assert_eq!(sides(&[lines, lines, "tcp://127.0.0.1:8080"]), ["roomcast tcp", "roomcast tcp #2", "tcp :8080"]);
    }
}
