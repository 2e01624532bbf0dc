//! As many clients as the descriptors allow, and more: who is in is served all the while, who is not hears why, and places are
//! given again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{Client, Http, Lines, Program, Transport, Turn, WELCOME, until};

/// Of the server: somewhat fewer than a process may have here, since the clients' ends are in one with the other tests.
const DESCRIPTORS: u64 = 18_500;

/// What the server needs of them for itself.
const RESERVED_MAX: usize = 200;

/// Connects that are under way at once: fewer than a listener's backlog.
const WAVE: usize = 500;

/// Who comes when every place is taken, and then who leaves.
const TOO_MANY: usize = 1_000;

/// No stall of a second, for anybody.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

/// A member that says something again and again and hears it.
struct Talker {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Talker {
    fn start(program: &Program) -> Self {
        let mut member = Client::member(program, Transport::WebSocket, "a", "talker");
        let stopping = Arc::new(AtomicBool::new(false));
        let is_stopping = Arc::clone(&stopping);
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !is_stopping.load(Ordering::Acquire) {
                let said = Instant::now();
                assert_eq!(member.ask("hello"), "[talker] hello");
                longest = longest.max(said.elapsed());
            }
            longest
        });
        Self { stopping, thread }
    }

    /// How long it has waited at most.
    fn stop(self) -> Duration {
        self.stopping.store(true, Ordering::Release);
        self.thread.join().expect("a talker that hears what it says")
    }
}

/// Comes with others until somebody is refused. Returns those that were let in.
fn come_until_refused(program: &Program) -> Vec<Lines> {
    let mut clients = Vec::new();
    let mut is_refused = false;
    while !is_refused {
        let wave: Vec<Lines> = (0..WAVE).map(|_| Lines::connect(program.tcp)).collect();
        for mut client in wave {
            match client.line().as_deref() {
                Some(WELCOME) => clients.push(client),
                refusal => {
                    assert_eq!(refusal, Some("ERR closed too-many-connections"));
                    assert_eq!(client.line(), None);
                    is_refused = true;
                }
            }
        }
    }
    clients
}

#[test]
fn clients_are_let_in_up_to_the_descriptors_refused_beyond_and_let_in_again_while_members_are_served() {
    let _turn = Turn::take();
    let program = Program::start_within(DESCRIPTORS, &[]);
    let talker = Talker::start(&program);
    let mut clients = come_until_refused(&program);
    assert!(clients.len() >= DESCRIPTORS as usize - RESERVED_MAX, "only {} were let in", clients.len());
    for _ in 0..TOO_MANY {
        assert_eq!(Lines::connect(program.tcp).rest(), "ERR closed too-many-connections\n");
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
    let longest = talker.stop();
    println!("{} clients, {longest:?}", clients.len());
    assert!(longest < ROUND_TRIP_MAX, "{longest:?}");
    clients.into_iter().for_each(Lines::reset);
}
