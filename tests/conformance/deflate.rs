//! RFC 7692: permessage-deflate. The Autobahn suite asks more of it (`tests/autobahn/run`, sections 12 and 13).

use std::net::SocketAddr;

use harness::deflate::{COMPRESSED, compressed_text, deflated, handshake_with};
use harness::frame::{CONTINUATION, FINAL, FINAL_BINARY, FINAL_PING, FINAL_TEXT, TEXT, fragments, frame};
use harness::{Http, Lines, Program, WebSocket};

use crate::servers::{Echo, each_server, product};

const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// What is answered to an offer without a window.
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The extensions of the answer to a handshake.
#[track_caller]
fn answered(server: SocketAddr, handshake: &str) -> Option<String> {
    let mut client = Http::connect(server);
    client.send(handshake);
    let head = client.head();
    assert_eq!(head.status, 101, "{head:?}");
    head.header("sec-websocket-extensions").map(str::to_owned)
}

#[test]
fn section_7_1_the_first_offer_that_can_be_kept_is_answered_without_context_takeover() {
    let with_window = |bits| Some(format!("{ANSWER}; server_max_window_bits={bits}"));
    let plain = || Some(ANSWER.to_owned());
    let rows = [
        ("permessage-deflate", plain()),
        ("permessage-deflate; client_max_window_bits", plain()),
        ("permessage-deflate;client_max_window_bits=8", plain()),
        ("permessage-deflate ; server_no_context_takeover ; client_no_context_takeover", plain()),
        ("permessage-deflate; server_max_window_bits=15", with_window(15)),
        ("permessage-deflate; server_max_window_bits = \"9\"", with_window(9)),
        ("permessage-deflate; client_max_window_bits; server_max_window_bits=10", with_window(10)),
        ("x-other; a=\"permessage-deflate, b\", permessage-deflate", plain()),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", plain()),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=12",
            with_window(12),
        ),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; server_max_window_bits=+9", None),
        ("permessage-deflate; server_max_window_bits=", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=\"9", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=x", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate;", None),
        ("x-other; a=\"x, permessage-deflate\"", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ];
    each_server(|server| {
        for (offers, answer) in &rows {
            assert_eq!(answered(server, &handshake_with(offers)), *answer, "{offers}");
        }
        let later = "x-other\r\nSec-WebSocket-Extensions: permessage-deflate; unknown, permessage-deflate";
        assert_eq!(answered(server, &handshake_with(later)), plain());
    });
}

#[test]
fn section_5_nothing_is_answered_where_compression_is_off_and_then_a_compressed_message_fails() {
    let echo = Echo::start_with(&["--deflate-bytes", "0"]);
    let product = Program::start(&["--workers", "1", "--greeting", "", "--deflate-bytes", "0"]);
    for server in [echo.address, product.http] {
        assert_eq!(answered(server, &handshake_with("permessage-deflate")), None);
        let mut client = WebSocket::upgrade(server, handshake_with("permessage-deflate"));
        client.send(compressed_text("x"));
        client.expect_failure(1002, "RSV1");
    }
}

#[test]
fn section_7_2_messages_come_back_compressed_in_either_form_whole_or_in_fragments() {
    let echo = Echo::start();
    for offer in [OFFER, "permessage-deflate; server_max_window_bits=9"] {
        let mut client = WebSocket::connect_deflating(echo.address, offer);
        for length in [100, 1_000, 100_000] {
            let text = "hällo ▒ 🦀, ".repeat(length / 10);
            client.send(compressed_text(&text));
            assert!(client.expect_compressed(&text) < text.len() / 2);
            for size in [1_000, 17] {
                let mut parts = fragments(TEXT, &deflated(&text), size);
                parts[0] |= COMPRESSED;
                client.send(parts);
                client.expect_compressed(&text);
            }
            client.send(frame(FINAL_TEXT, &text));
            client.expect_compressed(&text);
        }
        client.send(frame(FINAL_BINARY | COMPRESSED, deflated([7; 1000])));
        assert_eq!(client.frame().map(|(first, _)| first), Some(FINAL_BINARY | COMPRESSED));
        client.send(compressed_text(""));
        client.expect("");
        client.close();
    }
}

#[test]
fn section_6_the_bit_of_compression_fails_on_frames_that_do_not_begin_a_message() {
    let later = [frame(TEXT | COMPRESSED, deflated("x")), frame(FINAL | COMPRESSED | CONTINUATION, "")].concat();
    each_server(|server| {
        for offence in [frame(FINAL_PING | COMPRESSED, ""), later.clone(), frame(FINAL_TEXT | 0x20, "x")] {
            let mut client = WebSocket::connect_deflating(server, OFFER);
            client.send(&offence);
            client.expect_failure(1002, &offence);
        }
    });
}

#[test]
fn section_7_2_2_what_is_no_deflate_or_is_cut_short_fails() {
    let whole = deflated("a message that is long enough to be cut anywhere");
    let cut = [0, 1, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec());
    each_server(|server| {
        for payload in cut.iter().chain([&b"no deflate".to_vec(), &vec![0xff; 100]]) {
            let mut client = WebSocket::connect_deflating(server, OFFER);
            client.send(frame(FINAL_TEXT | COMPRESSED, payload));
            client.expect_failure(1002, payload);
        }
        let mut client = WebSocket::connect_deflating(server, OFFER);
        client.send(frame(FINAL_TEXT | COMPRESSED, deflated(b"caf\xc3")));
        client.expect_failure(1007, "no UTF-8");
    });
}

#[test]
fn section_8_a_compression_bomb_fails_and_a_neighbour_in_the_room_goes_on() {
    let server = product();
    let mut neighbour = Lines::connect(server.tcp);
    neighbour.send("NICK ann\nJOIN a\n");
    neighbour.expect("You are ann");
    neighbour.expect("Joined a");
    let bomb = frame(FINAL_TEXT | COMPRESSED, deflated(vec![b'x'; 32 * 1024 * 1024]));
    for _ in 0..10 {
        let mut client = WebSocket::connect_deflating(server.http, OFFER);
        client.send(compressed_text("NICK bob"));
        client.expect("You are bob");
        client.send(compressed_text("JOIN a"));
        client.expect("Joined a");
        client.send([&compressed_text("hello")[..], &bomb].concat());
        neighbour.expect("[bob] hello");
        // The message may come back ahead of the close.
        while let Some((first, payload)) = client.frame() {
            assert!(first == FINAL_TEXT || (first, &payload[..2]) == (FINAL | 0x8, &1009_u16.to_be_bytes()[..]));
        }
        neighbour.send("still here\n");
        neighbour.expect("[ann] still here");
    }
}
