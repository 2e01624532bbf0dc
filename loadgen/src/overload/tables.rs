//! Formats the reports of overloads for a terminal.

use comfy_table::{Table, presets};

use super::burst::{BurstReport, Deliveries, EndReason, Stop};
use super::flood::{FloodReport, name};
use super::messages::{Role, RoleCounts};
use super::run::{RoleReport, ServerMemory};
use crate::output::{self, NamedRows};
use crate::reasons::Reasons;
use crate::report::format_reasons;
use crate::report::table::time;

const MEBIBYTE: f64 = 1_048_576.0;

/// The table of a burst, and its verdict.
pub fn burst(report: &BurstReport) -> String {
    let BurstReport { clients, size, messages, watchers, connected, seconds, .. } = report;
    let mut lines = NamedRows::new();
    let each = if *messages == 1 { "one message".to_owned() } else { format!("{messages} messages") };
    lines.add("burst", format!("{clients} clients × {each} of {size} bytes, {}", report.targets.join(", ")));
    lines.add("connected", format!("{connected} of {}", clients + watchers));
    lines.add("ended", format!("after {seconds:.1} s: {}", report.ended.words()));
    let Deliveries { expected, accepted_messages, heard, lost, doubled, reordered, strange, due } = report.deliveries;
    lines.add("watchers", format!("{watchers}, {}", report.priority));
    lines.add("", format!("{heard} of {expected} deliveries received, of {accepted_messages} messages"));
    lines.add("", format!("lost {lost}, doubled {doubled}, out of order {reordered}, changed {strange}, due {due}"));
    lines.add(
        "",
        format!("{} received everything that any received; disconnected: {}", report.whole, reasons(&report.cut)),
    );
    lines.add("", format!("longest silence {:.2} s", report.longest_silence));
    lines.add("crowd", format!("disconnected: {}", reasons(&report.crowd.counts.cut)));
    lines.add(
        "",
        format!(
            "{} deliveries, {:.0}/s with the watchers'",
            report.crowd.counts.deliveries, report.deliveries_per_second
        ),
    );
    add_memory(&mut lines, report.memory);
    if let Some(stop) = &report.stop {
        add_stop(&mut lines, stop, *watchers);
    }
    add_verdict(&mut lines, &report.faults, report.interrupted);
    lines.to_string()
}

/// The table of a flood, and its verdict.
pub fn flood(report: &FloodReport) -> String {
    let FloodReport { members, size, said, seconds, connected, .. } = report;
    let mut lines = NamedRows::new();
    lines.add("flood", format!("{members} members, lines of {size} bytes, {}", report.targets.join(", ")));
    lines.add("connected", format!("{connected}; bystanders: {}", report.priority));
    lines
        .add("lasted", format!("{seconds:.1} s, {said} lines taken, {:.0} deliveries/s", report.deliveries_per_second));
    add_memory(&mut lines, report.memory);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    output::fit(&mut table);
    table.set_header(["clients", "", "waited p50", "p99 ms", "max ms", "disconnected"]);
    for (role, found) in &report.roles {
        let RoleReport { counts: RoleCounts { clients, cut_without_ping, pings, .. }, waits, .. } = found;
        let cell = |value: f64| if waits.count > 0 { time(value) } else { String::new() };
        if *role == Role::Quiet {
            let words =
                format!("quiet clients received {pings} pings; {cut_without_ping} were disconnected without one");
            lines.add("", words);
        }
        let cut = found.cut_count().to_string();
        table.add_row([
            clients.to_string(),
            name(*role).to_owned(),
            cell(waits.p50),
            cell(waits.p99),
            cell(waits.max),
            cut,
        ]);
    }
    let mut verdict = NamedRows::new();
    add_verdict(&mut verdict, &report.faults, report.interrupted);
    format!("{lines}\n{table}\n{verdict}")
}

impl EndReason {
    fn words(self) -> &'static str {
        match self {
            Self::Complete => "every watcher received everything or was disconnected",
            Self::Quiet => "nothing happened any more",
            Self::TimeOver => "its time was over",
            Self::ServerStopped => "the server has stopped",
            Self::ServerGone => "the server has exited",
            Self::Interrupted => "stopped by Ctrl-C",
        }
    }
}

fn add_memory(lines: &mut NamedRows, memory: Option<ServerMemory>) {
    if let Some(ServerMemory { before, with_clients, peak }) = memory {
        let [before, with_clients, peak] = [before, with_clients, peak].map(|bytes| bytes as f64 / MEBIBYTE);
        let words = format!("private MiB: {before:.0} before, {with_clients:.0} with all clients, {peak:.0} at most");
        lines.add("server", words);
    }
}

fn add_stop(lines: &mut NamedRows, stop: &Stop, watchers: u32) {
    let Stop { after, seconds, server, whole_to_the_last_line } = stop;
    let end = server.as_ref().map_or("the server has not exited".to_owned(), |end| end.status.clone());
    let took = seconds.map_or(String::new(), |seconds| format!(" after {seconds:.1} s"));
    lines.add("stop", format!("SIGTERM after {after:.1} s: {end}{took}"));
    lines.add("", format!("{whole_to_the_last_line} of {watchers} watchers received everything and the last line"));
}

fn add_verdict(lines: &mut NamedRows, faults: &[String], interrupted: bool) {
    faults.iter().for_each(|fault| lines.add("failed", fault.clone()));
    if interrupted {
        lines.add("stopped", "before its time; the figures cover the time until then".to_owned());
    }
    if faults.is_empty() && !interrupted {
        lines.add("passed", "no client that read promptly was disconnected, and nothing was lost".to_owned());
    }
}

fn reasons(reasons: &Reasons) -> String {
    match reasons.values().sum::<u64>() {
        0 => "0".to_owned(),
        count => format!("{count}: {}", format_reasons(reasons)),
    }
}
