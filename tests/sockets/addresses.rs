//! What one address may have. Clients come from several addresses of the loopback network.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::websocket::HANDSHAKE;
use crate::harness::{Client, Http, Lines, Shape, TestServer, Transport, WELCOME, contract, until};

/// Beside 127.0.0.1, from which all others come.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A connection from this address.
#[track_caller]
fn connect_from(address: IpAddr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(address, 0).into()).expect("a loopback address");
    socket.connect(&server.into()).expect("a server that accepts");
    socket.into()
}

#[test]
fn an_address_with_its_clients_is_refused_another_whatever_carries_it_and_others_are_let_in() {
    contract(|shape, transport| {
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
        assert_eq!(first.ask("QUIT"), "Bye");
        first.expect_end();
        drop(first);
        until(|| Lines::connect(server.tcp).line().as_deref() == Some(WELCOME));
        second.expect_nothing();
    });
}

#[test]
fn an_address_that_connects_too_fast_is_refused_for_a_while_and_others_are_let_in() {
    const PER_SECOND: u32 = 20;
    for shape in Shape::ALL {
        let server = TestServer::start(shape, |settings| settings.connects_per_address = PER_SECOND);
        let greeting = || Lines::connect(server.tcp).line().expect("a line");
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
    }
}
