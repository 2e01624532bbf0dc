//! RFC 6455 §8.1: text that is no UTF-8 fails the connection with 1007. The sequences are the malformed ones of Markus
//! Kuhn's decoder stress test; the standard library says where each of them cannot be made right any more.
//!
//! The RFC leaves open when it is noticed. This server looks at a frame once it is whole, so it fails at the first
//! fragment that cannot be made right, whatever would come behind it.

use harness::WebSocket;
use harness::frame::{BINARY, CONTINUATION, FINAL, FINAL_BINARY, FINAL_TEXT, TEXT, fragments, frame};

use crate::servers::{Echo, each_server, expect_failures};

const NOT_UTF8: u16 = 1007;

/// The first byte of a sequence of two to six bytes, with the bits of the number all zero.
const STARTS: [(u8, usize); 5] = [(0xc0, 2), (0xe0, 3), (0xf0, 4), (0xf8, 5), (0xfc, 6)];

/// The number of first bytes of each length.
const START_COUNTS: [u8; 5] = [32, 16, 8, 4, 2];

/// Continuation bytes where a character should begin.
fn lone_continuations() -> Vec<Vec<u8>> {
    let alternating = |length| [0x80, 0xbf].into_iter().cycle().take(length).collect();
    let mut found: Vec<Vec<u8>> = (1..=7).map(alternating).collect();
    found.extend([vec![0xbf], (0x80..=0xbf).collect()]);
    found
}

/// First bytes with a space behind each.
fn lone_starts() -> Vec<Vec<u8>> {
    let spaced = |((start, _), count)| (start..=start + (count - 1)).flat_map(|byte| [byte, b' ']).collect();
    STARTS.into_iter().zip(START_COUNTS).map(spaced).collect()
}

/// The lowest and the highest of each length without its last byte, each alone, and all one behind the other.
fn without_last_byte() -> Vec<Vec<u8>> {
    let cut = |(start, length): (u8, usize), rest| [&[start][..], &vec![rest; length - 2]].concat();
    let lowest = STARTS.map(|start| cut(start, 0x80));
    let highest = [(0xdf, 2), (0xef, 3), (0xf7, 4), (0xfb, 5), (0xfd, 6)].map(|start| cut(start, 0xbf));
    let all = [lowest.concat(), highest.concat()].concat();
    lowest.into_iter().chain(highest).chain([all]).collect()
}

/// `/`, the last character of the length below, and NUL, each in more bytes than it needs.
fn overlong() -> Vec<Vec<u8>> {
    let padded = |(start, length): (u8, usize), last: u8| [&[start][..], &vec![0x80; length - 2], &[last]].concat();
    let slash = STARTS.map(|start| padded(start, 0xaf));
    let null = STARTS.map(|start| padded(start, 0x80));
    let last_of_the_length_below: [&[u8]; 5] =
        [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"];
    slash.into_iter().chain(null).chain(last_of_the_length_below.map(<[u8]>::to_vec)).collect()
}

/// Halves of a character of UTF-16, alone and in pairs, and one in the middle of a text.
fn surrogates() -> Vec<Vec<u8>> {
    let half = |high: u16| [0xed, 0x80 | (high >> 6 & 0x3f) as u8, 0x80 | (high & 0x3f) as u8].to_vec();
    let (firsts, seconds) = ([0xd800, 0xdb7f, 0xdb80, 0xdbff], [0xdc00, 0xdf80, 0xdfff]);
    let alone = firsts.into_iter().chain(seconds).map(half);
    let pairs =
        firsts.into_iter().flat_map(|first| [0xdc00, 0xdfff].map(|second| [half(first), half(second)].concat()));
    let within = ["κόσμε".as_bytes(), &half(0xd800), b"edited"].concat();
    alone.chain(pairs).chain([within]).collect()
}

/// Numbers beyond U+10FFFF, and bytes that no sequence has.
fn impossible() -> Vec<Vec<u8>> {
    let beyond: [&[u8]; 8] = [
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfd\xbf\xbf\xbf\xbf\xbf",
        "κόσμε\u{10ffff}".as_bytes().split_last().expect("bytes").1,
    ];
    let never: [&[u8]; 4] = [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"good until \xff here"];
    beyond.into_iter().chain(never).map(<[u8]>::to_vec).collect()
}

fn malformed() -> Vec<Vec<u8>> {
    let families = [lone_continuations(), lone_starts(), without_last_byte(), overlong(), surrogates(), impossible()];
    families.concat()
}

/// The number of bytes after which no continuation is valid, or `None` if only the end shows that the text is invalid.
fn hopeless_after(bytes: &[u8]) -> Option<usize> {
    let is_hopeless =
        |length: &usize| str::from_utf8(&bytes[..*length]).is_err_and(|error| error.error_len().is_some());
    (1..=bytes.len()).find(is_hopeless)
}

#[test]
fn the_sequences_are_malformed_and_of_both_kinds() {
    let malformed = malformed();
    assert!(malformed.iter().all(|bytes| str::from_utf8(bytes).is_err()), "{malformed:x?}");
    assert!(malformed.iter().any(|bytes| hopeless_after(bytes).is_none()));
    assert!(malformed.iter().any(|bytes| hopeless_after(bytes) == Some(1)));
    assert_eq!(malformed.len(), 68);
}

#[test]
fn section_8_1_malformed_text_in_one_frame_fails() {
    expect_failures(malformed().into_iter().map(|bytes| (frame(FINAL_TEXT, bytes), NOT_UTF8)));
}

#[test]
fn section_8_1_malformed_text_in_fragments_of_one_byte_fails() {
    expect_failures(malformed().into_iter().map(|bytes| (fragments(TEXT, &bytes, 1), NOT_UTF8)));
}

#[test]
fn section_8_1_malformed_text_between_good_fragments_fails() {
    let surrounded = malformed().into_iter().map(|bytes| {
        let frames = [frame(TEXT, "good: "), frame(CONTINUATION, bytes), frame(FINAL | CONTINUATION, " good again")];
        (frames.concat(), NOT_UTF8)
    });
    expect_failures(surrounded);
}

#[test]
fn section_8_1_a_fragment_that_cannot_be_made_right_fails_without_waiting_for_the_next() {
    each_server(|server| {
        for bytes in malformed() {
            let Some(length) = hopeless_after(&bytes) else { continue };
            let mut client = WebSocket::connect(server);
            let (good, bad) = bytes[..length].split_at(length - 1);
            client.send([frame(TEXT, "good: "), frame(CONTINUATION, good)].concat());
            // Up to here a valid continuation exists, so the server must still answer.
            client.fence();
            client.send(frame(CONTINUATION, bad));
            client.expect_failure(NOT_UTF8, &bytes);
        }
    });
}

#[test]
fn section_8_1_text_that_ends_within_a_character_fails_at_its_end() {
    let cut = "κόσμε 日本 🦀".as_bytes();
    each_server(|server| {
        for length in (1..cut.len()).filter(|&length| str::from_utf8(&cut[..length]).is_err()) {
            let mut client = WebSocket::connect(server);
            client.send(frame(TEXT, &cut[..length]));
            client.fence();
            client.send(frame(FINAL | CONTINUATION, ""));
            client.expect_failure(NOT_UTF8, &cut[..length]);
        }
    });
}

#[test]
fn section_8_1_malformed_text_in_pieces_of_one_octet_fails() {
    let echo = Echo::start();
    for bytes in malformed() {
        let mut client = WebSocket::connect(echo.address);
        client.send_in_pieces(&frame(FINAL_TEXT, &bytes), 1);
        client.expect_failure(NOT_UTF8, &bytes);
    }
}

#[test]
fn section_5_6_binary_messages_may_be_anything() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for bytes in malformed() {
        client.send([frame(FINAL_BINARY, &bytes), fragments(BINARY, &bytes, 1)].concat());
        client.expect_binary(&bytes);
        client.expect_binary(&bytes);
    }
    client.close();
}
