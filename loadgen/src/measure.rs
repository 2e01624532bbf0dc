//! The command without a name: one load, its table, its files, its exit code.

use std::sync::mpsc::Receiver;

use anyhow::Context;
use hdrhistogram::serialization::{Serializer, V2Serializer};

use crate::arguments::{MeasureArguments, OutputArguments, ServerArguments};
use crate::coordinator::{self, Measured, Surroundings, Watched};
use crate::end::End;
use crate::output::{self, Sink, Words};
use crate::plan::Plan;
use crate::report::{html, table};
use crate::spawn::Spawned;
use crate::target::{Scheme, Target};

/// Runs it and shows what came of it.
pub fn measure(arguments: &MeasureArguments, interrupts: &Receiver<()>) -> anyhow::Result<End> {
    let plan = arguments.load.plan(&arguments.targets)?;
    let mut files = Files::open(&arguments.output)?;
    let mut measured = trial(&plan, &arguments.server, interrupts)?;
    if let Some(objective) = &arguments.output.slo {
        let fault = objective.fault(measured.latencies.quantile(objective.share()));
        measured.report.faults.extend(fault);
    }
    files.words.say(&table::table(&measured.report));
    files.write(&measured)?;
    Ok(match (&measured.report.faults[..], measured.report.interrupted) {
        (_, true) => End::Interrupted,
        ([], false) => End::Passed,
        _ => End::Failed,
    })
}

/// One load on one server, which is started first and stopped afterwards if that is wanted.
pub fn trial(plan: &Plan, server: &ServerArguments, interrupts: &Receiver<()>) -> anyhow::Result<Measured> {
    let targets: Vec<_> = plan.targets.iter().map(|share| &share.target).collect();
    let spawned = server.spawn.as_deref().map(|command| Spawned::start(command, &targets)).transpose()?;
    let watched = watched(server, spawned.as_ref(), &plan.targets[0].target)?;
    let surroundings = Surroundings { server: watched.as_ref(), interrupts, command: &command_line() };
    let measured = coordinator::run(plan, &surroundings).map_err(|error| explain(error, plan))?;
    spawned.map_or(Ok(()), Spawned::stop)?;
    Ok(measured)
}

/// The process to look at: as named, as started, or as it listens.
pub fn watched(
    arguments: &ServerArguments,
    spawned: Option<&Spawned>,
    target: &Target,
) -> anyhow::Result<Option<Watched>> {
    match (arguments.pid, spawned) {
        (Some(process_id), _) => Watched::by_id(process_id).map(Some),
        (None, Some(spawned)) => Watched::by_id(spawned.process_id()).map(Some),
        (None, None) => Ok(Watched::by_listener(target.address)),
    }
}

/// As it was typed, as near as can be told.
pub fn command_line() -> String {
    let quote = |word: String| if word.contains([' ', '\'']) { format!("{word:?}") } else { word };
    let words = std::env::args().skip(1).map(quote);
    std::iter::once("loadgen".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Says how to start what does not listen.
fn explain(error: anyhow::Error, plan: &Plan) -> anyhow::Error {
    let text = format!("{error:#}");
    if !text.starts_with("nothing listens at ") {
        return error;
    }
    let start = match plan.targets[0].target.scheme {
        Scheme::Tcp | Scheme::WebSocket => "cargo run --release",
        Scheme::Nats => "nats-server",
        Scheme::Redis => "redis-server",
        Scheme::Echo | Scheme::Limit => return error,
    };
    anyhow::anyhow!("{text}: start the server with `{start}`, or let --spawn do it")
}

/// What was asked for besides the table.
struct Files {
    json: Option<Sink>,
    html: Option<Sink>,
    hdr: Option<Sink>,
    words: Words,
}

impl Files {
    fn open(output: &OutputArguments) -> anyhow::Result<Self> {
        let json = Sink::open(output.json.as_deref())?;
        let html = Sink::open(output.html.as_deref())?;
        let hdr = Sink::open(output.hdr.as_deref())?;
        let words = Words::beside(&[&json, &html, &hdr]);
        Ok(Self { json, html, hdr, words })
    }

    fn write(&mut self, measured: &Measured) -> anyhow::Result<()> {
        output::write(&mut self.json, || Ok(serde_json::to_vec_pretty(&measured.report)?))?;
        output::write(&mut self.html, || Ok(html::page(&measured.report)?.into_bytes()))?;
        output::write(&mut self.hdr, || {
            let mut bytes = Vec::new();
            V2Serializer::new()
                .serialize(measured.latencies.histogram(), &mut bytes)
                .context("writing the histogram")?;
            Ok(bytes)
        })?;
        self.words.say_where("report", self.html.as_ref());
        Ok(())
    }
}
