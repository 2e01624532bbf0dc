//! `loadgen`: the load generator of Roomcast. It never links the server, so that it is an independent witness of the wire
//! protocol.
//!
//! A module uses only lower floors:
//!
//! | floor | modules | |
//! |---|---|---|
//! | 8 | `main` | command → exit code |
//! | 7 | `capacity`, `compare`, `limit`, `overload` | commands that run several loads or another kind of load |
//! | 6 | `measure` | one load on one server: start it, measure, print |
//! | 5 | `arguments`, `coordinator`, `spawn` | the command line; the phases of one load; the server's process |
//! | 4 | `bare`, `report`, `worker` | the bare send loop; the report; tens of thousands of clients on one epoll |
//! | 3 | `messages`, `schedule` | what coordinator and workers exchange; which message is due when |
//! | 2 | `assignment`, `candidate`, `dialect`, `room_order` | a workload split over processes; protocols; split rooms |
//! | 1 | `child_processes`, `comebacks`, `payload`, `workload` | worker processes; who comes back and when; the content of a message; a validated load |
//! | 0 | `clock`, `descriptors`, `latency`, `median_range`, `objective`, `output`, `reasons`, `target`, `tls`, `tokens`, `verdict` | |

mod arguments;
mod assignment;
mod bare;
mod candidate;
mod capacity;
mod child_processes;
mod clock;
mod comebacks;
mod compare;
mod coordinator;
mod descriptors;
mod dialect;
mod inflate;
mod latency;
mod limit;
mod listeners;
mod measure;
mod median_range;
mod messages;
mod objective;
mod output;
mod overload;
mod payload;
mod priority;
mod reasons;
mod report;
mod room_order;
mod schedule;
mod spawn;
mod target;
mod tls;
mod tokens;
mod verdict;
mod worker;
mod workload;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use anyhow::Context;
use clap::Parser;

use arguments::{Arguments, Command};
use verdict::Verdict;

/// Exit code: nothing was lost, duplicated or out of order, and the objective was met.
const EXIT_PASSED: u8 = 0;

/// Exit code: a fault was found, or the objective was missed.
const EXIT_FAILED: u8 = 1;

/// Exit code: the load could not run. Bad usage, no listener, no client admitted, or a file that cannot be written.
const EXIT_USAGE: u8 = 2;

/// Exit code: stopped by Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let code = match run(Arguments::parse()) {
        Ok(Verdict::Passed) => EXIT_PASSED,
        Ok(Verdict::Failed) => EXIT_FAILED,
        Ok(Verdict::Interrupted) => EXIT_INTERRUPTED,
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            EXIT_USAGE
        }
    };
    ExitCode::from(code)
}

fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    match arguments.command {
        Some(Command::FindCapacity(arguments)) => capacity::find(&arguments, &interrupts()?),
        Some(Command::Limit(arguments)) => limit::measure(&arguments, &interrupts()?),
        Some(Command::Compare(arguments)) => compare::compare(&arguments, &interrupts()?),
        Some(Command::Overload(arguments)) => overload::run(&arguments, &interrupts()?),
        Some(Command::OverloadWorker) => overload::work().map(|()| Verdict::Passed),
        Some(Command::Worker) => worker::run().map(|()| Verdict::Passed),
        Some(Command::BareSender) => bare::sender::run().map(|()| Verdict::Passed),
        Some(Command::BoundToParent { command }) => spawn::become_bound_to_parent(&command),
        None => measure::measure(&arguments.measure, &interrupts()?),
    }
}

/// Sends one message at the first Ctrl-C, so that the load stops and reports. The second one exits at once.
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
