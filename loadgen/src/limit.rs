//! `loadgen limit`: measures the bare loop with one and with eight messages per write. Its cost is what the kernel
//! charges for sending; the efficiency of a server is this cost over its own.

use std::sync::mpsc::Receiver;

use comfy_table::{Table, presets};

use crate::arguments::{LimitArguments, ServerArguments};
use crate::measure::run_once;
use crate::output::{self, Console, OutputFile};
use crate::report::Report;
use crate::report::table::time;
use crate::target::Target;
use crate::verdict::Verdict;

/// The numbers of messages per write that are measured.
const MESSAGES_PER_WRITE: [u32; 2] = [1, 8];

/// Runs the command.
pub fn measure(arguments: &LimitArguments, interrupts: &Receiver<()>) -> anyhow::Result<Verdict> {
    let mut json = OutputFile::open(arguments.json.as_deref())?;
    let console = Console::beside(&[&json]);
    let mut reports = Vec::new();
    for messages_per_write in MESSAGES_PER_WRITE {
        let mut workload = arguments.load.workload(&[Target::limit()])?;
        workload.settings.messages_per_write = messages_per_write;
        let report = run_once(&workload, &ServerArguments { pid: None, spawn: None }, interrupts)?.report;
        let interrupted = report.interrupted;
        reports.push(report);
        if interrupted {
            console.print(&table(&reports).to_string());
            return Ok(Verdict::Interrupted);
        }
    }
    console.print(&table(&reports).to_string());
    output::write(&mut json, || Ok(serde_json::to_vec_pretty(&reports)?))?;
    let faults: Vec<_> = reports.iter().flat_map(|report| &report.faults).collect();
    faults.iter().for_each(|fault| console.print(&output::wrapped(&format!("failed: {fault}"))));
    Ok(if faults.is_empty() { Verdict::Passed } else { Verdict::Failed })
}

fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    output::fit(&mut table);
    table.set_header(["a write", "ns per send", "ns per delivery", "deliveries/s", "p50 ms", "p99 ms"]);
    for report in reports {
        let messages_per_write = report.workload.settings.messages_per_write;
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
