//! The tables of the page as names and values, without markup.

use humantime::format_duration;

use super::numbers::{Aligned, bytes, count, percent, plain, significant, with_unit};
use crate::latency::Quantiles;
use crate::messages::Tally;
use crate::reasons::Reasons;
use crate::report::{BUSY_MAX, GeneratorReport, GroupReport, LAG_MAX, Report, format_reasons};
use crate::workload::{Pace, Publishers, Workload};

/// A name and its value.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub value: String,
    /// Whether the value shows a fault.
    pub is_bad: bool,
}

impl Row {
    pub fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), is_bad: false }
    }
}

/// The load that was run.
pub fn load(report: &Report) -> Vec<Row> {
    let workload = &report.workload;
    let settings = &workload.settings;
    let measured = format_duration(settings.duration);
    let warmup = match settings.warmup {
        warmup if warmup.is_zero() => "no warm-up".to_owned(),
        warmup => format!("after {} of warm-up", format_duration(warmup)),
    };
    let rows = [
        Some(Row::new("Targets", targets(report))),
        Some(Row::new("Clients", format!("{} in {}", count(workload.clients.into()), of_rooms(workload.rooms)))),
        workload.giant.map(|giant| {
            let (members, rate) = (count(giant.members.into()), plain(giant.rate));
            Row::new("Giant", format!("one more room of {members} members, {rate} messages/s"))
        }),
        Some(Row::new("Pace", pace(workload))),
        Some(Row::new("Published by", publishers(settings.publishers))),
        Some(Row::new("Message", format!("{} bytes", count(settings.size as u64)))),
        Some(Row::new("Duration", format!("{measured}, {warmup}"))),
        settings.connect_rate.map(|rate| Row::new("Connecting", format!("{} clients/s", plain(rate)))),
        (settings.churn > 0.0).then(|| Row::new("Churn", format!("{} joins and leaves/s", plain(settings.churn)))),
        (settings.slow > 0.0)
            .then(|| Row::new("Slow", format!("{} of the clients stop reading", percent(settings.slow)))),
        Some(Row::new("Seed", settings.seed.to_string())),
    ];
    rows.into_iter().flatten().collect()
}

/// The targets, with their weights if there are several.
fn targets(report: &Report) -> String {
    let targets = &report.workload.targets;
    let all: u32 = targets.iter().map(|weighted| weighted.weight).sum();
    let weighted = |share: &crate::workload::WeightedTarget| match share.weight {
        0 => format!("{} (publishes)", share.target),
        _ => format!("{} ({})", share.target, percent(f64::from(share.weight) / f64::from(all))),
    };
    if targets.len() < 2 {
        report.targets.join(", ")
    } else {
        targets.iter().map(weighted).collect::<Vec<_>>().join(", ")
    }
}

fn of_rooms(rooms: u32) -> String {
    if rooms == 1 { "1 room".to_owned() } else { format!("{} rooms", count(rooms.into())) }
}

fn pace(workload: &Workload) -> String {
    match workload.pace {
        Pace::Rate(rate) => format!("{} messages/s over all rooms, open loop", plain(rate)),
        Pace::InFlight(messages) => format!("{messages} messages on their way in each room, closed loop"),
    }
}

fn publishers(publishers: Publishers) -> &'static str {
    match publishers {
        Publishers::Members => "any member of the room",
        Publishers::First => "the first member of each room",
        Publishers::Apart => "one more connection for each room",
        Publishers::Target => "the target itself",
    }
}

/// Quantiles of one kind of time.
pub struct Distribution {
    pub name: String,
    /// Number of recorded times.
    pub count: String,
    /// From the median to the maximum.
    pub values: Vec<Aligned>,
    /// Whether the row is the main latency of a group.
    pub is_main: bool,
}

impl Distribution {
    pub fn new(name: String, quantiles: &Quantiles, is_main: bool) -> Self {
        let Quantiles { count: counted, p50, p90, p99, p99_9, p99_99, max } = *quantiles;
        let known = |value: f64| if counted == 0 { f64::NAN } else { value };
        let values = [p50, p90, p99, p99_9, p99_99, max].map(|value| Aligned::significant(known(value)));
        Self { name, count: count(counted), values: values.into(), is_main }
    }
}

/// All measured kinds of time.
pub fn distributions(report: &Report) -> Vec<Distribution> {
    let groups = groups(report);
    let named = |what: &str, group: &str| if groups.len() > 1 { format!("{what}, {group}") } else { what.to_owned() };
    let latencies = groups.iter().map(|(name, group)| Distribution::new(named("Latency", name), &group.latency, true));
    let spreads = groups.iter().map(|(name, group)| Distribution::new(named("Spread", name), &group.spread, false));
    let answers = groups.iter().filter(|(_, group)| group.answers.count > 0);
    let answers =
        answers.map(|(name, group)| Distribution::new(named("Answer to a publish", name), &group.answers, false));
    let others = [("Schedule lag", &report.generator.lag), ("Connect and join", &report.connects.latency)];
    let others = others.map(|(name, quantiles)| Distribution::new(name.to_owned(), quantiles, false));
    latencies.chain(spreads).chain(answers).chain(others).collect()
}

/// The groups of rooms with their names.
pub fn groups(report: &Report) -> Vec<(&'static str, &GroupReport)> {
    let giant = report.giant.as_ref().map(|giant| ("giant", giant));
    [("rooms", &report.rooms)].into_iter().chain(giant).collect()
}

/// Counts by group.
pub struct Counts {
    /// Names of the groups.
    pub groups: Vec<&'static str>,
    pub rows: Vec<CountRow>,
}

/// One count with a cell for each group.
pub struct CountRow {
    pub name: &'static str,
    pub cells: Vec<Cell>,
}

/// One count of one group.
#[derive(Clone)]
pub struct Cell {
    /// The formatted count.
    pub text: String,
    /// Whether the count shows a fault.
    pub is_bad: bool,
}

impl Counts {
    /// All counts of the report.
    pub fn of(report: &Report) -> Self {
        let (groups, counted): (Vec<_>, Vec<_>) =
            groups(report).into_iter().map(|(name, group)| (name, cells(group))).unzip();
        let names = counted.first().into_iter().flatten().map(|(name, _)| *name).enumerate();
        let rows = names.map(|(index, name)| {
            let cells = counted.iter().map(|group| group[index].1.clone()).collect();
            CountRow { name, cells }
        });
        Self { groups, rows: rows.collect() }
    }
}

fn cells(group: &GroupReport) -> Vec<(&'static str, Cell)> {
    let Tally { published, blocked, received, lost, duplicated, reordered, stray, damaged, churned, stalled, .. } =
        group.tally;
    let Tally { unavailable, unaccepted, overtaken, .. } = group.tally;
    let good = |text: String| Cell { text, is_bad: false };
    let fault = |number: u64| Cell { text: count(number), is_bad: number > 0 };
    let offered = group.offered.map_or_else(|| "all that fits".to_owned(), significant);
    vec![
        ("Members", good(count(group.members.into()))),
        ("Messages/s offered", good(offered)),
        ("Messages/s achieved", good(significant(group.achieved))),
        ("Deliveries/s", good(significant(group.deliveries))),
        ("Messages published", good(count(published))),
        ("Messages refused as unavailable", good(count(unavailable))),
        ("Messages not accepted before their connection ended", good(count(unaccepted))),
        ("Deliveries expected", good(count(group.expected))),
        ("Deliveries received", good(count(received))),
        ("Lost", fault(lost)),
        ("Duplicated", fault(duplicated)),
        ("Reordered", fault(reordered)),
        ("Overtaken by a later one of their sender", fault(overtaken)),
        ("In a wrong room", fault(stray)),
        ("Damaged", fault(damaged)),
        ("Disconnected", fault(group.disconnected.values().sum())),
        ("Refused", fault(group.refused.values().sum())),
        ("Sends that had to wait", good(count(blocked))),
        ("Joins and leaves", good(count(churned))),
        ("Clients that stopped reading", good(count(stalled))),
    ]
}

/// Reasons of disconnects and refusals, for groups that have any.
pub fn reasons(report: &Report) -> Vec<Row> {
    let given = |(group, counted): (&'static str, &GroupReport)| {
        let kinds = [("Disconnected", &counted.disconnected), ("Refused", &counted.refused)];
        let kinds = kinds.map(|(name, reasons)| (name, group, reasons.clone()));
        kinds.into_iter().filter(|(_, _, reasons)| !reasons.is_empty())
    };
    let row = |(name, group, reasons): (&'static str, &str, Reasons)| Row {
        is_bad: true,
        ..Row::new(name, format!("{group}: {}", format_reasons(&reasons)))
    };
    groups(report).into_iter().flat_map(given).map(row).collect()
}

/// The result of connecting.
pub fn connects(report: &Report) -> Vec<Row> {
    let connects = &report.connects;
    let is_complete = connects.connected >= connects.clients;
    let all = format!("{} of {}", count(connects.connected.into()), count(connects.clients.into()));
    let mut rows = vec![
        Row { is_bad: !is_complete, ..Row::new("Clients in", all) },
        Row::new("Time", with_unit(connects.seconds, "s")),
        Row::new("Rate", with_unit(f64::from(connects.connected) / connects.seconds, "clients/s")),
    ];
    if !connects.failed.is_empty() {
        rows.push(Row { is_bad: true, ..Row::new("Failed", format_reasons(&connects.failed)) });
    }
    rows
}

/// Resources of the server; empty if they are not known.
pub fn server(report: &Report) -> Vec<Row> {
    let Some(server) = &report.server else { return Vec::new() };
    vec![
        Row::new("CPU per delivery", with_unit(server.nanos_per_delivery / 1e3, "µs")),
        Row::new("CPU", with_unit(server.cores, "cores")),
        Row::new("Memory per client", bytes(server.bytes_per_client)),
        Row::new("Memory with all clients", bytes(server.bytes as f64)),
        Row::new("Memory before", before(server.bytes_before, server.is_fresh)),
        Row::new("Voluntary switches", significant(server.voluntary_switches_per_delivery)),
        Row::new("Involuntary switches", significant(server.involuntary_switches_per_delivery)),
        Row::new("Process", server.process_id.to_string()),
    ]
}

fn before(held: u64, is_fresh: bool) -> String {
    let held = bytes(held as f64);
    if is_fresh { held } else { format!("{held}, before an earlier load: the server is not fresh") }
}

/// Resources of the generator.
pub fn generator(report: &Report) -> Vec<Row> {
    let GeneratorReport { processes, nanos_per_delivery, busy, deliveries_per_read, bytes_per_delivery, lag, .. } =
        &report.generator;
    vec![
        Row::new("CPU per delivery", with_unit(nanos_per_delivery / 1e3, "µs")),
        Row { is_bad: *busy > BUSY_MAX, ..Row::new("Busiest process", with_unit(*busy, "cores")) },
        Row { is_bad: lag.p99 > LAG_MAX, ..Row::new("Schedule lag, p99", with_unit(lag.p99, "ms")) },
        Row::new("Deliveries per read", significant(*deliveries_per_read)),
        Row::new("Bytes per delivery", significant(*bytes_per_delivery)),
        Row::new("Processes", processes.to_string()),
    ]
}
