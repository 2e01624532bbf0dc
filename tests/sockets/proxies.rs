//! Clients behind a proxy: the addresses that limits and labels use for them, and proxies that are not trusted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::frame::{FINAL_TEXT, frame};
use harness::{Client, HANDSHAKE, Http, Lines, Transport, WELCOME, WebSocket, until};
use roomcast::config::{Labels, ProxyProtocol, Settings, Span};

use crate::server::{Shape, TestServer, contract};

/// 192.0.2.7, port 4711, in both versions.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8080\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x1f\x90\x04\0\x01\0";

/// A header of a proxy for a connection of its own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The same header in version 1.
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

fn behind_proxies(settings: &mut Settings) {
    settings.trusted_proxies = vec!["127.0.0.0/8".into(), "::1".into()];
    settings.proxy_protocol = ProxyProtocol::Both;
    settings.labels = Labels::Address;
}

fn header_of(address: &str) -> String {
    format!("PROXY TCP4 {address} 198.51.100.1 4711 8080\r\n")
}

#[test]
fn a_line_client_has_the_address_that_its_proxy_announces_however_that_is_cut() {
    for shape in Shape::ALL {
        let server = TestServer::start(shape, behind_proxies);
        for header in [V1, V2] {
            let mut at_once = Lines::connect(server.tcp);
            at_once.send([header, b"JOIN a\nhello\nQUIT\n"].concat());
            let mut piecewise = Lines::connect(server.tcp);
            [header, b"JOIN b\nhello\nQUIT\n"].concat().chunks(1).for_each(|byte| piecewise.send(byte));
            for (client, room) in [(&mut at_once, "a"), (&mut piecewise, "b")] {
                let heard = format!("{WELCOME}\nJoined {room}\n[192.0.2.7:4711] hello\nBye\n");
                assert_eq!(client.rest(), heard);
            }
        }
        for header in [LOCAL, UNKNOWN] {
            let mut client = Lines::connect(server.tcp);
            client.send([header, b"JOIN a\nhello\nQUIT\n"].concat());
            assert_eq!(client.rest(), format!("{WELCOME}\nJoined a\n[{}] hello\nBye\n", client.label()));
        }
    }
}

#[test]
fn a_proxy_that_announces_nobody_is_refused_and_others_are_served() {
    let server = TestServer::start(Shape::ONE, |settings| {
        behind_proxies(settings);
        settings.header_timeout = Span(Duration::from_secs(4));
    });
    let too_long = [&V2[..14], &[0xff, 0xff], &[b'x'; 4096]].concat();
    let without_end = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
    for bytes in [&b"JOIN a\n"[..], b"PROXY TCP4 192.0.2.7\r\n", b"PROXY JOIN a\r\n\r\n\r\n", &too_long, &without_end] {
        let mut client = Lines::connect(server.tcp);
        client.send(bytes);
        assert_eq!(client.rest_if_not_reset(), "ERR closed protocol-error\n");
    }
    assert_eq!(Lines::connect(server.tcp).rest(), "ERR closed handshake-timeout\n");
    let http = Http::connect(server.http);
    http.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = Vec::new();
    // Unread bytes turn the end into a reset.
    let _ = http.into_stream().read_to_end(&mut answer);
    assert_eq!(answer, b"");
    let mut announced = Lines::connect(server.tcp);
    announced.send([V1, b"PING\nQUIT\n"].concat());
    assert_eq!(announced.rest(), format!("{WELCOME}\nPONG\nBye\n"));
}

#[test]
fn who_is_no_listed_proxy_is_not_believed() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| {
            behind_proxies(settings);
            settings.trusted_proxies = vec!["10.0.0.0/8".into()];
        });
        let mut lines = Lines::connect(server.tcp);
        lines.send([b"JOIN a\n", V1, b"QUIT\n"].concat());
        let label = lines.label();
        let header = String::from_utf8_lossy(V1);
        assert_eq!(lines.rest(), format!("{WELCOME}\nJoined a\n[{label}] {}\nBye\n", header.trim_end()));
        let server = TestServer::start(shape, |settings| {
            settings.trusted_proxies = vec!["10.0.0.0/8".into()];
            settings.clients_per_address = 1;
        });
        let _only = Client::connect(&server, transport);
        let mut client = Http::connect(server.http);
        client.send(HANDSHAKE.replace("Host", "X-Forwarded-For: 192.0.2.7\r\nHost"));
        assert_eq!(client.answer().0.status, 429);
    });
}

#[test]
fn limits_count_whom_the_proxy_announces() {
    for shape in Shape::ALL {
        let server = TestServer::start(shape, |settings| {
            behind_proxies(settings);
            settings.clients_per_address = 1;
        });
        let greeting = |address: &str| {
            let mut client = Lines::connect(server.tcp);
            client.send(header_of(address));
            (client.line(), client)
        };
        let handshake = |address: &str| {
            let mut client = Http::connect(server.http);
            client.send(header_of(address) + HANDSHAKE);
            (client.answer().0.status, client)
        };
        let (welcome, first) = greeting("192.0.2.1");
        assert_eq!(welcome, WELCOME);
        assert_eq!(greeting("192.0.2.1").0, "ERR closed too-many-connections");
        assert_eq!(handshake("192.0.2.1").0, 429);
        let (switched, _second) = handshake("192.0.2.2");
        assert_eq!(switched, 101);
        assert_eq!(greeting("192.0.2.2").0, "ERR closed too-many-connections");
        let mut monitor = Http::connect(server.http);
        monitor.send([LOCAL, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat());
        assert_eq!(monitor.answer().1, "OK");
        drop(first);
        until(|| greeting("192.0.2.1").0 == WELCOME);
    }
}

#[test]
fn limits_count_whom_a_proxy_for_http_asks_for() {
    for shape in Shape::ALL {
        let server = TestServer::start(shape, |settings| {
            settings.trusted_proxies = vec!["127.0.0.1".into(), "10.0.0.0/8".into()];
            settings.clients_per_address = 1;
        });
        let forwarded = |list: &str| HANDSHAKE.replace("Host", &format!("X-Forwarded-For: {list}\r\nHost"));
        let status = |list: &str| {
            let mut client = Http::connect(server.http);
            client.send(forwarded(list));
            client.answer().0.status
        };
        let mut first = WebSocket::upgrade(server.http, forwarded("192.0.2.1"));
        first.expect(WELCOME);
        for same in ["192.0.2.1", "203.0.113.1, 192.0.2.1", "192.0.2.1, 10.1.2.3", "192.0.2.1:4711"] {
            assert_eq!(status(same), 429, "{same}");
        }
        let mut second = WebSocket::upgrade(server.http, forwarded("192.0.2.2"));
        second.expect(WELCOME);
        second.send(frame(FINAL_TEXT, "PING"));
        second.expect("PONG");
        // The proxy's own requests are not limited by those of its clients.
        assert_eq!(Http::get(server.http, "/health").1, "OK");
        drop(first);
        until(|| status("192.0.2.1") == 101);
    }
}

#[test]
fn a_page_is_of_the_host_that_a_trusted_proxy_was_asked_for() {
    let handshake = |head: &str| HANDSHAKE.replace("Host: localhost", &format!("Origin: https://chat.example{head}"));
    let status = |server: &TestServer, head: &str| {
        let mut client = Http::connect(server.http);
        client.send(handshake(head));
        client.answer().0.status
    };
    let forwarded = "X-Forwarded-For: 192.0.2.1\r\n";
    let trusting = TestServer::start(Shape::ONE, |settings| settings.trusted_proxies = vec!["127.0.0.1".into()]);
    let plain = TestServer::plain(Shape::ONE);
    for (head, of_trusted) in [
        (format!("\r\n{forwarded}Host: chat.example"), 101),
        (format!("\r\n{forwarded}Host: chat.example:443"), 101),
        (format!(":8443\r\n{forwarded}Host: chat.example"), 101),
        (format!("\r\n{forwarded}X-Forwarded-Host: chat.example\r\nHost: backend"), 101),
        (format!("\r\n{forwarded}X-Forwarded-Host: evil.example\r\nHost: chat.example"), 403),
        // It does not say that it was asked by another: it may be a browser on the same machine.
        ("\r\nHost: chat.example".to_owned(), 403),
    ] {
        assert_eq!(status(&trusting, &head), of_trusted, "{head}");
        assert_eq!(status(&plain, &head), 403, "a stranger is not believed: {head}");
    }
}

#[test]
fn a_stop_does_not_wait_for_who_was_not_announced_yet() {
    let server = TestServer::start(Shape::ONE, behind_proxies);
    let mut silent = Lines::connect(server.tcp);
    silent.send("PROXY TCP4 ");
    let mut announced = TcpStream::connect(server.tcp).unwrap();
    announced.write_all(&[V1, b"PING\n"].concat()).unwrap();
    let mut heard = vec![0; WELCOME.len() + "\nPONG\n".len()];
    announced.read_exact(&mut heard).unwrap();
    server.begin_stop();
    assert_eq!(silent.rest_if_not_reset(), "ERR closed shutdown retry=1\n");
    drop(announced);
    assert_eq!(server.stop().cut, 0);
}

#[test]
fn without_the_protocol_a_listed_proxy_is_a_client_like_others() {
    let server = TestServer::start(Shape::ONE, |settings| settings.trusted_proxies = vec!["127.0.0.1".into()]);
    let mut client = Client::member(&server, Transport::Tcp, "a", "alice");
    assert_eq!(client.request("hello"), "[alice] hello");
}
