//! More than the server can do at once: who waits, and who does not. Nothing here is about time: what counts is what comes before what.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::harness::{Client, Lines, Shape, TestServer, Transport, WELCOME, contract};

/// Enough that a writer has more to write than it should after a few hundred messages.
const MEMBERS: usize = 100;

/// What one of them pipelines at a time.
const LINES: usize = 500;

/// A room in which one member says more than can be delivered, for as long as this lives. All others read.
struct Flood {
    over: Arc<AtomicBool>,
    /// Messages that its last member has heard.
    heard: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn begin(server: &TestServer) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for number in 0..MEMBERS {
            let mut member = Client::member(server, Transport::Tcp, "flooded", &format!("m{number}"));
            let heard = (number == MEMBERS - 1).then(|| Arc::clone(&heard));
            threads.push(thread::spawn(move || {
                for expected in 0_usize.. {
                    match member.hear() {
                        end if end == "[flooder] over" => return,
                        line => assert_eq!(line, format!("[flooder] {expected}"), "one order, and nothing lost"),
                    }
                    heard.iter().for_each(|heard| heard.store(expected, Ordering::Relaxed));
                }
            }));
        }
        threads.push(Self::flooder(server, Arc::clone(&over)));
        Self { over, heard, threads }
    }

    fn flooder(server: &TestServer, over: Arc<AtomicBool>) -> JoinHandle<()> {
        let lines = Lines::connect(server.tcp);
        let mut stream = lines.write_half();
        let mut flooder = Client::from(lines);
        flooder.expect(WELCOME);
        flooder.name("flooder");
        flooder.join("flooded");
        let reader = thread::spawn(move || while flooder.hear() != "[flooder] over" {});
        thread::spawn(move || {
            for first in (0..).step_by(LINES) {
                let lines: String = (first..first + LINES).map(|number| format!("{number}\n")).collect();
                stream.write_all(lines.as_bytes()).expect("a flooder is made to wait and not cut");
                if over.load(Ordering::Relaxed) {
                    stream.write_all(b"over\n").expect("the server is there");
                    return reader.join().expect("it hears all that it said");
                }
            }
        })
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// Lets it end; every member has heard everything in order.
    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a member that hears all"));
    }
}

#[test]
fn a_flood_holds_up_no_answer_to_others_and_nothing_of_it_is_lost() {
    /// Messages of the flood that go before an answer at most: what a writer may have in hand, with what its sockets hold.
    const AHEAD: usize = 10_000;
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::plain(shape);
        let mut others =
            [Transport::Tcp, Transport::WebSocket].map(|kind| Client::member(&server, kind, "quiet", "other"));
        let flood = Flood::begin(&server);
        for _ in 0..5 {
            for other in &mut others {
                let before = flood.heard();
                assert_eq!(other.ask("PING a"), "PONG a");
                let newcomer = Client::connect(&server, Transport::Tcp);
                let ahead = flood.heard() - before;
                assert!(ahead <= AHEAD, "{ahead} messages ahead of an answer");
                drop(newcomer);
            }
        }
        flood.end();
    }
}

#[test]
fn answers_stay_behind_what_their_client_has_said_before() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::member(&server, transport, "a", "me");
        for (line, answer) in [
            ("HELP", "JOIN <room>: enter a room, leaving the one you are in"),
            ("NICK me", "You are me"),
            ("JOIN a", "Joined a"),
            ("LIST", "Rooms: [\"a\"]"),
            ("WHO", "Members of a: [\"me\"]"),
            ("JOIN", "ERR unknown JOIN needs a room: JOIN <room>"),
        ] {
            client.say("hello");
            client.say(line);
            assert_eq!(client.hear(), "[me] hello");
            assert_eq!(client.hear().lines().next(), Some(answer));
            client.fence();
        }
    });
}
