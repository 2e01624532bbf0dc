//! Limits for one address, and labels that show addresses. The clients use several addresses of the loopback network.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use harness::{Client, Endpoint, HANDSHAKE, Http, Lines, Program, Stream, Transport, WELCOME, at_once, until};
use roomcast::config::{Labels, ProxyProtocol};
use socket2::{Domain, Socket, Type};

use crate::server::{Shape, TestServer, contract_without_tls};

/// An address beside 127.0.0.1, which all other clients have.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A connection from this address.
#[track_caller]
fn connect_from(address: IpAddr, server: Endpoint) -> Stream {
    let socket = Socket::new(Domain::for_address(server.address), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(address, 0).into()).expect("a loopback address");
    socket.connect(&server.address.into()).expect("a server that accepts");
    Stream::over(socket.into(), server)
}

#[test]
fn an_address_with_its_clients_is_refused_another_whatever_carries_it_and_others_are_let_in() {
    contract_without_tls(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.clients_per_address = 2);
        let mut first = Client::connect(&server, transport);
        let mut second = Client::connect(&server, Transport::WebSocket);
        assert_eq!(Lines::connect(server.tcp).rest(), "ERR closed too-many-connections\n");
        let mut client = Http::connect(server.http);
        client.send(HANDSHAKE);
        let (head, body) = client.answer();
        assert_eq!((head.status, body.as_str()), (429, "too many from your address\n"));
        client.expect_end();
        // The server itself is not full.
        assert_eq!(Http::get(server.http, "/health").1, "OK");
        assert_eq!(Http::get(server.http, "/ready").1, "ready");
        let mut other = connect_from(OTHER, server.tcp);
        let mut greeting = vec![0; WELCOME.len()];
        other.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, WELCOME.as_bytes());
        assert_eq!(first.request("QUIT"), "Bye");
        first.expect_end();
        drop(first);
        until(|| Lines::connect(server.tcp).line() == WELCOME);
        second.expect_nothing();
    });
}

#[test]
fn an_address_that_connects_too_fast_is_refused_for_a_while_and_others_are_let_in() {
    const PER_SECOND: u32 = 20;
    at_once(Shape::ALL, |shape| {
        let server = TestServer::start(shape, |settings| settings.connects_per_address = PER_SECOND);
        let greeting = || Lines::connect(server.tcp).line();
        let mut greeted = 0;
        until(|| match greeting().as_str() {
            WELCOME => {
                greeted += 1;
                false
            }
            refusal => {
                assert_eq!(refusal, "ERR closed too-many-connections");
                true
            }
        });
        assert!(greeted >= PER_SECOND, "{greeted} in a burst");
        let mut other = connect_from(OTHER, server.tcp);
        let mut greeting_of_other = vec![0; WELCOME.len()];
        other.read_exact(&mut greeting_of_other).unwrap();
        assert_eq!(greeting_of_other, WELCOME.as_bytes());
        until(|| greeting() == WELCOME);
    });
}

#[test]
fn a_client_that_comes_by_ipv4_to_a_listener_of_ipv6_has_an_ipv4_address_in_rooms_limits_and_log() {
    let program =
        Program::start(&["--tcp", "[::]:0", "--http", "[::]:0", "--clients-per-address", "2", "--log", "debug"]);
    let by_ipv4 = SocketAddr::from((Ipv4Addr::LOCALHOST, program.tcp.port()));
    let mut client = Lines::connect(by_ipv4);
    client.send("JOIN a\nhello\n");
    client.expect(WELCOME);
    client.expect("Joined a");
    let label = client.label();
    assert!(label.starts_with("127.0.0.1:"), "{label}");
    client.expect(&format!("[{label}] hello"));
    let mut second = Lines::connect(by_ipv4);
    second.expect(WELCOME);
    assert_eq!(Lines::connect(by_ipv4).rest(), "ERR closed too-many-connections\n");
    Lines::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, program.tcp.port()))).expect(WELCOME);
    client.send("QUIT\n");
    client.expect("Bye");
    drop(client);
    let log = program.log.until("reason=\"quit\"");
    assert!(log.last().is_some_and(|line| line.contains(&format!("peer={label}"))), "{log:?}");
}

#[test]
fn addresses_are_shown_of_clients_on_the_same_host_alone_unless_all_or_none_are_wanted() {
    // Through a proxy on this host, which announces a client of another.
    let strangers = ["PROXY TCP4 192.0.2.7 198.51.100.1 4711 8080", "PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 8080"];
    for (labels, is_stranger_shown, is_neighbour_shown) in
        [(Labels::Auto, false, true), (Labels::Address, true, true), (Labels::Id, false, false)]
    {
        let server = TestServer::start(Shape::ONE, |settings| {
            settings.labels = labels;
            settings.trusted_proxies = vec!["127.0.0.1".into()];
            settings.proxy_protocol = ProxyProtocol::Tcp;
        });
        let label = |header: &str| {
            let mut client = Lines::connect(server.tcp);
            client.send(format!("{header}\r\nJOIN a\nhello\n"));
            client.expect(WELCOME);
            client.expect("Joined a");
            (client.line(), format!("[{}] hello", client.label()))
        };
        for header in strangers {
            let (heard, _) = label(header);
            assert_eq!(heard == "[192.0.2.7:4711] hello", is_stranger_shown, "{heard}");
            assert_eq!(heard.starts_with("[TCP-"), !is_stranger_shown, "{heard}");
        }
        let (heard, with_address) = label("PROXY UNKNOWN");
        assert_eq!(heard == with_address, is_neighbour_shown, "{heard}");
        assert_eq!(heard.starts_with("[TCP-"), !is_neighbour_shown, "{heard}");
    }
}
