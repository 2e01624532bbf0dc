//! Pings of the server, and the end of a client that does not answer them.

use std::time::Duration;

use harness::frame::{FINAL_CLOSE, FINAL_PING, FINAL_PONG, FINAL_TEXT, frame};
use harness::{Client, Transport};
use roomcast::config::{Settings, Span};

use crate::server::{Shape, TestServer};
use crate::websocket::{connect, member};

fn short_keepalive(settings: &mut Settings) {
    settings.ping_interval = Span(Duration::from_millis(100));
    settings.pong_timeout = Span(Duration::from_secs(3));
}

#[test]
fn a_silent_client_is_pinged_and_one_that_answers_stays() {
    let server = TestServer::start(Shape::MANY, short_keepalive);
    let mut client = member(&server, "alice");
    // For longer than the server keeps a client that does not answer.
    for _ in 0..40 {
        client.expect_frame(FINAL_PING, "");
        client.send(frame(FINAL_PONG, ""));
    }
    client.send(frame(FINAL_TEXT, "still here"));
    let heard = std::iter::from_fn(|| client.frame()).find(|(first, _)| *first != FINAL_PING);
    assert_eq!(heard, Some((FINAL_TEXT, b"[alice] still here".into())));
}

#[test]
fn a_mute_client_is_closed_and_has_left_its_room() {
    let server = TestServer::start(Shape::MANY, short_keepalive);
    let mut watcher = Client::member(&server, Transport::Tcp, "a", "watcher");
    let mut mute = member(&server, "mute");
    let mut pings = 0;
    let close = loop {
        match mute.frame().expect("a close, not the end") {
            (FINAL_PING, payload) => {
                assert_eq!(payload, b"");
                pings += 1;
            }
            other => break other,
        }
    };
    assert_eq!(close, (FINAL_CLOSE, [&4009_u16.to_be_bytes()[..], b"ping-timeout"].concat()));
    assert!(pings > 1, "it was pinged {pings} times");
    assert_eq!(mute.frame(), None);
    watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
}

#[test]
fn line_clients_are_not_pinged_however_silent() {
    let server = TestServer::start(Shape::ONE, short_keepalive);
    let mut silent = Client::connect(&server, Transport::Tcp);
    let mut mute = connect(&server);
    while mute.frame().is_some() {}
    silent.expect_nothing();
}

#[test]
fn more_clients_than_a_mailbox_has_places_are_all_pinged() {
    const CLIENTS: usize = 600;
    // They answer one after the other, for as long as that takes.
    let server = TestServer::start(Shape::ONE, |settings| {
        short_keepalive(settings);
        settings.pong_timeout = Span(Duration::from_secs(60));
    });
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(&server)).collect();
    for round in 0..3 {
        for client in &mut clients {
            let (first, _) = client.frame().expect("a ping, not the end");
            assert_eq!(first, FINAL_PING, "round {round}");
            client.send(frame(FINAL_PONG, ""));
        }
    }
}
