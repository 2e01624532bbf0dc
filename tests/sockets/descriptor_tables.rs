//! A descriptor table per worker. Always in the built binary: a table is a copy of all that its process has open, and
//! in this process that would be the sockets of other tests.

use std::net::{SocketAddr, TcpStream};

use harness::{Client, Disconnect, HANDSHAKE, Http, Program, Transport, WELCOME, until};
use rustix::process::Signal;

/// Two workers with a table each, and labels that show the worker of a client.
const PER_WORKER: [&str; 6] = ["--descriptor-tables", "per-worker", "--labels", "id", "--workers", "2"];

/// The worker of a client in no room: each worker numbers its clients in steps of the number of workers.
#[track_caller]
fn worker_of(client: &mut Client) -> usize {
    client.join("alone");
    let said = client.request("who am I");
    client.leave();
    let number = said.split(['-', ']']).nth(1).and_then(|number| number.parse::<usize>().ok());
    (number.expect("a label with a number") - 1) % 2
}

/// Connects this many members of one room, every other one over WebSocket.
#[track_caller]
fn fill(program: &Program, members: usize) -> Vec<Client> {
    let transports = Transport::ALL.into_iter().cycle().take(members);
    let mut members: Vec<Client> = transports.map(|transport| Client::connect(program, transport)).collect();
    members.iter_mut().for_each(|member| member.join("a"));
    members
}

/// One member publishes, and all get it.
#[track_caller]
fn all_hear(members: &mut [Client], speaker: usize) {
    members[speaker].send(&format!("hello from {speaker}"));
    for member in members {
        let heard = member.line();
        assert!(heard.ends_with(&format!("] hello from {speaker}")), "{heard}");
    }
}

#[test]
fn members_on_both_workers_and_transports_are_in_the_same_room() {
    let program = Program::start(&[&PER_WORKER[..], &["--shards", "4"]].concat());
    // Whether a member was found, by transport and worker.
    let mut found = [[false; 2]; 2];
    let mut members = Vec::new();
    while found != [[true; 2]; 2] {
        let transport = members.len() % 2;
        let mut member = Client::connect(&program, Transport::ALL[transport]);
        found[transport][worker_of(&mut member)] = true;
        member.join("a");
        members.push(member);
    }
    (0..members.len()).for_each(|speaker| all_hear(&mut members, speaker));
}

#[test]
fn more_clients_than_one_table_holds_are_in_one_room() {
    const TABLE: u64 = 250;
    const CLIENTS: usize = 300;
    let program = Program::start_within(TABLE, &["--descriptor-tables", "per-worker", "--workers", "3"]);
    let mut members = fill(&program, CLIENTS);
    [0, 1, CLIENTS - 1].into_iter().for_each(|speaker| all_hear(&mut members, speaker));
    let (_, metrics) = Http::get(program.http, "/metrics");
    assert!(metrics.contains(&format!("\nactive_connections {CLIENTS}\n")), "{metrics}");
}

/// A line client, or `None` when the server refuses it as full.
#[track_caller]
fn connect_if_let_in(program: &Program) -> Option<Client> {
    let mut client = Client::open(program, Transport::Tcp);
    match client.line().as_str() {
        WELCOME => Some(client),
        refusal => {
            assert_eq!(refusal, "ERR closed too-many-connections");
            client.expect_end();
            None
        }
    }
}

/// The status of the answer. A 503 must say that the server is full.
#[track_caller]
fn status(server: SocketAddr, request: &str) -> u16 {
    let mut client = Http::connect(server);
    client.send(request);
    let (head, body) = client.answer();
    assert!(head.status != 503 || body.trim() == "full", "{body}");
    head.status
}

#[test]
fn a_full_worker_refuses_as_a_full_server_does() {
    const TABLE: u64 = 100;
    // The descriptors of a table that are left for clients.
    const ROOM: usize = 20;
    const READY: &str = "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let program = Program::start_within(TABLE, &PER_WORKER);
    let limit = program.log.until("descriptor limit").pop().unwrap();
    assert!(limit.contains(&format!("descriptors={TABLE} tables=2 clients_max={}", 2 * ROOM)), "{limit}");
    let mut clients = [const { Vec::new() }; 2];
    until(|| {
        if let Some(mut client) = connect_if_let_in(&program) {
            clients[worker_of(&mut client)].push(client);
        }
        clients.iter().flatten().count() == 2 * ROOM
    });
    assert_eq!([clients[0].len(), clients[1].len()], [ROOM; 2]);
    assert_eq!([HANDSHAKE, READY].map(|request| status(program.http, request)), [503; 2]);
    clients[0].clear();
    // Connections that the kernel gives to the first worker are accepted now, and the others are refused.
    expect_both(|| {
        let client = connect_if_let_in(&program);
        client.map(|mut client| assert_eq!(worker_of(&mut client), 0)).is_some()
    });
    for (request, served) in [(HANDSHAKE, 101), (READY, 200)] {
        expect_both(|| {
            let status = status(program.http, request);
            assert!(status == 503 || status == served, "{status}");
            status == served
        });
    }
}

/// Repeats a request until it was answered in both ways.
#[track_caller]
fn expect_both(mut is_served: impl FnMut() -> bool) {
    let mut seen = [false; 2];
    until(|| {
        seen[usize::from(is_served())] = true;
        seen == [true; 2]
    });
}

#[test]
fn a_stop_tells_everybody_and_the_addresses_can_be_bound_again_at_once() {
    const MEMBERS: usize = 16;
    let program = Program::start(&PER_WORKER);
    let addresses = [program.tcp, program.http].map(|address| address.to_string());
    let mut members = fill(&program, MEMBERS);
    all_hear(&mut members, 0);
    program.signal(Signal::TERM);
    members.iter_mut().for_each(|member| member.expect_closed(Disconnect::Shutdown));
    drop(members);
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log:?}");
    assert!(log.last().is_some_and(|line| line.contains("clients_cut=0")), "{log:?}");
    let again = Program::start(&[&PER_WORKER[..], &["--tcp", &addresses[0], "--http", &addresses[1]]].concat());
    assert_eq!([again.tcp, again.http].map(|address| address.to_string()), addresses);
    all_hear(&mut fill(&again, MEMBERS), 1);
}

#[test]
fn a_server_that_still_drains_listens_no_more_and_its_successor_may_at_once() {
    let arguments = [&PER_WORKER[..], &["--probes-until-end"]].concat();
    let program = Program::start_that_drains_for_hours(&arguments, |program| program.signal(Signal::TERM));
    until(|| TcpStream::connect(program.tcp).is_err());
    let successor = Program::start(&[&PER_WORKER[..], &["--tcp", &program.tcp.to_string()]].concat());
    assert_eq!(successor.tcp, program.tcp);
    all_hear(&mut fill(&successor, 8), 0);
    // A connection of the loop above may still be on its way out.
    until(|| Http::get(program.http, "/ready").1 == "draining: 1 clients left");
}

#[test]
fn an_address_in_use_is_refused_in_one_line() {
    let program = Program::start(&PER_WORKER);
    let address = program.tcp.to_string();
    let second = Program::run(&[&PER_WORKER[..], &["--tcp", &address, "--http", "127.0.0.1:0"]].concat());
    assert_eq!(second.code, Some(2));
    let said = second.err;
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&address) && said.contains("in use") && said.contains("--tcp"), "{said}");
}
