//! `loadgen`: the capacity test of Roomcast. It never links the server: it is an independent witness of the wire protocol.
//!
//! The floors, each using only those below it:
//!
//! ```text
//! main           command → exit code
//! arguments      as typed → a Plan
//! coordinator/   one load: processes, phases, the server's side → a Report
//! report/        the verdict, as table, JSON and page
//! worker/        one process: tens of thousands of clients around one epoll
//! share          a Plan cut into parts                messages   what coordinator and workers say
//! dialect/       wire forms                           mark       how a message is known again
//! plan  target  objective  latency  clock
//! ```

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
mod latency;
mod limit;
mod mark;
mod measure;
mod messages;
mod objective;
mod plan;
mod report;
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

/// Nothing was lost, doubled or out of order, and the objective was met.
const EXIT_PASSED: u8 = 0;

/// Something was, or it was not.
const EXIT_FAILED: u8 = 1;

/// It could not begin: bad usage, nothing listens, nobody was let in.
const EXIT_USAGE: u8 = 2;

/// Somebody stopped it.
const EXIT_INTERRUPTED: u8 = 130;

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All is well.
    Passed,
    /// There was a fault.
    Failed,
    /// Somebody stopped it.
    Interrupted,
}

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
