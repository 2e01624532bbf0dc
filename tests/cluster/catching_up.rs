//! A node that has found its stream and has not caught up with it: monitors are answered, clients are not let in.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use harness::{
    EventStream, Forwarder, HANDSHAKE, Http, Lines, NatsServer, Process, Program, Signal, WELCOME, metrics, until,
};

/// The command of a node that finds NATS at this address, and serves at another one.
fn node(nats: SocketAddr, http: SocketAddr) -> Command {
    let url = format!("nats://{nats}");
    let mut command = Program::command(&["--cluster", &url, "--cluster-stream-bytes", "64MiB", "--log-format", "text"]);
    command.args(["--workers", "2", "--tcp", "127.0.0.1:0", "--http", &http.to_string()]);
    command
}

/// The way to NATS of a node that has found its stream, and has no second connection to follow it: that one comes once
/// the node listens. And the address at which it is to listen.
fn held(nats: &NatsServer) -> (Forwarder, SocketAddr) {
    let http = NatsServer::free_address();
    (Forwarder::start_until_listens(http, nats.address), http)
}

/// Starts it, and waits until it answers.
fn start(command: &mut Command, http: SocketAddr) -> Process {
    let node = Process::start(command.stderr(Stdio::piped()));
    until(|| TcpStream::connect(http).is_ok());
    assert_eq!(Http::get(http, "/health").1, "OK");
    node
}

#[test]
fn a_node_that_catches_up_answers_monitors_and_lets_nobody_in_until_it_has() {
    let Some(nats) = NatsServer::start() else { return };
    let (forwarder, http) = held(&nats);
    let mut node = start(&mut node(forwarder.address, http), http);
    let log = node.stderr();
    let get = |path: &str| {
        let (head, body) = Http::get(http, path);
        (head.status, body, head.header("retry-after").map(str::to_owned))
    };
    assert_eq!(get("/ready"), (503, "catching up".to_owned(), None));
    assert_eq!(metrics(http)["roomcast_readiness{state=\"catching-up\"}"], 1.0);
    let publish = "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let rooms = ["/rooms", "/rooms/a"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    for request in [&rooms[0], &rooms[1], HANDSHAKE, publish] {
        let mut client = Http::connect(http);
        client.send(request);
        let (head, body) = client.answer();
        assert!(body.contains("catching up"), "{request}: {body}");
        assert_eq!((head.status, head.header("retry-after")), (503, Some("1")), "{request}");
    }
    assert_eq!(metrics(http)["roomcast_http_refused_total{reason=\"catching-up\"}"], 4.0);
    // It comes back, which it would not after any other status than 200.
    let mut source = EventStream::open(http, "/rooms/a", "Accept: text/event-stream\r\n");
    source.expect("closed");
    assert_eq!(source.retry, Some(10_000));
    forwarder.open();
    let tcp = log.line_with("listening for tcp lines");
    assert_eq!(get("/ready"), (200, "ready".to_owned(), None));
    let tcp: SocketAddr = tcp.split_once("address=").and_then(|(_, tcp)| tcp.trim().parse().ok()).expect("an address");
    let mut member = Lines::connect(tcp);
    member.expect(WELCOME);
    member.send("JOIN a\n");
    member.expect("Joined a");
}

#[test]
fn a_node_that_is_stopped_before_it_is_ready_has_not_failed() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut looks_for_nats = node(silent.local_addr().expect("an address"), NatsServer::free_address());
    let looks_for_nats = Process::start_piped(&mut looks_for_nats);
    let _asked = silent.accept().expect("a node");
    expect_end(looks_for_nats);
    let Some(nats) = NatsServer::start() else { return };
    let (forwarder, http) = held(&nats);
    expect_end(start(&mut node(forwarder.address, http), http));
}

#[track_caller]
fn expect_end(node: Process) {
    node.signal(Signal::TERM);
    let ended = node.end();
    assert!(ended.code == Some(0) && ended.err.contains("stopped before it was ready"), "{ended:?}");
}
