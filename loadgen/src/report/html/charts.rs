//! The charts of the page: which data they show, never how it is drawn.

use super::rows;
use crate::comebacks::ComebackSample;
use crate::report::chart::{Axis, Chart, Scale, Series};
use crate::report::{GroupReport, Report, Sample};

/// Height of the latency distribution, which is read closely.
const TALL: f64 = 380.0;

/// Height of the charts over time.
const FLAT: f64 = 230.0;

/// The latency distribution, then the charts over time with a common horizontal axis, then the comebacks of clients that
/// lost their connection, if any did.
pub fn of(report: &Report) -> Vec<Chart> {
    let charts = [curve(report), deliveries(report), clients(report), latency(report)];
    charts.into_iter().chain(comebacks(report)).collect()
}

fn curve(report: &Report) -> Chart {
    let groups = rows::groups(report).into_iter().filter(|(_, group)| group.latency.count > 0);
    let series: Vec<Series> = groups.map(|(name, group)| Series::unbroken(name, points(group))).collect();
    let label = "share of deliveries that took no longer";
    Chart {
        title: "Latency by percentile".to_owned(),
        x: Axis::new(label, Scale::Percentile),
        y: milliseconds(&series),
        series,
        empty: "nothing was delivered while it was measured".to_owned(),
        height: TALL,
    }
}

/// The points of the distribution. The longest of n deliveries is drawn at half of the last 1/n, because a percentile
/// axis has no end.
fn points(group: &GroupReport) -> impl Iterator<Item = (f64, f64)> {
    let last = 1.0 - 0.5 / group.latency.count as f64;
    group.curve.iter().map(move |&(share, milliseconds)| (share.min(last), milliseconds))
}

fn deliveries(report: &Report) -> Chart {
    let value = |sample: &Sample| Some(sample.deliveries);
    let series = vec![over_time("deliveries", report, value)];
    timeline("Deliveries over time", Axis::new("deliveries per second", Scale::Linear), series)
}

fn clients(report: &Report) -> Chart {
    let value = |sample: &Sample| Some(f64::from(sample.clients));
    let series = vec![over_time("clients", report, value)];
    timeline("Clients over time", Axis::new("clients in their rooms", Scale::Linear), series)
}

fn latency(report: &Report) -> Chart {
    let series = [over_time("p50", report, |sample| sample.p50), over_time("p99", report, |sample| sample.p99)];
    let series: Vec<Series> = series.into();
    timeline("Latency over time", milliseconds(&series), series)
}

fn comebacks(report: &Report) -> Option<Chart> {
    let timeline = &report.rooms.reconnects.as_ref()?.comebacks.timeline;
    let line = |name: &str, value: fn(&ComebackSample) -> f64| {
        Series::unbroken(name, timeline.iter().map(|sample| (sample.seconds, value(sample))))
    };
    let series = vec![line("ended", |sample| sample.ended), line("back", |sample| sample.back)];
    (!timeline.is_empty()).then(|| Chart {
        title: "Comebacks over time".to_owned(),
        x: Axis::new("seconds since the first connection ended", Scale::Linear),
        y: Axis::new("clients per second", Scale::Linear),
        series,
        empty: "nobody lost a connection".to_owned(),
        height: FLAT,
    })
}

fn over_time(name: &str, report: &Report, value: impl Fn(&Sample) -> Option<f64>) -> Series {
    let points = report.timeline.iter().map(|sample| (sample.seconds, value(sample))).collect();
    Series { name: name.to_owned(), points }
}

fn timeline(title: &str, y: Axis, series: Vec<Series>) -> Chart {
    let x = Axis::new("seconds since the first connect", Scale::Linear);
    Chart { title: title.to_owned(), x, y, series, empty: "nothing was recorded".to_owned(), height: FLAT }
}

fn milliseconds(series: &[Series]) -> Axis {
    let values = series.iter().flat_map(|series| &series.points).filter_map(|point| point.1);
    match Scale::fitting(values) {
        Scale::Linear => Axis::new("milliseconds", Scale::Linear),
        scale => Axis::new("milliseconds, logarithmic", scale),
    }
}
