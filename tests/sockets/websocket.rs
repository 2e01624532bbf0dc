//! WebSocket clients, frame by frame: handshake, closing, messages of several lines.

use harness::frame::{
    CONTINUATION, FINAL, FINAL_BINARY, FINAL_CLOSE, FINAL_PING, FINAL_PONG, FINAL_TEXT, TEXT, close_frame, frame,
};
use harness::{Blast, Client, Disconnect, HANDSHAKE, Lines, Transport, WELCOME, WebSocket};

use crate::server::{Shape, TestServer, contract};

/// A server of each shape.
fn each_shape(behaviour: impl Fn(TestServer)) {
    for shape in Shape::ALL {
        println!("{shape:?}");
        behaviour(TestServer::plain(shape));
    }
}

/// Connects a client and reads the greeting.
#[track_caller]
pub fn connect(server: &TestServer) -> WebSocket {
    let mut client = WebSocket::connect(server.http);
    client.expect(WELCOME);
    client
}

/// A client with this nick in the room `a`, which has answered the pings so far.
#[track_caller]
pub fn member(server: &TestServer, nick: &str) -> WebSocket {
    let mut client = connect(server);
    client.send([frame(FINAL_TEXT, format!("NICK {nick}")), frame(FINAL_TEXT, "JOIN a")].concat());
    client.expect_behind_pings(format!("You are {nick}"));
    client.expect_behind_pings("Joined a");
    client
}

/// A script with a text in fragments and a ping between them, and the answers.
fn script() -> (Vec<u8>, [(u8, &'static str); 6]) {
    let frames = [
        frame(FINAL_TEXT, "NICK bøb"),
        frame(FINAL_TEXT, "JOIN räume"),
        frame(TEXT, "häl"),
        frame(FINAL_PING, "beat"),
        frame(FINAL | CONTINUATION, "lo ▒ 🦀\n"),
        frame(FINAL_TEXT, ""),
        frame(FINAL_TEXT, "PING ü"),
        close_frame(1000, "bye"),
    ];
    let heard = [
        (FINAL_TEXT, WELCOME),
        (FINAL_TEXT, "You are bøb"),
        (FINAL_TEXT, "Joined räume"),
        (FINAL_PONG, "beat"),
        (FINAL_TEXT, "[bøb] hällo ▒ 🦀"),
        (FINAL_TEXT, "PONG ü"),
    ];
    (frames.concat(), heard)
}

/// Reads the answers to the script.
#[track_caller]
fn expect_answers(mut client: WebSocket, heard: [(u8, &str); 6]) {
    heard.into_iter().for_each(|(first, payload)| client.expect_frame(first, payload));
    client.expect_frame(FINAL_CLOSE, 1000_u16.to_be_bytes());
    assert_eq!(client.frame(), None);
}

#[test]
fn a_conversation_cut_at_any_byte_is_the_same() {
    let server = TestServer::plain(Shape::ONE);
    let mut bystander = Client::connect(&server, Transport::Tcp);
    let (script, heard) = script();
    for at in 0..=script.len() {
        let client = WebSocket::connect(server.http);
        client.send(&script[..at]);
        // A round trip, so that each piece is read by itself.
        bystander.expect_nothing();
        client.send(&script[at..]);
        expect_answers(client, heard);
    }
}

#[test]
fn frames_right_behind_the_handshake_are_handled_in_order_wherever_the_write_is_cut() {
    let server = TestServer::plain(Shape::ONE);
    let (script, heard) = script();
    for at in 0..=script.len() {
        let client = WebSocket::connect_sending(server.http, &script[..at]);
        client.send(&script[at..]);
        expect_answers(client, heard);
    }
}

#[test]
fn many_frames_right_behind_the_handshake_are_all_handled_in_order() {
    const MESSAGES: usize = 5_000;
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let mut other = Client::member(&server, transport, "a", "other");
        let said = (0..MESSAGES).map(|number| frame(FINAL_TEXT, number.to_string()));
        let first = [frame(FINAL_TEXT, "NICK alice"), frame(FINAL_TEXT, "JOIN a")];
        let bytes: Vec<u8> = first.into_iter().chain(said).flatten().collect();
        let mut client = WebSocket::connect_sending(server.http, bytes);
        [WELCOME, "You are alice", "Joined a"].into_iter().for_each(|line| client.expect(line));
        for number in 0..MESSAGES {
            let heard = format!("[alice] {number}");
            client.expect(&heard);
            other.expect(&heard);
        }
    });
}

#[test]
fn a_handshake_may_say_more_than_it_must_and_in_any_case() {
    let server = TestServer::plain(Shape::ONE);
    for (usual, unusual) in [
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        ("Connection: Upgrade", "connection: keep-alive\r\nCONNECTION: UPGRADE"),
        ("Upgrade: websocket", "upgrade: WebSocket"),
        ("GET /ws ", "GET /ws?room=a "),
        (
            "Host: localhost",
            "Host: localhost\r\nSec-WebSocket-Extensions: permessage-deflate\r\nOrigin: http://localhost",
        ),
    ] {
        let handshake = HANDSHAKE.replace(usual, unusual);
        assert_ne!(handshake, HANDSHAKE);
        let mut client = WebSocket::upgrade(server.http, handshake);
        client.expect(WELCOME);
        client.send(frame(FINAL_TEXT, "PING x"));
        client.expect("PONG x");
    }
}

#[test]
fn a_ping_is_answered_with_its_payload_behind_what_came_before() {
    each_shape(|server| {
        let mut client = connect(&server);
        for payload in [&b""[..], b"beat", &[0xff; 125]] {
            client
                .send([frame(FINAL_TEXT, "PING 1"), frame(FINAL_PING, payload), frame(FINAL_TEXT, "PING 2")].concat());
            client.expect("PONG 1");
            client.expect_frame(FINAL_PONG, payload);
            client.expect("PONG 2");
        }
        client.send([frame(FINAL_PONG, "unasked"), frame(FINAL_TEXT, "PING 3")].concat());
        client.expect("PONG 3");
    });
}

/// Bytes that break a rule, and the reason for which the connection ends.
fn offences() -> Vec<(Vec<u8>, Disconnect)> {
    let header = |first, length: u64| [&[first, 0xff][..], &length.to_be_bytes()].concat();
    vec![
        (frame(FINAL_BINARY, "x"), Disconnect::Unsupported),
        (vec![FINAL_TEXT, 2, b'h', b'i'], Disconnect::ProtocolError),
        (frame(FINAL_TEXT | 0x40, "x"), Disconnect::ProtocolError),
        (frame(FINAL | CONTINUATION, "x"), Disconnect::ProtocolError),
        (frame(FINAL | 0x3, "x"), Disconnect::ProtocolError),
        (frame(FINAL_PING, [b'x'; 126]), Disconnect::ProtocolError),
        (frame(FINAL_CLOSE, "x"), Disconnect::ProtocolError),
        (close_frame(1005, ""), Disconnect::ProtocolError),
        (frame(FINAL_TEXT, b"caf\xc3"), Disconnect::NotUtf8),
        ([frame(TEXT, b"caf\xc3"), frame(CONTINUATION, b"(")].concat(), Disconnect::NotUtf8),
        (frame(FINAL_TEXT, "x".repeat(64 * 1024 + 1)), Disconnect::TooLong),
        (header(FINAL_TEXT, 64 * 1024 + 1), Disconnect::TooLong),
        (header(TEXT, u64::MAX >> 1), Disconnect::TooLong),
    ]
}

#[test]
fn an_offence_closes_with_its_code_and_nothing_of_it_is_delivered() {
    each_shape(|server| {
        let mut watcher = Client::member(&server, Transport::Tcp, "a", "watcher");
        for (bytes, reason) in offences() {
            println!("{reason:?}");
            let mut client = member(&server, "offender");
            client.send([frame(FINAL_TEXT, "before"), bytes, frame(FINAL_TEXT, "behind")].concat());
            watcher.expect("[offender] before");
            let answer = client.frame();
            if answer == Some((FINAL_TEXT, b"[offender] before".into())) {
                client.expect_close(reason);
            } else {
                let close = reason.close_payload();
                assert_eq!(answer, Some((FINAL_CLOSE, close)));
                assert_eq!(client.frame(), None);
            }
            watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
            watcher.expect_nothing();
        }
    });
}

#[test]
fn an_offence_is_answered_in_spite_of_megabytes_behind_it() {
    let server = TestServer::plain(Shape::ONE);
    for (bytes, reason) in offences() {
        let mut client = connect(&server);
        let write = client.write_half().keep_writing(bytes, vec![b'x'; 1 << 20], 4);
        client.expect_close(reason);
        write.join().unwrap();
    }
}

#[test]
fn a_close_is_echoed_with_its_code_behind_what_was_asked_before() {
    each_shape(|server| {
        let closes = [
            (close_frame(1000, ""), 1000_u16.to_be_bytes().to_vec()),
            (close_frame(1001, "going away"), 1001_u16.to_be_bytes().to_vec()),
            (close_frame(4999, "grüß"), 4999_u16.to_be_bytes().to_vec()),
            (frame(FINAL_CLOSE, ""), vec![]),
        ];
        for (close, echo) in closes {
            let mut client = member(&server, "alice");
            client.send([frame(FINAL_TEXT, "hello"), frame(FINAL_TEXT, "PING x"), close].concat());
            client.expect("[alice] hello");
            client.expect("PONG x");
            client.expect_frame(FINAL_CLOSE, echo);
            assert_eq!(client.frame(), None);
        }
    });
}

#[test]
fn quit_says_bye_and_closes_and_what_is_behind_it_is_not_executed() {
    each_shape(|server| {
        let mut watcher = Client::member(&server, Transport::Tcp, "a", "watcher");
        let mut client = member(&server, "alice");
        client.send([frame(FINAL_TEXT, "QUIT"), frame(FINAL_TEXT, "behind")].concat());
        client.expect("Bye");
        client.expect_close(Disconnect::Quit);
        watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
        watcher.expect_nothing();
    });
}

#[test]
fn a_server_that_stops_closes_with_1001_behind_all_that_was_said() {
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let mut alice = member(&server, "alice");
        alice.send(frame(FINAL_TEXT, "hello"));
        alice.expect("[alice] hello");
        let mut idle = connect(&server);
        server.begin_stop();
        alice.expect_close(Disconnect::Shutdown);
        idle.expect_close(Disconnect::Shutdown);
        drop((alice, idle));
        assert_eq!(server.stop().cut, 0);
    }
}

#[test]
fn a_member_leaves_exactly_once_however_its_connection_ends() {
    let endings: [fn(WebSocket); 6] = [
        |client| client.send(frame(FINAL_TEXT, "QUIT")),
        |client| client.send(close_frame(1000, "")),
        |client| client.send(frame(FINAL_BINARY, "")),
        |mut client| {
            client.end_input();
            assert_eq!(client.frame(), None);
        },
        drop,
        WebSocket::reset,
    ];
    each_shape(|server| {
        let mut watcher = Client::member(&server, Transport::Tcp, "a", "watcher");
        for ending in endings {
            ending(member(&server, "goner"));
            watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
            let mut next = member(&server, "next");
            watcher.send("still here?");
            assert_eq!(watcher.fence(), ["[watcher] still here?"]);
            next.expect("[watcher] still here?");
            next.send(frame(FINAL_TEXT, "LEAVE"));
            next.expect("Left room");
        }
        assert_eq!(watcher.request("WHO"), r#"Members of a: ["watcher"]"#);
    });
}

#[test]
fn several_lines_are_one_message_here_and_lines_there_and_each_has_the_label() {
    each_shape(|server| {
        let mut line_client = Lines::connect(server.tcp);
        line_client.send("NICK bob\nJOIN a\n");
        [WELCOME, "You are bob", "Joined a"].into_iter().for_each(|line| line_client.expect(line));
        let mut alice = member(&server, "alice");
        for (said, lines) in [
            ("one\ntwo", &["[alice] one", "[alice] two"][..]),
            ("one\r\n\r\ntwo\r\n", &["[alice] one", "[alice] ", "[alice] two"]),
            ("JOIN b\n[bob] forged", &["[alice] JOIN b", "[alice] [bob] forged"]),
            ("one\n", &["[alice] one"]),
        ] {
            alice.send(frame(FINAL_TEXT, said));
            alice.expect(lines.join("\n"));
            lines.iter().for_each(|line| line_client.expect(line));
        }
        line_client.send("PING x\n");
        line_client.expect("PONG x");
    });
}

#[test]
fn a_message_has_64_lines_and_no_more() {
    each_shape(|server| {
        let mut watcher = Client::member(&server, Transport::Tcp, "a", "watcher");
        let mut alice = member(&server, "alice");
        let lines = vec!["x"; 64].join("\n");
        for end in ["", "\n"] {
            alice.send(frame(FINAL_TEXT, format!("{lines}{end}")));
            alice.expect(["[alice] x"; 64].join("\n"));
            assert_eq!(watcher.fence(), ["[alice] x"; 64]);
        }
        alice.send(frame(FINAL_TEXT, format!("{lines}\nx")));
        alice.expect("ERR too-many message of 65 lines: at most 64");
        alice.send(frame(FINAL_TEXT, "a\0\nb"));
        alice.expect("ERR control-character U+0000 at byte 1: none but tab is allowed");
        watcher.expect_nothing();
    });
}

#[test]
fn nothing_follows_the_echo_of_a_close_though_the_room_goes_on_talking() {
    each_shape(|server| {
        let _blast = Blast::start(server.tcp, "a");
        for _ in 0..20 {
            let mut leaver = connect(&server);
            leaver.send([frame(FINAL_TEXT, "JOIN a"), close_frame(1000, "")].concat());
            while let Some((first, _)) = leaver.frame() {
                assert!(first == FINAL_TEXT || leaver.frame().is_none(), "a frame behind the close");
            }
        }
    });
}
