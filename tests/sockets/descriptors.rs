//! The descriptors run out, though there are places: somebody else holds more of them than was foreseen. Always in the
//! built binary, whose limit is lowered while it serves.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Client, Disconnect, HANDSHAKE, Http, Lines, Program, Transport, WELCOME, until};

/// Clients that are refused.
const REFUSED: usize = 200;

/// Round trips of a member for each client that is refused at the same time. It takes about one; a server that paused
/// for a twentieth of a second after each refusal would leave time for hundreds.
const ROUND_TRIPS_PER_REFUSAL: usize = 20;

/// Clients that are refused one after the other by a server that has no descriptor.
const REFUSALS_IN_A_ROW: usize = 3;

/// Descriptors that a server may use again.
const SPARE: u64 = 64;

/// Leaves the server without a descriptor for another client, and returns the clients that it has.
#[track_caller]
fn exhaust(program: &Program) -> Vec<Client> {
    let mut members = vec![Client::member(program, Transport::WebSocket, "a", "first")];
    let highest = program.descriptors().into_iter().max().expect("it has some");
    program.limit_descriptors(highest + 1);
    // Some numbers below the limit may be free. One refusal does not show that none is: a worker that looks for a client
    // needs a descriptor for as long as it looks, and another may find none at that moment.
    let mut refused = 0;
    while refused < REFUSALS_IN_A_ROW {
        let mut client = Client::open(program, Transport::Tcp);
        match client.line().as_str() {
            WELCOME => {
                refused = 0;
                members.push(client);
            }
            refusal => {
                refused += 1;
                assert_eq!(refusal, "ERR closed too-many-connections");
                client.expect_end();
            }
        }
    }
    members
}

/// The status and the body of the answer.
#[track_caller]
fn ask(program: &Program, request: &str) -> (u16, String) {
    let mut client = Http::connect(program.http);
    client.send(request);
    let (head, body) = client.answer();
    client.expect_end();
    (head.status, body)
}

#[test]
fn a_server_out_of_descriptors_refuses_with_a_reason_and_is_still_healthy() {
    let program = Program::start(&["--workers", "1"]);
    let mut members = exhaust(&program);
    let refusing = thread::spawn({
        let server = program.tcp;
        move || {
            for _ in 0..REFUSED {
                assert_eq!(Lines::connect(server).rest(), "ERR closed too-many-connections\n");
            }
        }
    });
    let mut round_trips = 0;
    while !refusing.is_finished() {
        assert_eq!(members[0].request("hello"), "[first] hello");
        round_trips += 1;
    }
    refusing.join().expect("all are refused");
    assert!(round_trips < REFUSED * ROUND_TRIPS_PER_REFUSAL, "{round_trips} round trips");
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    assert_eq!(Http::get(program.http, "/ready").1, "full");
    assert_eq!(ask(&program, HANDSHAKE), (503, "full\n".to_owned()));
    // A silent connection and one that would stay open do not keep others from being answered.
    let silent = Http::connect(program.http);
    let staying = Http::connect(program.http);
    staying.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    drop((silent, staying));
    assert_eq!(members[0].request("hello"), "[first] hello");
    // One line for each listener, not one for each client.
    let log = program.stop_and_read_log();
    let told = log.iter().filter(|line| line.contains("out of descriptors")).count();
    assert_eq!(told, 2, "{log:?}");
    assert!(!log.iter().any(|line| line.contains("accept failed")), "{log:?}");
    members.iter_mut().for_each(|member| member.expect_closed(Disconnect::Shutdown));
}

#[test]
fn a_server_out_of_descriptors_does_not_spin_while_clients_wait_to_be_answered() {
    const WAITING: usize = 20;
    /// The pause between two round trips, in which the server has nothing to do.
    const LOOK: Duration = Duration::from_millis(10);
    let program = Program::start(&["--workers", "1"]);
    let mut members = exhaust(&program);
    // Each of them may use the one spare descriptor for a second.
    let waiting: Vec<TcpStream> =
        (0..WAITING).map(|_| TcpStream::connect(program.http).expect("a server that listens")).collect();
    let (mut second, mut byte) = (&waiting[1], [0]);
    second.set_read_timeout(Some(LOOK)).expect("an option");
    let (begun, before) = (Instant::now(), program.cpu_time());
    until(|| {
        assert_eq!(members[0].request("hello"), "[first] hello");
        matches!(second.read(&mut byte), Ok(0))
    });
    let (elapsed, taken) = (begun.elapsed(), program.cpu_time() - before);
    println!("{taken:?} of {elapsed:?}");
    assert!(elapsed > LOOK * 50 && taken < elapsed / 5, "{taken:?} of {elapsed:?}");
}

#[test]
fn line_clients_do_not_take_the_descriptor_with_which_http_is_answered() {
    const WAITING: usize = 3;
    let program = Program::start(&["--workers", "1"]);
    let mut members = exhaust(&program);
    // Each of them may use that descriptor for a second; then another client might get it.
    let waiting: Vec<TcpStream> =
        (0..WAITING).map(|_| TcpStream::connect(program.http).expect("a server that listens")).collect();
    let (mut last, mut byte) = (&waiting[WAITING - 1], [0]);
    last.set_nonblocking(true).expect("an option");
    until(|| {
        assert_eq!(Lines::connect(program.tcp).rest(), "ERR closed too-many-connections\n");
        matches!(last.read(&mut byte), Ok(0))
    });
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    members[0].expect_nothing();
}

#[test]
fn a_server_that_was_out_of_descriptors_lets_clients_in_once_others_leave() {
    for workers in ["1", "2"] {
        let program = Program::start(&["--workers", workers]);
        let mut members = exhaust(&program);
        assert_eq!(Http::get(program.http, "/ready").1, "full");
        members.truncate(1);
        // Enough for one more client while several sockets of earlier ones are still being closed.
        program.limit_descriptors(program.descriptors().into_iter().max().expect("it has some") + SPARE);
        until(|| Lines::connect(program.tcp).line_or_end().as_deref() == Some(WELCOME));
        until(|| Http::get(program.http, "/ready").1 == "ready");
        let mut newcomer = Client::member(&program, Transport::Tcp, "a", "newcomer");
        members[0].send("hello");
        newcomer.expect("[first] hello");
        if workers == "1" {
            // Of two workers, the one that was out of descriptors may have accepted nobody since.
            program.log.until("there are descriptors again");
        }
    }
}
