//! Handshakes that are slow, endless, wrong or very many, and the clients that are served meanwhile.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use harness::{FAILSAFE, Http, Lines, Turn, WELCOME, until};
use roomcast::config::{ProxyProtocol, Span};
use rustls::pki_types::ServerName;
use rustls::version::TLS12;
use rustls::{ClientConnection, ConnectionTrafficSecrets, ExtractedSecrets};

use crate::server::{Shape, TestServer};
use crate::tls_client::{Certificate, Tls};

/// Handshakes at once.
const CROWD: usize = 1_000;

/// The deadline of a handshake in these tests.
const SHORT: Span = Span(Duration::from_secs(3));

/// The first message of a handshake.
fn client_hello(certificate: &Certificate) -> Vec<u8> {
    let config = certificate.config(rustls::ALL_VERSIONS);
    let name = ServerName::try_from("localhost").expect("a name");
    let mut hello = Vec::new();
    ClientConnection::new(config.into(), name).expect("a client").write_tls(&mut hello).expect("memory");
    hello
}

fn connect(server: impl ToSocketAddrs) -> TcpStream {
    let stream = TcpStream::connect(server).expect("a server that accepts");
    stream.set_read_timeout(Some(FAILSAFE)).expect("an option");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Everything up to the end, or to a reset.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

/// A sample of `/metrics` over TLS.
#[track_caller]
fn sample(certificate: &Certificate, server: &TestServer, name: &str) -> f64 {
    let mut client = certificate.connect(server.http);
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = client.answer().1;
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{name} is missing"))
}

fn failed(outcome: &str) -> String {
    format!("roomcast_tls_handshakes_total{{outcome=\"{outcome}\"}}")
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let certificate = Certificate::new();
    for shape in [Shape::ONE, Shape::MANY] {
        let server = certificate.server(shape);
        for port in [server.tcp, server.http] {
            let mut stream = connect(port);
            let (config, name) = (certificate.config(rustls::ALL_VERSIONS), ServerName::try_from("localhost"));
            let client = ClientConnection::new(config.into(), name.expect("a name"));
            let mut client = client.expect("a client");
            while client.is_handshaking() {
                let mut flight = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut flight).expect("memory");
                }
                flight.chunks(1).for_each(|byte| stream.write_all(byte).expect("a server that reads"));
                if client.is_handshaking() {
                    client.read_tls(&mut stream).expect("an answer");
                    client.process_new_packets().expect("an answer of TLS");
                }
            }
        }
    }
}

#[test]
fn a_handshake_that_stalls_ends_at_its_deadline_and_others_are_served() {
    let certificate = Certificate::new();
    let hello = client_hello(&certificate);
    let server = TestServer::start(Shape::MANY, |settings| {
        certificate.apply(settings);
        settings.header_timeout = SHORT;
    });
    let mut member = certificate.member(server.tcp, "a");
    let lengths = [0, 1, 5, hello.len() / 2, hello.len()];
    let stalled = [server.tcp, server.http].into_iter().flat_map(|port| lengths.map(|length| (port, length)));
    let stalled = stalled.map(|(port, length)| {
        let mut stalled = connect(port);
        stalled.write_all(&hello[..length]).expect("a server that reads");
        member.send("PING\n");
        member.expect("PONG");
        (stalled, length)
    });
    for (stalled, length) in stalled.collect::<Vec<_>>() {
        let answer = rest(stalled);
        assert_eq!(answer.is_empty(), length < hello.len(), "{length} bytes");
        member.send("PING\n");
        member.expect("PONG");
    }
    // One that asks for the metrics may be too slow as well.
    until(|| sample(&certificate, &server, &failed("handshake-timeout")) >= 10.0);
    let closed = "roomcast_connections_closed_total{transport=\"tcp\",reason=\"handshake-timeout\"}";
    until(|| sample(&certificate, &server, closed) == 5.0);
}

#[test]
fn who_speaks_something_else_to_a_port_of_tls_is_told_and_closed() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 10];
    for (port, bytes) in [(server.tcp, &b"JOIN a\n"[..]), (server.tcp, b"\0"), (server.http, b"\x80\x2e\x01")] {
        let mut stream = connect(port);
        stream.write_all(bytes).expect("a server that reads");
        assert_eq!(rest(stream), ALERT, "{bytes:?}");
    }
    let mut browser = Http::connect(server.http);
    browser.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, text) = browser.answer();
    assert_eq!((head.status, &text[..]), (400, "this port speaks TLS: use https or wss\n"));
    browser.expect_end();
    assert_eq!(sample(&certificate, &server, &failed("protocol-error")), 4.0);
    let refused = "roomcast_connections_closed_total{transport=\"tcp\",reason=\"protocol-error\"}";
    assert_eq!(sample(&certificate, &server, refused), 2.0);
}

#[test]
fn a_client_of_tls_1_1_is_refused_with_an_alert() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    // A ClientHello of TLS 1.1 (RFC 4346 §7.4.1.2) with one cipher, and without extensions.
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let message = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
    let record = [&[22, 3, 1, 0, message.len() as u8][..], &message].concat();
    let mut stream = connect(server.tcp);
    stream.write_all(&record).expect("a server that reads");
    let answer = rest(stream);
    // A fatal alert: handshake_failure, or protocol_version.
    assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, 40 | 70]), "{answer:?}");
}

#[test]
fn a_record_or_a_message_that_is_too_long_ends_the_handshake() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    // A record longer than any may be, and a message of 64 KiB in records of one byte.
    let long_record = [&[22, 3, 1, 0xff, 0xff][..], &[1; 100]].concat();
    let pieces = [1, 0, 0xff, 0xff].into_iter().chain([0; 60_000]);
    let long_message: Vec<u8> = pieces.flat_map(|byte| [22, 3, 1, 0, 1, byte]).collect();
    for bytes in [long_record, long_message] {
        let mut stream = connect(server.tcp);
        // It may be closed before all is written.
        let _ = stream.write_all(&bytes);
        rest(stream);
    }
    until(|| sample(&certificate, &server, &failed("protocol-error")) == 2.0);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_ends_the_handshake() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let server = certificate.server(Shape::ONE);
    let mut stream = connect(server.tcp);
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(other.config(rustls::ALL_VERSIONS).into(), name).expect("a client");
    assert!(client.complete_io(&mut stream).is_err());
    until(|| sample(&certificate, &server, &failed("protocol-error")) == 1.0);
}

#[test]
fn renegotiation_is_refused_though_it_comes_in_pieces_and_others_speak_between_them() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut config = certificate.config(&[&TLS12]);
    config.enable_secret_extraction = true;
    let member = Tls::over(connect(server.tcp), config).join_first("a");
    let mut publisher = certificate.member(server.tcp, "a");
    let (connection, mut socket) = member.into_parts();
    // rustls never renegotiates, so the records are sealed here: a ClientHello under the keys of the session.
    let ExtractedSecrets { tx: (mut sequence, secrets), .. } = connection.dangerous_extract_secrets().expect("secrets");
    let mut send = |plaintext: &[u8]| {
        socket.write_all(&seal_tls12(&secrets, sequence, 22, plaintext)).expect("a server that reads");
        sequence += 1;
    };
    let hello = &client_hello(&certificate)[5..];
    send(&hello[..100]);
    for number in 0..10 {
        publisher.send(format!("hello {number}\n"));
        assert!(publisher.line().ends_with(&format!("hello {number}")));
    }
    // One warning, and the second attempt ends the connection.
    send(&hello[100..]);
    send(hello);
    let answer = rest(socket);
    assert_eq!(answer[0], 23, "ten records, then alerts");
    until(|| {
        let name = "roomcast_connections_closed_total{transport=\"tcp\",reason=\"protocol-error\"}";
        sample(&certificate, &server, name) == 1.0
    });
    publisher.send("PING\n");
    publisher.expect("PONG");
}

/// One record of TLS 1.2 under AES-GCM (RFC 5288 §3) or ChaCha20-Poly1305 (RFC 7905).
fn seal_tls12(secrets: &ConnectionTrafficSecrets, sequence: u64, kind: u8, plaintext: &[u8]) -> Vec<u8> {
    use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    let (algorithm, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
        _ => panic!("another cipher"),
    };
    let is_gcm = algorithm != &CHACHA20_POLY1305;
    let mut nonce: [u8; 12] = iv.as_ref().try_into().expect("12 bytes");
    let explicit = sequence.to_be_bytes();
    if is_gcm {
        nonce[4..].copy_from_slice(&explicit);
    } else {
        nonce[4..].iter_mut().zip(explicit).for_each(|(byte, number)| *byte ^= number);
    }
    let length = u16::try_from(plaintext.len()).expect("a short record").to_be_bytes();
    let associated = [&sequence.to_be_bytes()[..], &[kind, 3, 3], &length].concat();
    let mut sealed = plaintext.to_vec();
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).expect("a key"));
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(associated), &mut sealed).expect("a sealed record");
    let body = if is_gcm { [&explicit[..], &sealed].concat() } else { sealed };
    [&[kind, 3, 3][..], &u16::try_from(body.len()).expect("a short record").to_be_bytes(), &body].concat()
}

#[test]
fn a_crowd_of_handshakes_at_once_is_served_and_a_member_loses_nothing() {
    let _turn = Turn::take();
    let certificate = Certificate::new();
    let server = TestServer::start(Shape::MANY, |settings| {
        certificate.apply(settings);
        settings.header_timeout = Span(Duration::from_secs(600));
    });
    let mut member = certificate.member(server.tcp, "a");
    let mut publisher = certificate.member(server.tcp, "a");
    publisher.send("NICK p\n");
    publisher.expect("You are p");
    let config = certificate.config(rustls::ALL_VERSIONS);
    let (tcp, threads) = (server.tcp, 20);
    let crowd: Vec<_> = (0..threads)
        .map(|_| {
            let config = config.clone();
            thread::spawn(move || {
                let streams: Vec<TcpStream> = (0..CROWD / threads).map(|_| connect(tcp)).collect();
                let clients: Vec<Tls> = streams.into_iter().map(|stream| Tls::over(stream, config.clone())).collect();
                clients.into_iter().map(|client| client.join_first("crowd")).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut said = 0;
    while said < 100 || crowd.iter().any(|thread| !thread.is_finished()) {
        publisher.send(format!("{said}\n"));
        member.expect(&format!("[p] {said}"));
        publisher.expect(&format!("[p] {said}"));
        said += 1;
    }
    let crowd: Vec<Tls> = crowd.into_iter().flat_map(|thread| thread.join().expect("clients that join")).collect();
    assert_eq!(crowd.len(), CROWD);
}

#[test]
fn handshakes_that_were_begun_and_left_give_way_to_new_ones() {
    let _turn = Turn::take();
    let certificate = Certificate::new();
    let hello = client_hello(&certificate);
    let server = certificate.server(Shape::ONE);
    let begun: Vec<TcpStream> = (0..1_100)
        .map(|_| {
            let mut stream = connect(server.tcp);
            stream.write_all(&hello[..100]).expect("a server that reads");
            stream
        })
        .collect();
    let mut member = certificate.member(server.tcp, "a");
    until(|| sample(&certificate, &server, &failed("too-many-connections")) >= 77.0);
    member.send("PING\n");
    member.expect("PONG");
    drop(begun);
}

#[test]
fn a_full_server_refuses_line_clients_without_a_handshake_and_answers_its_monitors() {
    let certificate = Certificate::new();
    let server = TestServer::start(Shape::ONE, |settings| {
        certificate.apply(settings);
        settings.max_clients = Some(1);
    });
    let _only = certificate.member(server.tcp, "a");
    assert_eq!(rest(connect(server.tcp)), b"");
    let mut monitor = certificate.connect(server.http);
    monitor.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(monitor.answer().0.status, 503);
    assert_eq!(monitor.rest(), "");
}

#[test]
fn a_proxy_without_its_header_is_refused_though_it_speaks_tls() {
    let certificate = Certificate::new();
    let server = TestServer::start(Shape::ONE, |settings| {
        certificate.apply(settings);
        settings.trusted_proxies = vec!["127.0.0.0/8".into()];
        settings.proxy_protocol = ProxyProtocol::Both;
    });
    for port in [server.tcp, server.http] {
        let mut stream = connect(port);
        stream.write_all(&client_hello(&certificate)).expect("a server that reads");
        assert_eq!(rest(stream), b"");
    }
}

#[test]
fn a_client_of_tls_at_a_plain_port_is_closed_as_before() {
    let server = TestServer::plain(Shape::ONE);
    let certificate = Certificate::new();
    let mut client = Lines::connect(server.tcp);
    client.send(client_hello(&certificate));
    assert_eq!(client.rest_if_not_reset(), format!("{WELCOME}\nERR closed protocol-error\n"));
}
