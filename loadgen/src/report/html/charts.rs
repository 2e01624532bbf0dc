//! Which figures stand on the page. Says what is drawn, never how.

use super::rows;
use crate::report::chart::{Axis, Chart, Scale, Series};
use crate::report::{GroupReport, Moment, Report};

/// Of the curve, which is read closely.
const TALL: f64 = 380.0;

/// Of what happened over time.
const FLAT: f64 = 230.0;

/// The curve of latency, then what happened over time, over one another so that moments can be compared.
pub fn of(report: &Report) -> [Chart; 4] {
    [curve(report), deliveries(report), clients(report), latency(report)]
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

/// The longest of n deliveries stands where half of it is left: an axis of this kind has no end, and 1 in n is the next.
fn points(group: &GroupReport) -> impl Iterator<Item = (f64, f64)> {
    let last = 1.0 - 0.5 / group.latency.count as f64;
    group.curve.iter().map(move |&(share, milliseconds)| (share.min(last), milliseconds))
}

fn deliveries(report: &Report) -> Chart {
    let value = |moment: &Moment| Some(moment.deliveries);
    let series = vec![over_time("deliveries", report, value)];
    timeline("Deliveries over time", Axis::new("deliveries per second", Scale::Linear), series)
}

fn clients(report: &Report) -> Chart {
    let value = |moment: &Moment| Some(f64::from(moment.clients));
    let series = vec![over_time("clients", report, value)];
    timeline("Clients over time", Axis::new("clients in their rooms", Scale::Linear), series)
}

fn latency(report: &Report) -> Chart {
    let series = [over_time("p50", report, |moment| moment.p50), over_time("p99", report, |moment| moment.p99)];
    let series: Vec<Series> = series.into();
    timeline("Latency over time", milliseconds(&series), series)
}

fn over_time(name: &str, report: &Report, value: impl Fn(&Moment) -> Option<f64>) -> Series {
    let points = report.timeline.iter().map(|moment| (moment.seconds, value(moment))).collect();
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
