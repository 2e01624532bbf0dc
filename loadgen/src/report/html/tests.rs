//! Checks the page as text. `cargo test -p loadgen sample_pages -- --ignored` writes samples to look at.

use super::*;
use crate::clock::Nanos;
use crate::comebacks::Comebacks;
use crate::latency::Latencies;
use crate::messages::{ReconnectCounts, Tally};
use crate::reasons::Reasons;
use crate::report::{
    ComebackReport, ConnectReport, GeneratorReport, GroupReport, Host, ReconnectReport, Sample, ServerReport,
};
use crate::workload::{CutFrom, Giant, Reconnect, Workload};

/// A load without any client.
fn nothing() -> Report {
    let host = Host { processor: "Example 9000".to_owned(), cores: 2, kernel: "Linux 6.12".to_owned() };
    let generator = GeneratorReport {
        processes: 1,
        nanos_per_delivery: f64::NAN,
        busy: 0.0,
        deliveries_per_read: f64::NAN,
        bytes_per_delivery: f64::NAN,
        lag: Latencies::default().quantiles(),
        limited: None,
    };
    Report {
        command: "loadgen --clients 0".to_owned(),
        version: "0.1.0".to_owned(),
        began: "2026-01-02T03:04:05Z".to_owned(),
        host,
        targets: vec!["tcp://127.0.0.1:8080".to_owned()],
        workload: Workload::example(),
        connects: ConnectReport::default(),
        rooms: GroupReport::default(),
        giant: None,
        server: None,
        generator,
        timeline: Vec::new(),
        interrupted: false,
        faults: Vec::new(),
    }
}

/// Times around a median in milliseconds, with a long tail.
fn latencies(median: f64, count: u32, random: &mut fastrand::Rng) -> Latencies {
    let mut latencies = Latencies::default();
    for _ in 0..count {
        let bulk = median * (0.6 + 0.8 * random.f64());
        let tail = median * 0.08 / random.f64().max(1e-6).powf(0.55);
        latencies.record(std::time::Duration::from_secs_f64((bulk + tail) / 1e3));
    }
    latencies
}

fn group(rooms: u32, members: u32, median: f64, random: &mut fastrand::Rng) -> GroupReport {
    let latencies = latencies(median, 300_000, random);
    let received = 900_000;
    let tally =
        Tally { published: received / 100, received, received_in_time: 750_000, reads: 700_000, ..Tally::default() };
    GroupReport {
        rooms,
        members,
        offered: Some(300.0),
        achieved: 299.97,
        deliveries: 29_996.4,
        expected: received,
        tally,
        latency: latencies.quantiles(),
        curve: latencies.curve(),
        spread: self::latencies(median * 0.8, 9_000, random).quantiles(),
        ..GroupReport::default()
    }
}

/// Connecting for two seconds, then the load with a stall in the middle.
fn timeline(random: &mut fastrand::Rng) -> Vec<Sample> {
    let sample = |index: u32| {
        let seconds = f64::from(index) / 4.0;
        let is_loaded = (3.0..33.0).contains(&seconds);
        let stall = if (18.0..19.0).contains(&seconds) { 25.0 } else { 1.0 };
        let noise = 0.9 + 0.2 * random.f64();
        Sample {
            seconds,
            clients: (seconds / 2.0 * 15_000.0).min(15_000.0) as u32,
            deliveries: if is_loaded { 30_000.0 * noise / stall } else { 0.0 },
            p50: is_loaded.then_some(1.9 * noise * stall),
            p99: is_loaded.then_some(8.5 * noise * stall),
        }
    };
    (0..136).map(sample).collect()
}

/// A load without faults.
fn good() -> Report {
    let mut random = fastrand::Rng::with_seed(1);
    let mut report = nothing();
    report.command =
        "loadgen tcp://127.0.0.1:8080 --clients 15000 --rooms 150 --rate 300 --duration 30s --pid 4711".to_owned();
    report.workload = Workload { clients: 15_000, rooms: 150, ..Workload::example() };
    report.workload.settings.duration = std::time::Duration::from_secs(25);
    report.workload.settings.warmup = std::time::Duration::from_secs(5);
    let latency = latencies(140.0, 15_000, &mut random).quantiles();
    report.connects = ConnectReport { clients: 15_000, connected: 15_000, seconds: 1.874, latency, ..report.connects };
    report.rooms = group(150, 15_000, 1.9, &mut random);
    report.timeline = timeline(&mut random);
    report.generator.nanos_per_delivery = 4_012.0;
    report.generator.busy = 0.43;
    report.generator.deliveries_per_read = 1.29;
    report.generator.lag = latencies(0.06, 9_000, &mut random).quantiles();
    report.server = Some(ServerReport {
        bytes_before: 4 << 20,
        is_fresh: true,
        process_id: 4711,
        nanos_per_delivery: 7_634.0,
        cores: 0.229,
        bytes_per_client: 1_249.0,
        bytes: 21_430_000,
        voluntary_switches_per_delivery: 0.0173,
        involuntary_switches_per_delivery: 0.000_42,
    });
    report
}

/// A load with many faults and a giant room.
fn bad() -> Report {
    let mut random = fastrand::Rng::with_seed(2);
    let mut report = Report { interrupted: true, ..good() };
    report.command = "loadgen --giant 10000@4 --room-prefix '<script>alert(1)</script>'".to_owned();
    report.workload.giant = Some(Giant { members: 10_000, rate: 4.0 });
    report.giant = Some(group(1, 10_000, 78.0, &mut random));
    report.rooms.tally = Tally { lost: 12, duplicated: 3, ..report.rooms.tally };
    report.rooms.disconnected = Reasons::from([("slow consumer".to_owned(), 4), ("<b>reset</b>".to_owned(), 1)]);
    report.connects.connected = 14_990;
    report.connects.failed = Reasons::from([("connection refused".to_owned(), 10)]);
    report.generator.busy = 0.94;
    report.generator.lag.p99 = 3.4;
    report.generator.limited = report.generator.find_faults(&report.generator.lag);
    report.faults = report.find_faults();
    report
}

/// Connections that ended one after the other within half a second, and whose clients were back two seconds later.
fn restarted() -> ComebackReport {
    let mut comebacks = Comebacks::default();
    for client in 0..500 {
        comebacks.record_end(Nanos(client * 1_000_000));
        comebacks.record_hint(std::time::Duration::from_secs(2));
        comebacks.record_back(Nanos(client * 1_000_000 + 2_040_000_000));
    }
    comebacks.record_failed_attempt("Connection refused");
    ComebackReport::of(&comebacks, true)
}

/// A load in which half of the rooms were cut and came back.
fn reconnected(counts: ReconnectCounts) -> Report {
    let mut random = fastrand::Rng::with_seed(3);
    let mut report = good();
    let seconds = std::time::Duration::from_secs;
    let (at, over, away) = (seconds(5), seconds(0), seconds(5));
    report.workload.settings.reconnect = Some(Reconnect { share: 0.5, at, over, away, from: CutFrom::Rooms });
    report.rooms.reconnects = Some(ReconnectReport {
        counts,
        all_back_seconds: (counts.away == 0).then_some(1.86),
        times: latencies(900.0, 7_425, &mut random).quantiles(),
        beside_before: latencies(1.9, 30_000, &mut random).quantiles(),
        beside_during: latencies(2.9, 9_000, &mut random).quantiles(),
        beside_ratio: Some(1.53),
        comebacks: restarted(),
        ..ReconnectReport::default()
    });
    report.faults = report.find_faults();
    report
}

#[track_caller]
fn assert_has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[track_caller]
fn assert_lacks(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(!page.contains(part), "{part} is in {page}");
    }
}

/// Number of lines in each chart.
fn lines(page: &str) -> Vec<usize> {
    page.split("<svg").skip(1).step_by(2).map(|figure| figure.matches(r#"class="line "#).count()).collect()
}

#[test]
fn what_a_user_typed_is_text_and_nothing_else() {
    let page = page(&bad()).unwrap();
    assert_lacks(&page, &["<script", "<b>"]);
    assert_has(&page, &["&#60;script&#62;alert(1)&#60;/script&#62;", "&#60;b&#62;reset&#60;/b&#62; (1)"]);
}

#[test]
fn a_load_in_which_all_went_well_says_so_in_green_and_nothing_in_red() {
    let page = page(&good()).unwrap();
    assert_has(
        &page,
        &[
            r#"class="statement good""#,
            "All is well: 900\u{202f}000 deliveries, once and in one order",
            "4711",
            "Example 9000",
        ],
    );
    assert_lacks(&page, &[r#"class="bad""#, r#"class="statement bad""#, r#"class="statement note""#]);
}

#[test]
fn every_fault_and_a_limited_generator_stand_in_red() {
    let page = page(&bad()).unwrap();
    assert_has(
        &page,
        &[r#"class="statement bad""#, "generator-limited", "1 message in 100 was sent 3.4 ms late or more"],
    );
    for fault in bad().faults.iter().filter(|fault| !fault.contains('<')) {
        assert_has(&page, &[fault]);
    }
    assert_has(
        &page,
        &[
            r#"<td class="bad">12</td>"#,
            r#"<td class="bad">3</td>"#,
            "rooms: slow consumer (4)",
            "Stopped before its end",
        ],
    );
    assert_lacks(&page, &[r#"class="statement good""#]);
}

#[test]
fn every_figure_has_its_lines_and_the_giant_one_more() {
    assert_eq!(lines(&page(&good()).unwrap()), [1, 1, 1, 2]);
    assert_eq!(lines(&page(&bad()).unwrap()), [2, 1, 1, 2]);
}

#[test]
fn a_load_without_a_delivery_says_so_and_draws_no_line() {
    let page = page(&nothing()).unwrap();
    assert_has(
        &page,
        &["Nothing was delivered", "nothing was delivered while it was measured", "nothing was recorded"],
    );
    assert_eq!(lines(&page), [0, 0, 0, 0]);
    assert_lacks(&page, &["NaN", "inf", "All is well"]);
}

#[test]
fn clients_that_came_back_have_a_table_and_times_of_their_own() {
    let all = ReconnectCounts { cut: 7_425, recovered: 7_425, replayed: 371_250, ..ReconnectCounts::default() };
    let page = super::page(&reconnected(all)).unwrap();
    let plan = "50.0\u{a0}% of the rooms, except their first members, cut at once after 5s and away for 5s";
    assert_has(&page, &["<h2>Reconnects</h2>", plan, "371\u{202f}250", "1.86\u{a0}s", "Rooms beside, before the cut"]);
    assert_lacks(&page, &[r#"class="bad""#, r#"class="statement bad""#]);
    let some = ReconnectCounts { recovered: 7_420, deceived: 3, untold: 5, away: 2, ..all };
    let page = super::page(&reconnected(some)).unwrap();
    for fault in ["5 of the lost deliveries untold", "2 of 7425 clients did not come back: no answer"] {
        assert_has(&page, &[fault, r#"<tr class="bad"><th scope="row">Still away</th><td>2</td></tr>"#]);
    }
    assert_lacks(&super::page(&good()).unwrap(), &["Reconnects", "Rooms beside", "Comebacks"]);
}

#[test]
fn clients_that_a_server_ended_have_a_chart_of_their_comebacks() {
    let page = super::page(&reconnected(ReconnectCounts::default())).unwrap();
    assert_eq!(lines(&page), [1, 1, 1, 2, 2]);
    assert_has(&page, &["Comebacks over time", "<td>2 s</td>", "Connection refused (1)", "2.54\u{a0}s"]);
}

#[test]
fn a_page_asks_for_nothing_from_elsewhere() {
    let page = page(&good()).unwrap().replace(r#"xmlns="http://www.w3.org/2000/svg""#, "");
    assert_lacks(&page, &["http://", "https://", "src=", "href=", "url(", "@import", "NaN", "inf "]);
}

#[test]
#[ignore = "writes pages to be looked at"]
fn sample_pages() {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).expect("a test is in target/<profile>/deps");
    let folder = target.join("report-samples");
    std::fs::create_dir_all(&folder).unwrap();
    let restarted = reconnected(ReconnectCounts::default());
    for (name, report) in [("good", good()), ("bad", bad()), ("nothing", nothing()), ("restarted", restarted)] {
        std::fs::write(folder.join(name).with_extension("html"), page(&report).unwrap()).unwrap();
    }
}
