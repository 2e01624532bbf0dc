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

use std::path::Path;
use std::sync::mpsc::Receiver;

use anyhow::Context;
use serde::Serialize;

use crate::arguments::{OverloadArguments, OverloadLoad};
use crate::end::End;
pub use worker::work;

/// The hidden command of a process of an overload.
const WORKER: &str = "overload-worker";

/// Measures and prints.
pub fn run(arguments: &OverloadArguments, interrupts: &Receiver<()>) -> anyhow::Result<End> {
    match &arguments.load {
        OverloadLoad::Burst(arguments) => {
            let file = open(arguments.json.as_deref())?;
            let report = burst::measure(arguments, interrupts)?;
            println!("{}", show::burst(&report));
            conclude(&report, &report.faults, report.interrupted, file)
        }
        OverloadLoad::Flood(arguments) => {
            let file = open(arguments.json.as_deref())?;
            let report = flood::measure(arguments, interrupts)?;
            println!("{}", show::flood(&report));
            conclude(&report, &report.faults, report.interrupted, file)
        }
    }
}

/// Opened before anything is measured: what cannot be written should fail at once.
fn open(path: Option<&Path>) -> anyhow::Result<Option<std::fs::File>> {
    let create = |path: &Path| std::fs::File::create(path).with_context(|| format!("writing {}", path.display()));
    path.map(create).transpose()
}

fn conclude(
    report: &impl Serialize,
    faults: &[String],
    interrupted: bool,
    file: Option<std::fs::File>,
) -> anyhow::Result<End> {
    if let Some(file) = file {
        serde_json::to_writer_pretty(file, report).context("writing the report")?;
    }
    Ok(match (faults, interrupted) {
        (_, true) => End::Interrupted,
        ([], false) => End::Passed,
        _ => End::Failed,
    })
}
