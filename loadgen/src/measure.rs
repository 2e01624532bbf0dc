//! The default command: runs one load, prints its table, writes its files and returns the verdict.

use std::sync::mpsc::Receiver;

use anyhow::Context;
use hdrhistogram::serialization::{Serializer, V2Serializer};

use crate::arguments::{MeasureArguments, OutputArguments, ServerArguments};
use crate::coordinator::{self, Measurement, RunContext, ServerProcess};
use crate::output::{self, Console, OutputFile};
use crate::report::{html, table};
use crate::spawn::SpawnedServer;
use crate::target::{Scheme, Target};
use crate::verdict::Verdict;
use crate::workload::Workload;

/// Runs the command.
pub fn measure(arguments: &MeasureArguments, interrupts: &Receiver<()>) -> anyhow::Result<Verdict> {
    let workload = arguments.load.workload(arguments.targets.all())?;
    let mut files = Files::open(&arguments.output)?;
    let mut measurement = run_once(&workload, &arguments.server, interrupts)?;
    if let Some(objective) = &arguments.output.slo {
        let fault = objective.fault(measurement.latencies.quantile(objective.quantile()));
        measurement.report.faults.extend(fault);
    }
    files.console.print(&table::table(&measurement.report));
    files.write(&measurement)?;
    Ok(match (&measurement.report.faults[..], measurement.report.interrupted) {
        (_, true) => Verdict::Interrupted,
        ([], false) => Verdict::Passed,
        _ => Verdict::Failed,
    })
}

/// Runs one load. Starts the server before and stops it after, if `--spawn` is given.
pub fn run_once(
    workload: &Workload,
    server: &ServerArguments,
    interrupts: &Receiver<()>,
) -> anyhow::Result<Measurement> {
    let targets: Vec<_> = workload.targets.iter().map(|weighted| &weighted.target).collect();
    let spawned = server.spawn.as_deref().map(|command| SpawnedServer::start(command, &targets)).transpose()?;
    let server_process = if workload.settings.failover.is_some() && spawned.is_none() && server.pid.is_none() {
        // The process may end during the load, and others do its work.
        None
    } else {
        server_process(server, spawned.as_ref(), &workload.targets[0].target)?
    };
    let context = RunContext { server: server_process.as_ref(), interrupts, command: &command_line() };
    let measurement = coordinator::run(workload, &context).map_err(|error| explain(error, workload))?;
    spawned.map_or(Ok(()), SpawnedServer::stop)?;
    Ok(measurement)
}

/// The server process to observe: named by `--pid`, started by `--spawn`, or found by its listening address.
pub fn server_process(
    arguments: &ServerArguments,
    spawned: Option<&SpawnedServer>,
    target: &Target,
) -> anyhow::Result<Option<ServerProcess>> {
    match (arguments.pid, spawned) {
        (Some(process_id), _) => ServerProcess::by_id(process_id).map(Some),
        (None, Some(spawned)) => ServerProcess::by_id(spawned.process_id()).map(Some),
        (None, None) => Ok(ServerProcess::by_listener(target.address)),
    }
}

/// The command line, quoted so that it can be typed again.
pub fn command_line() -> String {
    let quote = |word: String| if word.contains([' ', '\'']) { format!("{word:?}") } else { word };
    let words = std::env::args().skip(1).map(quote);
    std::iter::once("loadgen".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Adds how to start a server to the error that nothing listens.
fn explain(error: anyhow::Error, workload: &Workload) -> anyhow::Error {
    let text = format!("{error:#}");
    if !text.starts_with("nothing listens at ") {
        return error;
    }
    let start = match workload.targets[0].target.scheme {
        scheme if scheme.has_positions() && workload.targets[0].target.is_tls => {
            "cargo run --release -- --tls both --tls-cert PATH --tls-key PATH"
        }
        scheme if scheme.has_positions() => "cargo run --release",
        Scheme::Nats => "nats-server",
        Scheme::Redis => "redis-server",
        _ => return error,
    };
    anyhow::anyhow!("{text}: start the server with `{start}`, or let --spawn do it")
}

/// The output files of one load.
struct Files {
    json: Option<OutputFile>,
    html: Option<OutputFile>,
    hdr: Option<OutputFile>,
    console: Console,
}

impl Files {
    fn open(output: &OutputArguments) -> anyhow::Result<Self> {
        let json = OutputFile::open(output.page.json.as_deref())?;
        let html = OutputFile::open(output.page.html.as_deref())?;
        let hdr = OutputFile::open(output.hdr.as_deref())?;
        let console = Console::beside(&[&json, &html, &hdr]);
        Ok(Self { json, html, hdr, console })
    }

    fn write(&mut self, measurement: &Measurement) -> anyhow::Result<()> {
        output::write(&mut self.json, || Ok(serde_json::to_vec_pretty(&measurement.report)?))?;
        output::write(&mut self.html, || Ok(html::page(&measurement.report)?.into_bytes()))?;
        output::write(&mut self.hdr, || {
            let mut bytes = Vec::new();
            V2Serializer::new()
                .serialize(measurement.latencies.histogram(), &mut bytes)
                .context("writing the histogram")?;
            Ok(bytes)
        })?;
        self.console.print_path("report", self.html.as_ref());
        Ok(())
    }
}
