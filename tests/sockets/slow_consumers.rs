//! Members that read nothing or hardly anything, under load: they are disconnected, or get notices of what is missing.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use harness::{Client, Disconnect, Transport, at_once, metrics, until};
use roomcast::config::{Settings, Size, SlowPolicy, Span};

use crate::server::{Shape, TestServer, contract};

/// Messages per round trip: fewer than the kernel buffers for a member that reads.
const ROUND: usize = 32;

/// Far more than the outbox of a member and the kernel's buffers hold.
const ROUNDS: usize = 30;

const STALLED: [Transport; 4] = [Transport::Tcp, Transport::WebSocket, Transport::Tcp, Transport::WebSocket];

fn text(number: usize) -> String {
    format!("{number:08}{}", "x".repeat(1_000))
}

fn small_outboxes(policy: SlowPolicy) -> impl Fn(&mut Settings) {
    move |settings| {
        settings.slow = policy;
        settings.slow_after = Span(Duration::from_secs(3600));
        settings.message_bytes = Size(2 * 1024);
        settings.outbox_bytes = Size(16 * 1024);
    }
}

/// A room with members that read and members that do not on every transport, and all messages so far.
struct Room {
    publisher: Client,
    healthy: Vec<Client>,
    stalled: Vec<Client>,
    said: Vec<String>,
}

impl Room {
    fn open(server: &TestServer, publisher: Transport, stalled: &[Transport]) -> Self {
        let member = |transport| Client::member(server, transport, "a", "member");
        let stalled_member = |transport| Client::member_short_of_buffer(server, transport, "a", "stalled");
        Self {
            publisher: Client::member(server, publisher, "a", "publisher"),
            healthy: Transport::ALL.map(member).into(),
            stalled: stalled.iter().copied().map(stalled_member).collect(),
            said: Vec::new(),
        }
    }

    /// Publishes a round of messages, which every healthy member gets in the same round.
    #[track_caller]
    fn talk(&mut self) {
        let texts: Vec<String> = (self.said.len()..).take(ROUND).map(text).collect();
        texts.iter().for_each(|text| self.publisher.send(text));
        let said: Vec<String> = texts.iter().map(|text| format!("[publisher] {text}")).collect();
        assert_eq!(self.publisher.fence(), said);
        self.healthy.iter_mut().for_each(|member| assert_eq!(member.fence(), said));
        self.said.extend(said);
    }

    fn members(&self) -> usize {
        1 + self.healthy.len() + self.stalled.len()
    }
}

/// The messages came in order, except for those that notices count as missing. Returns the number of missing ones.
#[track_caller]
fn missing(said: &[String], heard: &[String]) -> usize {
    let (mut at, mut missing) = (0, 0);
    for line in heard {
        if let Some(count) = line.strip_prefix("GAP ") {
            let count: usize = count.parse().expect("a number");
            assert!(count > 0, "a notice of nothing");
            (at, missing) = (at + count, missing + count);
        } else {
            assert_eq!(said.get(at), Some(line), "behind {missing} missing");
            at += 1;
        }
    }
    assert_eq!(at, said.len(), "neither heard nor said to be missing");
    missing
}

/// Every delivery was made, was dropped for a reason, or is queued.
#[track_caller]
fn expect_conservation(server: &TestServer) {
    let found = metrics(server.http);
    let dropped: f64 = ["slow", "gap", "gone"].map(|reason| found[&dropped(reason)]).iter().sum();
    let ended = found["roomcast_deliveries_total"] + dropped;
    assert_eq!(found["roomcast_fanned_out_total"], ended + found["roomcast_queued_deliveries"]);
}

fn dropped(reason: &str) -> String {
    format!("roomcast_dropped_total{{reason=\"{reason}\"}}")
}

#[test]
fn who_does_not_read_loses_the_oldest_messages_and_is_told_how_many_at_the_place_where_they_were() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, small_outboxes(SlowPolicy::DropOldest));
        let mut room = Room::open(&server, transport, &STALLED);
        for _ in 0..3 {
            (0..ROUNDS / 3).for_each(|_| room.talk());
            expect_conservation(&server);
        }
        let Room { said, stalled, .. } = &mut room;
        let missing: Vec<usize> = stalled.iter_mut().map(|member| missing(said, &member.fence())).collect();
        assert!(missing.iter().all(|&missing| missing > ROUND), "{missing:?}");
        room.talk();
        assert!(room.stalled.iter_mut().all(|member| member.fence() == room.said[room.said.len() - ROUND..]));

        let due = (room.said.len() * room.members()) as f64;
        let missing = missing.iter().sum::<usize>() as f64;
        until(|| metrics(server.http)["roomcast_outbox_held_bytes"] == 0.0);
        let found = metrics(server.http);
        assert_eq!(found["roomcast_fanned_out_total"], due);
        assert_eq!(found["roomcast_deliveries_total"], due - missing);
        assert_eq!(found[&dropped("gap")], missing);
        assert_eq!((found[&dropped("slow")], found["roomcast_queued_deliveries"]), (0.0, 0.0));
        assert_eq!(found["roomcast_outbox_bytes"], 0.0);
    });
}

#[test]
fn what_was_due_under_load_to_members_that_are_cut_is_delivered_or_dropped_and_counted() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, small_outboxes(SlowPolicy::Disconnect));
        let mut room = Room::open(&server, transport, &STALLED);
        let everyone_healthy = r#"Members of a: ["member", "member", "publisher"]"#;
        until(|| {
            room.talk();
            room.publisher.request("WHO") == everyone_healthy
        });
        expect_conservation(&server);
        let said_to_all = room.said.len();
        room.talk();
        let stalled = std::mem::take(&mut room.stalled);
        drop(stalled);
        until(|| metrics(server.http)["roomcast_outbox_held_bytes"] == 0.0);
        let found = metrics(server.http);
        let healthy = (room.said.len() * room.members()) as f64;
        let due = found["roomcast_fanned_out_total"];
        assert!(due > healthy && due <= healthy + (STALLED.len() * said_to_all) as f64, "{due}");
        assert!(found["roomcast_deliveries_total"] >= healthy);
        assert!(found[&dropped("slow")] > 0.0 && found[&dropped("gap")] == 0.0);
        assert_eq!((found["roomcast_queued_deliveries"], found["roomcast_outbox_bytes"]), (0.0, 0.0));
        let counts = server.stop();
        let ended = counts.delivered + counts.dropped_slow + counts.dropped_gone;
        assert_eq!(counts.fanned_out, ended, "{counts:?}");
    });
}

/// A room with much pending for its stalled members.
#[track_caller]
fn open_with_much_pending(server: &TestServer, stalled: &[Transport]) -> Room {
    let mut room = Room::open(server, Transport::Tcp, stalled);
    (0..8).for_each(|_| room.talk());
    room
}

/// Publishes rounds until only the members `left` are in the room. Does `meanwhile` behind each round.
#[track_caller]
fn talk_until_left(room: &mut Room, left: &str, mut meanwhile: impl FnMut(&mut Room)) {
    let left = format!("Members of a: {left}");
    until(|| {
        let is_over = room.publisher.request("WHO") == left;
        if !is_over {
            room.talk();
            meanwhile(room);
        }
        is_over
    });
}

/// A reader that is cut for its age reads so much at once, about what the kernel holds for it, and so seldom that
/// sweeps between two reads find its socket full. It reads several times in the second after the cut, in which it must
/// take something to be told why.
const LINES_AT_ONCE: usize = 4;
const READ_EVERY: Duration = Duration::from_millis(250);

/// Lets a member read a little now and then, until it is told that it was cut. In a thread of its own, since a round
/// may take longer than the server waits for a client that it has cut.
fn read_a_little(mut member: Client) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut heard = Vec::new();
        member.hear_until_closed(Disconnect::SlowConsumer, |line| {
            heard.push(line);
            if heard.len().is_multiple_of(LINES_AT_ONCE) {
                thread::sleep(READ_EVERY);
            }
        });
        heard
    })
}

/// More than is ever pending for a member here.
const OUTBOX_BYTES: usize = 1 << 30;

const SLOW_AFTER: Duration = Duration::from_secs(1);

fn old_after_a_second(policy: SlowPolicy) -> impl Fn(&mut Settings) {
    move |settings| {
        settings.slow = policy;
        settings.slow_after = Span(SLOW_AFTER);
        settings.outbox_bytes = Size(OUTBOX_BYTES);
        settings.outbox_budget = Size(1 << 40);
        settings.outbox_messages = if policy == SlowPolicy::Disconnect { 1 << 20 } else { 256 };
    }
}

#[test]
fn a_member_that_reads_a_little_for_ever_is_cut_by_the_age_of_its_oldest_byte_and_told_so_behind_whole_lines() {
    at_once(Transport::ALL, |transport| {
        let server = TestServer::start(Shape::MANY, old_after_a_second(SlowPolicy::Disconnect));
        let begun = Instant::now();
        let left = r#"["member", "member", "publisher"]"#;
        let mut room = open_with_much_pending(&server, &[transport]);
        let reading = read_a_little(room.stalled.remove(0));
        talk_until_left(&mut room, left, |_| {});
        let heard = reading.join().expect("it is told why");
        assert!(begun.elapsed() >= SLOW_AFTER, "it was cut before anything was old");
        let said_bytes: usize = room.said.iter().map(String::len).sum();
        assert!(said_bytes < OUTBOX_BYTES && room.said.len() < 1 << 20, "it may have passed a bound");
        assert!(room.said.starts_with(&heard) && heard.len() < room.said.len(), "{} lines", heard.len());
        room.talk();
        until(|| metrics(server.http)["roomcast_outbox_held_bytes"] == 0.0);
        assert!(metrics(server.http)[&dropped("slow")] > 0.0);
    });
}

#[test]
fn where_the_oldest_are_dropped_who_reads_a_little_for_ever_stays_and_who_reads_nothing_is_cut() {
    at_once(Transport::ALL, |transport| {
        let server = TestServer::start(Shape::MANY, |settings| {
            old_after_a_second(SlowPolicy::DropOldest)(settings);
            // The one that stays reads in each round, and a round may take longer than a second beside all other tests.
            settings.slow_after = Span(SLOW_AFTER * 5);
        });
        let one_is_left = r#"["member", "member", "publisher", "stalled"]"#;
        let mut room = open_with_much_pending(&server, &[transport, transport]);
        talk_until_left(&mut room, one_is_left, |room| drop(room.stalled[0].line()));
        room.stalled[0].fence();
        room.talk();
        assert_eq!(room.stalled[0].fence(), room.said[room.said.len() - ROUND..]);
        let found = metrics(server.http);
        assert!(found[&dropped("gap")] > 0.0 && found[&dropped("slow")] > 0.0);
    });
}
