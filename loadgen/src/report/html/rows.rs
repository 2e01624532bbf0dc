//! What stands in the tables of the page. Words and numbers; no markup.

use humantime::format_duration;

use super::numbers::{Aligned, bytes, count, percent, plain, significant, with_unit};
use crate::latency::Quantiles;
use crate::messages::{Reasons, Tally};
use crate::plan::{Pace, Plan, Publishers};
use crate::report::{BUSY_MAX, GeneratorReport, GroupReport, LAG_MAX, Report, in_words};

/// A name and what it is.
#[derive(Debug)]
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// Whether it should not be so.
    pub is_bad: bool,
}

impl Row {
    fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), is_bad: false }
    }
}

/// What was asked for.
pub fn load(report: &Report) -> Vec<Row> {
    let plan = &report.plan;
    let manner = &plan.manner;
    let measured = format_duration(manner.duration);
    let warmup = match manner.warmup {
        warmup if warmup.is_zero() => "no warm-up".to_owned(),
        warmup => format!("after {} of warm-up", format_duration(warmup)),
    };
    let rows = [
        Some(Row::new("Targets", targets(report))),
        Some(Row::new("Clients", format!("{} in {}", count(plan.clients.into()), of_rooms(plan.rooms)))),
        plan.giant.map(|giant| {
            let (members, rate) = (count(giant.members.into()), plain(giant.rate));
            Row::new("Giant", format!("one more room of {members} members, {rate} messages/s"))
        }),
        Some(Row::new("Pace", pace(plan))),
        Some(Row::new("Published by", publishers(manner.publishers))),
        Some(Row::new("Message", format!("{} bytes", count(manner.size as u64)))),
        Some(Row::new("Duration", format!("{measured}, {warmup}"))),
        manner.connect_rate.map(|rate| Row::new("Connecting", format!("{} clients/s", plain(rate)))),
        (manner.churn > 0.0).then(|| Row::new("Churn", format!("{} joins and leaves/s", plain(manner.churn)))),
        (manner.slow > 0.0).then(|| Row::new("Slow", format!("{} of the clients stop reading", percent(manner.slow)))),
        Some(Row::new("Seed", manner.seed.to_string())),
    ];
    rows.into_iter().flatten().collect()
}

/// With their weights, if there are several.
fn targets(report: &Report) -> String {
    let targets = &report.plan.targets;
    let all: u32 = targets.iter().map(|share| share.weight).sum();
    let weighted = |share: &crate::plan::TargetShare| {
        format!("{} ({})", share.target, percent(f64::from(share.weight) / f64::from(all)))
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

fn pace(plan: &Plan) -> String {
    match plan.pace {
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

/// Times by how many are below.
pub struct Distribution {
    /// Of what.
    pub name: String,
    /// How many were counted.
    pub count: String,
    /// From the median to the longest.
    pub values: Vec<Aligned>,
    /// Whether it is one that a verdict is about.
    pub is_main: bool,
}

impl Distribution {
    fn new(name: String, quantiles: &Quantiles, is_main: bool) -> Self {
        let Quantiles { count: counted, p50, p90, p99, p99_9, p99_99, max } = *quantiles;
        let known = |value: f64| if counted == 0 { f64::NAN } else { value };
        let values = [p50, p90, p99, p99_9, p99_99, max].map(|value| Aligned::significant(known(value)));
        Self { name, count: count(counted), values: values.into(), is_main }
    }
}

/// All times that were measured.
pub fn distributions(report: &Report) -> Vec<Distribution> {
    let groups = groups(report);
    let named = |what: &str, group: &str| if groups.len() > 1 { format!("{what}, {group}") } else { what.to_owned() };
    let latencies = groups.iter().map(|(name, group)| Distribution::new(named("Latency", name), &group.latency, true));
    let spreads = groups.iter().map(|(name, group)| Distribution::new(named("Spread", name), &group.spread, false));
    let others = [("Schedule lag", &report.generator.lag), ("Connect and join", &report.connects.latency)];
    let others = others.map(|(name, quantiles)| Distribution::new(name.to_owned(), quantiles, false));
    latencies.chain(spreads).chain(others).collect()
}

/// The rooms, and the giant if there is one.
pub fn groups(report: &Report) -> Vec<(&'static str, &GroupReport)> {
    let giant = report.giant.as_ref().map(|giant| ("giant", giant));
    [("rooms", &report.rooms)].into_iter().chain(giant).collect()
}

/// What was counted in each group.
pub struct Counts {
    /// The groups' names.
    pub groups: Vec<&'static str>,
    /// What was counted, and how much of it in each group.
    pub rows: Vec<CountRow>,
}

/// What was counted, in each group.
pub struct CountRow {
    /// What it is called.
    pub name: &'static str,
    /// How much of it.
    pub cells: Vec<Cell>,
}

/// How much was counted in one group.
#[derive(Clone)]
pub struct Cell {
    /// As it is read.
    pub text: String,
    /// Whether it should not be so.
    pub is_bad: bool,
}

impl Counts {
    /// Everything that was counted.
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
    let good = |text: String| Cell { text, is_bad: false };
    let fault = |number: u64| Cell { text: count(number), is_bad: number > 0 };
    let offered = group.offered.map_or_else(|| "all that fits".to_owned(), significant);
    vec![
        ("Members", good(count(group.members.into()))),
        ("Messages/s offered", good(offered)),
        ("Messages/s achieved", good(significant(group.achieved))),
        ("Deliveries/s", good(significant(group.deliveries))),
        ("Messages published", good(count(published))),
        ("Deliveries expected", good(count(group.expected))),
        ("Deliveries received", good(count(received))),
        ("Lost", fault(lost)),
        ("Duplicated", fault(duplicated)),
        ("Reordered", fault(reordered)),
        ("In a wrong room", fault(stray)),
        ("Damaged", fault(damaged)),
        ("Disconnected", fault(group.disconnected.values().sum())),
        ("Refused", fault(group.refused.values().sum())),
        ("Sends that had to wait", good(count(blocked))),
        ("Joins and leaves", good(count(churned))),
        ("Clients that stopped reading", good(count(stalled))),
    ]
}

/// Why members were disconnected and messages refused, for those that were.
pub fn reasons(report: &Report) -> Vec<Row> {
    let given = |(group, counted): (&'static str, &GroupReport)| {
        let kinds = [("Disconnected", &counted.disconnected), ("Refused", &counted.refused)];
        let kinds = kinds.map(|(name, reasons)| (name, group, reasons.clone()));
        kinds.into_iter().filter(|(_, _, reasons)| !reasons.is_empty())
    };
    let row = |(name, group, reasons): (&'static str, &str, Reasons)| Row {
        is_bad: true,
        ..Row::new(name, format!("{group}: {}", in_words(&reasons)))
    };
    groups(report).into_iter().flat_map(given).map(row).collect()
}

/// How connecting went.
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
        rows.push(Row { is_bad: true, ..Row::new("Failed", in_words(&connects.failed)) });
    }
    rows
}

/// The server's side; empty if it is not known.
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

/// The generator's side.
pub fn generator(report: &Report) -> Vec<Row> {
    let GeneratorReport { processes, nanos_per_delivery, busy, deliveries_per_read, lag, .. } = &report.generator;
    vec![
        Row::new("CPU per delivery", with_unit(nanos_per_delivery / 1e3, "µs")),
        Row { is_bad: *busy > BUSY_MAX, ..Row::new("Busiest process", with_unit(*busy, "cores")) },
        Row { is_bad: lag.p99 > LAG_MAX, ..Row::new("Schedule lag, p99", with_unit(lag.p99, "ms")) },
        Row::new("Deliveries per read", significant(*deliveries_per_read)),
        Row::new("Processes", processes.to_string()),
    ]
}
