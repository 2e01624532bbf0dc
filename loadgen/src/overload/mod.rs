//! `loadgen overload`: more than a server can do at once, and what happens to those who read at once and wait as they should.
//! Bounded, so that it ends by itself; judged by what no overload excuses.

mod actor;
mod burst;
mod flood;
mod order;
mod outcome;
mod part;
mod priority;
mod run;
mod show;
mod skim;
mod worker;

use std::sync::mpsc::Receiver;

use serde::Serialize;

use crate::arguments::{OverloadArguments, OverloadLoad};
use crate::end::End;
use crate::output::{self, Sink, Words};
pub use worker::work;

/// The hidden command of a process of an overload.
const WORKER: &str = "overload-worker";

/// Measures and prints.
pub fn run(arguments: &OverloadArguments, interrupts: &Receiver<()>) -> anyhow::Result<End> {
    match &arguments.load {
        OverloadLoad::Burst(arguments) => {
            let json = Sink::open(arguments.json.as_deref())?;
            let report = burst::measure(arguments, interrupts)?;
            conclude(&show::burst(&report), &report, &report.faults, report.interrupted, json)
        }
        OverloadLoad::Flood(arguments) => {
            let json = Sink::open(arguments.json.as_deref())?;
            let report = flood::measure(arguments, interrupts)?;
            conclude(&show::flood(&report), &report, &report.faults, report.interrupted, json)
        }
    }
}

fn conclude(
    table: &str,
    report: &impl Serialize,
    faults: &[String],
    interrupted: bool,
    mut json: Option<Sink>,
) -> anyhow::Result<End> {
    Words::beside(&[&json]).say(table);
    output::write(&mut json, || Ok(serde_json::to_vec_pretty(report)?))?;
    Ok(match (faults, interrupted) {
        (_, true) => End::Interrupted,
        ([], false) => End::Passed,
        _ => End::Failed,
    })
}
