//! The log of the built binary where nobody reads it: nothing waits for it, and what is lost is counted and told.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;

use crate::harness::{Http, Lines, Program, WELCOME, command, metrics, until};

const DROPPED: &str = "roomcast_log_lines_dropped_total";

#[test]
fn a_full_log_that_nobody_reads_stops_neither_the_server_nor_its_end() {
    let (program, _log) =
        Program::start_with_full_log(command(&["--workers", "1", "--outbox-bytes", "64KiB", "--outbox-messages", "1"]));
    let mut slow = Lines::connect_short_of_buffer(program.tcp);
    slow.send("JOIN a\n");
    slow.expect(WELCOME);
    slow.expect("Joined a");
    program.say_megabytes("a");
    // A line of the log says so.
    until(|| {
        metrics(program.http)["roomcast_connections_closed_total{transport=\"tcp\",reason=\"slow-consumer\"}"] > 0.0
    });
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    let mut other = Lines::connect(program.tcp);
    other.expect(WELCOME);
    program.signal(Signal::TERM);
    other.expect("ERR closed shutdown");
    assert_eq!(other.line(), None);
    drop(other);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn lines_that_find_the_log_full_are_counted_and_the_log_says_so_once_it_is_read() {
    let (program, log) = Program::start_with_full_log(command(&["--workers", "1", "--log", "debug"]));
    until(|| {
        for _ in 0..100 {
            let mut client = Lines::connect(program.tcp);
            client.send("QUIT\n");
            assert_eq!(client.rest(), format!("{WELCOME}\nBye\n"));
        }
        metrics(program.http)[DROPPED] > 0.0
    });
    let dropped = metrics(program.http)[DROPPED];
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("log lines were dropped")).expect("it is told");
    assert!(told.contains(&format!("lines={dropped}")), "{told}");
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_ends_the_process_though_nobody_reads_the_log() {
    let mut command = command(&["--workers", "1"]);
    command.env("ROOMCAST_FAULT", "accept");
    let (program, _log) = Program::start_with_full_log(command);
    assert_eq!(Lines::connect(program.tcp).rest_if_not_reset(), "");
    assert_eq!(program.end().0, Some(roomcast::process::EXIT_PANIC));
}
