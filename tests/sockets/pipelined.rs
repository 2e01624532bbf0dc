//! Bytes behind a refused request: they are never answered, and they do not keep the answer from its client.

use std::io::Write;
use std::thread;

use harness::{Client, HANDSHAKE, Http, Transport, until};

use crate::server::{Shape, TestServer};

/// Bytes that the sender did not mean as a request.
const PIPELINED: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Far more than the server has read when it refuses.
const BEHIND_BYTES: usize = 1 << 20;

/// A request, its status, and its answer.
struct CommandError {
    request: String,
    status: u16,
    why: &'static str,
}

impl CommandError {
    /// Another client is served meanwhile.
    fn of_any_server() -> Vec<Self> {
        let length = |length: usize| format!("\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
        vec![
            Self {
                request: HANDSHAKE.replace("localhost", "localhost\r\nOrigin: https://evil.example"),
                status: 403,
                why: "pages of this Origin may not connect: see allowed-origins\n",
            },
            Self {
                request: format!("POST /health HTTP/1.1\r\nHost: localhost{}", length(16 * 1024 + 1)),
                status: 413,
                why: "a body has at most 16 KiB\n",
            },
            Self {
                request: HANDSHAKE.replace("\r\n\r\n", &length(PIPELINED.len())),
                status: 400,
                why: "a WebSocket handshake has no body\n",
            },
            Self {
                request: HANDSHAKE.replace("Version: 13", "Version: 12"),
                status: 426,
                why: "Sec-WebSocket-Version is 13\n",
            },
        ]
    }

    fn of_handshake(status: u16, why: &'static str) -> Self {
        Self { request: HANDSHAKE.into(), status, why }
    }

    #[track_caller]
    fn expect(&self, client: &mut Http) {
        let (head, body) = client.answer();
        assert_eq!((head.status, head.header("connection"), body.as_str()), (self.status, Some("close"), self.why));
        // A second answer or a reset would be found here.
        client.expect_end();
    }

    /// The request is refused with any bytes behind it, in the same packet or in later ones.
    #[track_caller]
    fn expect_alone(&self, server: &TestServer) {
        println!("{}", self.status);
        for behind in [PIPELINED.repeat(3), HANDSHAKE.to_owned()] {
            let mut client = Http::connect(server.http);
            client.send([self.request.as_str(), &behind].concat());
            self.expect(&mut client);
        }
        let mut client = Http::connect(server.http);
        let behind = PIPELINED.repeat(64 * 1024 / PIPELINED.len()).into_bytes();
        let pieces = BEHIND_BYTES / behind.len();
        let write = client.write_half().keep_writing(self.request.clone().into(), behind, pieces);
        self.expect(&mut client);
        write.join().expect("a server that goes on reading");
    }
}

#[test]
fn what_is_behind_a_refused_request_is_never_answered_and_does_not_destroy_the_refusal() {
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        CommandError::of_any_server().iter().for_each(|refusal| refusal.expect_alone(&server));
    }
}

#[test]
fn what_is_behind_a_handshake_without_a_place_is_never_answered_and_does_not_destroy_the_refusal() {
    for shape in Shape::ALL {
        let server = TestServer::start(shape, |settings| settings.max_clients = Some(1));
        let _only = Client::connect(&server, Transport::Tcp);
        CommandError::of_handshake(503, "full\n").expect_alone(&server);
    }
}

#[test]
fn what_is_behind_a_handshake_of_a_busy_address_is_never_answered_and_does_not_destroy_the_refusal() {
    for shape in Shape::ALL {
        let server = TestServer::start(shape, |settings| settings.clients_per_address = 1);
        let _only = Client::connect(&server, Transport::Tcp);
        CommandError::of_handshake(429, "too many from your address\n").expect_alone(&server);
    }
}

#[test]
fn who_goes_on_for_ever_behind_a_refusal_is_cut_while_others_are_served() {
    let server = TestServer::plain(Shape::ONE);
    let mut other = Client::member(&server, Transport::Tcp, "a", "other");
    let client = Http::connect(server.http);
    client.send(HANDSHAKE.replace("GET", "PUT"));
    let mut output = client.write_half();
    let flood = thread::spawn(move || {
        let behind = PIPELINED.repeat(1_000);
        while output.write_all(behind.as_bytes()).is_ok() {}
    });
    until(|| {
        assert_eq!(other.request("hello"), "[other] hello");
        flood.is_finished()
    });
    flood.join().expect("it only writes");
}
