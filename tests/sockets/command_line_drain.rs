//! `roomcast drain`: finds a server, has it stop once, tells of its progress, and ends with it.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use harness::{Ended, Lines, Log, NatsServer, Process, Program, WELCOME, at_once, metrics};
use rustix::process::{Signal, geteuid};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// `roomcast drain` while it runs, and what it prints.
fn start(arguments: &[&str]) -> (Process, Log) {
    let mut drain = Process::start_piped(&mut Program::command(&[&["drain"], arguments].concat()));
    let out = drain.stdout();
    (drain, out)
}

#[track_caller]
fn expect_failure(ended: &Ended, part: &str) {
    let Ended { code, out, err } = ended;
    assert_eq!((*code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
    assert!(err.contains(part), "{err}");
}

#[test]
fn a_server_is_found_by_its_port_or_its_process_and_drained_to_its_end() {
    at_once([("shared", true), ("shared", false), ("per-worker", true), ("per-worker", false)], |(tables, by_port)| {
        let program = Program::start(&["--workers", "2", "--descriptor-tables", tables]);
        let mut member = Lines::connect(program.tcp);
        member.expect(WELCOME);
        let (http, pid) = (program.http.to_string(), program.id().to_string());
        let named = if by_port { ["--http", &http] } else { ["--pid", &pid] };
        let (mut drain, out) = start(&named);
        member.expect("ERR closed shutdown retry=1");
        member.expect_end();
        drop(member);
        assert_eq!(program.end().0, Some(0));
        let expected = [format!("process {pid} was asked to stop"), format!("process {pid} has ended")];
        let lines = out.rest();
        assert_eq!([&lines[0], &lines[lines.len() - 1]], [&expected[0], &expected[1]]);
        assert_eq!(drain.wait(), Some(0));
    });
}

#[test]
fn it_tells_of_the_progress_and_its_own_end_leaves_the_server_stopping() {
    let mut drain = None;
    // A port that no other server has, also when this one listens no longer.
    let http = NatsServer::free_address().to_string();
    let mut program = Program::start_that_drains_for_hours(&["--http", &http], |program| {
        drain = Some(start(&["--http", &program.http.to_string()]));
    });
    assert_eq!(program.http.to_string(), http);
    let (mut drain, out) = drain.expect("it was started");
    let told = out.until("draining");
    assert!(told[0].ends_with("was asked to stop"), "{told:?}");
    // In place of the interrupt of a terminal, which programs that a shell runs in the background ignore.
    drain.signal(Signal::TERM);
    assert_eq!(drain.wait(), None);
    // By the port nobody is found, since the server listens no longer; by the process it is, and goes on to stop.
    expect_failure(&Program::run(&["drain", "--http", &http]), &format!("no server listens at {http}"));
    let (mut second, out) = start(&["--pid", &program.id().to_string()]);
    out.until("was asked to stop");
    expect_served(&program);
    program.signal_until_end(Signal::KILL);
    out.until("has ended");
    assert_eq!(second.wait(), Some(0));
}

/// The server has taken all signals that were sent before, and runs.
#[track_caller]
fn expect_served(program: &Program) {
    program.signal(Signal::USR1);
    program.log.until("SIGUSR1");
}

#[test]
fn a_server_may_be_drained_again_and_then_stopped_by_its_manager() {
    let mut program = Program::start(&["--drain-delay", "1h"]);
    let (http, pid) = (program.http.to_string(), program.id().to_string());
    let mut drains: Vec<_> =
        [["--http", &http], ["--http", &http], ["--pid", &pid]].iter().map(|by| start(by)).collect();
    for (number, (_, told)) in drains.iter().enumerate() {
        told.until("was asked to stop");
        // The port of the settings is not that of the server, for the last.
        if number < 2 {
            told.until("draining");
        }
    }
    // The first signal of the manager, however late it comes, is no second one.
    program.signal(Signal::TERM);
    expect_served(&program);
    let mut newcomer = Lines::connect(program.tcp);
    newcomer.expect(WELCOME);
    program.signal_until_end(Signal::KILL);
    assert!(drains.iter_mut().all(|(drain, _)| drain.wait() == Some(0)));
}

/// A server may close its port before it has accepted a connection, so it is asked once before the signal.
#[test]
fn a_server_has_answered_before_it_is_asked_to_stop_and_a_full_one_goes_on_to_tell_its_progress() {
    let program = Program::start(&["--max-clients", "1", "--drain-delay", "1h"]);
    let mut member = Lines::connect(program.tcp);
    member.expect(WELCOME);
    let (_drain, out) = start(&["--http", &program.http.to_string()]);
    out.until("was asked to stop");
    // A full server is not ready either.
    assert!(metrics(program.http)["roomcast_http_responses_total{class=\"5xx\"}"] >= 1.0);
    // It ends each connection with its answer.
    for _ in 0..2 {
        out.until("draining: 1 clients left");
    }
}

#[test]
fn what_is_no_server_of_ours_is_left_alone() {
    let own = std::process::id().to_string();
    expect_failure(&Program::run(&["drain", "--pid", &own]), "no server of roomcast");
    let mut ended = Process::start(&mut Program::command(&["-V"]));
    let pid = ended.id().to_string();
    assert_eq!(ended.wait(), Some(0));
    expect_failure(&Program::run(&["drain", "--pid", &pid]), &format!("there is no process {pid}"));
    expect_failure(&Program::run(&["drain", "--http", "127.0.0.1:0"]), "--pid says which server is meant");
    let free = NatsServer::free_address().to_string();
    expect_failure(&Program::run(&["drain", "--http", &free]), &format!("no server listens at {free}"));
    let refused = Program::run(&["drain", "--pid", "0"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
}

#[test]
fn a_port_at_which_another_program_listens_is_no_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    expect_failure(&Program::run(&["drain", "--http", &address]), "no server of roomcast");
}

#[test]
fn the_server_of_another_user_is_not_stopped_and_not_waited_for() {
    if !geteuid().is_root() {
        eprintln!("only root can be another user");
        return;
    }
    let program = Program::start(&[]);
    let (http, pid) = (program.http.to_string(), program.id().to_string());
    for (named, said) in [(["--http", &http], "is not visible from here"), (["--pid", &pid], "cannot stop process")] {
        let mut command = Program::command(&[&["drain"], &named[..]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        match Process::try_start(command.uid(NOBODY)) {
            Ok(drain) => expect_failure(&drain.end(), said),
            Err(error) => eprintln!("the program is not for others: {error}"),
        }
    }
    Lines::connect(program.tcp).expect(WELCOME);
}
