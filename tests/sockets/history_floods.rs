//! A client that requests the history of its room again and again: the others have their turns, and the limit of
//! deliveries holds for what it is sent.

use std::time::Duration;

use harness::{Client, Lines, Program, Transport, WELCOME};
use roomcast::config::{Settings, Span};

use crate::server::{Shape, TestServer, contract};

/// Messages that the room retains, and that each request returns.
const MESSAGES: usize = 300;

/// Requests of a flood.
const REQUESTS: usize = 2_000;

/// Requests of the flood that may be answered before another client is: four turns, of which the first is unavoidable.
const AHEAD_MAX: usize = 4 * 64;

#[test]
fn another_client_is_answered_within_the_first_turns_of_thousands_of_requests_for_the_history() {
    let program = Program::start(&["--workers", "1", "--history-messages", "300"]);
    let mut other = Client::member(&program, Transport::Tcp, "a", "other");
    (0..MESSAGES).for_each(|number| other.send(&number.to_string()));
    assert_eq!(other.fence().len(), MESSAGES);
    let mut flooder = Lines::connect(program.tcp);
    flooder.send("JOIN a\n");
    [WELCOME, "Joined a"].into_iter().for_each(|line| flooder.expect(line));
    program.while_stopped(|| {
        flooder.send("HISTORY 300\n".repeat(REQUESTS));
        other.send("PING x");
        other.send("hello");
    });
    let (mut answered, mut lines, mut ahead) = (0, 0, None);
    while answered < REQUESTS {
        match flooder.line() {
            // What is said meanwhile belongs to every later answer.
            line if line == "[other] hello" && ahead.is_none() => ahead = Some(answered),
            line if line.starts_with("END HISTORY ") => {
                assert_eq!(std::mem::take(&mut lines), MESSAGES);
                answered += 1;
            }
            _ => lines += 1,
        }
    }
    assert!(ahead.is_some_and(|requests| requests <= AHEAD_MAX), "{ahead:?} requests were ahead");
    assert_eq!(other.fence(), ["PONG x", "[other] hello"]);
}

#[test]
fn what_the_history_returns_counts_as_deliveries() {
    /// One delivery a second, after which a client is refused almost at once: half the time in which it must answer a
    /// ping.
    fn hardly_any(settings: &mut Settings) {
        (settings.deliveries_per_second, settings.deliveries_burst) = (1, 1);
        (settings.ping_interval, settings.pong_timeout) =
            (Span(Duration::from_millis(10)), Span(Duration::from_millis(100)));
    }
    const REFUSED: &str = "ERR too-many deliveries: at most 1 a second, 1 at once";
    // Line clients need not answer pings, which these have hardly any time for.
    let transport = Transport::Tcp;
    harness::at_once(Shape::ALL, |shape| {
        let server = TestServer::start(shape, hardly_any);
        let mut other = Client::member(&server, transport, "a", "other");
        assert_eq!(other.request("for the history"), "[other] for the history");
        let mut flooder = Client::member(&server, transport, "a", "flooder");
        (0..10).for_each(|_| flooder.send("HISTORY 300"));
        let answers = flooder.fence();
        assert_eq!(answers[0], "[other] for the history");
        assert!(answers[1].starts_with("END HISTORY "), "{answers:?}");
        assert_eq!(answers[2..], [REFUSED; 9]);
        // It has spent what its messages would cost, and what costs nothing is still answered.
        assert_eq!(flooder.request("hello"), REFUSED);
        assert!(flooder.request("POSITION").starts_with("Position "));
        other.expect_nothing();
    });
}

/// Bytes of a message, of which as many as a client may ask for fill an outbox.
const LONG_BYTES: usize = 3_200;

/// Requests whose answers are together far more than any bound of a client's outbox.
const LONG_REQUESTS: usize = 40;

#[test]
fn a_client_that_pipelines_requests_for_long_histories_and_reads_gets_them_all() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.history_messages = MESSAGES);
        let mut publisher = Client::member(&server, transport, "a", "publisher");
        for number in 0..MESSAGES {
            publisher.request(&format!("{number:08}{}", "x".repeat(LONG_BYTES - 8)));
        }
        let mut reader = Client::member(&server, transport, "a", "reader");
        (0..LONG_REQUESTS).for_each(|_| reader.send("HISTORY 300"));
        let heard = reader.fence();
        assert_eq!(heard.len(), LONG_REQUESTS * (MESSAGES + 1));
    });
}

#[test]
fn a_client_that_resumes_again_and_again_and_reads_gets_every_replay() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.history_messages = MESSAGES);
        let mut publisher = Client::member(&server, transport, "a", "publisher");
        let since = publisher.request("POSITION").replace("Position ", "");
        for number in 0..MESSAGES {
            publisher.request(&format!("{number:08}{}", "x".repeat(LONG_BYTES - 8)));
        }
        let mut reader = Client::connect(&server, transport);
        (0..LONG_REQUESTS).for_each(|_| {
            reader.send(&format!("JOIN a since={since}"));
            reader.send("LEAVE");
        });
        let heard = reader.fence();
        assert_eq!(heard.len(), LONG_REQUESTS * (MESSAGES + 2));
    });
}
