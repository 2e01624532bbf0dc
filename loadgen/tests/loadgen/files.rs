//! Files have the figures that are printed.

use std::fs::File;

use harness::{Process, Turn, at_once};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::fake::{At, Fake, Fault};
use crate::load::{Measured, loadgen, measure, measure_with};

/// A load with a part that is not measured.
const WARMED_UP: [&str; 8] = ["--clients", "6", "--rooms", "2", "--rate", "40", "--warmup", "250ms"];

/// A time as the table shows it.
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
fn a_file_that_cannot_be_written_is_told_before_anything_is_measured() {
    let fake = Fake::start(&[]);
    let target = fake.target();
    for file in ["--json", "--html", "--hdr"] {
        let ended = Process::run(&mut loadgen(&[&target, "--clients", "2", file, "/no such folder/report"]));
        assert_eq!((ended.code, &ended.out[..]), (Some(2), ""));
        assert!(ended.err.contains("cannot write /no such folder/report"), "{ended:?}");
    }
    drop(fake);
    for command in [&["find-capacity", "--slo", "p99=1s"][..], &["compare", "limit", &target], &["limit"]] {
        let ended = Process::run(&mut loadgen(&[command, &["--json", "/no such folder/report"]].concat()));
        assert!(ended.err.contains("cannot write /no such folder/report"), "{ended:?}");
    }
}

#[test]
fn json_on_standard_output_stands_there_alone() {
    let fake = Fake::start(&[]);
    let target = fake.target();
    let load = ["--clients", "2", "--rate", "20", "--warmup", "0s", "--duration", "200ms", "--json", "-"];
    for command in [&[&target[..]][..], &["find-capacity", &target, "--slo", "p99=10s", "--from", "2", "--to", "2"]] {
        let load = if command.len() > 1 { &load[2..] } else { &load[..] };
        let ended = Process::run(&mut loadgen(&[command, load].concat()));
        assert!(serde_json::from_str::<serde_json::Value>(&ended.out).is_ok(), "{ended:?}");
        assert!(ended.err.contains("deliveries/s"), "the table is not lost: {ended:?}");
    }
}

#[test]
fn a_search_and_a_comparison_have_pages_too_and_say_where() {
    let fake = Fake::start(&[]);
    let target = fake.target();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    let load = ["--rate", "20", "--warmup", "0s", "--duration", "200ms"];
    for (command, part) in [
        (&["find-capacity", &target, "--slo", "p99=10s", "--from", "2", "--to", "4"][..], "<svg"),
        (&["compare", &target, &target, "--rounds", "1", "--clients", "2"], "deliveries/s"),
    ] {
        let ended = Process::run(loadgen(&[command, &load].concat()).arg("--html").arg(&path));
        assert!(ended.out.contains("report written to /") && ended.out.contains("page.html"), "{ended:?}");
        let page = std::fs::read_to_string(&path).expect("a page");
        for part in [part, "<table", "</html>"] {
            assert!(page.contains(part), "no {part} in {page}");
        }
    }
}

#[test]
#[ignore = "slow: every command once"]
fn tables_fit_the_terminal() {
    let fake = Fake::start(&[Fault::Dismiss(At { client: 1, delivery: 1 }, "ERR closed slow-consumer\n")]);
    let target = fake.target();
    let honest_fake = Fake::start(&[]);
    let honest = honest_fake.target();
    let load = ["--rate", "20", "--warmup", "0s", "--duration", "200ms", "--patience", "1s"];
    let clients = ["--clients", "2", "--rounds", "1"];
    let four = [&["compare", &target, &target, &target, &target], &clients[..]].concat();
    let fit = |columns: &str, arguments: &[&str]| {
        let ended = Process::run(loadgen(arguments).env("COLUMNS", columns));
        let width = columns.parse().expect("a number");
        let widest = ended.out.lines().max_by_key(|line| line.chars().count()).expect("a table");
        assert!(widest.chars().count() <= width, "{columns}: {widest:?} of {ended:?}");
    };
    at_once(["80", "150"], |columns| {
        for command in [
            &[&target[..], "--clients", "2"][..],
            &["find-capacity", &target, "--slo", "p99=10s", "--from", "2", "--to", "4"],
            &four,
            &["limit", "--clients", "2"],
        ] {
            fit(columns, &[command, &load].concat());
        }
    });
    // These run at real-time priority.
    let _turn = Turn::take();
    fit("80", &["overload", "flood", &target, "--members", "2", "--for", "100ms", "--patience", "1s"]);
    fit("80", &["overload", "burst", &honest, "--clients", "2", "--watchers", "2", "--patience", "1s"]);
}
