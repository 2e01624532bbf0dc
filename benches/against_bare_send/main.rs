//! What a delivery, an idle member and a connect cost in the release server, each beside a bare `send()` loop of the same
//! run. Never compares figures of two runs: timings drift by 30 % within minutes. Linux only, loopback only.
//!
//! `cargo bench --bench against_bare_send -- [delivery] [transports] [memory] [connect] [--pairs N] [--seconds N] [--workers N]`

mod arguments;
mod bare_sender;
mod comparison;
mod connect;
mod crowd;
mod delivery;
mod join;
mod load;
mod memory;
mod procfs;
mod publisher;
mod ready_file;
mod target;
mod websocket;

use anyhow::{Context, Result};
use arguments::{Arguments, Measurement};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::env;

/// The server under measurement, built by the same `cargo bench`.
const ROOMCAST: &str = env!("CARGO_BIN_EXE_roomcast");

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == bare_sender::ARGUMENT => bare_sender::run(rest),
        Some((first, rest)) if first == target::EXEC_ARGUMENT => target::exec_bound_to_parent(rest),
        _ => measure(&Arguments::parse(&arguments)?),
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    raise_descriptor_limit()?;
    println!("{}", procfs::host()?);
    println!("{arguments}");
    let ticks = procfs::processor_ticks()?;
    for measurement in &arguments.measurements {
        match measurement {
            Measurement::Delivery => delivery::measure(arguments)?,
            Measurement::Transports => delivery::measure_transports(arguments)?,
            Measurement::Memory => memory::measure(arguments)?,
            Measurement::Connect => connect::measure(arguments)?,
        }
    }
    println!("\nstolen by the hypervisor meanwhile: {:.2} % of the processors", procfs::stolen_percent_since(&ticks)?);
    Ok(())
}

/// Both targets inherit the limit, so that it bounds neither side earlier than the other.
fn raise_descriptor_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, raised).with_context(|| format!("raising the descriptor limit to {maximum:?}"))
}
