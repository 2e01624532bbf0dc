//! Clients that lost their connection and came back, as rows of the page.

use humantime::format_duration;

use super::numbers::{count, percent, significant, with_unit};
use super::rows::{Distribution, Row};
use crate::messages::ReconnectCounts;
use crate::report::{ComebackReport, ReconnectReport, Report, format_reasons};
use crate::workload::{CutFrom, Reconnect};

/// The counts; empty if no client was to come back.
pub fn rows(report: &Report) -> Vec<Row> {
    let Some(reconnects) = &report.rooms.reconnects else { return Vec::new() };
    let counts = reconnects.counts;
    let ReconnectCounts { cut, disconnected, moved, recovered, told, deceived, away, .. } = counts;
    let ReconnectCounts { replayed, doubled, untold, tls_resumed, .. } = counts;
    let plain = |name, number: u64| Row::new(name, count(number));
    let fault = |name, number: u64| Row { is_bad: number > 0, ..Row::new(name, count(number)) };
    let mut rows: Vec<Row> = report.workload.settings.reconnect.iter().map(plan).collect();
    rows.extend([
        plain("Clients cut", cut),
        plain("Clients disconnected", disconnected),
        plain("Back at another target", moved),
        plain("Told how long to wait", reconnects.comebacks.hinted),
        plain("Back with what they missed", recovered),
        plain("Told of a gap", told),
        fault("Back without what they missed, untold", deceived),
        fault("Still away", away),
        plain("Missed messages replayed", replayed),
        fault("Missed messages untold", untold),
        fault("Duplicates after the return", doubled),
    ]);
    rows.extend((tls_resumed > 0).then(|| plain("TLS sessions resumed", tls_resumed)));
    rows.extend(reconnects.all_back_seconds.map(|seconds| Row::new("All back after", with_unit(seconds, "s"))));
    rows.extend(comebacks(&reconnects.comebacks));
    let ratio = |ratio| Row::new("Rooms beside, p99 during over before", significant(ratio));
    rows.extend(reconnects.beside_ratio.map(ratio));
    if !reconnects.disconnected.is_empty() {
        rows.push(Row::new("Disconnected", format_reasons(&reconnects.disconnected)));
    }
    if !reconnects.failed.is_empty() {
        rows.push(Row { is_bad: true, ..Row::new("Failed", format_reasons(&reconnects.failed)) });
    }
    rows
}

/// How long clients were told to wait, which attempts failed, and how long it took until all were back.
fn comebacks(comebacks: &ComebackReport) -> impl Iterator<Item = Row> {
    let hint = comebacks.hint().map(|hint| Row::new("Time to wait", hint));
    let failed = &comebacks.failed_attempts;
    let failed = (!failed.is_empty()).then(|| Row::new("Attempts that failed", format_reasons(failed)));
    let outage = |seconds| Row::new("From the first end until all were back", with_unit(seconds, "s"));
    hint.into_iter().chain(failed).chain(comebacks.outage_seconds.map(outage))
}

/// Times to come back, and latencies in the rooms beside.
pub fn distributions(report: &Report) -> impl Iterator<Item = Distribution> {
    let named = |reconnects: &ReconnectReport| {
        let named = [
            ("Back after", reconnects.times),
            ("Reconnect and join", reconnects.connects),
            ("Rooms beside, before the cut", reconnects.beside_before),
            ("Rooms beside, during the return", reconnects.beside_during),
        ];
        named.map(|(name, quantiles)| Distribution::new(name.to_owned(), &quantiles, false))
    };
    report.rooms.reconnects.iter().flat_map(named)
}

/// What was to be done.
fn plan(reconnect: &Reconnect) -> Row {
    let from = match reconnect.from {
        CutFrom::Rooms => "rooms, except their first members",
        CutFrom::Members => "members of all rooms",
    };
    let over = if reconnect.over.is_zero() {
        "at once".to_owned()
    } else {
        format!("within {}", format_duration(reconnect.over))
    };
    let (share, at, away) = (percent(reconnect.share), format_duration(reconnect.at), format_duration(reconnect.away));
    Row::new("Plan", format!("{share} of the {from}, cut {over} after {at} and away for {away}"))
}
