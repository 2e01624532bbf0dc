//! Pings of a client without end: the pending bytes do not grow, and others are served.

use harness::frame::{FINAL_PING, FINAL_PONG, FINAL_TEXT, frame};
use harness::{Client, Program, Transport, WELCOME, WebSocket, metrics, until};

const MIB: u64 = 1 << 20;

const PINGS: u32 = 100_000;

/// The longest payload of a control frame (RFC 6455 §5.5).
fn payload(number: u32) -> [u8; 125] {
    let mut payload = [0; 125];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

/// `PINGS` frames of this kind and then a text.
fn flood(first: u8) -> Vec<u8> {
    let mut frames: Vec<u8> = (0..PINGS).flat_map(|number| frame(first, payload(number))).collect();
    frames.extend(frame(FINAL_TEXT, "that was all"));
    frames
}

/// A WebSocket member of the room `a` with a receive buffer of a few KiB.
fn member(program: &Program) -> WebSocket {
    let mut member = WebSocket::connect_short_of_buffer(program.http);
    member.expect(WELCOME);
    member.send(frame(FINAL_TEXT, "NICK pinger"));
    member.expect("You are pinger");
    member.send(frame(FINAL_TEXT, "JOIN a"));
    member.expect("Joined a");
    member
}

#[test]
#[ignore = "slow: 100 000 pings"]
fn a_hundred_thousand_pings_of_a_client_that_does_not_read_leave_one_pong_pending() {
    let program = Program::start(&["--workers", "1"]);
    let mut watcher = Client::member(&program, Transport::Tcp, "a", "watcher");
    let mut pinger = member(&program);
    let before = program.private_bytes();
    pinger.send(flood(FINAL_PING));
    watcher.expect("[pinger] that was all");
    watcher.send("read it");
    watcher.expect("[watcher] read it");
    let pending = metrics(program.http)["roomcast_outbox_bytes"];
    // The pongs of one turn of reading before the socket was blocked, the last pong, and the texts.
    let turn = (64 + 2) * frame(FINAL_PONG, payload(0)).len();
    assert!(pending > 0.0 && pending <= turn as f64, "{pending} bytes are pending");
    let after = program.private_bytes();
    assert!(after <= before + MIB, "from {before} to {after}");
    let heard: Vec<_> =
        std::iter::from_fn(|| pinger.frame()).take_while(|frame| frame.1 != b"[watcher] read it").collect();
    let pongs = heard.iter().filter(|(first, _)| *first == FINAL_PONG);
    let pongs: Vec<u32> = pongs.map(|(_, bytes)| u32::from_be_bytes(bytes[..4].try_into().expect("four"))).collect();
    assert!(pongs.is_sorted_by(|one, next| one < next), "pongs in the order of their pings");
    assert_eq!(pongs.last(), Some(&(PINGS - 1)));
    until(|| metrics(program.http)["roomcast_outbox_bytes"] == 0.0);
}

#[test]
fn a_hundred_thousand_pongs_that_nobody_asked_for_are_not_answered() {
    let program = Program::start(&["--workers", "1"]);
    let mut pinger = member(&program);
    let before = program.private_bytes();
    pinger.send(flood(FINAL_PONG));
    pinger.expect("[pinger] that was all");
    let after = program.private_bytes();
    assert!(after <= before + MIB, "from {before} to {after}");
}
