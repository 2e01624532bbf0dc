//! Requests one behind the other on many connections, and the turns of others. The server is stopped while all of them
//! talk, so that who talked first is no question of time; its log says in which order they were served.

use std::time::{Duration, Instant};

use harness::{Http, Lines, Program, WELCOME};

use crate::server::{Shape, TestServer};

/// Connections with more requests than one turn answers.
const FLOODS: usize = 8;

/// Requests on each connection.
const REQUESTS: usize = 100;

/// Answers of all floods together that may come before another client's turn: two turns of four, of which the first is
/// unavoidable.
const AHEAD_MAX: usize = 2 * 4 * FLOODS;

/// The greatest age of a text of the metrics.
const SCRAPE_AGE_MAX: Duration = Duration::from_millis(100);

#[test]
fn another_clients_line_comes_within_the_first_turns_of_hundreds_of_requests() {
    let program = Program::start(&["--workers", "1", "--log", "debug"]);
    let mut other = Lines::connect(program.tcp);
    other.expect(WELCOME);
    let mut floods: Vec<Http> = (0..FLOODS).map(|_| Http::connect(program.http)).collect();
    let request = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for flood in &mut floods {
        flood.send(request);
        assert_eq!(flood.answer().0.status, 404);
    }
    (0..FLOODS).for_each(|_| drop(program.log.until("http request refused")));
    program.while_stopped(|| {
        floods.iter().for_each(|flood| flood.send(request.repeat(REQUESTS)));
        other.send("QUIT\n");
    });
    let ahead = program.log.until("connection ended").len() - 1;
    assert_eq!(other.rest(), "Bye\n");
    for flood in &mut floods {
        (0..REQUESTS).for_each(|_| assert_eq!(flood.answer().0.status, 404));
    }
    println!("{ahead} answers");
    assert!(ahead <= AHEAD_MAX, "{ahead} answers were ahead");
}

#[test]
fn a_scrape_is_made_at_most_every_100_ms_however_often_it_is_asked_for() {
    let server = TestServer::plain(Shape::ONE);
    let begun = Instant::now();
    let mut client = Http::connect(server.http);
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500));
    let mut texts: Vec<String> = (0..500).map(|_| client.answer().1).collect();
    texts.dedup();
    let most = begun.elapsed().div_duration_f64(SCRAPE_AGE_MAX) + 1.0;
    assert!(texts.len() as f64 <= most, "{} texts in {:?}", texts.len(), begun.elapsed());
}
