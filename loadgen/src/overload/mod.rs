//! `loadgen overload`: gives a server more than it can do at once, for a bounded time, and checks that clients which
//! read promptly lose nothing.

mod burst;
mod client;
mod flood;
mod line_counter;
mod messages;
mod order;
mod results;
mod run;
mod tables;
mod worker;

use std::sync::mpsc::Receiver;

use serde::Serialize;

use crate::arguments::{OverloadArguments, OverloadLoad};
use crate::output::{self, Console, OutputFile};
use crate::verdict::Verdict;
pub use worker::work;

/// The hidden command of a worker process.
const WORKER: &str = "overload-worker";

/// Runs the command.
pub fn run(arguments: &OverloadArguments, interrupts: &Receiver<()>) -> anyhow::Result<Verdict> {
    match &arguments.load {
        OverloadLoad::Burst(arguments) => {
            let json = OutputFile::open(arguments.json.as_deref())?;
            let report = burst::measure(arguments, interrupts)?;
            conclude(&tables::burst(&report), &report, &report.faults, report.interrupted, json)
        }
        OverloadLoad::Flood(arguments) => {
            let json = OutputFile::open(arguments.json.as_deref())?;
            let report = flood::measure(arguments, interrupts)?;
            conclude(&tables::flood(&report), &report, &report.faults, report.interrupted, json)
        }
    }
}

fn conclude(
    table: &str,
    report: &impl Serialize,
    faults: &[String],
    interrupted: bool,
    mut json: Option<OutputFile>,
) -> anyhow::Result<Verdict> {
    Console::beside(&[&json]).print(table);
    output::write(&mut json, || Ok(serde_json::to_vec_pretty(report)?))?;
    Ok(match (faults, interrupted) {
        (_, true) => Verdict::Interrupted,
        ([], false) => Verdict::Passed,
        _ => Verdict::Failed,
    })
}
