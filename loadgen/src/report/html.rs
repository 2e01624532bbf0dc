//! The report as one HTML page without scripts, fonts or other files.

mod charts;
mod numbers;
mod reconnects;
mod rows;
mod table_page;

use anyhow::Context;
use askama::Template;

use crate::report::Report;
use crate::report::chart::Chart;
use numbers::{count, significant};
use rows::{Counts, Distribution, Row};
pub use table_page::TablePage;

/// Renders the page.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let page = Page {
        report,
        title: report.targets.join(", "),
        verdict: verdict(report),
        highlights: highlights(report),
        load: rows::load(report),
        distributions: rows::distributions(report).into_iter().chain(reconnects::distributions(report)).collect(),
        counts: Counts::of(report),
        reasons: rows::reasons(report),
        reconnects: reconnects::rows(report),
        connects: rows::connects(report),
        server: rows::server(report),
        generator: rows::generator(report),
        charts: charts::of(report).iter().map(ChartSvg::of).collect::<anyhow::Result<_>>()?,
    };
    page.render().context("writing the page")
}

#[derive(Template)]
#[template(path = "html/page.html")]
struct Page<'a> {
    report: &'a Report,
    title: String,
    verdict: Vec<Statement>,
    highlights: Vec<Highlight>,
    load: Vec<Row>,
    distributions: Vec<Distribution>,
    counts: Counts,
    reasons: Vec<Row>,
    reconnects: Vec<Row>,
    connects: Vec<Row>,
    server: Vec<Row>,
    generator: Vec<Row>,
    charts: Vec<ChartSvg>,
}

/// A chart drawn for wide and for narrow pages; the style sheet shows one of them.
struct ChartSvg {
    wide: String,
    narrow: String,
}

impl ChartSvg {
    fn of(chart: &Chart) -> anyhow::Result<Self> {
        let draw = || Ok::<_, askama::Error>(Self { wide: chart.svg()?, narrow: chart.narrow_svg()? });
        draw().context("drawing a chart")
    }
}

/// A statement about the whole load, shown before any number.
#[derive(Debug, PartialEq)]
struct Statement {
    kind: Kind,
    headline: String,
    details: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Good,
    Bad,
    Note,
}

impl Kind {
    /// The CSS class.
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Note => "note",
        }
    }

    /// A symbol for readers who cannot tell red from green.
    fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✗",
            Self::Note => "!",
        }
    }
}

/// A number in large type.
struct Highlight {
    value: String,
    unit: &'static str,
    name: String,
}

fn verdict(report: &Report) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut say = |kind, headline: String, details: &[String]| {
        statements.push(Statement { kind, headline, details: details.to_vec() });
    };
    if !report.faults.is_empty() {
        say(Kind::Bad, "Failed".to_owned(), &report.faults);
    }
    if let Some(reason) = &report.generator.limited {
        let meaning = "these figures are the generator's own, not the server's".to_owned();
        say(Kind::Bad, "generator-limited".to_owned(), &[reason.clone(), meaning]);
    }
    if report.interrupted {
        say(Kind::Note, "Stopped before its end: these are the figures so far".to_owned(), &[]);
    }
    if report.received() == 0 {
        say(Kind::Note, "Nothing was delivered".to_owned(), &[]);
    }
    if statements.is_empty() {
        let all = format!("All is well: {} deliveries, {}", count(report.received()), report.passed());
        statements.push(Statement { kind: Kind::Good, headline: all, details: Vec::new() });
    }
    statements
}

fn highlights(report: &Report) -> Vec<Highlight> {
    let groups = [Some(&report.rooms), report.giant.as_ref()];
    let deliveries: f64 = groups.into_iter().flatten().map(|group| group.deliveries).sum();
    let of_rooms = if report.giant.is_some() { ", rooms" } else { "" };
    let latency = |value: f64, name: &str| {
        let value = if report.rooms.latency.count == 0 { f64::NAN } else { value };
        Highlight { value: significant(value), unit: "ms", name: format!("{name}{of_rooms}") }
    };
    let plain = |value: String, unit, name: &str| Highlight { value, unit, name: name.to_owned() };
    let mut highlights = vec![
        plain(count(report.connects.connected.into()), "", "clients in their rooms"),
        plain(significant(deliveries), "/s", "deliveries"),
        latency(report.rooms.latency.p50, "p50 latency"),
        latency(report.rooms.latency.p99, "p99 latency"),
    ];
    if let Some(server) = &report.server {
        highlights.push(plain(significant(server.nanos_per_delivery / 1e3), "µs", "server CPU per delivery"));
    }
    highlights
}

#[cfg(test)]
mod tests;
