//! The other commands, the exit codes, and the ends of the program, also by a signal.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use harness::{Ended, Process, Signal, kill_process, until};
use serde_json::Value;

use crate::fake::{At, Fake, Fault, Seen};
use crate::load::{loadgen, loadgen_within, number, read_json, short};
use crate::servers::{Server, free_port, roomcast_at};

/// A load of two rooms that does not end by itself.
const ENDLESS: [&str; 8] = ["--clients", "6", "--rooms", "2", "--rate", "50", "--duration", "1h"];

/// Runs a command that writes JSON.
#[track_caller]
fn run_for_json(arguments: &[&str]) -> (Ended, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    let ended = Process::run(loadgen(arguments).arg("--json").arg(&path));
    let json = read_json(&path, &ended);
    (ended, json)
}

/// Starts an endless load and waits for its first messages.
fn running(fake: &Fake, arguments: &[&str]) -> Process {
    let target = fake.target();
    let mut command = loadgen(&[&[&target[..]], &ENDLESS[..], arguments].concat());
    let running = Process::start_piped(&mut command);
    fake.wait_for(20, |seen| *seen == Seen::Said);
    running
}

#[test]
fn the_limit_is_measured_with_one_message_a_write_and_with_eight() {
    let load = ["--clients", "40", "--rooms", "2", "--rate", "160"];
    let (ended, reports) = run_for_json(&[&["limit"], &short(&load)[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (index, messages_per_write) in [1.0, 8.0].into_iter().enumerate() {
        let of = |pointer: &str| number(&reports[index], pointer);
        assert_eq!(of("/plan/manner/messages_per_write"), messages_per_write);
        assert_eq!(of("/rooms/tally/received"), 80.0 * 20.0);
        assert!(of("/server/nanos_per_delivery") > 0.0, "{ended:?}");
        let row = format!("│ {messages_per_write} ");
        assert!(ended.out.lines().any(|line| line.starts_with(&row)), "{ended:?}");
    }
}

#[test]
fn a_bare_loop_that_cannot_have_so_many_members_says_so_and_goes() {
    let ended = Process::run(&mut loadgen_within(160, &["limit", "--clients", "100"]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.err, "loadgen: the bare loop: 100 members: one process may have 60\n");
}

#[test]
fn a_server_is_compared_with_the_limit() {
    let server = Server::roomcast();
    let load = ["--clients", "40", "--rooms", "2", "--rate", "40", "--rounds", "2"];
    let (ended, runs) = run_for_json(&[&["compare", "limit", server.tcp()], &short(&load)[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for side in 0..2 {
        for round in 0..2 {
            assert_eq!(number(&runs[side], &format!("/reports/{round}/rooms/tally/received")), 20.0 * 20.0);
            assert!(number(&runs[side], &format!("/reports/{round}/server/nanos_per_delivery")) > 0.0);
        }
    }
    let turns: Vec<&str> = ended.err.lines().filter_map(|line| line.rsplit_once(": ")).map(|(_, who)| who).collect();
    assert_eq!(turns, ["limit", server.tcp(), server.tcp(), "limit"]);
    assert!(ended.out.contains("efficiency"), "{ended:?}");
}

#[test]
fn the_knee_is_found() {
    // 5 ms for each member: 34 members stay within 170 ms, and 35 do not. The objective is low in the distribution,
    // where a busy machine adds nothing.
    let fake = Fake::start(&[Fault::DelayForEachMember(Duration::from_millis(5))]);
    let target = fake.target();
    let search = ["find-capacity", &target, "--slo", "p5=170ms", "--from", "10", "--within", "20", "--rooms", "1"];
    let (ended, steps) = run_for_json(&[&search, &short(&["--rate", "20"])[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let loads: Vec<f64> = steps.as_array().expect("steps").iter().map(|step| number(step, "/load")).collect();
    assert_eq!(loads, [10.0, 20.0, 40.0, 30.0, 35.0], "{ended:?}");
    assert!(ended.out.contains("knee: 30 clients are carried, 35 are not"), "{ended:?}");
}

#[test]
fn a_capacity_below_one_is_a_failure() {
    let fake = Fake::start(&[Fault::Delay(Duration::from_millis(50))]);
    let target = fake.target();
    let search = ["find-capacity", &target, "--slo", "p50=20ms", "--from", "1"];
    let (ended, _) = run_for_json(&[&search, &short(&["--rate", "20"])[..]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("no load from 1 clients down is carried"), "{ended:?}");
}

#[test]
fn an_objective_that_is_missed_is_a_failure() {
    let fake = Fake::start(&[Fault::Delay(Duration::from_millis(50))]);
    let target = fake.target();
    let load = [&target, "--clients", "4", "--slo", "p90=20ms"];
    let ended = Process::run(&mut loadgen(&short(&load)));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("p90=20ms is missed"), "{ended:?}");
}

#[test]
fn where_nothing_listens_one_line_says_how_to_start_it() {
    let address = format!("127.0.0.1:{}", free_port());
    for (scheme, path, start) in [
        ("tcp", "", "cargo run --release"),
        ("ws", "/ws", "cargo run --release"),
        ("nats", "", "nats-server"),
        ("redis", "", "redis-server"),
    ] {
        let target = format!("{scheme}://{address}{path}");
        let ended = Process::run(&mut loadgen(&[&target]));
        assert_eq!((ended.code, &ended.out[..]), (Some(2), ""));
        let line =
            format!("loadgen: nothing listens at {target}: start the server with `{start}`, or let --spawn do it\n");
        assert_eq!(ended.err, line);
    }
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    for (arguments, rule) in [
        (&["--clients", "0"][..], "--clients 0: 1 to 1000000"),
        (&["--rate", "fast"], "invalid value 'fast'"),
        (&["--no-such-flag"], "unexpected argument"),
        (&["tcp://no-such-host.invalid:80"], "\"no-such-host.invalid:80\" does not resolve"),
        (&["http://127.0.0.1:80"], "tcp, tls, ws, wss, sse, api, nats, redis or echo"),
        (&["compare", "limit"], "2 values required"),
        (&["find-capacity"], "--slo"),
        (&["find-capacity", "--slo", "p99=1s", "--clients", "5"], "--clients is what is varied"),
        (&["--spawn", "no-such-program", "tcp://127.0.0.1:1"], "no-such-program"),
        (&["--pid", "0"], "no process 0"),
    ] {
        let ended = Process::run(&mut loadgen(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(rule), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn what_is_interrupted_drains_and_prints_what_it_has() {
    let fake = Fake::start(&[]);
    let running = running(&fake, &[]);
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    for words in ["6 members in 2 rooms", "lost 0, duplicated 0, reordered 0", "stopped  before its time"] {
        assert!(ended.out.contains(words), "{words}: {ended:?}");
    }
}

#[test]
fn a_comparison_or_a_search_that_is_interrupted_prints_its_table() {
    for command in
        [&["compare", "", "", "--clients", "6"][..], &["find-capacity", "", "--slo", "p99=1h", "--from", "6"]]
    {
        let fake = Fake::start(&[]);
        let target = fake.target();
        let words: Vec<&str> = command.iter().map(|word| if word.is_empty() { &target[..] } else { word }).collect();
        let mut command = loadgen(&[&words[..], &ENDLESS[2..]].concat());
        let running = Process::start_piped(&mut command);
        fake.wait_for(20, |seen| *seen == Seen::Said);
        running.signal(Signal::INT);
        let ended = running.end();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        assert!(ended.out.contains("deliveries/s"), "{ended:?}");
    }
}

#[test]
fn a_limit_that_is_interrupted_lets_its_bare_loop_go() {
    let running = limit_that_waits();
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!((ended.code, &ended.err[..]), (Some(130), ""));
    assert!(ended.out.contains("ns per send"), "{ended:?}");
}

#[test]
fn what_is_interrupted_while_clients_come_in_prints_how_many_are() {
    let fake = Fake::start(&[]);
    let mut command = loadgen(&[&fake.target(), "--clients", "1000", "--connect-rate", "10"]);
    let running = Process::start_piped(&mut command);
    fake.wait_for_joins(3);
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!((ended.code, &ended.err[..]), (Some(130), ""));
    assert!(ended.out.contains("of 1000 clients") && !ended.out.contains("failed"), "{ended:?}");
}

#[test]
fn who_interrupts_twice_does_not_wait() {
    // It waits for the lost message.
    let fake = Fake::start(&[Fault::Lose(At { client: 0, delivery: 0 })]);
    let mut running = running(&fake, &["--patience", "1h"]);
    running.signal_until_end(Signal::INT);
    let ended = running.end();
    assert_eq!((ended.code, &ended.out[..]), (Some(130), ""), "{ended:?}");
}

#[test]
fn a_process_of_the_load_that_ends_is_the_end_of_the_load() {
    let fake = Fake::start(&[]);
    let running = running(&fake, &["--giant", "2@50"]);
    let worker = running.children()[0];
    kill_process(worker, Signal::KILL).expect("a worker");
    let ended = running.end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.err, "loadgen: a process of the load has ended before it was told to\n");
}

#[test]
fn killed_it_leaves_no_process_behind() {
    let fake = Fake::start(&[]);
    let running = running(&fake, &["--giant", "2@50"]);
    running.signal(Signal::KILL);
    // Its processes share its standard error, which ends when all of them have ended.
    assert_eq!(running.end().code, None);
    fake.wait_for(8, |seen| *seen == Seen::Gone);
}

#[test]
fn killed_it_leaves_no_bare_loop_behind() {
    let running = limit_that_waits();
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
}

#[test]
fn killed_it_leaves_no_server_behind() {
    let address = format!("127.0.0.1:{}", free_port());
    let command = roomcast_at(&address, "127.0.0.1:0");
    let target = format!("tcp://{address}");
    let mut command = loadgen(&[&[&target[..], "--spawn", &command], &ENDLESS[..]].concat());
    let mut running = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    let log = running.stderr();
    log.line_with("listening for http");
    wait_until_rooms_are_there(&address);
    running.signal(Signal::KILL);
    running.end();
    // The server holds the other end of the log, which its end closes before its listeners.
    log.rest();
    until(|| TcpStream::connect(&address).is_err());
}

/// A bare loop that still waits for its members, which connect slowly.
fn limit_that_waits() -> Process {
    let mut command = loadgen(&["limit", "--clients", "1000", "--connect-rate", "1"]);
    let mut running = Process::start_piped(&mut command);
    until(|| {
        assert!(!running.has_ended());
        running.children().len() == 2
    });
    running
}

/// Requests lists from the server until a room has a member.
fn wait_until_rooms_are_there(address: &str) {
    let mut stream = TcpStream::connect(address).expect("a server that listens");
    let mut answers = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
    loop {
        stream.write_all(b"LIST\n").expect("a server that reads");
        let rooms = answers.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("Rooms: ")));
        if rooms.expect("an answer").expect("an answer").contains("load-") {
            return;
        }
    }
}
