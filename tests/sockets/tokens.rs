//! Tokens over both transports: `AUTH`, the handshake, what is refused, and names that can be trusted.

use harness::frame::{FINAL_TEXT, frame};
use harness::{Centrifuge, Client, Disconnect, Encoding, HANDSHAKE, Head, Http, Transport, WELCOME, WebSocket};
use jsonwebtoken::Algorithm;
use roomcast::config::Anonymous;
use serde_json::{Value, json};

use crate::access::{Guarded, SECRET, seconds_from_now, signed, token, token_of};
use crate::server::{Shape, TestServer, contract};

#[test]
fn a_client_is_its_user_from_auth_on_and_for_all_others_too() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |_| {});
        let mut other = Client::connect(&server, Transport::Tcp);
        other.join("a");
        let mut client = Client::connect(&server, transport);
        client.join("a");
        client.send("before");
        let before = client.line();
        assert!(before.ends_with("] before") && !before.starts_with("[alice"), "{before}");
        client.send(&format!("AUTH {}", token(&json!({ "sub": "user-7", "name": "alice" }))));
        client.send("behind");
        client.expect("Authenticated as user-7");
        client.expect("[alice] behind");
        assert_eq!(other.line(), before);
        other.expect("[alice] behind");
        assert_eq!(client.request("NICK bob"), r#"ERR forbidden "bob": your name comes from your token"#);
        client.send("WHO");
        assert!(client.line().contains(r#""alice""#));
    });
}

#[test]
fn a_refused_token_ends_the_connection_and_is_never_repeated() {
    let wrong = |claims: Value| signed(b"another secret that is long enough too", Algorithm::HS256, &claims);
    let cases = [
        (wrong(json!({ "sub": "mallory" })), Disconnect::TokenInvalid),
        (token(&json!({ "sub": "alice", "exp": seconds_from_now(-60) })), Disconnect::TokenExpired),
        (token(&json!({ "sub": "alice", "nbf": seconds_from_now(600) })), Disconnect::TokenExpired),
        (token(&json!({ "sub": 7 })), Disconnect::TokenInvalid),
        (token(&json!({ "sub": "alice", "channel": "a" })), Disconnect::TokenInvalid),
        (token(&json!({ "sub": "alice", "name": "~alice" })), Disconnect::TokenInvalid),
        (token(&json!({ "sub": "alice", "name": "al\u{200b}ice" })), Disconnect::TokenInvalid),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.".to_owned(), Disconnect::TokenInvalid),
        ("x".repeat(60_000), Disconnect::TokenInvalid),
        ("no.token.here".to_owned(), Disconnect::TokenInvalid),
    ];
    for transport in Transport::ALL {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |_| {});
        for (token, reason) in &cases {
            let mut client = Client::connect(&server, transport);
            client.join("a");
            client.send(&format!("AUTH {token}"));
            let lines = client.lines_until_closed(*reason);
            let [line] = &lines[..] else { panic!("{lines:?}") };
            assert!(line.starts_with("ERR forbidden token: "), "{line}");
            assert!(!line.contains(&token[..token.len().min(20)]), "{line}");
        }
    }
}

#[test]
fn a_misused_auth_is_never_said_in_the_room() {
    for transport in Transport::ALL {
        let server = TestServer::plain(Shape::ONE);
        let mut client = Client::member(&server, transport, "a", "alice");
        for misused in ["AUTH", "AUTH ", "AUTH Bearer abc", "AUTH a b"] {
            client.send(misused);
            client.expect("ERR unknown AUTH needs one token, alone on its line: AUTH <token>");
        }
        client.send("SAY AUTH works");
        client.expect("[alice] AUTH works");
    }
    let server = TestServer::plain(Shape::ONE);
    let mut client = Client::member(&server, Transport::WebSocket, "a", "alice");
    for misused in ["AUTH abc\nand more", "AUTH\tabc\nand more", "AUTH\nabc", "AUTH\r\nabc"] {
        client.send(misused);
        client.expect("ERR unknown AUTH needs one token, alone on its line: AUTH <token>");
    }
}

#[test]
fn without_keys_no_token_is_valid_and_the_answer_says_why() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Client::connect(&server, Transport::Tcp);
    client.send(&format!("AUTH {}", token_of("alice")));
    let lines = client.lines_until_closed(Disconnect::TokenInvalid);
    assert!(lines[0].starts_with("ERR forbidden token: "), "{lines:?}");
}

#[test]
fn a_connection_belongs_to_one_user() {
    for transport in Transport::ALL {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |_| {});
        let mut client = Client::connect(&server, transport);
        client.send(&format!("AUTH {}", token_of("alice")));
        client.expect("Authenticated as alice");
        client.send(&format!("AUTH {}", token_of("alice")));
        client.expect("Authenticated as alice");
        client.send(&format!("AUTH {}", token_of("bob")));
        let lines = client.lines_until_closed(Disconnect::TokenInvalid);
        assert_eq!(lines, ["ERR forbidden token: it is of another user: connect anew"]);
    }
}

#[test]
fn the_nick_of_a_guest_is_marked_where_there_are_users() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |_| {});
    let mut guest = Client::connect(&server, Transport::Tcp);
    assert_eq!(guest.request("NICK alice"), "You are ~alice");
    guest.join("a");
    guest.send("hi");
    guest.expect("[~alice] hi");
    for forged in ["~alice", "127.0.0.1:5000", "[::1]:5000", "WS-7", "ws-7", "TCP-1", "client-12", "al\u{200b}ice"] {
        let answer = guest.request(&format!("NICK {forged}"));
        assert!(answer.starts_with("ERR nick "), "{answer}");
    }
}

/// The answer to a handshake with these further headers, and the connection.
fn handshake(server: &TestServer, query: &str, headers: &str) -> (Head, Http) {
    let mut client = Http::connect(server.http);
    let request = HANDSHAKE.replace("GET /ws HTTP", &format!("GET /ws{query} HTTP"));
    client.send(request.replace("Host: localhost\r\n", &format!("Host: localhost\r\n{headers}")));
    let head = client.head();
    (head, client)
}

#[track_caller]
fn expect_user(server: &TestServer, query: &str, headers: &str, subprotocol: Option<&str>) {
    let (head, client) = handshake(server, query, headers);
    assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, subprotocol), "{headers}");
    let mut client = WebSocket::over(client);
    client.expect(WELCOME);
    client.send(frame(FINAL_TEXT, "JOIN a"));
    client.expect("Joined a");
    client.send(frame(FINAL_TEXT, "hi"));
    client.expect("[alice] hi");
}

#[test]
fn a_handshake_may_carry_a_token_in_a_header_or_as_a_subprotocol() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |_| {});
    let token = token_of("alice");
    expect_user(&server, "", &format!("Authorization: Bearer {token}\r\n"), None);
    expect_user(&server, "", &format!("authorization: bearer {token}\r\n"), None);
    // A proxy may have added its own.
    let proxied = format!("Authorization: Basic eDp5\r\nAuthorization: Bearer {token}\r\n");
    expect_user(&server, "", &proxied, None);
    let offered = format!("Sec-WebSocket-Protocol: roomcast, bearer.{token}\r\n");
    expect_user(&server, "", &offered, Some("roomcast"));
    let offered = format!("Sec-WebSocket-Protocol: bearer.{token}\r\nSec-WebSocket-Protocol: chat\r\n");
    expect_user(&server, "", &offered, Some("chat"));
}

#[test]
fn a_handshake_with_a_wrong_token_is_refused_with_the_reason() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |_| {});
    let expired = token(&json!({ "sub": "alice", "exp": seconds_from_now(-60) }));
    for headers in [
        format!("Authorization: Bearer {expired}\r\n"),
        "Authorization: Bearer no.token.here\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        "Sec-WebSocket-Protocol: roomcast, bearer.x\r\n".to_owned(),
    ] {
        let (head, mut client) = handshake(&server, "", &headers);
        assert_eq!(head.status, 401, "{headers}");
        assert_eq!(head.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
        let body = client.body(&head);
        assert!(body.starts_with("token: ") && !body.contains(&expired), "{body}");
    }
    let alone = format!("Sec-WebSocket-Protocol: bearer.{}\r\n", token_of("alice"));
    let (head, mut client) = handshake(&server, "", &alone);
    assert_eq!(head.status, 400);
    assert!(client.body(&head).starts_with("offer another subprotocol"));
}

#[test]
fn a_token_in_the_query_needs_its_setting() {
    let query = format!("?room=a&token={}", token_of("alice"));
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |_| {});
    assert_eq!(handshake(&server, &query, "").0.status, 400);
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |settings| settings.token_in_query = true);
    expect_user(&server, &query, "", None);
    assert_eq!(handshake(&server, "?token=x", "").0.status, 401);
}

#[test]
fn where_anonymous_clients_are_denied_they_can_do_nothing_but_authenticate() {
    for transport in Transport::ALL {
        let Guarded { server, folder: _folder } =
            Guarded::start(Shape::ONE, |settings| settings.anonymous = Anonymous::Deny);
        let mut client = Client::connect(&server, transport);
        for command in ["JOIN a", "LIST", "JOIN a since=x-1"] {
            let answer = client.request(command);
            assert!(answer.starts_with("ERR "), "{answer}");
            client.expect_nothing();
        }
        assert_eq!(client.request("JOIN a"), "ERR forbidden this server needs a token: AUTH <token>");
        client.send(&format!("AUTH {}", token_of("alice")));
        client.expect("Authenticated as alice");
        client.join("a");
    }
}

#[test]
fn the_log_says_at_debug_why_each_token_was_refused() {
    let (_folder, secret) = crate::access::secret_file();
    let arguments = ["--log", "debug", "--token-secret-file", secret.to_str().expect("a path")];
    let program = harness::Program::start(&arguments);
    let pass = |claims: Value| json!({ "subscribe": { "channel": "$a", "token": token(&claims) } });
    let connect = |token: &str| json!({ "connect": { "token": token } });
    let refresh = |token: &str| json!({ "refresh": { "token": token } });
    let other_secret = signed(&SECRET[1..], Algorithm::HS256, &json!({ "sub": "alice" }));
    // So long ago that the first digits stay the same for a minute.
    let expired = token(&json!({ "sub": "alice", "exp": seconds_from_now(-6_000_000) }));
    for (is_connected, command, reason) in [
        (false, connect(&other_secret), "the signature is of another key or another text"),
        (false, connect("no.token.here"), "the header is not base64url"),
        (false, connect(&expired), "expired 60000"),
        (true, refresh(&token_of("bob")), "it is of another user: connect anew"),
        (true, pass(json!({ "sub": "alice", "channel": "$b" })), "it is for another room"),
        (true, pass(json!({ "sub": "bob", "channel": "$a" })), "it is of another user or client"),
        (true, pass(json!({ "sub": "alice" })), "it has no claim channel"),
    ] {
        let mut client = match is_connected {
            true => Centrifuge::connect(program.http, Some(&token_of("alice"))),
            false => Centrifuge::open(program.http, Encoding::Json),
        };
        client.send_command(command);
        let line = program.log.line_with("token refused");
        assert!(line.contains("DEBUG") && line.contains(&format!("reason=\"{reason}")), "{line}");
    }
    let mut client = Http::connect(program.http);
    client.send(HANDSHAKE.replace("Host", "Authorization: Bearer x\r\nHost"));
    assert_eq!(client.head().status, 401);
    program.log.line_with("reason=\"a token is three parts with a dot between them\"");
}

#[test]
fn a_token_is_in_no_log() {
    let (folder, secret) = crate::access::secret_file();
    let arguments = ["--log", "debug", "--token-in-query", "--token-secret-file", secret.to_str().expect("a path")];
    let program = harness::Program::start(&arguments);
    let valid = token_of("alice");
    let invalid = signed(&SECRET[1..], Algorithm::HS384, &json!({ "sub": "alice" }));
    for token in [&valid, &invalid] {
        let mut client = harness::Lines::connect(program.tcp);
        client.expect(WELCOME);
        client.send(format!("AUTH {token}\n"));
        client.line();
        for request in [
            HANDSHAKE.replace("/ws", &format!("/ws?token={token}")),
            HANDSHAKE.replace("Host", &format!("Authorization: Bearer {token}\r\nHost")),
            HANDSHAKE.replace("Host", &format!("Sec-WebSocket-Protocol: a, bearer.{token}\r\nHost")),
            format!("GET /nowhere?token={token} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ] {
            let mut client = Http::connect(program.http);
            client.send(request);
            client.head();
        }
    }
    let log = program.stop_and_read_log().join("\n");
    assert!(log.contains("http request refused"), "{log}");
    for token in [valid, invalid] {
        let parts: Vec<&str> = token.split('.').collect();
        assert!(!log.contains(parts[1]) && !log.contains(parts[2]), "a token in the log: {log}");
    }
    drop(folder);
}
