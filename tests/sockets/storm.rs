//! As many clients as the descriptors allow, and more: members are served all the while, clients beyond the limit are
//! refused with a reason, and free places are given again.

use harness::{Client, Http, Lines, Program, Transport, Turn, WELCOME, until};

/// Descriptors of the server: thousands fewer than this process may have, which has those of the clients and of the tests
/// that run beside this one, with both ends of their connections.
const DESCRIPTORS: u64 = 15_500;

/// The descriptors that the server needs for itself.
const RESERVED_MAX: usize = 200;

/// Clients that connect at once: fewer than a listener's backlog.
const WAVE: usize = 500;

/// Clients that are refused when every place is taken, and then clients that leave.
const TOO_MANY: usize = 1_000;

#[track_caller]
fn expect_served(member: &mut Client) {
    assert_eq!(member.request("hello"), "[member] hello");
}

/// Connects many clients at once until one is refused, while the member is served. Returns those that were accepted.
fn come_until_refused(program: &Program, member: &mut Client) -> Vec<Lines> {
    let mut clients = Vec::new();
    let mut is_refused = false;
    while !is_refused {
        let wave: Vec<Lines> = (0..WAVE).map(|_| Lines::connect(program.tcp)).collect();
        expect_served(member);
        for mut client in wave {
            match client.line_or_end().as_deref() {
                Some(WELCOME) => clients.push(client),
                refusal => {
                    assert_eq!(refusal, Some("ERR closed too-many-connections"));
                    client.expect_end();
                    is_refused = true;
                }
            }
        }
    }
    clients
}

#[test]
#[ignore = "slow: 15 000 clients"]
fn clients_are_let_in_up_to_the_descriptors_refused_beyond_and_let_in_again_while_members_are_served() {
    let _turn = Turn::take();
    let program = Program::start_within(DESCRIPTORS, &["--idle-timeout", "1h"]);
    let mut member = Client::member(&program, Transport::WebSocket, "a", "member");
    let mut clients = come_until_refused(&program, &mut member);
    assert!(clients.len() >= DESCRIPTORS as usize - RESERVED_MAX, "only {} were let in", clients.len());
    for _ in 0..TOO_MANY {
        assert_eq!(Lines::connect(program.tcp).rest(), "ERR closed too-many-connections\n");
        expect_served(&mut member);
    }
    assert_eq!(Http::get(program.http, "/health").1, "OK");
    assert_eq!(Http::get(program.http, "/ready").1, "full");
    clients.drain(..TOO_MANY).for_each(Lines::reset);
    until(|| Http::get(program.http, "/ready").1 == "ready");
    let mut newcomer = Client::member(&program, Transport::Tcp, "b", "newcomer");
    newcomer.expect_nothing();
    for client in &mut clients {
        client.send("PING x\n");
    }
    clients.iter_mut().for_each(|client| client.expect("PONG x"));
    member.expect_nothing();
    clients.into_iter().for_each(Lines::reset);
}
