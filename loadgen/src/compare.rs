//! `loadgen compare`: the same load on several targets by turns, A B B A, so that a drift of the machine falls on all alike.
//! Only ratios of one round are believed.

use std::sync::mpsc::Receiver;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::arguments::{CompareArguments, ServerArguments};
use crate::contestant::Contestant;
use crate::end::End;
use crate::measure::{trial, write};
use crate::report::Report;
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
        name: "server, µs per delivery",
        read: |report| Some(report.server.as_ref()?.nanos_per_delivery / 1e3),
        decimals: 3,
    },
    Figure {
        name: "server, private bytes per client",
        read: |report| Some(report.server.as_ref()?.bytes_per_client).filter(|_| !is_limit(report)),
        decimals: 0,
    },
    Figure { name: "deliveries/s", read: |report| Some(report.rooms.deliveries), decimals: 0 },
    Figure { name: "p50, ms", read: |report| Some(report.rooms.latency.p50), decimals: 3 },
    Figure { name: "p99, ms", read: |report| Some(report.rooms.latency.p99), decimals: 3 },
    Figure { name: "connecting, s", read: |report| Some(report.connects.seconds), decimals: 2 },
    Figure {
        name: "generator, µs per delivery",
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
    let contestants = &arguments.contestants;
    let mut runs: Vec<Runs> =
        contestants.iter().map(|side| Runs { contestant: side.to_string(), reports: vec![] }).collect();
    let end = measure_all(arguments, interrupts, &mut runs);
    // What was measured before an error is worth as much as it was.
    println!("{}", table(contestants, &runs));
    if let Some(path) = &arguments.json {
        write(path, &serde_json::to_vec_pretty(&runs)?)?;
    }
    let verdict = verdict(&runs);
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

fn table(contestants: &[Contestant], runs: &[Runs]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let names = contestants.iter().map(|contestant| contestant.target.to_string());
    table.set_header(std::iter::once(String::new()).chain(names));
    for figure in &FIGURES {
        table.add_row(row(figure.name.to_owned(), runs, |of| spread(figure, of)));
        let ratio = format!("  over {}", contestants[0].target);
        table.add_row(row(ratio, runs, |of| Some(format!("{:.2} ×", ratios(figure, of, &runs[0])?))));
    }
    if let Some(limit) = runs.iter().find(|runs| runs.reports.iter().all(is_limit)) {
        let efficiency = |of: &Runs| Some(format!("{:.2}", ratios(&FIGURES[0], limit, of)?));
        table.add_row(row("efficiency: the limit's cost over its own".to_owned(), runs, efficiency));
    }
    table
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
fn verdict(runs: &[Runs]) -> End {
    let mut end = End::Passed;
    for Runs { contestant, reports } in runs {
        let limited = reports.iter().filter_map(|report| report.generator.limited.as_ref());
        if let Some(limited) = limited.clone().next() {
            println!(
                "generator-limited in {} of {} runs of {contestant}: {limited}",
                limited_count(reports),
                reports.len()
            );
        }
        for fault in reports.iter().flat_map(|report| &report.faults) {
            println!("failed, {contestant}: {fault}");
            end = End::Failed;
        }
    }
    end
}

fn limited_count(reports: &[Report]) -> usize {
    reports.iter().filter(|report| report.generator.limited.is_some()).count()
}
