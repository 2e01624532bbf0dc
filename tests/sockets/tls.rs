//! TLS on both ports: deliveries, HTTP, keys that change, and the end of a stream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use harness::frame::{FINAL_TEXT, frame};
use harness::{Lines, WELCOME, WebSocket, until};
use roomcast::config::{ProxyProtocol, Size, Span, TlsPorts};
use rustls::version::{TLS12, TLS13};

use crate::server::{Shape, TestServer};
use crate::tls_client::{Certificate, Tls};

/// More than one record, and more than one read.
const LONG: usize = 50_000;

#[test]
fn line_clients_and_browsers_meet_over_tls_of_both_versions() {
    let certificate = Certificate::new();
    for shape in Shape::ALL {
        let server = certificate.server(shape);
        for version in [&TLS12, &TLS13] {
            let connect = |address| {
                let stream = TcpStream::connect(address).expect("a server that accepts");
                Tls::over(stream, certificate.config(&[version]))
            };
            let mut lines = connect(server.tcp).join_first("a");
            let mut browser = connect(server.http);
            browser.upgrade();
            assert_eq!(browser.frame(), WELCOME);
            browser.send(frame(FINAL_TEXT, "JOIN a"));
            assert_eq!(browser.frame(), "Joined a");
            browser.send([frame(FINAL_TEXT, "NICK web"), frame(FINAL_TEXT, "hello")].concat());
            assert_eq!((browser.frame(), browser.frame()), ("You are web".into(), "[web] hello".into()));
            lines.expect("[web] hello");
            lines.send("NICK tcp\nhello too\n");
            lines.expect("You are tcp");
            assert_eq!(browser.frame(), "[tcp] hello too");
            lines.send("QUIT\n");
            assert_eq!(lines.rest(), "[tcp] hello too\nBye\n");
        }
    }
}

#[test]
fn one_port_may_speak_tls_and_the_other_not() {
    let certificate = Certificate::new();
    for ports in [TlsPorts::Tcp, TlsPorts::Http] {
        let server = TestServer::start(Shape::ONE, |settings| {
            certificate.apply(settings);
            settings.tls = ports;
        });
        if ports == TlsPorts::Tcp {
            certificate.member(server.tcp, "a");
            WebSocket::connect(server.http);
        } else {
            certificate.connect(server.http).upgrade();
            Lines::member(server.tcp, "a");
        }
    }
}

#[test]
fn long_messages_and_many_short_ones_come_whole_and_in_order() {
    let certificate = Certificate::new();
    let server = TestServer::start(Shape::MANY, |settings| {
        certificate.apply(settings);
        settings.message_bytes = Size(2 * LONG);
    });
    let mut member = certificate.member(server.tcp, "a");
    let mut publisher = certificate.member(server.tcp, "a");
    publisher.send("NICK p\n");
    publisher.expect("You are p");
    let texts: Vec<String> = (0..200).map(|number| format!("{number} {}", "x".repeat(number % 7 * LONG / 6))).collect();
    let input = texts.join("\n") + "\n";
    let heard = texts.clone();
    let reader = thread::spawn(move || heard.iter().for_each(|text| publisher_and_member_hear(&mut member, text)));
    // Pieces that end anywhere within lines and records.
    input.as_bytes().chunks(30_011).for_each(|piece| publisher.send(piece));
    texts.iter().for_each(|text| publisher_and_member_hear(&mut publisher, text));
    reader.join().expect("a member that hears all");
}

#[track_caller]
fn publisher_and_member_hear(client: &mut Tls, text: &str) {
    assert!(client.line() == format!("[p] {text}"), "another message than {} bytes", text.len());
}

#[test]
fn http_over_tls_answers_and_speaks_http_1_1_alone() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut config = certificate.config(rustls::ALL_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = Tls::over(TcpStream::connect(server.http).expect("a server"), config);
    client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().1, "OK");
    assert_eq!(client.answer().1, "OK");
    assert_eq!(client.connection().alpn_protocol(), Some(&b"http/1.1"[..]));
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let (head, text) = client.answer();
    assert_eq!(head.status, 200);
    assert!(text.contains("roomcast_tls_handshakes_total{outcome=\"done\"} 1\n"), "{text}");
    assert_eq!(client.rest(), "");
}

#[test]
fn requests_that_come_in_one_record_are_all_answered() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut client = certificate.connect(server.http);
    // More than hyper reads at once.
    client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400));
    (0..400).for_each(|_| assert_eq!(client.answer().1, "OK"));
}

#[test]
fn requests_are_answered_though_the_end_of_the_input_comes_with_them() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for count in [1, 2, 100] {
        let mut client = certificate.connect(server.http);
        client.send(request);
        assert_eq!(client.answer().1, "OK");
        // One write: the server reads the end together with the requests.
        client.connection().writer().write_all(request.repeat(count).as_bytes()).expect("memory");
        client.connection().send_close_notify();
        client.stream().flush().expect("a server that reads");
        (0..count).for_each(|_| assert_eq!(client.answer().1, "OK"));
        assert_eq!(client.rest(), "");
    }
}

#[test]
fn frames_that_come_in_one_record_with_their_handshake_are_executed() {
    let certificate = Certificate::new();
    for shape in Shape::ALL {
        let server = certificate.server(shape);
        let mut browser = certificate.connect(server.http);
        let texts: Vec<String> = (0..15).map(|number| format!("{number} {}", "x".repeat(1_000))).collect();
        let lines = ["JOIN a", "NICK w"].into_iter().chain(texts.iter().map(String::as_str));
        let frames: Vec<u8> = lines.flat_map(|line| frame(FINAL_TEXT, line)).collect();
        browser.send([harness::HANDSHAKE.as_bytes(), &frames].concat());
        assert_eq!(browser.answer().0.status, 101);
        let heard = [(); 3].map(|()| browser.frame());
        assert_eq!(heard, [WELCOME, "Joined a", "You are w"]);
        texts.iter().for_each(|text| assert_eq!(browser.frame(), format!("[w] {text}")));
    }
}

#[test]
fn a_line_client_may_offer_any_protocol() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut config = certificate.config(rustls::ALL_VERSIONS);
    config.alpn_protocols = vec![b"irc".to_vec()];
    Tls::over(TcpStream::connect(server.tcp).expect("a server"), config).join_first("a");
}

#[test]
fn a_page_of_the_same_host_may_connect_if_it_came_over_https() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    for (scheme, status) in [("https", 101), ("http", 403)] {
        let host = format!("localhost:{}", server.http.port());
        let mut client = certificate.connect(server.http);
        client.send(harness::HANDSHAKE.replace("localhost\r\n", &format!("{host}\r\nOrigin: {scheme}://{host}\r\n")));
        assert_eq!(client.answer().0.status, status, "{scheme}");
    }
}

#[test]
fn a_client_may_change_its_keys_and_asks_the_server_to_change_its_own() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut member = certificate.member(server.tcp, "a");
    for number in 0..100 {
        member.connection().refresh_traffic_keys().expect("TLS 1.3");
        member.send(format!("PING {number}\n"));
        member.expect(&format!("PONG {number}"));
    }
}

#[test]
fn a_client_that_ends_its_output_gets_what_is_on_its_way_and_then_the_end() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut client = certificate.connect(server.tcp);
    client.send("PING 1\nPING 2\n");
    client.connection().send_close_notify();
    client.stream().flush().expect("a server that reads");
    assert_eq!(client.rest(), format!("{WELCOME}\nPONG 1\nPONG 2\n"));
}

#[test]
fn a_client_that_ends_within_a_record_has_left() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut member = certificate.member(server.tcp, "a");
    let mut cut = certificate.member(server.tcp, "a");
    // The header of a record of 100 bytes, and a few of them.
    cut.socket().write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).expect("a server that reads");
    drop(cut);
    until(|| {
        member.send("WHO\n");
        member.line().matches(':').count() <= 2
    });
}

#[test]
fn a_record_that_is_left_unfinished_ends_its_connection_as_an_unfinished_line_does() {
    let certificate = Certificate::new();
    let server = TestServer::start(Shape::ONE, |settings| {
        certificate.apply(settings);
        settings.message_timeout = Span(Duration::from_millis(300));
    });
    let mut member = certificate.member(server.tcp, "a");
    member.socket().write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).expect("a server that reads");
    assert_eq!(member.rest(), "ERR closed message-timeout\n");
}

#[test]
fn a_drained_client_gets_the_reason_and_the_end_under_its_keys() {
    let certificate = Certificate::new();
    for shape in Shape::ALL {
        let server = certificate.server(shape);
        let mut lines = certificate.member(server.tcp, "a");
        let mut browser = certificate.connect(server.http);
        browser.upgrade();
        assert_eq!(browser.frame(), WELCOME);
        // Its handshake is not complete.
        let _begun = TcpStream::connect(server.tcp).and_then(|mut begun| begun.write_all(&[22, 3, 1]).map(|()| begun));
        server.begin_stop();
        assert_eq!(lines.rest(), "ERR closed shutdown retry=1\n");
        assert!(browser.rest().contains("shutdown"));
        server.stop();
    }
}

#[test]
fn a_proxy_announces_its_client_in_front_of_the_handshake() {
    let certificate = Certificate::new();
    let server = TestServer::start(Shape::ONE, |settings| {
        certificate.apply(settings);
        settings.trusted_proxies = vec!["127.0.0.0/8".into()];
        settings.proxy_protocol = ProxyProtocol::Both;
        settings.labels = roomcast::config::Labels::Address;
    });
    let announced = |address| {
        let mut stream = TcpStream::connect(address).expect("a server that accepts");
        stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8080\r\n").expect("a server that reads");
        Tls::over(stream, certificate.config(rustls::ALL_VERSIONS))
    };
    let mut lines = announced(server.tcp).join_first("a");
    lines.send("hello\n");
    lines.expect("[192.0.2.7:4711] hello");
    announced(server.http).upgrade();
}

#[test]
fn a_slow_reader_is_cut_and_others_keep_pace() {
    let certificate = Certificate::new();
    for shape in Shape::ALL {
        let server = TestServer::start(shape, |settings| {
            certificate.apply(settings);
            settings.message_bytes = Size(2 * 1024);
            settings.outbox_bytes = Size(16 * 1024);
        });
        let mut slow = certificate.member(server.tcp, "a");
        let mut fast = certificate.member(server.tcp, "a");
        let mut publisher = certificate.member(server.tcp, "a");
        publisher.send("NICK p\n");
        publisher.expect("You are p");
        let mut said = 0;
        let mut is_cut = false;
        while !is_cut {
            let texts: Vec<String> =
                (said..).take(32).map(|number| format!("{number} {}", "x".repeat(1_000))).collect();
            publisher.send(texts.join("\n") + "\n");
            for text in &texts {
                fast.expect(&format!("[p] {text}"));
                publisher.expect(&format!("[p] {text}"));
            }
            said += texts.len();
            let mut scrape = certificate.connect(server.http);
            scrape.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            is_cut = !scrape.answer().1.contains("transport=\"tcp\",reason=\"slow-consumer\"} 0\n");
        }
        // It may have been reset, or got the reason behind a whole message.
        let mut heard = Vec::new();
        let _ = slow.stream().read_to_end(&mut heard);
        let heard = String::from_utf8(heard).expect("text");
        let numbers =
            heard.lines().filter_map(|line| line.strip_prefix("[p] ")?.split(' ').next()?.parse::<usize>().ok());
        assert!(numbers.clone().eq(0..numbers.count()), "a message is missing or doubled");
    }
}

#[test]
fn a_returning_client_resumes_its_session_without_memory_of_the_server() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::MANY);
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(certificate.config(&[version]));
        let kinds = [(); 3].map(|()| {
            let stream = TcpStream::connect(server.tcp).expect("a server that accepts");
            let mut client = Tls::over(stream, (*config).clone()).join_first("a");
            client.connection().handshake_kind()
        });
        assert_eq!(kinds[0], Some(rustls::HandshakeKind::Full));
        assert_eq!(kinds[1..], [Some(rustls::HandshakeKind::Resumed); 2]);
    }
}
