//! Formats the report for a terminal: a table with the verdict below it.

use comfy_table::Color;

use super::{
    ComebackReport, ConnectReport, GeneratorReport, GroupReport, ReconnectReport, Report, ServerReport, format_reasons,
};
use crate::latency::Quantiles;
use crate::output::NamedRows;

/// Formats the table, with colours if the output is a terminal.
pub fn table(report: &Report) -> String {
    let mut table = NamedRows::new();
    add_connects(&mut table, &report.connects);
    add_group(&mut table, "rooms", &report.rooms);
    if let Some(giant) = &report.giant {
        add_group(&mut table, "giant", giant);
    }
    if let Some(server) = &report.server {
        add_server(&mut table, server);
    }
    add_generator(&mut table, &report.generator);
    add_verdict(&mut table, report);
    table.to_string()
}

fn add_connects(table: &mut NamedRows, connects: &ConnectReport) {
    let ConnectReport { clients, connected, seconds, latency, .. } = connects;
    let rate = f64::from(*connected) / seconds.max(f64::EPSILON);
    let words = format!("{connected} of {clients} clients in {seconds:.2} s, {rate:.0}/s");
    table.add("connect", words);
    table.add("", format!("each p50 {} p99 {} max {} ms", time(latency.p50), time(latency.p99), time(latency.max)));
}

fn add_group(table: &mut NamedRows, name: &str, group: &GroupReport) {
    let GroupReport { rooms, members, offered, achieved, deliveries, tally, .. } = group;
    let of = if *rooms == 1 { "room" } else { "rooms" };
    table.add(name, format!("{members} members in {rooms} {of}"));
    let offered = offered.map_or("closed loop".to_owned(), |offered| format!("{offered:.1} offered"));
    table.add("messages/s", format!("{achieved:.1} sent, {offered}"));
    if tally.blocked > 0 {
        table.add("", format!("{} had to wait: the target did not read", tally.blocked));
    }
    table.add("deliveries/s", format!("{deliveries:.0}; {} in all", tally.received));
    if tally.unavailable > 0 {
        table.add("", format!("{} refused as unavailable", tally.unavailable));
    }
    if tally.unaccepted > 0 {
        let due = format!("due up to {} ms before the connection ended", time(group.unaccepted.max));
        table.add("", format!("{} not accepted, {due}", tally.unaccepted));
    }
    if tally.unsaid > 0 {
        table.add("", format!("{} due while no client was there to publish them", tally.unsaid));
    }
    let counted = format!("lost {}, duplicated {}, reordered {}", tally.lost, tally.duplicated, tally.reordered);
    let other = format!("stray {}, damaged {}", tally.stray, tally.damaged);
    table.add("", format!("{counted}, {other}"));
    if tally.stalled > 0 || tally.churned > 0 {
        table.add("", format!("{} stopped reading; {} joins and leaves", tally.stalled, tally.churned));
    }
    table.add("latency ms", quantiles(&group.latency));
    table.add("spread ms", quantiles(&group.spread));
    if group.answers.count > 0 {
        table.add("answers ms", format!("{}, {} in all", quantiles(&group.answers), group.answers.count));
    }
    if let Some(reconnects) = &group.reconnects {
        add_reconnects(table, reconnects);
    }
}

fn add_reconnects(table: &mut NamedRows, reconnects: &ReconnectReport) {
    let ReconnectReport { counts, times, beside_before, beside_during, .. } = reconnects;
    let came_back = format!("{} have what they missed, {} told of a gap", counts.recovered, counts.told);
    let others = format!("{} deceived, {} still away", counts.deceived, counts.away);
    if counts.cut > 0 || counts.disconnected == 0 {
        table.add("reconnects", format!("{} clients cut: {came_back}, {others}", counts.cut));
    }
    if counts.disconnected > 0 {
        let reasons = format_reasons(&reconnects.disconnected);
        let moved = if counts.moved > 0 { format!("; {} back at another target", counts.moved) } else { String::new() };
        table.add("failover", format!("{} clients disconnected, {reasons}{moved}", counts.disconnected));
        table.add("", format!("{came_back}, {others}"));
    }
    let counted = format!("untold {}, duplicated {}", counts.untold, counts.doubled);
    table.add("", format!("{} missed messages replayed; {counted}", counts.replayed));
    if counts.tls_resumed > 0 {
        table.add("", format!("{} TLS sessions resumed", counts.tls_resumed));
    }
    add_comebacks(table, &reconnects.comebacks);
    if times.count > 0 {
        table.add("reconnect ms", quantiles(&reconnects.connects));
        table.add("back after ms", quantiles(times));
    }
    if let Some(seconds) = reconnects.all_back_seconds {
        table.add("", format!("all back after {seconds:.2} s"));
    }
    if let Some(ratio) = reconnects.beside_ratio {
        table.add("beside ms", format!("{}, before the cut", quantiles(beside_before)));
        let during = format!("during the return, {} deliveries: p99 x {ratio:.2}", beside_during.count);
        table.add("", format!("{}, {during}", quantiles(beside_during)));
    }
}

fn add_comebacks(table: &mut NamedRows, comebacks: &ComebackReport) {
    if let Some(hint) = comebacks.hint() {
        table.add("", format!("{} told to wait {hint}", comebacks.hinted));
    }
    let failed: u64 = comebacks.failed_attempts.values().sum();
    if failed > 0 {
        table.add("", format!("{failed} attempts to come back failed: {}", format_reasons(&comebacks.failed_attempts)));
    }
    if let Some(seconds) = comebacks.outage_seconds {
        let ComebackReport { ended_per_second_max: ended, back_per_second_max: back, .. } = comebacks;
        let most = format!("up to {ended} ended and {back} came back in a second");
        table.add("", format!("all back {seconds:.2} s after the first connection ended; {most}"));
    }
}

fn add_server(table: &mut NamedRows, server: &ServerReport) {
    let cost =
        format!("{:.2} µs of processor per delivery, {:.2} cores", server.nanos_per_delivery / 1e3, server.cores);
    table.add("server", cost);
    let bytes = server.bytes_per_client;
    table.add(
        "",
        format!("{bytes:.0} bytes of private memory gained per client, {:.1} MiB", server.bytes as f64 / 1048576.0),
    );
    if !server.is_fresh {
        let held = server.bytes_before as f64 / 1048576.0;
        table.add("", format!("not fresh: gained over the {held:.1} MiB that it had before an earlier load came"));
    }
    let (voluntary, involuntary) = (server.voluntary_switches_per_delivery, server.involuntary_switches_per_delivery);
    table.add("", format!("context switches per delivery: {voluntary:.3} voluntary, {involuntary:.3} not"));
}

fn add_generator(table: &mut NamedRows, generator: &GeneratorReport) {
    let GeneratorReport { processes, nanos_per_delivery, busy, deliveries_per_read, bytes_per_delivery, lag, .. } =
        generator;
    let of = if *processes == 1 { "process" } else { "processes" };
    let cost = format!("{:.2} µs per delivery", nanos_per_delivery / 1e3);
    table.add("generator", format!("{processes} {of}, {cost}, {:.0} % of a core", busy * 100.0));
    table
        .add("", format!("{deliveries_per_read:.1} deliveries a read, {bytes_per_delivery:.0} bytes each on the wire"));
    if lag.count > 0 {
        table.add("sent late ms", quantiles(lag));
    }
}

fn add_verdict(table: &mut NamedRows, report: &Report) {
    if let Some(limited) = &report.generator.limited {
        table.add_in(Color::Red, "generator-limited", format!("these are the generator's figures: {limited}"));
    }
    for fault in &report.faults {
        table.add_in(Color::Red, "failed", fault.clone());
    }
    if report.interrupted {
        table.add_in(Color::Yellow, "stopped", "before its time; the figures cover the time until then".to_owned());
    }
    if report.faults.is_empty() && report.received() > 0 {
        let all = format!("all {} deliveries came, {}", report.received(), report.passed());
        let color = if report.generator.limited.is_some() { Color::Reset } else { Color::Green };
        table.add_in(color, "passed", all);
    }
}

fn quantiles(quantiles: &Quantiles) -> String {
    let Quantiles { p50, p90, p99, p99_9, p99_99, max, .. } = *quantiles;
    let of = [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("p99.99", p99_99), ("max", max)];
    of.map(|(name, value)| format!("{name} {}", time(value))).join("  ")
}

/// Formats milliseconds with three significant digits.
pub fn time(milliseconds: f64) -> String {
    match milliseconds {
        small if small < 1.0 => format!("{small:.3}"),
        small if small < 10.0 => format!("{small:.2}"),
        small if small < 100.0 => format!("{small:.1}"),
        large => format!("{large:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_that_count() {
        assert_eq!([0.0421, 1.234, 12.34, 1234.5].map(time), ["0.042", "1.23", "12.3", "1234"]);
    }
}
