//! RFC 6455 §5.1 and §5.2: masks, lengths, reserved bits and opcodes.

use harness::WebSocket;
use harness::frame::{
    BINARY, CLOSE, CONTINUATION, FINAL, FINAL_BINARY, FINAL_TEXT, LengthForm, PING, PONG, TEXT, frame,
    frame_with_length, header,
};

use crate::servers::{Echo, expect_failures};

/// Lengths on both sides of each change of form.
const LENGTHS: [usize; 9] = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537];

const FAILED: u16 = 1002;

/// Every byte value, repeated up to this length.
fn bytes(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}

fn text(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}

#[test]
fn section_5_2_a_text_of_every_length_form_comes_back() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for length in LENGTHS {
        client.send(frame(FINAL_TEXT, text(length)));
        client.expect(text(length));
    }
    client.close();
}

#[test]
fn section_5_2_a_binary_message_of_every_length_form_comes_back() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for length in LENGTHS {
        client.send(frame(FINAL_BINARY, bytes(length)));
        client.expect_binary(bytes(length));
    }
    client.close();
}

#[test]
fn section_5_2_a_frame_in_pieces_is_the_same_frame() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for (length, piece) in
        [(0, 1), (1, 1), (125, 1), (126, 1), (127, 1), (128, 1), (1_000, 1), (65_535, 997), (65_536, 997)]
    {
        client.send_in_pieces(&frame(FINAL_TEXT, text(length)), piece);
        client.expect(text(length));
        client.send_in_pieces(&frame(FINAL_BINARY, bytes(length)), piece);
        client.expect_binary(bytes(length));
    }
    client.close();
}

#[test]
fn section_5_2_frames_of_both_kinds_in_one_write_come_back_in_order() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    let frames = LENGTHS.map(|length| [frame(FINAL_TEXT, text(length)), frame(FINAL_BINARY, bytes(length))]);
    client.send(frames.concat().concat());
    for length in LENGTHS {
        client.expect(text(length));
        client.expect_binary(bytes(length));
    }
    client.close();
}

#[test]
fn section_5_1_a_frame_without_a_mask_fails() {
    let firsts = [TEXT, BINARY, CLOSE, PING, PONG].map(|opcode| FINAL | opcode);
    let empty = firsts.map(|first| (vec![first, 0], FAILED));
    let short = firsts.map(|first| (vec![first, 2, b'h', b'i'], FAILED));
    expect_failures(empty.into_iter().chain(short));
}

#[test]
fn section_5_2_a_reserved_bit_fails_on_every_kind_of_frame() {
    let opcodes = [TEXT, BINARY, CLOSE, PING, PONG];
    let bits = (1..8_u8).map(|bits| bits << 4);
    expect_failures(bits.flat_map(|bits| opcodes.map(|opcode| (frame(FINAL | bits | opcode, "x"), FAILED))));
}

#[test]
fn section_5_2_a_reserved_bit_fails_within_a_fragmented_message() {
    let offence = |bits: u8| [frame(TEXT, "a"), frame(FINAL | (bits << 4) | CONTINUATION, "b")].concat();
    expect_failures((1..8).map(|bits| (offence(bits), FAILED)));
}

#[test]
fn section_5_2_a_reserved_opcode_fails_with_a_payload_or_without() {
    let opcodes = (3..=7).chain(11..=15);
    let offences = opcodes.flat_map(|opcode| {
        let whole = [&b""[..], b"x", &[0; 126]].map(|payload| frame(FINAL | opcode, payload));
        whole.into_iter().chain([frame(opcode, ""), [frame(TEXT, "a"), frame(FINAL | opcode, "")].concat()])
    });
    expect_failures(offences.map(|bytes| (bytes, FAILED)));
}

#[test]
fn section_5_2_what_came_before_a_reserved_bit_or_opcode_comes_back_and_what_comes_behind_does_not() {
    let echo = Echo::start();
    for first in [FINAL | 0x40 | TEXT, FINAL | 0x20 | BINARY, FINAL | 0x10 | PING, FINAL | 0x3, FINAL | 0xB] {
        let offence = frame(first, "x");
        let script = [frame(FINAL_TEXT, "before"), offence.clone()].concat();
        let whole = [&script[..], &frame(FINAL_TEXT, "behind")].concat();
        for (script, piece) in [(&whole, whole.len()), (&script, 1)] {
            let mut client = WebSocket::connect(echo.address);
            client.send_in_pieces(script, piece);
            client.expect("before");
            client.expect_failure(FAILED, &offence);
        }
    }
}

#[test]
fn section_5_2_a_length_in_more_bytes_than_it_needs_fails() {
    use LengthForm::{Eight, Two};
    let lengths = [(Two, 0), (Two, 125), (Eight, 0), (Eight, 125), (Eight, 126), (Eight, 65_535)];
    let offence = |(form, length)| {
        let opcodes = [TEXT, BINARY, PING];
        opcodes.map(|opcode| (frame_with_length(form, FINAL | opcode, &text(length)), FAILED))
    };
    expect_failures(lengths.into_iter().flat_map(offence));
}

#[test]
fn section_5_2_a_length_with_its_highest_bit_set_fails() {
    let lengths = [1_u64 << 63, u64::MAX];
    expect_failures(lengths.map(|length| (header(FINAL_BINARY, length, LengthForm::Eight), FAILED)));
}
