//! Draining behind a load balancer, which must notice first, and beside the server that takes over.

use std::net::TcpStream;

use harness::{HANDSHAKE, Http, Lines, Program, WELCOME, WebSocket, at_once, until};
use rustix::process::Signal;

/// What `/ready` says while one client is connected.
const ONE_LEFT: &str = "draining: 1 clients left";

/// An HTTP connection that stays open.
fn kept(program: &Program) -> Http {
    let mut kept = Http::connect(program.http);
    assert_eq!(ask(&mut kept, "/ready"), (200, "ready".to_owned()));
    kept
}

#[track_caller]
fn ask(client: &mut Http, path: &str) -> (u16, String) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let (head, body) = client.answer();
    (head.status, body)
}

#[test]
fn for_the_drain_delay_ready_says_draining_and_everybody_is_still_let_in() {
    let program = Program::start(&["--workers", "2", "--drain-delay", "1h"]);
    let mut kept = kept(&program);
    let mut early = Lines::member(program.tcp, "a");
    program.signal(Signal::TERM);
    let log = program.log.until("stopping");
    assert!(log.last().is_some_and(|line| line.contains("drain_delay=3600s")), "{log:?}");
    until(|| Http::get(program.http, "/ready").1 == ONE_LEFT);
    assert_eq!(ask(&mut kept, "/ready"), (503, ONE_LEFT.to_owned()));
    assert_eq!(ask(&mut kept, "/health"), (200, "OK".to_owned()));
    assert!(program.ready_file().exists(), "clients are still accepted there");
    let mut late = Lines::connect(program.tcp);
    late.send("NICK late\nJOIN a\nhello\n");
    for line in [WELCOME, "You are late", "Joined a", "[late] hello"] {
        late.expect(line);
    }
    early.expect("[late] hello");
    WebSocket::connect(program.http).expect(WELCOME);
}

#[test]
fn after_the_drain_delay_the_line_clients_are_told_and_the_server_ends() {
    let program = Program::start(&["--drain-delay", "1ms"]);
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    program.signal(Signal::TERM);
    client.expect("ERR closed shutdown retry=1");
    client.expect_end();
    drop(client);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_new_server_takes_over_both_ports_while_the_old_one_drains_and_answers_who_is_connected() {
    at_once(["shared", "per-worker"], |tables| {
        let arguments = ["--workers", "2", "--descriptor-tables", tables];
        let mut kept_open = None;
        let mut old = Program::start_that_drains_for_hours(&arguments, |program| {
            kept_open = Some(kept(program));
            program.signal(Signal::TERM);
        });
        until(|| [old.tcp, old.http].iter().all(|address| TcpStream::connect(address).is_err()));
        until(|| !old.ready_file().exists());
        let addresses = [old.tcp, old.http].map(|address| address.to_string());
        let new = Program::start(&["--tcp", &addresses[0], "--http", &addresses[1]]);
        assert_eq!([new.tcp, new.http], [old.tcp, old.http]);
        Lines::connect(new.tcp).expect(WELCOME);
        assert_eq!(Http::get(new.http, "/ready").1, "ready");
        let mut kept = kept_open.expect("it was connected before the stop");
        // A connection of the loop above may still be on its way out.
        until(|| ask(&mut kept, "/ready") == (503, ONE_LEFT.to_owned()));
        kept.send(HANDSHAKE);
        assert_eq!(kept.answer().0.status, 503);
        old.signal_until_end(Signal::KILL);
        assert_eq!(Http::get(new.http, "/ready").1, "ready");
    });
}

#[test]
fn probes_are_answered_to_the_end_where_that_is_set() {
    let arguments = ["--workers", "2", "--probes-until-end"];
    let mut program = Program::start_that_drains_for_hours(&arguments, |program| program.signal(Signal::TERM));
    until(|| TcpStream::connect(program.tcp).is_err());
    // A connection of the loop above may still be on its way out.
    until(|| Http::get(program.http, "/ready").1 == ONE_LEFT);
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    program.signal_until_end(Signal::KILL);
}
