//! Silent connections: their memory, and the time for which HTTP waits for them.

use std::net::{SocketAddr, TcpStream};

use harness::{Client, Http, Lines, Program, Transport, Turn, WELCOME, until};

use crate::server::{Shape, TestServer};

const MIB: u64 = 1 << 20;

const CONNECTIONS: usize = 2_000;

/// Clients that connect at once.
const WAVE: usize = 500;

/// Round trips of another client meanwhile.
const ROUND_TRIPS: usize = 1_000;

/// Connects this many silent clients. The server has accepted them once the last connection has an answer.
fn connect(server: SocketAddr, fence: impl Fn()) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS / WAVE {
        clients.extend((0..WAVE).map(|_| TcpStream::connect(server).expect("a server that accepts")));
        fence();
    }
    clients
}

#[test]
fn a_silent_http_connection_costs_no_more_than_a_silent_line_client() {
    let _turn = Turn::take();
    let grown = |is_http: bool| {
        let program = Program::start(&["--workers", "1", "--header-timeout", "60s"]);
        let greeted = || Lines::connect(program.tcp).expect(WELCOME);
        let answered = || assert_eq!(Http::get(program.http, "/health").1, "OK");
        greeted();
        answered();
        let before = program.private_bytes();
        let clients = if is_http { connect(program.http, answered) } else { connect(program.tcp, greeted) };
        until(|| program.descriptors().len() >= CONNECTIONS);
        let grown = program.private_bytes().saturating_sub(before);
        drop(clients);
        grown
    };
    let [http, lines] = [true, false].map(grown);
    println!("{http} and {lines} bytes");
    assert!(http <= lines + lines / 4 + MIB, "{http} and {lines} bytes");
}

#[test]
fn a_silent_http_connection_is_kept_while_others_are_served() {
    let server = TestServer::plain(Shape::ONE);
    let mut silent = Http::connect(server.http);
    let mut other = Client::member(&server, Transport::Tcp, "a", "other");
    for _ in 0..ROUND_TRIPS {
        assert_eq!(other.request("hello"), "[other] hello");
    }
    silent.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(silent.answer().1, "OK");
}
