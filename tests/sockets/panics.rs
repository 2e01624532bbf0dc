//! A panic in any task ends the process: never a server with a dead shard. The tasks are those of the built binary,
//! which has a fault where a test asks for it.

use harness::{Http, Lines, Program, WELCOME};

/// The exit code of an internal error in sysexits.h, which the server promises.
const EX_SOFTWARE: i32 = 70;

/// A server with such a fault serves until the fault happens, and then ends with the message and the exit code.
#[track_caller]
fn expect_end(task: &str, provoke: impl FnOnce(&Program)) {
    let program = Program::start_with_fault(task, &["--workers", "2"]);
    provoke(&program);
    let (code, log) = program.end();
    assert_eq!(code, Some(EX_SOFTWARE), "{log:?}");
    assert!(log.iter().any(|line| line.contains("thread 'worker-") && line.contains("panicked")), "{log:?}");
    assert!(log.iter().any(|line| line.contains(&format!("a fault was put into this task: {task}"))), "{log:?}");
}

/// A client that was let in, while HTTP is answered.
fn client(program: &Program) -> Lines {
    assert_eq!(Http::get(program.http, "/health").0.status, 200);
    Lines::connect(program.tcp)
}

#[test]
fn a_panic_in_a_shard_ends_the_process() {
    expect_end("shard", |program| {
        let mut client = client(program);
        client.expect(WELCOME);
        client.send("JOIN a\n");
        assert_eq!(client.rest_if_not_reset(), "");
    });
}

#[test]
fn a_panic_in_a_writer_ends_the_process() {
    expect_end("writer", |program| assert_eq!(client(program).rest_if_not_reset(), ""));
}

#[test]
fn a_panic_in_a_connection_ends_the_process() {
    expect_end("connection", |program| {
        let mut client = client(program);
        client.expect(WELCOME);
        client.send("LIST\n");
        assert_eq!(client.rest_if_not_reset(), "");
    });
}

#[test]
fn a_panic_where_clients_are_accepted_ends_the_process() {
    expect_end("accept", |program| assert_eq!(Lines::connect(program.tcp).rest_if_not_reset(), ""));
}

#[test]
fn a_panic_in_an_answer_over_http_ends_the_process() {
    expect_end("http", |program| {
        Lines::connect(program.tcp).expect(WELCOME);
        let mut browser = Lines::connect(program.http);
        browser.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(browser.rest_if_not_reset(), "");
    });
}
