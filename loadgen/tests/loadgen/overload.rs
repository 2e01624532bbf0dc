//! Overloads of a server that lies and of the real one: what happens to a watcher or a bystander is counted exactly,
//! and decides the exit code.

use std::io::Write;
use std::process::Stdio;

use harness::{Ended, Process, Turn, at_once};
use serde_json::{Value, json};

use crate::fake::{At, Fake, Fault};
use crate::load::{loadgen, number, read_json};
use crate::servers::{Server, free_port, roomcast_at};

/// A process that was not ready after this many lines never will be.
const REPORTS_MAX: usize = 100;

/// Four clients publish twice, and two watch.
const BURST: [&str; 8] = ["--clients", "4", "--watchers", "2", "--messages", "2", "--size", "64"];

/// The last client to connect is a watcher: half of the watchers connect behind the crowd.
const WATCHER: usize = 5;

/// A flood by one member, beside one that sends `PING` once a second.
const FLOOD: [&str; 8] = ["--members", "1", "--inside", "1", "--bystanders", "0", "--newcomers", "0"];

/// A report and how the command ended.
#[derive(Debug)]
struct Overload {
    ended: Ended,
    report: Value,
}

impl Overload {
    #[track_caller]
    fn of(arguments: &[&[&str]]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        let ended = Process::run(loadgen(&[&["overload"], &arguments.concat()[..]].concat()).arg("--json").arg(&path));
        Self { report: read_json(&path, &ended), ended }
    }

    /// Runs a burst on a server with these faults. Only one in which something never comes waits as long as its
    /// patience.
    #[track_caller]
    fn burst(script: &[Fault]) -> Self {
        let fake = Fake::start(script);
        Self::of(&[&["burst", &fake.target(), "--patience", "5s"], &BURST])
    }

    /// Runs a flood for so long on a server with these faults, for whichever of its two clients.
    #[track_caller]
    fn flood(time: &str, script: &[fn(usize) -> Fault]) -> Self {
        let both: Vec<Fault> = script.iter().flat_map(|fault| [fault(0), fault(1)]).collect();
        let fake = Fake::start(&both);
        Self::of(&[&["flood", &fake.target(), "--patience", "1s", "--for", time], &FLOOD])
    }

    #[track_caller]
    fn number(&self, pointer: &str) -> u64 {
        number(&self.report, pointer) as u64
    }

    /// This is wrong with the deliveries to watchers, and nothing else.
    #[track_caller]
    fn expect_only(&self, fault: &str, count: u64) {
        for counted in ["lost", "doubled", "reordered", "strange", "due"] {
            let wanted = if counted == fault { count } else { 0 };
            assert_eq!(self.number(&format!("/deliveries/{counted}")), wanted, "{counted}: {self:?}");
        }
        assert_eq!(self.number("/deliveries/expected"), 16, "{self:?}");
        assert_eq!(self.ended.code, Some(i32::from(count > 0)), "{self:?}");
    }
}

#[test]
fn a_burst_that_everybody_hears_passes() {
    let _turn = Turn::take();
    let burst = Overload::burst(&[]);
    burst.expect_only("lost", 0);
    assert_eq!((burst.number("/deliveries/heard"), burst.number("/whole")), (16, 2));
    assert_eq!(burst.report["ended"], "complete");
    assert!(burst.ended.out.contains("passed"), "{burst:?}");
}

#[test]
fn each_fault_in_a_burst_is_counted_and_no_other() {
    let _turn = Turn::take();
    let here = At { client: WATCHER, delivery: 3 };
    let to_all: Vec<Fault> = (0..=WATCHER).map(|client| Fault::Lose(At { client, delivery: 4 })).collect();
    let cases: [(&[Fault], &str, u64); 4] = [
        (&[Fault::Lose(here)], "lost", 1),
        (&to_all, "lost", 2),
        (&[Fault::Double(here)], "doubled", 1),
        (&[Fault::Swap(here)], "reordered", 1),
    ];
    at_once(cases, |(script, fault, count)| Overload::burst(script).expect_only(fault, count));
    let changed = Overload::burst(&[Fault::Cut(here)]);
    assert_eq!((changed.number("/deliveries/strange"), changed.ended.code), (1, Some(1)), "{changed:?}");
}

#[test]
fn a_burst_without_its_last_delivery_ends_once_all_is_quiet() {
    let _turn = Turn::take();
    let last = Overload::burst(&[Fault::Lose(At { client: WATCHER, delivery: 7 })]);
    last.expect_only("lost", 1);
    assert_eq!((last.number("/whole"), &last.report["ended"]), (1, &Value::from("quiet")));
}

#[test]
fn a_watcher_that_is_cut_fails_the_burst_with_its_last_line() {
    let _turn = Turn::take();
    let here = At { client: WATCHER, delivery: 6 };
    let burst = Overload::burst(&[Fault::Dismiss(here, "ERR closed slow-consumer\n")]);
    burst.expect_only("lost", 2);
    assert_eq!(burst.number("/cut/slow-consumer"), 1);
    assert!(burst.ended.out.contains("1 of 2 watchers were cut: slow-consumer (1)"), "{burst:?}");
    let burst = Overload::burst(&[Fault::Close(here)]);
    assert_eq!(burst.number("/cut/closed without a word"), 1);
}

#[test]
fn a_speaker_that_is_cut_is_a_figure_and_no_failure() {
    let _turn = Turn::take();
    let burst = Overload::burst(&[Fault::Dismiss(At { client: 4, delivery: 7 }, "ERR closed slow-consumer\n")]);
    // The order in which clients connect decides whether a publisher or a watcher is closed.
    let (speakers, watchers) =
        (number_or_zero(&burst, "/crowd/cut/slow-consumer"), number_or_zero(&burst, "/cut/slow-consumer"));
    assert_eq!(speakers + watchers, 1, "{burst:?}");
    assert_eq!(burst.ended.code, Some(i32::from(watchers > 0)), "{burst:?}");
}

fn number_or_zero(of: &Overload, pointer: &str) -> u64 {
    of.report.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

#[test]
fn a_flood_beside_which_everybody_is_answered_passes() {
    let _turn = Turn::take();
    let fake = Fake::start(&[]);
    let flood = Overload::of(&[&[
        "flood",
        &fake.target(),
        "--members",
        "3",
        "--inside",
        "2",
        "--bystanders",
        "12",
        "--newcomers",
        "0",
        "--for",
        "1100ms",
    ]]);
    assert_eq!(flood.ended.code, Some(0), "{flood:?}");
    for (role, clients) in [("elsewhere", 12), ("nowhere", 12), ("inside", 2)] {
        assert_eq!(flood.number(&format!("/roles/{role}/clients")), clients);
        assert!(flood.number(&format!("/roles/{role}/waits/count")) > 0, "{role}: {flood:?}");
    }
    assert!(flood.number("/roles/inside/deliveries") > 0 && flood.number("/said") > 0, "{flood:?}");
}

#[test]
fn a_bystander_that_is_cut_fails_the_flood() {
    let _turn = Turn::take();
    let flood =
        Overload::flood("1s", &[|client| Fault::Dismiss(At { client, delivery: 50 }, "ERR closed slow-consumer\n")]);
    assert_eq!(flood.number("/roles/inside/cut/slow-consumer"), 1, "{flood:?}");
    assert_eq!(flood.ended.code, Some(1), "{flood:?}");
}

#[test]
fn a_hole_in_the_flood_is_noticed_by_a_bystander_inside() {
    let _turn = Turn::take();
    let flood = Overload::flood("1s", &[|client| Fault::Lose(At { client, delivery: 50 })]);
    assert_eq!((flood.number("/roles/inside/disordered"), flood.ended.code), (1, Some(1)), "{flood:?}");
}

#[test]
fn a_ping_without_an_answer_fails_the_flood() {
    let _turn = Turn::take();
    // So short that there is one ping.
    let flood = Overload::flood("300ms", &[|_| Fault::AnswerPings(0)]);
    assert_eq!((flood.number("/roles/inside/unanswered"), flood.ended.code), (1, Some(1)), "{flood:?}");
    assert!(number(&flood.report, "/roles/inside/waits/max") >= 1_000.0, "it waited as long as patience: {flood:?}");
}

#[test]
fn bystanders_who_wait_longer_than_they_may_fail_the_flood() {
    let _turn = Turn::take();
    let fake = Fake::start(&[Fault::Delay(std::time::Duration::from_millis(50))]);
    let target = fake.target();
    let load = ["--members", "1", "--bystanders", "2", "--inside", "0", "--newcomers", "0", "--for", "1s"];
    let flood = Overload::of(&[&["flood", &target, "--slo", "p50=20ms"], &load]);
    assert_eq!(flood.ended.code, Some(1), "{flood:?}");
    assert!(flood.ended.out.contains("in other rooms: p50 is"), "{flood:?}");
}

#[test]
#[ignore = "slow: two floods at real-time priority"]
fn the_real_server_is_flooded_on_both_transports() {
    let _turn = Turn::take();
    let server = Server::roomcast();
    let load = ["--members", "20", "--bystanders", "5", "--inside", "5", "--quiet", "5", "--for", "1s"];
    let flood = Overload::of(&[&["flood", server.tcp(), server.websocket()], &load]);
    assert_eq!(flood.ended.code, Some(0), "{flood:?}");
    assert_eq!(flood.number("/roles/quiet/clients"), 5);
    assert!(flood.number("/roles/newcomer/waits/count") >= 10, "{flood:?}");
    assert!(flood.number("/memory/peak") > 0, "{flood:?}");
}

#[test]
#[ignore = "slow: seconds at real-time priority"]
fn a_server_that_is_stopped_under_a_burst_ends_with_zero_and_last_lines() {
    let _turn = Turn::take();
    let (lines, http) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let command = roomcast_at(&lines, &http);
    let (tcp, websocket) = (format!("tcp://{lines}"), format!("ws://{http}/ws"));
    let load = ["--clients", "40", "--watchers", "10", "--stop-after", "300ms", "--spawn", &command];
    let burst = Overload::of(&[&["burst", &tcp, &websocket], &load]);
    assert_eq!(burst.ended.code, Some(0), "{burst:?}");
    assert_eq!((burst.number("/stop/server/code"), burst.number("/stop/whole_to_the_last_line")), (0, 10), "{burst:?}");
    let cut = ["/cut/shutdown", "/cut/shutdown, close code 1001"].map(|reason| burst.number(reason));
    assert_eq!(cut.iter().sum::<u64>(), 10, "{burst:?}");
}

#[test]
fn a_process_obeys_an_order_that_came_together_with_its_assignment() {
    let _turn = Turn::take();
    let fake = Fake::start(&[]);
    let address = fake.target().replace("tcp://", "");
    let target = json!({ "scheme": "tcp", "host": address, "address": address, "path": "" });
    let group = json!({ "role": "watcher", "target": target, "clients": 1, "room": "lobby" });
    // Its only client waits until the coordinator sends `Open`.
    let assignment = json!({
        "groups": [group], "late": 1, "high_priority": false, "size": 64, "messages": 1, "first_speaker": 0, "expected": 1,
        "clients_before": 0, "patience": { "secs": 10, "nanos": 0 },
        "tls": { "ca": null, "insecure": false, "resumption": true }
    });
    let mut command = loadgen(&["overload-worker"]);
    let (mut worker, mut input) = Process::start_with_input(command.stdout(Stdio::piped()));
    let output = worker.stdout();
    let both = format!("{assignment}\n\"Open\"\n");
    // One write, so that one read of the process brings both.
    input.write_all(both.as_bytes()).expect("the process reads");
    // A process that lost the order goes on reporting its progress, ten times a second.
    let mut lines = std::iter::from_fn(|| output.line()).take(REPORTS_MAX);
    let is_ready = lines.any(|line| line.contains(r#""Ready":{"connected":1"#));
    assert!(is_ready, "its client never joined");
}

#[test]
fn what_is_no_overload_is_refused_with_the_rule() {
    let cases = [
        (&["burst", "--clients", "0"][..], "--clients 0: 1 to"),
        (&["burst", "--size", "10"], "--size 10: 36 to 65536"),
        (&["burst", "--watchers", "100000", "--clients", "100000"], "fewer --watchers help"),
        (&["burst", "nats://127.0.0.1:4222"], "tcp://, tls://, ws:// or wss:// only"),
        (&["flood", "--quiet", "5"], "--quiet 5: it needs a ws:// or wss:// target"),
        (&["flood", "tcp://127.0.0.1:1"], "nothing listens at tcp://127.0.0.1:1"),
        (&["burst", "tcp://127.0.0.1:1", "--stop-after", "1s"], "no process is found"),
        (&["burst", "--json", "/no such folder/x"], "/no such folder/x"),
    ];
    at_once(cases, |(arguments, rule)| {
        let ended = Process::run(&mut loadgen(&[&["overload"], arguments].concat()));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(rule), "{arguments:?}: {ended:?}");
    });
}
