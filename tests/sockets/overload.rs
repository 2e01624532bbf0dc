//! More work than the server can do at once: the clients that cause it wait, and others do not. The tests check the
//! order of answers, not times.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use harness::{Client, Lines, Stream, Transport, WELCOME};
use roomcast::config::Size;

use crate::server::{Shape, TestServer, contract};

/// Members of the room: a few hundred messages to them are more than a writer should have in hand.
const MEMBERS: usize = 70;

/// Members that pipeline: enough that together they have more in flight than a writer should have in hand.
const FLOODERS: usize = 8;

/// Messages that one of them pipelines at a time.
const LINES: usize = 200;

/// A room in which some members publish more than can be delivered, until it is dropped. All of them read.
struct Flood {
    over: Arc<AtomicBool>,
    /// Messages that its last member has read.
    heard: Arc<AtomicUsize>,
    members: Vec<JoinHandle<()>>,
    flooders: Vec<(Stream, JoinHandle<()>)>,
}

impl Flood {
    fn begin(server: &TestServer) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(AtomicUsize::new(0));
        let join = |number| Client::member(server, Transport::Tcp, "flooded", &format!("m{number}"));
        let listen = |(number, member): (usize, Client)| {
            let heard = if number == MEMBERS - 1 { Arc::clone(&heard) } else { Arc::default() };
            let over = Arc::clone(&over);
            thread::spawn(move || hear_in_order(member, &heard, &over))
        };
        let members: Vec<Client> = (0..MEMBERS).map(join).collect();
        let members = members.into_iter().enumerate().map(listen).collect();
        let flooders = (0..FLOODERS).map(|number| Self::flooder(server, number, Arc::clone(&over))).collect();
        Self { over, heard, members, flooders }
    }

    fn flooder(server: &TestServer, number: usize, over: Arc<AtomicBool>) -> (Stream, JoinHandle<()>) {
        let lines = Lines::connect(server.tcp);
        let (mut stream, kept) = (lines.write_half(), lines.write_half());
        let mut flooder = Client::from(lines);
        flooder.expect(WELCOME);
        flooder.name(&format!("f{number}"));
        flooder.join("flooded");
        let is_over = Arc::clone(&over);
        let reading = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                flooder.line();
            }
        });
        let flooding = thread::spawn(move || {
            for first in (0..).step_by(LINES) {
                let lines: String = (first..first + LINES).map(|number| format!("{number}\n")).collect();
                let written = stream.write_all(lines.as_bytes());
                if over.load(Ordering::Relaxed) {
                    break;
                }
                written.expect("a flooder is made to wait and not cut");
            }
            reading.join().expect("it hears the room");
        });
        (kept, flooding)
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// Ends it. Every member has got everything in order so far.
    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.members.into_iter().for_each(|member| member.join().expect("a member that hears all"));
        for (stream, flooder) in self.flooders {
            // Its reader may wait for a line, and its writer for the server to read.
            let _ = stream.shutdown(Shutdown::Write);
            flooder.join().expect("a flooder that is not cut");
        }
    }
}

/// The messages of each publisher come in their order and without a gap.
fn hear_in_order(mut member: Client, heard: &AtomicUsize, over: &AtomicBool) {
    let mut expected = [0; FLOODERS];
    while !over.load(Ordering::Relaxed) {
        let line = member.line();
        let flooder: usize = line[2..3].parse().expect("the number of a flooder");
        assert_eq!(line, format!("[f{flooder}] {}", expected[flooder]), "in order, and nothing lost");
        expected[flooder] += 1;
        heard.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_flood_holds_up_no_answer_to_others_and_nothing_of_it_is_lost() {
    /// Messages of the flood that go before an answer at most: what a writer may have in hand, with what its sockets
    /// hold.
    const AHEAD: usize = 10_000;
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::plain(shape);
        let mut others =
            [Transport::Tcp, Transport::WebSocket].map(|kind| Client::member(&server, kind, "quiet", "other"));
        let flood = Flood::begin(&server);
        for _ in 0..2 {
            for other in &mut others {
                let before = flood.heard();
                assert_eq!(other.request("PING a"), "PONG a");
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
fn when_all_members_speak_at_once_each_hears_all_of_it_in_one_order() {
    /// The members of the room.
    const SPEAKERS: usize = 200;
    /// Bytes of each message.
    const BYTES: usize = 1024;
    for shape in [Shape::ONE, Shape::MANY] {
        // All messages together are more than a client may have pending, and less than would end it at once.
        let server = TestServer::start(shape, |settings| {
            (settings.outbox_bytes, settings.outbox_messages) = (Size(64 * BYTES), 16);
        });
        let transport = |number| Transport::ALL[number % Transport::ALL.len()];
        let join = |number| Client::member(&server, transport(number), "a", &format!("m{number}"));
        let members: Vec<Client> = (0..SPEAKERS).map(join).collect();
        let all_are_here = Barrier::new(SPEAKERS);
        let speak = |mut member: Client| {
            all_are_here.wait();
            member.send(&"x".repeat(BYTES));
            let heard: Vec<String> = (0..SPEAKERS).map(|_| member.line()).collect();
            (member, heard)
        };
        let heard: Vec<(Client, Vec<String>)> = thread::scope(|scope| {
            let speaking: Vec<_> = members.into_iter().map(|member| scope.spawn(|| speak(member))).collect();
            speaking.into_iter().map(|member| member.join().expect("a member that hears all")).collect()
        });
        let (_, first) = &heard[0];
        let mut said = first.clone();
        said.sort_unstable();
        let mut expected: Vec<String> =
            (0..SPEAKERS).map(|number| format!("[m{number}] {}", "x".repeat(BYTES))).collect();
        expected.sort_unstable();
        assert!(said == expected && heard.iter().all(|(_, messages)| messages == first));
        let counts = server.stop();
        assert_eq!((counts.delivered, counts.fanned_out), ((SPEAKERS * SPEAKERS) as u64, counts.delivered));
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
            ("bad\x1b", "ERR control-character U+001B at byte 3: none but tab is allowed"),
        ] {
            client.send("hello");
            client.send(line);
            assert_eq!(client.line(), "[me] hello");
            assert_eq!(client.line().lines().next(), Some(answer));
            client.fence();
        }
    });
}
