//! RFC 6455 §5.4: messages in fragments, and control frames between them.

use harness::WebSocket;
use harness::frame::{
    BINARY, CLOSE, CONTINUATION, FINAL, FINAL_PING, FINAL_PONG, FINAL_TEXT, PING, PONG, TEXT, fragments, frame,
};

use crate::servers::{Echo, expect_failures};

const FAILED: u16 = 1002;

/// Sends the script whole, in pieces and byte by byte, and checks the answers each time.
fn however_it_is_cut(script: &[Vec<u8>], expect: impl Fn(&mut WebSocket)) {
    let echo = Echo::start();
    let script = script.concat();
    for piece in [script.len(), 7, 1] {
        let mut client = WebSocket::connect(echo.address);
        client.send_in_pieces(&script, piece);
        expect(&mut client);
        client.close();
    }
}

#[test]
fn section_5_4_fragments_are_one_message() {
    however_it_is_cut(&[frame(TEXT, "frag"), frame(FINAL | CONTINUATION, "ments")], |client| {
        client.expect("fragments");
    });
    however_it_is_cut(
        &[frame(BINARY, [0xff, 0]), frame(CONTINUATION, [1]), frame(FINAL | CONTINUATION, [2])],
        |client| {
            client.expect_binary([0xff, 0, 1, 2]);
        },
    );
}

#[test]
fn section_5_4_empty_fragments_are_fragments() {
    for opcode in [TEXT, BINARY] {
        let empty = [frame(opcode, ""), frame(CONTINUATION, ""), frame(FINAL | CONTINUATION, "")];
        however_it_is_cut(&empty, |client| client.expect_frame(FINAL | opcode, ""));
        let middle = [frame(opcode, ""), frame(CONTINUATION, "middle"), frame(FINAL | CONTINUATION, "")];
        however_it_is_cut(&middle, |client| client.expect_frame(FINAL | opcode, "middle"));
    }
}

#[test]
fn section_5_4_a_ping_between_fragments_is_answered_before_the_message_is_whole() {
    let script = [
        frame(TEXT, "one "),
        frame(FINAL_PING, "first"),
        frame(CONTINUATION, "two "),
        frame(FINAL_PING, ""),
        frame(FINAL_PONG, "unasked"),
        frame(FINAL_PING, [0xff; 125]),
        frame(FINAL | CONTINUATION, "three"),
    ];
    however_it_is_cut(&script, |client| {
        client.expect_frame(FINAL_PONG, "first");
        client.expect_frame(FINAL_PONG, "");
        client.expect_frame(FINAL_PONG, [0xff; 125]);
        client.expect("one two three");
    });
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    client.send(script[..2].concat());
    // The client sends nothing else until the answer has come.
    client.expect_frame(FINAL_PONG, "first");
    client.send(frame(FINAL | CONTINUATION, "two"));
    client.expect("one two");
}

#[test]
fn section_5_4_one_fragmented_message_follows_another() {
    let script = [
        fragments(TEXT, b"first message", 3),
        fragments(BINARY, b"second message", 1),
        frame(FINAL_TEXT, "third"),
        fragments(TEXT, b"fourth message", 100),
    ];
    however_it_is_cut(&script, |client| {
        client.expect("first message");
        client.expect_binary("second message");
        client.expect("third");
        client.expect("fourth message");
    });
}

#[test]
fn section_5_4_a_continuation_of_nothing_fails() {
    let nothing = [CONTINUATION, FINAL | CONTINUATION].map(|first| frame(first, "nothing"));
    let begun = [CONTINUATION, FINAL | CONTINUATION].map(|first| [frame(first, ""), frame(FINAL_TEXT, "x")].concat());
    expect_failures(nothing.into_iter().chain(begun).map(|bytes| (bytes, FAILED)));
}

#[test]
fn section_5_4_a_continuation_of_a_message_that_is_whole_fails() {
    let echo = Echo::start();
    let wholes = [vec![frame(FINAL_TEXT, "whole")], vec![frame(TEXT, "wh"), frame(FINAL | CONTINUATION, "ole")]];
    for whole in wholes {
        for first in [CONTINUATION, FINAL | CONTINUATION] {
            let offence = frame(first, "more");
            let mut client = WebSocket::connect(echo.address);
            client.send([&whole.concat()[..], &offence, &frame(FINAL_TEXT, "behind")].concat());
            client.expect("whole");
            client.expect_failure(FAILED, &offence);
        }
    }
}

#[test]
fn section_5_4_a_new_message_within_another_fails() {
    let kinds = [TEXT, BINARY];
    let within = kinds.map(|outer| kinds.map(|inner| [(outer, inner), (outer, FINAL | inner)]));
    let offences = within.concat().concat();
    let offences = offences.into_iter().flat_map(|(outer, inner)| {
        let second = [frame(outer, "a"), frame(inner, "b")].concat();
        let third = [frame(outer, "a"), frame(CONTINUATION, "b"), frame(inner, "c")].concat();
        [(second, FAILED), (third, FAILED)]
    });
    expect_failures(offences);
}

#[test]
fn section_5_5_a_control_frame_in_fragments_fails() {
    let alone = [CLOSE, PING, PONG].map(|opcode| frame(opcode, ""));
    let continued = [PING, PONG].map(|opcode| [frame(opcode, "a"), frame(FINAL | CONTINUATION, "b")].concat());
    let within = [CLOSE, PING, PONG].map(|opcode| [frame(TEXT, "a"), frame(opcode, "")].concat());
    let offences = alone.into_iter().chain(continued).chain(within);
    expect_failures(offences.map(|bytes| (bytes, FAILED)));
}
