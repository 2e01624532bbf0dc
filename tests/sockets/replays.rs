//! Replays for clients that read late: they get all of it, nobody else has to wait for them, and a server that stops
//! sends it before it ends.

use std::thread;
use std::time::Duration;

use harness::frame::FINAL_PING;
use harness::{Addresses, Client, Disconnect, Transport, WELCOME, WebSocket, at_once, metrics, until};
use roomcast::broker::PUBLICATION_BYTES;
use roomcast::config::{Settings, Size, SlowPolicy, Span};

use crate::server::{Shape, TestServer, contract};

/// The most that a client may have missed by default.
const MISSED: usize = 300;

/// Bytes of a missed message: more than the kernel buffers for a client that does not read, taken together.
const TEXT_BYTES: usize = 3_200;

/// The outbox that holds exactly these messages, and some short ones.
const OUTBOX_BYTES: usize = MISSED * (TEXT_BYTES + PUBLICATION_BYTES);

const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Pings from one moment to one that is surely later than the time after which a client over a bound is cut.
const PINGS: usize = 6;

/// A room whose messages since a position a client has missed.
struct Missed {
    publisher: Client,
    since: String,
    messages: Vec<String>,
}

impl Missed {
    fn say(server: &TestServer, transport: Transport, count: usize) -> Self {
        let mut publisher = Client::member(server, transport, "a", "publisher");
        let since = publisher.request("POSITION").replace("Position ", "");
        let messages = (0..count).map(|number| format!("{number:08}{}", "x".repeat(TEXT_BYTES - 8)));
        let messages = messages.map(|text| {
            assert!(publisher.request(&text).ends_with(&text));
            format!("[publisher] {text}")
        });
        let messages = messages.collect();
        Self { publisher, since, messages }
    }

    /// Asks for what was missed, with a receive buffer of a few KiB, and reads nothing of it.
    fn resume(&self, server: &TestServer, transport: Transport) -> Client {
        let mut client = connect_short_of_buffer(server, transport);
        client.send(&self.join());
        client
    }

    fn join(&self) -> String {
        format!("JOIN a since={}", self.since)
    }
}

fn connect_short_of_buffer(server: &TestServer, transport: Transport) -> Client {
    let mut client = Client::open_short_of_buffer(server, transport);
    client.expect(WELCOME);
    client
}

fn settings(policy: SlowPolicy) -> impl Fn(&mut Settings) {
    move |settings| {
        settings.slow = policy;
        settings.history_messages = MISSED + 1;
        settings.message_bytes = Size(4 * 1024);
        settings.outbox_bytes = Size(OUTBOX_BYTES);
        settings.slow_after = Span(Duration::from_secs(60));
        settings.grace = Span(Duration::from_secs(3600));
        settings.ping_interval = Span(PING_INTERVAL);
        settings.pong_timeout = Span(Duration::from_secs(60));
    }
}

/// Waits for this many pings of the server.
fn wait_for_pings(server: &impl Addresses, count: usize) {
    let mut client = WebSocket::connect(server.http());
    client.expect(WELCOME);
    (0..count).for_each(|_| client.expect_frame(FINAL_PING, ""));
}

fn policies() -> impl Iterator<Item = (Shape, Transport, SlowPolicy)> {
    let shapes = [Shape::ONE, Shape::MANY].into_iter();
    let with_transports = shapes.flat_map(|shape| Transport::ALL.map(|transport| (shape, transport)));
    with_transports.flat_map(|(shape, transport)| {
        [SlowPolicy::Disconnect, SlowPolicy::DropOldest].map(|policy| (shape, transport, policy))
    })
}

fn held_bytes(server: &TestServer) -> f64 {
    metrics(server.http)["roomcast_outbox_held_bytes"]
}

#[test]
fn a_client_that_reads_its_replay_late_gets_all_of_it_and_the_others_do_not_wait() {
    at_once(policies(), |(shape, transport, policy)| {
        let server = TestServer::start(shape, settings(policy));
        let mut missed = Missed::say(&server, transport, MISSED);
        let mut late = missed.resume(&server, transport);
        until(|| held_bytes(&server) > 0.0);
        let mut members = Transport::ALL.map(|transport| Client::member(&server, transport, "a", "member"));
        for number in 0..20 {
            let live = missed.publisher.request(&format!("live {number}"));
            assert_eq!(live, format!("[publisher] live {number}"));
            members.iter_mut().for_each(|member| assert_eq!(member.fence(), [live.as_str()]));
            missed.messages.push(live);
        }
        wait_for_pings(&server, PINGS);
        assert!(held_bytes(&server) > 0.0, "the kernel has taken all of it");
        late.expect("Joined a");
        assert_eq!(late.fence(), missed.messages);
        missed.publisher.expect_nothing();
    });
}

#[test]
fn a_replay_of_more_messages_than_an_outbox_may_hold_does_not_make_its_client_slow() {
    at_once(policies(), |(shape, transport, policy)| {
        let server = TestServer::start(shape, |changed| {
            settings(policy)(changed);
            changed.outbox_messages = 64;
        });
        let mut missed = Missed::say(&server, transport, MISSED);
        let mut late = missed.resume(&server, transport);
        missed.publisher.fence();
        wait_for_pings(&server, PINGS);
        late.expect("Joined a");
        let heard = late.fence();
        assert!(heard == missed.messages || heard == ["GAP unknown"], "{} lines", heard.len());
    });
}

#[test]
fn a_replay_that_an_outbox_just_holds_is_sent_and_a_longer_one_is_a_gap() {
    contract(|shape, transport| {
        let (fits, too_long) = (20, 21);
        let server = TestServer::start(shape, |settings| {
            settings.message_bytes = Size(4 * 1024);
            settings.outbox_bytes = Size(fits * (TEXT_BYTES + PUBLICATION_BYTES));
        });
        for count in [fits, too_long] {
            let missed = Missed::say(&server, transport, count);
            let mut client = missed.resume(&server, transport);
            client.expect("Joined a");
            let expected = if count == fits { missed.messages } else { vec!["GAP unknown".to_owned()] };
            assert_eq!(client.fence(), expected, "{count}");
        }
    });
}

/// Clients that have resumed before the server stops, and as many that resume just then.
const RESUMING: usize = 4;

#[test]
fn a_server_that_stops_sends_whole_replays_to_all_clients_that_have_joined() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, settings(SlowPolicy::Disconnect));
        let mut missed = Missed::say(&server, transport, MISSED - 1);
        let mut joined: Vec<Client> = (0..RESUMING).map(|_| missed.resume(&server, transport)).collect();
        joined.iter_mut().for_each(|client| client.expect("Joined a"));
        until(|| held_bytes(&server) > 0.0);
        missed.messages.push(missed.publisher.request("live"));
        let mut joining: Vec<Client> = (0..RESUMING).map(|_| connect_short_of_buffer(&server, transport)).collect();
        let (before, after) = joining.split_at_mut(RESUMING / 2);
        before.iter_mut().for_each(|client| client.send(&missed.join()));
        server.begin_stop();
        after.iter_mut().for_each(|client| client.send(&missed.join()));
        // All read at once: a client that reads nothing for a second may be cut.
        let messages = &missed.messages;
        thread::scope(|scope| {
            for mut client in joined {
                scope.spawn(move || assert!(client.lines_until_closed(Disconnect::Shutdown) == *messages));
            }
            for mut client in joining {
                // One that came too late has joined nothing; the others get as much as those before.
                scope.spawn(move || {
                    if let Some((first, replay)) = client.lines_until_closed(Disconnect::Shutdown).split_first() {
                        assert!(first == "Joined a" && replay == messages, "{} lines behind {first:?}", replay.len());
                    }
                });
            }
        });
        missed.publisher.expect_closed(Disconnect::Shutdown);
        let counts = server.stop();
        assert_eq!(counts.cut, 0, "{counts:?}");
        // A replay is no delivery, and the publisher was alone but for the last message.
        assert_eq!(counts.fanned_out, (MISSED + RESUMING) as u64, "{counts:?}");
        assert_eq!(counts.fanned_out, counts.delivered, "{counts:?}");
    });
}

#[test]
fn a_client_that_waits_for_its_turn_to_resume_when_the_server_stops_gets_what_it_has_missed() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, settings(SlowPolicy::Disconnect));
        let mut missed = Missed::say(&server, transport, MISSED);
        let mut other = Client::member(&server, transport, "b", "other");
        let since = other.request("POSITION").replace("Position ", "");
        let text = other.request("missed");
        let mut late = missed.resume(&server, transport);
        until(|| held_bytes(&server) > 0.0);
        late.send(&format!("JOIN b since={since}"));
        missed.publisher.request_until("WHO", r#"Members of a: ["publisher"]"#);
        server.begin_stop();
        late.expect("Joined a");
        let lines = late.lines_until_closed(Disconnect::Shutdown);
        assert!(lines[..MISSED] == missed.messages && lines[MISSED..] == ["Joined b", &text], "{} lines", lines.len());
    });
}
