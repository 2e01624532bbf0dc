//! `loadgen`: the capacity test of Roomcast. It never links the server: it is an independent witness of the wire protocol.
//!
//! The floors, each using only those below it:
//!
//! ```text
//! 8 main                           command → exit code
//! 7 capacity  compare  limit  overload  many loads, judged together
//! 6 measure                        one load on one server: start it, measure, show
//! 5 arguments  coordinator/  spawn   as typed → a Plan; one load through its phases; a server's process
//! 4 bare/  worker/  report/        the bare loop; tens of thousands of clients around one epoll; the verdict
//! 3 messages  schedule             what coordinator and workers say; when which message is due
//! 2 share  record  dialect/  contestant   a Plan cut into parts; a room in several parts; wire forms
//! 1 plan  mark  children           a load; how a message is known again; processes of this program
//! 0 clock  descriptors  end  latency  objective  output  spread  target
//! ```
//!
//! A module uses only lower floors.

mod arguments;
mod bare;
mod capacity;
mod children;
mod clock;
mod compare;
mod contestant;
mod coordinator;
mod descriptors;
mod dialect;
mod end;
mod latency;
mod limit;
mod mark;
mod measure;
mod messages;
mod objective;
mod output;
mod overload;
mod plan;
mod record;
mod report;
mod schedule;
mod share;
mod spawn;
mod spread;
mod target;
mod worker;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use anyhow::Context;
use clap::Parser;

use arguments::{Arguments, Command};
use end::End;

/// Nothing was lost, doubled or out of order, and the objective was met.
const EXIT_PASSED: u8 = 0;

/// Something was, or it was not.
const EXIT_FAILED: u8 = 1;

/// It could not be measured: bad usage, nothing listens, nobody was let in, a file cannot be written.
const EXIT_USAGE: u8 = 2;

/// Somebody stopped it.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let code = match run(Arguments::parse()) {
        Ok(End::Passed) => EXIT_PASSED,
        Ok(End::Failed) => EXIT_FAILED,
        Ok(End::Interrupted) => EXIT_INTERRUPTED,
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            EXIT_USAGE
        }
    };
    ExitCode::from(code)
}

fn run(arguments: Arguments) -> anyhow::Result<End> {
    match arguments.command {
        Some(Command::FindCapacity(arguments)) => capacity::find(&arguments, &interrupts()?),
        Some(Command::Limit(arguments)) => limit::measure(&arguments, &interrupts()?),
        Some(Command::Compare(arguments)) => compare::compare(&arguments, &interrupts()?),
        Some(Command::Overload(arguments)) => overload::run(&arguments, &interrupts()?),
        Some(Command::OverloadWorker) => overload::work().map(|()| End::Passed),
        Some(Command::Worker) => worker::run().map(|()| End::Passed),
        Some(Command::BareSender) => bare::sender::run().map(|()| End::Passed),
        Some(Command::BoundToParent { command }) => spawn::become_bound_to_parent(&command),
        None => measure::measure(&arguments.measure, &interrupts()?),
    }
}

/// Tells once that somebody wants to stop; whoever asks twice does not want to wait.
fn interrupts() -> anyhow::Result<mpsc::Receiver<()>> {
    let (sender, interrupts) = mpsc::channel();
    let asked = AtomicBool::new(false);
    let tell = move || {
        if asked.swap(true, Ordering::Relaxed) || sender.send(()).is_err() {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    };
    ctrlc::set_handler(tell).context("listening for Ctrl-C")?;
    Ok(interrupts)
}
