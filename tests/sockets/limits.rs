//! Limits: members that do not read, and more clients than the connection limit.

use std::io::Write;
use std::thread;
use std::time::Duration;

use harness::frame::{FINAL_TEXT, frame};
use harness::{Client, Lines, Transport, WELCOME, WebSocket, at_once, until};
use roomcast::config::{Settings, Size, SlowPolicy, Span};

use crate::server::{Shape, TestServer, contract, contract_without_tls};

/// Messages per round trip: fewer than the kernel buffers for a member that reads.
const ROUND: usize = 32;

/// Far more than the outbox of a member and the kernel's buffers hold.
const ROUNDS_MAX: usize = 200;

/// A room with a member that reads nothing.
struct Room {
    publisher: Client,
    healthy: Client,
    stalled: Lines,
    /// Everything published so far, as every member must get it.
    said: String,
}

impl Room {
    fn open(server: &TestServer, transport: Transport) -> Self {
        let mut stalled = Lines::connect_short_of_buffer(server.tcp);
        stalled.send("NICK stalled\nJOIN a\n");
        for line in [WELCOME, "You are stalled", "Joined a"] {
            stalled.expect(line);
        }
        Self {
            publisher: Client::member(server, transport, "a", "publisher"),
            healthy: Client::member(server, transport, "a", "healthy"),
            stalled,
            said: String::new(),
        }
    }

    /// Publishes a round of messages, which every member that reads gets in the same round.
    #[track_caller]
    fn talk(&mut self) {
        let text = "x".repeat(1_000);
        (0..ROUND).for_each(|_| self.publisher.send(&text));
        let expected = vec![format!("[publisher] {text}"); ROUND];
        assert_eq!(self.publisher.fence(), expected);
        assert_eq!(self.healthy.fence(), expected);
        self.said += &(expected.join("\n") + "\n");
    }

    #[track_caller]
    fn has_lost_the_stalled_one(&mut self) -> bool {
        match self.healthy.request("WHO").as_str() {
            r#"Members of a: ["healthy", "publisher"]"# => true,
            r#"Members of a: ["healthy", "publisher", "stalled"]"# => false,
            other => panic!("{other}"),
        }
    }

    /// The stalled member reads at last: it gets the first messages, then perhaps the reason of its disconnect.
    #[track_caller]
    fn expect_a_clean_cut(&mut self) {
        let heard = self.stalled.rest_if_not_reset();
        let heard_reason = heard.strip_suffix("ERR closed slow-consumer\n");
        assert!(self.said.starts_with(heard_reason.unwrap_or(&heard)), "something was lost in between");
        assert!(!heard_reason.unwrap_or(&heard).is_empty(), "it got nothing of what the kernel took for it");
        assert!(heard.len() < self.said.len(), "it got everything");
        if let Some(messages) = heard_reason {
            assert!(messages.ends_with('\n'), "the last message was cut in two");
        }
    }
}

fn small_outboxes(settings: &mut Settings) {
    settings.message_bytes = Size(1024);
    settings.outbox_bytes = Size(16 * 1024);
}

#[test]
fn a_stalled_reader_is_cut_and_its_room_keeps_pace() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, small_outboxes);
        let mut room = Room::open(&server, transport);
        let mut rounds = 0;
        while !room.has_lost_the_stalled_one() {
            room.talk();
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "megabytes are kept for it");
        }
        room.talk();
        room.expect_a_clean_cut();
        drop(room);
        let counts = server.stop();
        assert!(counts.dropped_slow > 0, "{counts:?}");
        let accounted = counts.delivered + counts.dropped_slow + counts.dropped_gone;
        assert_eq!(counts.fanned_out, accounted, "{counts:?}");
    });
}

#[test]
fn a_stalled_websocket_reader_finds_whole_messages_and_then_perhaps_why_it_was_cut() {
    at_once(Shape::ALL, |shape| {
        let server = TestServer::start(shape, small_outboxes);
        let mut stalled = WebSocket::connect(server.http);
        stalled.send(frame(FINAL_TEXT, "JOIN a"));
        stalled.expect(WELCOME);
        stalled.expect("Joined a");
        let mut publisher = Client::member(&server, Transport::Tcp, "a", "publisher");
        let text = "x".repeat(1_000);
        until(|| {
            (0..ROUND).for_each(|_| publisher.send(&text));
            publisher.fence();
            publisher.request("WHO") == r#"Members of a: ["publisher"]"#
        });
        let text = format!("[publisher] {text}");
        let header = [&[FINAL_TEXT, 126][..], &(text.len() as u16).to_be_bytes()].concat();
        let message = [&header[..], text.as_bytes()].concat();
        let heard = stalled.rest_if_not_reset();
        let messages = heard.strip_suffix(b"\x88\x0f\x0f\xa8slow-consumer").unwrap_or(&heard);
        assert!(!messages.is_empty(), "it got nothing of what the kernel took for it");
        assert!(messages.chunks(message.len()).all(|chunk| message.starts_with(chunk)));
        let is_whole = messages.len().is_multiple_of(message.len());
        assert!(is_whole || messages.len() == heard.len(), "the last message was cut in two");
    });
}

#[test]
fn a_reader_within_its_bounds_is_cut_once_its_oldest_byte_is_too_old() {
    contract(|shape, transport| {
        let slow_after = |settings: &mut Settings| settings.slow_after = Span(Duration::from_millis(200));
        let server = TestServer::start(shape, slow_after);
        let mut room = Room::open(&server, transport);
        // More than the kernel buffers for it, less than its outbox may hold.
        (0..8).for_each(|_| room.talk());
        until(|| room.has_lost_the_stalled_one());
        room.talk();
        room.expect_a_clean_cut();
    });
}

#[test]
fn who_asks_for_ever_and_never_reads_is_cut_while_others_are_served() {
    at_once(Transport::ALL, |transport| {
        expect_who_asks_for_ever_to_be_cut(Shape::ONE, transport, SlowPolicy::Disconnect);
    });
}

#[test]
fn who_asks_for_ever_and_never_reads_is_cut_even_where_messages_are_dropped_since_answers_never_are() {
    at_once(Transport::ALL, |transport| {
        expect_who_asks_for_ever_to_be_cut(Shape::MANY, transport, SlowPolicy::DropOldest);
    });
}

fn expect_who_asks_for_ever_to_be_cut(shape: Shape, transport: Transport, policy: SlowPolicy) {
    let server = TestServer::start(shape, |settings| {
        small_outboxes(settings);
        settings.slow = policy;
    });
    let mut other = Client::member(&server, transport, "a", "other");
    let asker = Lines::connect_short_of_buffer(server.tcp);
    let mut output = asker.write_half();
    // Ends with the connection.
    let asking = thread::spawn(move || {
        let questions = "HELP\n".repeat(1_000);
        while output.write_all(questions.as_bytes()).is_ok() {}
    });
    until(|| {
        assert_eq!(other.request("hello"), "[other] hello");
        asking.is_finished()
    });
    asking.join().expect("it only writes");
    other.expect_nothing();
}

#[test]
fn members_that_do_not_read_in_a_quiet_room_are_left_alone() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, small_outboxes);
        let mut room = Room::open(&server, transport);
        room.talk();
        let mut busy = Client::member(&server, transport, "b", "busy");
        for _ in 0..100 {
            busy.request("hello");
        }
        assert!(!room.has_lost_the_stalled_one());
        let said = room.said.clone();
        said.lines().for_each(|line| room.stalled.expect(line));
    });
}

#[test]
fn one_client_too_many_is_told_so_and_a_place_is_free_again_once_another_leaves() {
    contract_without_tls(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.max_clients = Some(2));
        let mut first = Client::connect(&server, transport);
        let mut second = Client::member(&server, transport, "a", "second");
        assert_eq!(Lines::connect(server.tcp).rest(), "ERR closed too-many-connections\n");
        second.expect_nothing();
        assert_eq!(first.request("QUIT"), "Bye");
        first.expect_end();
        drop(first);
        until(|| Lines::connect(server.tcp).line() == WELCOME);
        assert_eq!(second.request("hello"), "[second] hello");
    });
}

#[test]
fn one_client_too_many_is_told_so_though_it_talks_at_once() {
    const TRIES: usize = 200;
    let server = TestServer::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let _first = Client::connect(&server, Transport::Tcp);
    for _ in 0..TRIES {
        let mut client = Lines::connect(server.tcp);
        client.send("JOIN a\nhello\n");
        // Text and the end of the stream: a reset would be an error here.
        assert_eq!(client.rest(), "ERR closed too-many-connections\n");
    }
}
