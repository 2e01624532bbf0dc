//! RFC 6455 §5.5.1, §7.1 and §7.4: the closing handshake and its codes. The codes of the server's own reasons are in
//! `src/protocol/disconnect.rs`, and their tests in `tests/sockets/`.

use harness::WebSocket;
use harness::frame::{
    BINARY, CONTINUATION, FINAL, FINAL_BINARY, FINAL_CLOSE, FINAL_PING, FINAL_TEXT, TEXT, close_frame, fragments, frame,
};

use crate::servers::{Echo, each_server, expect_failures, product};

/// Those of §7.4.1 that may be sent, 1012 to 1014 of IANA's registry ("Service Restart", "Try Again Later", "Bad
/// Gateway", later than the RFC), and the ends of what §7.4.2 leaves to libraries and to applications.
const VALID: [u16; 18] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999];

/// Not used, reserved (1004), never to be sent (1005, 1006, 1015), not registered, or beyond every range.
const INVALID: [u16; 16] =
    [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32_768, 65_535];

/// The code comes back, without the reason, and the server ends its side.
#[track_caller]
fn expect_echo(client: &mut WebSocket, code: u16) {
    client.expect_frame(FINAL_CLOSE, code.to_be_bytes());
    client.expect_end();
}

#[test]
fn section_5_5_1_a_close_without_a_code_is_answered_by_one_without_a_code() {
    each_server(|server| {
        let mut client = WebSocket::connect(server);
        client.send(frame(FINAL_CLOSE, ""));
        client.expect_frame(FINAL_CLOSE, "");
        client.expect_end();
    });
}

#[test]
fn section_5_5_1_a_close_of_one_byte_fails() {
    expect_failures([b"\x03", b"\x00", b"\xff"].map(|payload| (frame(FINAL_CLOSE, payload), 1002)));
}

#[test]
fn section_5_5_1_the_code_comes_back_whatever_the_reason_and_however_it_is_cut() {
    let reasons = ["", "bye", "grüß dich 🦀", &"x".repeat(123)].map(str::to_owned);
    each_server(|server| {
        for reason in &reasons {
            let bytes = close_frame(1000, reason);
            for piece in [bytes.len(), 1] {
                let mut client = WebSocket::connect(server);
                client.send_in_pieces(&bytes, piece);
                expect_echo(&mut client, 1000);
            }
        }
    });
}

#[test]
fn section_5_5_1_a_reason_of_124_bytes_fails() {
    expect_failures([(close_frame(1000, [b'x'; 124]), 1002)]);
}

#[test]
fn section_5_5_1_a_reason_that_is_no_utf8_fails() {
    let reasons = [
        &b"\xff"[..],
        b"bye \xc3",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xc0\xaf",
        b"\xf4\x90\x80\x80",
        b"\x80",
    ];
    expect_failures(reasons.map(|reason| (close_frame(1000, reason), 1007)));
}

#[test]
fn section_7_4_a_code_that_may_be_sent_comes_back() {
    each_server(|server| {
        for code in VALID {
            for reason in ["", "reason"] {
                let mut client = WebSocket::connect(server);
                client.send(close_frame(code, reason));
                expect_echo(&mut client, code);
            }
        }
    });
}

#[test]
fn section_7_4_a_code_that_must_not_be_sent_fails() {
    let with_reasons = INVALID.map(|code| ["", "reason"].map(|reason| (close_frame(code, reason), 1002)));
    expect_failures(with_reasons.into_iter().flatten());
}

#[test]
fn section_7_4_1_a_binary_message_is_nothing_that_the_product_accepts() {
    let product = product();
    for payload in [&b""[..], b"x", &[0xff; 300]] {
        for bytes in [frame(FINAL_BINARY, payload), fragments(BINARY, payload, 100)] {
            let mut client = WebSocket::connect(product.http);
            client.send([&bytes[..], &frame(FINAL_PING, "behind")].concat());
            client.expect_failure(1003, bytes);
        }
    }
}

#[test]
fn section_5_5_1_whatever_comes_behind_a_close_is_ignored() {
    let behind = [
        close_frame(1000, ""),
        close_frame(1001, "another"),
        frame(FINAL_PING, "are you there"),
        frame(FINAL_TEXT, "hello"),
        frame(FINAL_BINARY, ""),
        frame(FINAL | CONTINUATION, "of nothing"),
        frame(FINAL | 0x70 | 0xf, "wrong in every way"),
        vec![0xff; 100_000],
    ];
    each_server(|server| {
        for bytes in &behind {
            let mut client = WebSocket::connect(server);
            client.send([&close_frame(1000, "")[..], bytes].concat());
            expect_echo(&mut client, 1000);
        }
    });
}

#[test]
fn section_5_5_1_a_close_within_a_fragmented_message_ends_it() {
    each_server(|server| {
        let mut client = WebSocket::connect(server);
        client.send([frame(TEXT, "never "), close_frame(1000, ""), frame(FINAL | CONTINUATION, "whole")].concat());
        expect_echo(&mut client, 1000);
    });
}

#[test]
fn section_5_5_1_what_came_before_a_close_comes_back_before_it() {
    let echo = Echo::start();
    let large = vec![b'*'; 1 << 20];
    let mut client = WebSocket::connect(echo.address);
    let script =
        [frame(FINAL_TEXT, "hello"), frame(FINAL_BINARY, &large), close_frame(3000, ""), frame(FINAL_PING, "behind")];
    client.send(script.concat());
    client.expect("hello");
    client.expect_binary(&large);
    expect_echo(&mut client, 3000);
}

#[test]
fn section_7_1_1_the_server_ends_the_stream_first_and_the_client_may_take_its_time() {
    each_server(|server| {
        let mut client = WebSocket::connect(server);
        client.send(close_frame(1000, ""));
        expect_echo(&mut client, 1000);
        // The client's side is still open: it may still send.
        client.send(frame(FINAL_PING, "late"));
    });
}
