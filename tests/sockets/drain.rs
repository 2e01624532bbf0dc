//! Draining: every client that reads gets what was accepted, and no client can delay the end for long.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flume::Receiver;
use harness::{Addresses, Client, Disconnect, Lines, Program, Stream, Transport, WELCOME, at_once};
use roomcast::config::{Settings, Size, Span};
use rustix::process::Signal;

use crate::server::{Shape, TestServer, contract};

const LAST: &str = "ERR closed shutdown retry=1";

/// Enough clients that the kernel gives some to each worker.
const MEMBERS: usize = 8;

/// Messages before the stop: more than the kernel buffers for a client that does not read.
const HEARD_FIRST: usize = 8_000;

/// Settings under which a client that reads slowly is not cut, and a stop waits for it.
pub fn large_outboxes(settings: &mut Settings) {
    settings.outbox_bytes = Size(1 << 30);
    settings.outbox_budget = Size(1 << 40);
    settings.outbox_messages = 1 << 20;
    settings.slow_after = Span(Duration::from_secs(60));
    settings.grace = Span(Duration::from_secs(3600));
}

/// The same settings for the built binary.
const LARGE_OUTBOXES: [&str; 8] =
    ["--outbox-bytes", "1GiB", "--outbox-budget", "1TiB", "--outbox-messages", "1048576", "--slow-after", "60s"];

fn publisher(server: &impl Addresses) -> Lines {
    let mut publisher = Lines::connect(server.tcp());
    publisher.send("JOIN a\n");
    publisher.expect(WELCOME);
    publisher.expect("Joined a");
    publisher
}

/// Publishes until the connection ends.
fn publish_for_ever(mut output: Stream) -> JoinHandle<()> {
    thread::spawn(move || {
        let (numbers, filler) = (0_u64.., "x".repeat(1_000));
        let mut write = |number| output.write_all(format!("{number} {filler}\n").as_bytes());
        let refused = numbers.map(&mut write).find_map(Result::err);
        assert!(refused.is_some());
    })
}

/// Reads to the end in a thread of its own, once the other side is dropped, and only then closes.
fn hear_all(mut member: Client, held: Receiver<()>) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let _ = held.recv();
        member.lines_until_closed(Disconnect::Shutdown)
    })
}

/// Stops a server under load: all members on both transports get the same messages, and then the reason.
fn stop_under_load(server: &impl Addresses, first: Transport, begin_stop: impl FnOnce()) {
    let member = |transport| Client::member(server, transport, "a", "member");
    let mut first = member(first);
    let members: Vec<Client> = Transport::ALL.into_iter().cycle().take(MEMBERS).map(member).collect();
    let publishers: Vec<Lines> = (0..3).map(|_| publisher(server)).collect();
    let outputs: Vec<Stream> = publishers.iter().map(Lines::write_half).collect();
    let writing: Vec<_> = publishers.iter().map(|publisher| publish_for_ever(publisher.write_half())).collect();
    let (hold, held) = flume::bounded(0);
    let begun = flume::bounded(0).1;
    let publishers = publishers.into_iter().map(|publisher| hear_all(publisher.into(), begun.clone()));
    // These begin to read only at the stop, with much pending for them. Who takes nothing for a second then is cut.
    let members = members.into_iter().map(|member| hear_all(member, held.clone()));
    let others: Vec<_> = publishers.chain(members).collect();
    let mut heard: Vec<String> = (0..HEARD_FIRST).map(|_| first.line()).collect();
    begin_stop();
    drop(hold);
    heard.extend(first.lines_until_closed(Disconnect::Shutdown));
    drop(first);
    for other in others {
        let other = other.join().expect("it was told why");
        assert!(other == heard, "{} of {} messages", other.len(), heard.len());
    }
    // Stops the publishers. The server may have closed first.
    outputs.iter().for_each(|output| drop(output.shutdown(Shutdown::Both)));
    writing.into_iter().for_each(|thread| thread.join().expect("it was refused at last"));
}

/// A client with megabytes to read, which it reads so slowly that a stop must wait for it.
pub struct SlowReader {
    in_bulk: Arc<AtomicBool>,
    reading: JoinHandle<String>,
}

impl SlowReader {
    /// A member of the room `a` of a server with [`large_outboxes`].
    pub fn start(server: &TestServer) -> Self {
        let mut slow = Lines::member_short_of_buffer(server.tcp, "a");
        Lines::publish_megabytes(server.tcp, "a", 6);
        let in_bulk = Arc::new(AtomicBool::new(false));
        let is_in_bulk = Arc::clone(&in_bulk);
        let reading = thread::spawn(move || {
            slow.read_slowly_until(|| is_in_bulk.load(Ordering::Acquire));
            slow.rest()
        });
        Self { in_bulk, reading }
    }

    /// Reads everything. The last line comes behind all messages.
    pub fn read_all(self) {
        self.in_bulk.store(true, Ordering::Release);
        let rest = self.reading.join().expect("a reader that does not panic");
        assert!(rest.ends_with(&format!("\n{LAST}\n")));
    }
}

#[test]
fn what_one_member_got_all_members_get_and_then_the_reason() {
    at_once([(Shape::ONE, Transport::Tcp), (Shape::MANY, Transport::WebSocket)], |(shape, transport)| {
        let server = TestServer::start(shape, large_outboxes);
        stop_under_load(&server, transport, || server.begin_stop());
        assert_eq!(server.stop().cut, 0);
    });
}

#[test]
fn the_built_binary_under_load_ends_as_it_promises_long_before_its_grace_period() {
    let program = Program::start(&[&LARGE_OUTBOXES[..], &["--workers", "2", "--grace", "1h"]].concat());
    stop_under_load(&program, Transport::WebSocket, || {
        program.signal(Signal::TERM);
        program.log.until("stopping");
    });
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log:?}");
    let last = log.last().expect("a log");
    assert!(last.contains("stopped") && last.contains("clients_cut=0"), "{log:?}");
}

#[test]
fn clients_that_never_close_are_told_why_and_do_not_hold_up_the_end() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.grace = Span(Duration::from_secs(3600)));
        let mut clients: Vec<Client> = (0..MEMBERS).map(|_| Client::connect(&server, transport)).collect();
        clients.iter_mut().step_by(2).for_each(|client| client.join("a"));
        let counts = server.stop();
        assert_eq!(counts.cut, 0, "{counts:?}");
        clients.iter_mut().for_each(|client| client.expect_closed(Disconnect::Shutdown));
    });
}

/// A room with a member that reads nothing and has more pending than the kernel buffers.
fn stall_a_member(server: &TestServer, transport: Transport) -> (Lines, Client) {
    let stalled = Lines::member_short_of_buffer(server.tcp, "a");
    let mut publisher = Client::member(server, transport, "a", "publisher");
    let text = "x".repeat(32 * 1024);
    for _ in 0..32 {
        assert_eq!(publisher.request(&text).len(), "[publisher] ".len() + text.len());
    }
    publisher.expect_nothing();
    (stalled, publisher)
}

#[test]
fn a_client_that_neither_reads_nor_closes_is_cut_long_before_the_grace_period_ends() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, large_outboxes);
        let (_stalled, mut publisher) = stall_a_member(&server, transport);
        let counts = server.stop();
        assert_eq!(counts.cut, 1, "{counts:?}");
        assert!(counts.dropped_gone > 0, "{counts:?}");
        assert_eq!(counts.fanned_out, counts.delivered + counts.dropped_gone, "{counts:?}");
        publisher.expect_closed(Disconnect::Shutdown);
    });
}

#[test]
fn without_a_grace_period_it_ends_at_once_whoever_does_not_read() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| {
            large_outboxes(settings);
            settings.grace = Span(Duration::ZERO);
        });
        let clients = stall_a_member(&server, transport);
        let mut members: Vec<Lines> = (0..MEMBERS).map(|_| Lines::member(server.tcp, "b")).collect();
        let counts = server.stop();
        // Whoever was not told why is counted, also where nothing was pending.
        let told = |member: &mut Lines| member.rest_if_not_reset().ends_with("ERR closed shutdown retry=1\n");
        let cut = 1 + members.iter_mut().map(told).filter(|was_told| !was_told).count() as u64;
        assert!((cut..=cut + 1).contains(&counts.cut), "{cut}: {counts:?}");
        drop(clients);
    });
}

#[test]
fn a_client_that_reads_at_last_gets_all_that_was_published_before_the_stop() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, large_outboxes);
        let (mut stalled, publisher) = stall_a_member(&server, transport);
        drop(publisher);
        server.begin_stop();
        let message = format!("[publisher] {}", "x".repeat(32 * 1024));
        for _ in 0..32 {
            assert!(stalled.line() == message);
        }
        stalled.expect(LAST);
        stalled.expect_end();
        drop(stalled);
        assert_eq!(server.stop().cut, 0);
    });
}

#[test]
fn nobody_is_let_in_once_the_server_stops() {
    let server = TestServer::plain(Shape::MANY);
    let address = server.tcp;
    let mut idle = Client::connect(&server, Transport::Tcp);
    server.begin_stop();
    idle.expect_closed(Disconnect::Shutdown);
    drop(idle);
    server.stop();
    assert!(TcpStream::connect(address).is_err());
}
