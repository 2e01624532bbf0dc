//! WebSocket clients whose bytes come in pieces: a handshake, a frame. Lines in pieces are in `bytes`.

use std::time::Duration;

use harness::frame::{FINAL_PING, FINAL_TEXT, frame};
use harness::{Client, HANDSHAKE, Http, Transport, WELCOME, WebSocket};
use roomcast::config::{Settings, Span};

use crate::server::{Shape, TestServer};
use crate::websocket::member;

/// Sends the handshake in these pieces, between two of which another client of the only worker makes a round trip, and
/// is let in.
#[track_caller]
fn expect_to_be_let_in<'a>(server: &TestServer, bystander: &mut Client, pieces: impl Iterator<Item = &'a [u8]>) {
    let client = Http::connect(server.http);
    for piece in pieces {
        client.send(piece);
        assert_eq!(bystander.request("hello"), "[bystander] hello");
    }
    let mut client = WebSocket::upgraded(client);
    client.expect(WELCOME);
    client.send(frame(FINAL_TEXT, "PING x"));
    client.expect("PONG x");
}

#[test]
fn a_handshake_cut_at_any_byte_is_the_same() {
    let server = TestServer::plain(Shape::ONE);
    let mut bystander = Client::member(&server, Transport::Tcp, "a", "bystander");
    let handshake = HANDSHAKE.as_bytes();
    for at in 0..=handshake.len() {
        let (first, second) = handshake.split_at(at);
        expect_to_be_let_in(&server, &mut bystander, [first, second].into_iter());
    }
}

#[test]
fn a_handshake_byte_by_byte_is_the_same() {
    let server = TestServer::plain(Shape::ONE);
    let mut bystander = Client::member(&server, Transport::Tcp, "a", "bystander");
    expect_to_be_let_in(&server, &mut bystander, HANDSHAKE.as_bytes().chunks(1));
}

fn short_keepalive(settings: &mut Settings) {
    settings.ping_interval = Span(Duration::from_millis(100));
    settings.pong_timeout = Span(Duration::from_secs(3));
}

#[test]
fn a_client_that_sends_a_frame_byte_by_byte_is_alive_though_it_never_answers_a_ping() {
    /// Enough pings that a client which does not answer would be closed.
    const BYTES: usize = 40;
    const TEXT: &str = "slowly but surely, with one byte behind each ping";
    let server = TestServer::start(Shape::MANY, short_keepalive);
    let mut client = member(&server, "alice");
    let bytes = frame(FINAL_TEXT, TEXT);
    let (slow, rest) = bytes.split_at(BYTES);
    for byte in slow {
        client.expect_frame(FINAL_PING, "");
        client.send([*byte]);
    }
    client.send(rest);
    let heard = std::iter::from_fn(|| client.frame()).find(|(first, _)| *first != FINAL_PING);
    assert_eq!(heard, Some((FINAL_TEXT, format!("[alice] {TEXT}").into_bytes())));
}
