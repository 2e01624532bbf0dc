//! Thousands of clients at once.

use std::net::SocketAddr;

use harness::{Client, Lines, Program, Transport, Turn, WELCOME};

use crate::server::{Shape, TestServer};

/// Both ends are in this process, which may have 20 000 descriptors. Other tests have some thousands meanwhile.
const IN_PROCESS: usize = 7_500;

/// One end of each connection is in this process and one in the server's.
const IN_TWO_PROCESSES: usize = 15_000;

/// Clients that connect at once: fewer than a listener's backlog.
const WAVE: usize = 1_000;

/// Connects this many clients and reads their greetings.
fn connect(server: SocketAddr, count: usize) -> Vec<Lines> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let wave = clients.len()..count.min(clients.len() + WAVE);
        clients.extend(wave.clone().map(|_| Lines::connect(server)));
        clients[wave].iter_mut().for_each(|client| client.expect(WELCOME));
    }
    clients
}

/// All clients join at once, each the room of its number.
fn join_at_once(clients: &mut [Lines], room_of: impl Fn(usize) -> String) {
    for (number, client) in clients.iter().enumerate() {
        client.send(format!("NICK {number}\nJOIN {}\n", room_of(number)));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("You are {number}"));
        client.expect(&format!("Joined {}", room_of(number)));
    }
}

/// Closes all connections with resets, which leave no port in TIME_WAIT.
fn reset_at_once(clients: Vec<Lines>) {
    clients.into_iter().for_each(Lines::reset);
}

#[test]
#[ignore = "slow: 7 500 clients"]
fn thousands_join_at_once_and_each_room_hears_its_own() {
    const ROOMS: usize = 90;
    let _turn = Turn::take();
    let server = TestServer::plain(Shape::MANY);
    let mut clients = connect(*server.tcp, IN_PROCESS);
    join_at_once(&mut clients, |number| format!("room-{:02}", number % ROOMS));
    clients[0].send("LIST\n");
    let rooms: Vec<String> = (0..ROOMS).map(|room| format!("\"room-{room:02}\"")).collect();
    clients[0].expect(&format!("Rooms: [{}]", rooms.join(", ")));
    for publisher in &clients[..ROOMS] {
        publisher.send("hello\n");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("[{}] hello", number % ROOMS));
        client.send("PING x\n");
    }
    clients.iter_mut().for_each(|client| client.expect("PONG x"));
    let mut last = Client::member(&server, Transport::Tcp, "z", "last");
    reset_at_once(clients);
    last.request_until("LIST", r#"Rooms: ["z"]"#);
    last.expect_nothing();
}

#[test]
#[ignore = "slow: 15 000 clients"]
fn fifteen_thousand_join_one_room_of_the_program_at_once_and_hear_each_other() {
    let _turn = Turn::take();
    let program = Program::start(&["--workers", "2"]);
    let mut clients = connect(program.tcp, IN_TWO_PROCESSES);
    join_at_once(&mut clients, |_| "crowd".into());
    clients[0].send("LIST\n");
    clients[0].expect(r#"Rooms: ["crowd"]"#);
    clients[0].send("hello\n");
    clients[IN_TWO_PROCESSES - 1].send("hello\n");
    for client in &mut clients {
        let mut heard = [client.line(), client.line()];
        heard.sort_unstable();
        assert_eq!(heard, ["[0] hello".to_owned(), format!("[{}] hello", IN_TWO_PROCESSES - 1)]);
        client.send("PING x\n");
    }
    clients.iter_mut().for_each(|client| client.expect("PONG x"));
    reset_at_once(clients);
}
