//! The log of the built binary: nothing waits for it when nobody reads it, and problems that an operator can solve are
//! in it, in few lines.

use std::io::{BufRead, BufReader};

use harness::{Http, Lines, Program, WELCOME, metrics, until};
use rustix::process::Signal;

const DROPPED: &str = "roomcast_log_lines_dropped_total";

#[test]
fn a_full_log_that_nobody_reads_stops_neither_the_server_nor_its_end() {
    let (program, _log) = Program::start_with_full_log(Program::command(&[
        "--workers",
        "1",
        "--outbox-bytes",
        "64KiB",
        "--outbox-messages",
        "1",
    ]));
    let _slow = Lines::member_short_of_buffer(program.tcp, "a");
    Lines::publish_megabytes(program.tcp, "a", 12);
    // This is a line of the log.
    until(|| {
        metrics(program.http)["roomcast_connections_closed_total{transport=\"tcp\",reason=\"slow-consumer\"}"] > 0.0
    });
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    let mut other = Lines::connect(program.tcp);
    other.expect(WELCOME);
    program.signal(Signal::TERM);
    other.expect("ERR closed shutdown retry=1");
    other.expect_end();
    drop(other);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn lines_that_find_the_log_full_are_counted_and_the_log_says_so_once_it_is_read() {
    let (program, log) = Program::start_with_full_log(Program::command(&["--workers", "1", "--log", "debug"]));
    // Each request is refused, which is a line of the log.
    let mut client = Http::connect(program.http);
    let mut dropped = 0.0;
    until(|| {
        client.send("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500));
        (0..500).for_each(|_| assert_eq!(client.answer().0.status, 404));
        dropped = metrics(program.http)[DROPPED];
        dropped > 0.0
    });
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("log lines were dropped")).expect("such a line");
    assert!(line.contains(&format!("lines={dropped}")), "{line}");
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_ends_the_process_though_nobody_reads_the_log() {
    let mut command = Program::command(&["--workers", "1"]);
    command.env("ROOMCAST_FAULT", "accept");
    let (program, _log) = Program::start_with_full_log(command);
    assert_eq!(Lines::connect(program.tcp).rest_if_not_reset(), "");
    assert_eq!(program.end().0, Some(roomcast::process::EXIT_PANIC));
}

/// Refuses fifty clients. Returns the lines of the log that say so.
fn refuse_fifty(arguments: &[&str], phrase: &str) -> Vec<String> {
    let program = Program::start(&[&["--workers", "1"], arguments].concat());
    let mut only = Lines::connect(program.tcp);
    only.expect(WELCOME);
    for _ in 0..50 {
        assert_eq!(Lines::connect(program.tcp).rest(), "ERR closed too-many-connections\n");
    }
    drop(only);
    let log = program.stop_and_read_log();
    log.into_iter().filter(|line| line.contains(phrase)).collect()
}

#[test]
fn refusals_are_warned_about_with_the_remedy_and_not_once_for_each() {
    for (setting, phrase, remedy) in [
        ("--max-clients", "the server is full", "raise max-clients"),
        ("--clients-per-address", "an address has too many clients", "raise clients-per-address"),
    ] {
        let lines = refuse_fifty(&[setting, "1"], phrase);
        assert!((1..50).contains(&lines.len()), "{lines:?}");
        assert!(lines[0].contains("WARN") && lines[0].contains(remedy) && lines[0].contains("times=1"), "{lines:?}");
    }
}

#[test]
fn limits_that_are_low_and_listeners_that_are_open_are_warned_about_at_the_start_and_others_are_not() {
    let warnings = |program: Program| {
        let log = program.stop_and_read_log();
        log.into_iter().filter(|line| line.contains("WARN")).collect::<Vec<_>>()
    };
    assert_eq!(warnings(Program::start(&["--http", "[::1]:0"])), Vec::<String>::new());
    let few = warnings(Program::start_within(300, &[]));
    assert!(few.len() == 1 && few[0].contains("few descriptors") && few[0].contains("descriptors=300"), "{few:?}");
    let open = warnings(Program::start(&["--tcp", "0.0.0.0:0", "--http", "[::]:0"]));
    assert_eq!(open.len(), 2, "{open:?}");
    for (line, address) in open.iter().zip(["address=0.0.0.0:", "address=[::]:"]) {
        assert!(line.contains("anybody who can reach it may join") && line.contains(address), "{open:?}");
    }
}

#[test]
fn a_variable_that_is_no_setting_is_warned_about_by_the_server_too() {
    let mut command = Program::command(&[]);
    command.env("ROOMCAST_WOKERS", "3");
    let log = Program::start_command(command).stop_and_read_log();
    assert!(log.iter().any(|line| line.contains("did you mean ROOMCAST_WORKERS?")), "{log:?}");
}
