//! RFC 6455 §5.5.2 and §5.5.3: pings and pongs.

use harness::WebSocket;
use harness::frame::{CLOSE, FINAL, FINAL_PING, FINAL_PONG, FINAL_TEXT, LengthForm, PING, PONG, frame, header};

use crate::servers::{Echo, each_server, expect_failures};

/// Byte values from the highest down.
fn payload(length: usize) -> Vec<u8> {
    (0..=u8::MAX).rev().take(length).collect()
}

#[test]
fn section_5_5_2_a_ping_of_every_length_is_answered_with_its_payload() {
    each_server(|server| {
        let mut client = WebSocket::connect(server);
        for length in 0..=125 {
            client.send(frame(FINAL_PING, payload(length)));
            client.expect_frame(FINAL_PONG, payload(length));
        }
        client.close();
    });
}

#[test]
fn section_5_5_2_a_ping_in_pieces_is_the_same_ping() {
    each_server(|server| {
        let mut client = WebSocket::connect(server);
        for length in [0, 1, 125] {
            client.send_in_pieces(&frame(FINAL_PING, payload(length)), 1);
            client.expect_frame(FINAL_PONG, payload(length));
        }
        client.close();
    });
}

#[test]
fn section_5_5_2_pings_in_a_row_are_answered_in_order() {
    each_server(|server| {
        let pings: Vec<u8> = (0..10).flat_map(|number| frame(FINAL_PING, format!("ping {number}"))).collect();
        for piece in [pings.len(), 1] {
            let mut client = WebSocket::connect(server);
            client.send_in_pieces(&pings, piece);
            (0..10).for_each(|number| client.expect_frame(FINAL_PONG, format!("ping {number}")));
            client.close();
        }
    });
}

#[test]
fn section_5_5_2_a_ping_between_messages_is_answered_in_its_place() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    client.send([frame(FINAL_TEXT, "one"), frame(FINAL_PING, "beat"), frame(FINAL_TEXT, "two")].concat());
    client.expect("one");
    client.expect_frame(FINAL_PONG, "beat");
    client.expect("two");
    client.close();
}

#[test]
fn section_5_5_3_a_pong_that_nobody_asked_for_is_not_answered() {
    each_server(|server| {
        let mut client = WebSocket::connect(server);
        let pongs = [&b""[..], b"unasked", &[0xff; 125]].map(|payload| frame(FINAL_PONG, payload));
        // The first answer is the pong for the ping behind them.
        client.send([&pongs.concat()[..], &frame(FINAL_PING, "asked")].concat());
        client.expect_frame(FINAL_PONG, "asked");
        client.send_in_pieces(&[&pongs.concat()[..], &frame(FINAL_PING, "again")].concat(), 1);
        client.expect_frame(FINAL_PONG, "again");
        client.close();
    });
}

#[test]
fn section_5_5_a_control_frame_of_more_than_125_bytes_fails() {
    let whole = [PING, PONG, CLOSE].map(|opcode| frame(FINAL | opcode, [0xfe; 126]));
    // Only the header comes: a server that waited for the payload would wait for ever.
    let claimed = [PING, PONG, CLOSE].map(|opcode| header(FINAL | opcode, 1 << 20, LengthForm::Eight));
    expect_failures(whole.into_iter().chain(claimed).map(|bytes| (bytes, 1002)));
}
