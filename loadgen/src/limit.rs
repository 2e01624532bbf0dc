//! `loadgen limit`: the bare loop over the same sockets, with one message a write and with eight. What it costs is what the
//! kernel charges; a server's efficiency is this over its own cost.

use std::sync::mpsc::Receiver;

use comfy_table::{Table, presets};

use crate::arguments::{LimitArguments, ServerArguments};
use crate::end::End;
use crate::measure::trial;
use crate::output::{self, Sink, Words};
use crate::report::Report;
use crate::report::table::time;
use crate::target::Target;

/// What is sent at once.
const MESSAGES_PER_WRITE: [u32; 2] = [1, 8];

/// Measures and prints.
pub fn measure(arguments: &LimitArguments, interrupts: &Receiver<()>) -> anyhow::Result<End> {
    let mut json = Sink::open(arguments.json.as_deref())?;
    let words = Words::beside(&[&json]);
    let mut reports = Vec::new();
    for messages_per_write in MESSAGES_PER_WRITE {
        let mut plan = arguments.load.plan(&[Target::limit()])?;
        plan.manner.messages_per_write = messages_per_write;
        let report = trial(&plan, &ServerArguments { pid: None, spawn: None }, interrupts)?.report;
        let interrupted = report.interrupted;
        reports.push(report);
        if interrupted {
            words.say(&table(&reports).to_string());
            return Ok(End::Interrupted);
        }
    }
    words.say(&table(&reports).to_string());
    output::write(&mut json, || Ok(serde_json::to_vec_pretty(&reports)?))?;
    let faults: Vec<_> = reports.iter().flat_map(|report| &report.faults).collect();
    faults.iter().for_each(|fault| words.say(&output::wrapped(&format!("failed: {fault}"))));
    Ok(if faults.is_empty() { End::Passed } else { End::Failed })
}

fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    output::fit(&mut table);
    table.set_header(["a write", "ns per send", "ns per delivery", "deliveries/s", "p50 ms", "p99 ms"]);
    for report in reports {
        let messages_per_write = report.plan.manner.messages_per_write;
        let nanos = report.server.as_ref().map_or(f64::NAN, |server| server.nanos_per_delivery);
        table.add_row([
            messages_per_write.to_string(),
            format!("{:.0}", nanos * f64::from(messages_per_write)),
            format!("{nanos:.0}"),
            format!("{:.0}", report.rooms.deliveries),
            time(report.rooms.latency.p50),
            time(report.rooms.latency.p99),
        ]);
    }
    table
}
