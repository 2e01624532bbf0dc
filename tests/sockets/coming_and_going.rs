//! Rooms and clients that come and go: what they needed goes back, by the kernel's own figures for the process.

use crate::harness::{Lines, Program, Turn, WELCOME, metrics, until_at_most};

const MIB: u64 = 1 << 20;

const ROOMS: usize = 10_000;

/// Commands in one write: their answers fit into what the kernel holds.
const ROUND: usize = 500;

/// What the last 2 MiB of them leave behind is kept for the next.
const CLIENTS: usize = 12_000;

fn client(program: &Program) -> Lines {
    let mut client = Lines::connect(program.tcp);
    client.expect(WELCOME);
    client
}

#[test]
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
    let found = metrics(program.http);
    assert!(found["active_rooms"] == 0.0, "{found:?}");
    let after = program.private_bytes();
    assert!(after <= before + MIB, "from {before} to {after}");
}

#[test]
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
