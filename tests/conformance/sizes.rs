//! RFC 6455 §10.4: large messages, many small ones, and the limit. The echo allows 16 MiB.

use std::thread;

use harness::WebSocket;
use harness::frame::{
    BINARY, CONTINUATION, FINAL, FINAL_BINARY, FINAL_TEXT, LengthForm, TEXT, fragments, frame, header,
};

use crate::servers::Echo;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const LIMIT: usize = 16 * MIB;
const TOO_LONG: u16 = 1009;

/// Text that differs from piece to piece, with every power of two within a character.
fn text(length: usize) -> Vec<u8> {
    let mut text: Vec<u8> = "aäa日🦀 ".bytes().cycle().take(length).collect();
    let whole = str::from_utf8(&text).map_or_else(|error| error.valid_up_to(), str::len);
    text[whole..].fill(b'.');
    text
}

#[test]
fn section_10_4_large_messages_come_back_up_to_the_limit() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for length in [64 * KIB, MIB, LIMIT] {
        let text = text(length);
        for opcode in [TEXT, BINARY] {
            client.send(frame(FINAL | opcode, &text));
            client.expect_frame(FINAL | opcode, &text);
        }
    }
    client.close();
}

#[test]
fn section_10_4_large_messages_come_back_from_fragments_of_every_size() {
    let echo = Echo::start();
    let text = text(MIB);
    let mut client = WebSocket::connect(echo.address);
    for size in [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, MIB] {
        for opcode in [TEXT, BINARY] {
            client.send(fragments(opcode, &text, size));
            client.expect_frame(FINAL | opcode, &text);
        }
    }
    client.close();
}

#[test]
#[ignore = "slow: 16 MiB in 64-byte fragments"]
fn section_10_4_the_largest_message_comes_back_from_the_smallest_fragments() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for (opcode, size) in [(TEXT, 64), (BINARY, 64 * KIB)] {
        let text = text(LIMIT);
        client.send(fragments(opcode, &text, size));
        client.expect_frame(FINAL | opcode, &text);
    }
    client.close();
}

#[test]
fn section_10_4_large_messages_come_back_from_pieces_of_every_size() {
    let echo = Echo::start();
    let text = text(MIB);
    let mut client = WebSocket::connect(echo.address);
    for piece in [64, 128, 256, 512, KIB, 2 * KIB] {
        client.send_in_pieces(&frame(FINAL_TEXT, &text), piece);
        client.expect(&text);
    }
    client.close();
}

#[test]
fn section_10_4_a_message_over_the_limit_fails_before_it_has_come() {
    let echo = Echo::start();
    for opcode in [TEXT, BINARY] {
        for length in [LIMIT as u64 + 1, 1 << 32, u64::MAX >> 1] {
            for first in [opcode, FINAL | opcode] {
                let mut client = WebSocket::connect(echo.address);
                let offence = header(first, length, LengthForm::Eight);
                client.send(&offence);
                client.expect_failure(TOO_LONG, &offence);
            }
        }
        let mut client = WebSocket::connect(echo.address);
        let half = vec![b'x'; LIMIT / 2];
        client.send([frame(opcode, &half), frame(CONTINUATION, &half)].concat());
        client.fence();
        client.send(frame(FINAL | CONTINUATION, "x"));
        client.expect_failure(TOO_LONG, "one byte over");
    }
}

#[test]
fn section_10_4_the_limit_is_the_one_that_was_set() {
    let echo = Echo::start_with(&["--message-bytes", "1KiB"]);
    let mut client = WebSocket::connect(echo.address);
    client.send(frame(FINAL_BINARY, [7; 1024]));
    client.expect_binary([7; 1024]);
    client.send(frame(FINAL_BINARY, [7; 1025]));
    client.expect_failure(TOO_LONG, "1025 bytes");
}

#[test]
fn section_10_4_small_messages_come_back_one_by_one() {
    const MESSAGES: usize = 1_000;
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for length in [0, 16, 64, 256, KIB, 4 * KIB] {
        let text = text(length);
        let message = frame(FINAL_TEXT, &text);
        for _ in 0..MESSAGES {
            client.send(&message);
            client.expect(&text);
        }
    }
    client.close();
}

#[test]
fn section_10_4_thousands_of_small_messages_come_back_in_order_though_nobody_waits() {
    const MESSAGES: usize = 20_000;
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    let message = |number: usize| (if number.is_multiple_of(2) { TEXT } else { BINARY }, format!("message {number}"));
    let script: Vec<u8> = (0..MESSAGES)
        .flat_map(|number| {
            let (opcode, payload) = message(number);
            frame(FINAL | opcode, payload)
        })
        .collect();
    client.send(script);
    for number in 0..MESSAGES {
        let (opcode, payload) = message(number);
        client.expect_frame(FINAL | opcode, payload);
    }
    client.close();
}

#[test]
fn section_10_4_large_messages_of_several_clients_do_not_mix() {
    let echo = Echo::start();
    let address = echo.address;
    let talk = |client: u8| {
        move || {
            let bytes = vec![client; 2 * MIB];
            let mut client = WebSocket::connect(address);
            for size in [2 * MIB, 100 * KIB, 2 * MIB] {
                client.send(fragments(BINARY, &bytes, size));
                client.expect_binary(&bytes);
            }
            client.close();
        }
    };
    let clients: Vec<_> = (0..4).map(|client| thread::spawn(talk(client))).collect();
    clients.into_iter().for_each(|client| client.join().expect("its own bytes"));
}
