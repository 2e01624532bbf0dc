//! The built binary while it serves: ready file, signals, log.

use std::fs::File;
use std::io::pipe;
use std::process::Stdio;

use harness::{Disconnect, Lines, Process, Program, WELCOME, WebSocket, at_once};
use rustix::process::Signal;

#[test]
fn the_ready_file_holds_the_bound_addresses_and_clients_are_accepted_there() {
    let program = Program::start(&[]);
    let text = std::fs::read_to_string(program.ready_file()).unwrap();
    assert_eq!(text, format!("tcp {}\nhttp {}\n", program.tcp, program.http));
    assert!(program.tcp.port() != 0 && program.http.port() != 0, "{text}");
    Lines::connect(program.tcp).expect(WELCOME);
}

#[test]
fn started_twice_on_one_port_the_second_says_so_in_one_line() {
    let program = Program::start(&["--workers", "2"]);
    let addresses = [program.tcp, program.http].map(|address| address.to_string());
    for (flag, other, address) in [("--tcp", "--http", &addresses[0]), ("--http", "--tcp", &addresses[1])] {
        for workers in ["1", "2"] {
            let second = Program::run(&[flag, address, other, "127.0.0.1:0", "--workers", workers]);
            assert_eq!(second.code, Some(2));
            let said = second.err;
            assert_eq!(said.lines().count(), 1, "{said}");
            let expected = format!("roomcast: {flag} {address}: cannot listen there: Address already in use");
            assert!(said.starts_with(&expected) && said.ends_with(&format!("choose another with {flag}\n")), "{said}");
        }
    }
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client.send("PING x\n");
    client.expect("PONG x");
}

#[test]
fn the_ready_file_is_gone_after_a_clean_stop_and_a_second_server_on_the_same_port_leaves_it() {
    let mut program = Program::start(&[]);
    let (path, address) = (program.ready_file(), program.http.to_string());
    let file = path.to_str().unwrap();
    let second = Program::run(&["--tcp", "127.0.0.1:0", "--http", &address, "--ready-file", file]);
    assert_eq!(second.code, Some(2));
    assert!(path.exists(), "it is of the server that runs");
    program.signal(Signal::TERM);
    assert_eq!(program.wait(), Some(0));
    assert!(!path.exists());
}

#[test]
fn the_addresses_can_be_bound_again_at_once() {
    let program = Program::start(&[]);
    let (address, http) = (program.tcp.to_string(), program.http.to_string());
    let mut browser = WebSocket::connect(program.http);
    browser.expect(WELCOME);
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    program.signal(Signal::TERM);
    client.expect("ERR closed shutdown retry=1");
    client.expect_end();
    browser.expect_close(Disconnect::Shutdown);
    drop((client, browser));
    assert_eq!(program.end().0, Some(0));
    let again = Program::start(&["--tcp", &address, "--http", &http]);
    assert_eq!([again.tcp.to_string(), again.http.to_string()], [address, http]);
}

#[test]
fn either_signal_stops_it_gently_and_the_log_ends_with_what_was_done() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(&[]);
        let mut client = Lines::connect(program.tcp);
        client.expect(WELCOME);
        client.send("JOIN a\nhello\n");
        client.expect("Joined a");
        client.line();
        program.signal(signal);
        client.expect("ERR closed shutdown retry=1");
        client.expect_end();
        drop(client);
        let (code, log) = program.end();
        assert_eq!(code, Some(0), "{log:?}");
        let last = log.last().unwrap();
        assert!(last.contains("stopped") && last.contains("delivered=1"), "{log:?}");
        assert!(last.contains("clients_cut=0"), "{log:?}");
    }
}

#[test]
fn a_signal_a_second_after_the_first_ends_it_at_once_whoever_is_still_owed_something() {
    const SAID: &str = "roomcast: second signal, not waiting for clients";
    at_once(["text", "json"], |format| {
        let mut program =
            Program::start_that_drains_for_hours(&["--log-format", format], |program| program.signal(Signal::TERM));
        program.signal_until_end(Signal::INT);
        let (code, mut log) = program.end();
        assert_eq!(code, Some(1), "{log:?}");
        log.retain(|line| !line.contains("draining"));
        assert_eq!(log.len(), 1, "{log:?}");
        let said = match format {
            "json" => serde_json::from_str::<serde_json::Value>(&log[0]).expect("JSON")["message"].to_string(),
            _ => format!("{:?}", log[0]),
        };
        assert_eq!(said, format!("{SAID:?}"));
    });
}

#[test]
fn two_signals_at_once_are_one() {
    let program = Program::start(&[]);
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    program.while_stopped(|| [Signal::TERM, Signal::INT].into_iter().for_each(|signal| program.signal(signal)));
    client.expect("ERR closed shutdown retry=1");
    client.expect_end();
    drop(client);
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log:?}");
    assert!(log.last().is_some_and(|line| line.contains("stopped")), "{log:?}");
}

#[test]
fn what_cannot_be_written_is_an_error_but_not_where_nobody_reads_on() {
    for arguments in [&["default-config"][..], &["gen-key", "a"], &["check-config"], &["--help"]] {
        let full = File::options().write(true).open("/dev/full").expect("a device");
        let ended = Process::start(Program::command(arguments).stdout(full).stderr(Stdio::piped())).end();
        assert!(ended.code.is_some_and(|code| code != 0), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains("cannot write to standard output"), "{arguments:?}: {}", ended.err);
        let (_, gone) = pipe().expect("a pipe");
        let ended = Process::start(Program::command(arguments).stdout(gone).stderr(Stdio::piped())).end();
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_server_that_stops_reloads_nothing_and_says_so() {
    let mut program = Program::start_that_drains_for_hours(&[], |program| program.signal(Signal::TERM));
    for _ in 0..2 {
        program.signal(Signal::HUP);
        assert!(program.log.line_with("not reloaded").contains("the server stops"));
    }
    program.signal_until_end(Signal::KILL);
}

#[test]
fn other_signals_leave_it_be_and_the_log_says_so() {
    let program = Program::start(&[]);
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    program.signal(Signal::USR1);
    let log = program.log.until("SIGUSR1");
    assert!(log.last().is_some_and(|line| line.contains("does nothing")), "{log:?}");
    program.signal(Signal::HUP);
    program.log.until("reloaded");
    client.send("PING x\n");
    client.expect("PONG x");
}

#[test]
fn the_log_names_every_bound_address_and_the_clients_that_the_descriptors_allow() {
    let program = Program::start(&["--max-clients", "123"]);
    program.signal(Signal::TERM);
    let log = program.log.until("stopped");
    let bound: Vec<&String> = log.iter().filter(|line| line.contains("listening")).collect();
    assert_eq!(bound.len(), 2, "{log:?}");
    for (line, listening) in bound.into_iter().zip([("tcp lines", program.tcp), ("http", program.http)]) {
        let (listener, address) = listening;
        assert!(line.contains(&format!("listening for {listener} address={address}")), "{log:?}");
    }
    let limits: Vec<&String> = log.iter().filter(|line| line.contains("descriptor limit")).collect();
    assert_eq!(limits.len(), 1, "{log:?}");
    assert!(limits[0].contains("descriptors=") && limits[0].contains("clients_max=123"), "{log:?}");
}

#[test]
fn the_log_can_be_one_json_object_per_line() {
    let program = Program::start(&["--log-format", "json", "--log", "debug"]);
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client.send("QUIT\n");
    assert_eq!(client.rest(), "Bye\n");
    drop(client);
    program.signal(Signal::TERM);
    let address = program.tcp.to_string();
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log:?}");
    let fields: Vec<serde_json::Map<_, _>> = log.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let has = |key: &str, value: &str| fields.iter().any(|line| line.get(key).is_some_and(|found| found == value));
    assert!(has("message", "listening for tcp lines") && has("address", &address), "{log:?}");
    assert!(has("message", "connection ended") && has("reason", "quit"), "{log:?}");
    assert!(has("message", "stopped"), "{log:?}");
}

#[test]
fn a_log_of_errors_alone_is_empty_when_all_goes_well() {
    let program = Program::start(&["--log", "error"]);
    program.signal(Signal::TERM);
    assert_eq!(program.end(), (Some(0), vec![]));
}

#[test]
fn nobody_reading_its_log_any_more_does_not_end_it() {
    let program = Program::start_with_closed_log(&["--log", "debug"]);
    let mut first = Lines::connect(program.tcp);
    first.expect(WELCOME);
    first.send("QUIT\n");
    first.expect("Bye");
    drop(first);
    let mut second = Lines::connect(program.tcp);
    second.expect(WELCOME);
    program.signal(Signal::TERM);
    second.expect("ERR closed shutdown retry=1");
    assert_eq!(second.rest(), "");
    drop(second);
    assert_eq!(program.end().0, Some(0));
}
