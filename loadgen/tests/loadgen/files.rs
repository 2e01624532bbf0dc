//! What is written to files is what is printed.

use std::fs::File;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::fake::{Fake, Fault};
use crate::harness::{Measured, loadgen, measure, measure_with};

/// Some of it is not measured.
const WARMED_UP: [&str; 8] = ["--clients", "6", "--rooms", "2", "--rate", "40", "--warmup", "250ms"];

/// As the table shows a time.
fn time(milliseconds: f64) -> String {
    let decimals = match milliseconds {
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    format!("{milliseconds:.decimals$}")
}

/// The quantiles of one kind, as the table shows them.
fn quantiles(measured: &Measured, of: &str) -> String {
    let names =
        [("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("p99.9", "p99_9"), ("p99.99", "p99_99"), ("max", "max")];
    let quantile = |(shown, field)| format!("{shown} {}", time(measured.number(&format!("{of}/{field}"))));
    names.map(quantile).join("  ")
}

#[test]
fn the_json_has_what_the_table_shows() {
    let fake = Fake::start(&[]);
    let measured = measure(&fake.target(), &["--clients", "6", "--rooms", "2", "--rate", "40", "--giant", "3@20"]);
    measured.expect_clean();
    let number = |pointer: &str| measured.number(pointer);
    for group in ["/rooms", "/giant"] {
        let of = |field: &str| number(&format!("{group}/{field}"));
        for words in [
            format!("{} members in {} room", of("members"), of("rooms")),
            format!("{:.1} sent, {:.1} offered", of("achieved"), of("offered")),
            format!("{:.0}; {} in all", of("deliveries"), of("tally/received")),
            format!("latency ms  {}", quantiles(&measured, &format!("{group}/latency"))),
            format!("spread ms  {}", quantiles(&measured, &format!("{group}/spread"))),
        ] {
            assert!(measured.ended.out.contains(&words), "{words}: {measured:?}");
        }
    }
    let both = number("/rooms/tally/received") + number("/giant/tally/received");
    let verdict = format!("passed  all {both} deliveries came, once and in one order");
    let late = format!("sent late ms  {}", quantiles(&measured, "/generator/lag"));
    let clients = format!("{} of {} clients", number("/connects/connected"), number("/connects/clients"));
    for words in [verdict, late, clients, "lost 0, duplicated 0, reordered 0, stray 0, damaged 0".to_owned()] {
        assert!(measured.ended.out.contains(&words), "{words}: {measured:?}");
    }
}

#[test]
fn the_json_says_what_was_asked_for_and_where() {
    let fake = Fake::start(&[]);
    let measured = measure(&fake.target(), &["--clients", "6", "--rate", "40", "--seed", "7"]);
    assert_eq!(measured.report["targets"][0], fake.target());
    assert!(measured.report["command"].as_str().is_some_and(|command| command.starts_with("loadgen tcp://")));
    assert_eq!(measured.number("/plan/manner/seed"), 7.0);
    assert_eq!(measured.number("/plan/pace/rate"), 40.0);
    assert!(measured.number("/host/cores") >= 1.0);
    assert!(measured.report["timeline"].as_array().is_some_and(|moments| !moments.is_empty()), "{measured:?}");
}

#[test]
fn the_histogram_has_every_measured_delivery() {
    let fake = Fake::start(&[Fault::Delay(std::time::Duration::from_millis(50))]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("latency.hdr");
    let target = fake.target();
    let mut command = loadgen(&[&[&target[..], "--duration", "500ms"], &WARMED_UP[..]].concat());
    let measured = measure_with(command.arg("--hdr").arg(&path));
    let mut file = File::open(path).expect("a file");
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut file).expect("a histogram");
    assert_eq!(measured.number("/rooms/tally/received"), 90.0);
    assert_eq!(histogram.len(), 60, "those that were due in the measured time");
    assert_eq!(histogram.len() as f64, measured.number("/rooms/latency/count"));
    let median = histogram.value_at_quantile(0.5) as f64 / 1e6;
    assert!((median / measured.number("/rooms/latency/p50") - 1.0).abs() < 1e-9, "{median}: {measured:?}");
}

#[test]
fn the_page_is_whole_and_has_its_curves() {
    let fake = Fake::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.html");
    let target = fake.target();
    let mut command = loadgen(&[&[&target[..], "--duration", "500ms"], &WARMED_UP[..]].concat());
    let measured = measure_with(command.arg("--html").arg(&path));
    measured.expect_clean();
    let page = std::fs::read_to_string(path).expect("a page");
    let said = measured.report["command"].as_str().expect("a command");
    for part in ["<svg", "</svg>", "</html>", said, "Deliveries received"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    for elsewhere in ["src=\"http", "href=\"http", "<script", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere} in {page}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    let fake = Fake::start(&[]);
    let path = "/no such folder/report.json";
    let load = [&fake.target()[..], "--clients", "2", "--warmup", "0s", "--duration", "100ms", "--json", path];
    let ended = crate::harness::run(&mut loadgen(&load));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains(path), "{ended:?}");
    assert!(ended.out.contains("passed"), "the table is not lost: {ended:?}");
}
