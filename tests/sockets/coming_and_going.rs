//! Rooms and clients that come and go: their memory goes back to the system, by the kernel's figures for the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use harness::{Client, Lines, Program, Transport, Turn, WELCOME, metrics, until, until_at_most};

use crate::server::{TestServer, contract};

const MIB: u64 = 1 << 20;

const ROOMS: usize = 10_000;

/// Commands in one write. Their answers fit into the kernel's buffers.
const ROUND: usize = 500;

/// Enough clients that the 2 MiB which the server keeps for the next ones do not matter.
const CLIENTS: usize = 12_000;

fn client(program: &Program) -> Lines {
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client
}

#[test]
#[ignore = "slow: 10 000 rooms"]
fn ten_thousand_rooms_that_were_joined_and_left_leave_nothing_behind() {
    let program = Program::start(&["--workers", "2"]);
    let mut client = client(&program);
    let before = program.private_bytes();
    for first in (0..ROOMS).step_by(ROUND) {
        let joins: String = (first..first + ROUND).map(|room| format!("JOIN room-{room}\nLEAVE\n")).collect();
        client.send(joins);
        for room in first..first + ROUND {
            client.expect(&format!("Joined room-{room}"));
            client.expect("Left room");
        }
    }
    client.send("LIST\n");
    client.expect("Rooms: []");
    until(|| metrics(program.http)["active_rooms"] == 0.0);
    let after = program.private_bytes();
    assert!(after <= before + MIB, "from {before} to {after}");
}

#[test]
#[ignore = "slow: 12 000 clients"]
fn the_memory_of_clients_that_have_left_goes_back_to_the_system() {
    let _turn = Turn::take();
    let program = Program::start(&["--workers", "1"]);
    let before = program.private_bytes();
    let clients: Vec<Lines> = (0..CLIENTS).map(|_| client(&program)).collect();
    let with_clients = program.private_bytes();
    assert!(with_clients > before + 4 * MIB, "from {before} to {with_clients}");
    clients.into_iter().for_each(Lines::reset);
    until_at_most(before + (with_clients - before) / 2, || program.private_bytes());
}

/// The memory that two workers keep for the next burst: 2 MiB each as `memory.rs` counts it, and up to 1.3 times that for
/// the allocator. They keep it when the clients of a burst leave over several seconds, as they do on a busy machine.
const KEPT_FOR_BURSTS: u64 = 6 * MIB;

/// The memory that remains after ten thousand rooms while their clients stay, however often the rooms return: 1 to 4
/// MB, and what is kept for bursts.
const ROOMS_KEPT: u64 = 6 * MIB + KEPT_FOR_BURSTS;

const ROOM_ROUNDS: usize = 4;

/// The memory that remains when the clients have left as well: 3 to 6 MB when they leave at once, up to 8.5 MB when they
/// leave over eight seconds.
const ALL_KEPT: u64 = 6 * MIB + KEPT_FOR_BURSTS;

fn active_rooms(program: &Program) -> usize {
    metrics(program.http)["active_rooms"] as usize
}

/// Every client is in a room of its own, all at once, and then in none.
fn join_and_leave_rooms(program: &Program, clients: &mut [Lines]) {
    for (room, client) in clients.iter().enumerate() {
        client.send(format!("JOIN room-{room}\n"));
    }
    for (room, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("Joined room-{room}"));
    }
    until(|| active_rooms(program) == clients.len());
    clients.iter().for_each(|client| client.send("LEAVE\n"));
    clients.iter_mut().for_each(|client| client.expect("Left room"));
    until(|| active_rooms(program) == 0);
}

#[test]
#[ignore = "slow: 10 000 clients, four times"]
fn ten_thousand_rooms_at_once_are_gone_when_they_were_left_and_so_is_their_memory() {
    let _turn = Turn::take();
    let program = Program::start(&["--workers", "2"]);
    let idle = program.private_bytes();
    let mut clients: Vec<Lines> = (0..ROOMS).map(|_| client(&program)).collect();
    let before = program.private_bytes();
    for _ in 0..ROOM_ROUNDS {
        join_and_leave_rooms(&program, &mut clients);
        until_at_most(before + ROOMS_KEPT, || program.private_bytes());
    }
    clients.into_iter().for_each(Lines::reset);
    until_at_most(idle + ALL_KEPT, || program.private_bytes());
}

/// Clients that come and go at once.
const VISITORS: usize = 8;

/// Visits of each client.
const VISITS: usize = 30;

/// A visitor leaves at once or stays for fewer messages than this.
const STAYS: usize = 3;

/// Publishes one number after another, each after it has read the one before. Returns the client, still in its room.
fn count(mut publisher: Client, is_over: &AtomicBool) -> Client {
    let numbers = (0_u64..).take_while(|_| !is_over.load(Ordering::Acquire));
    numbers.for_each(|number| assert_eq!(publisher.request(&number.to_string()), format!("[publisher] {number}")));
    publisher
}

#[track_caller]
fn number(line: &str) -> u64 {
    line.strip_prefix("[publisher] ").and_then(|number| number.parse().ok()).expect(line)
}

/// The numbers that come before this line.
#[track_caller]
fn numbers_until(visitor: &mut Client, line: &str) -> Vec<u64> {
    let lines = std::iter::from_fn(|| Some(visitor.line()).filter(|heard| heard != line));
    lines.map(|line| number(&line)).collect()
}

/// Joins, joins again and leaves, at once or after this many messages, and gets every message once while it is a
/// member.
fn visit(visitor: &mut Client, stays: usize) {
    visitor.send("JOIN a");
    visitor.send("JOIN a");
    if stays == 0 {
        visitor.send("LEAVE");
    }
    visitor.expect("Joined a");
    let mut heard = numbers_until(visitor, "Joined a");
    if stays > 0 {
        heard.extend((0..stays).map(|_| number(&visitor.line())));
        visitor.send("LEAVE");
    }
    heard.extend(numbers_until(visitor, "Left room"));
    assert!(heard.windows(2).all(|pair| pair[1] == pair[0] + 1), "{heard:?}");
}

#[test]
fn who_comes_and_goes_as_fast_as_can_be_hears_each_message_once_while_it_is_in() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let publisher = Client::member(&server, Transport::Tcp, "a", "publisher");
        let is_over = Arc::new(AtomicBool::new(false));
        let counting = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || count(publisher, &is_over)
        });
        let visitors = (0..VISITORS).map(|_| Client::connect(&server, transport));
        let visiting: Vec<_> = visitors
            .map(|mut visitor| {
                thread::spawn(move || {
                    (0..VISITS).for_each(|number| visit(&mut visitor, number % STAYS));
                    visitor
                })
            })
            .collect();
        let visitors: Vec<Client> = visiting.into_iter().map(|thread| thread.join().expect("it heard all")).collect();
        is_over.store(true, Ordering::Release);
        let mut publisher = counting.join().expect("it heard itself");
        assert_eq!(publisher.request("WHO"), r#"Members of a: ["publisher"]"#);
        publisher.send("to nobody else");
        publisher.expect("[publisher] to nobody else");
        visitors.into_iter().for_each(|mut visitor| visitor.expect_nothing());
        publisher.leave();
        until(|| metrics(server.http)["active_rooms"] == 0.0);
    });
}
