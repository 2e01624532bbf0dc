//! Clients that are cut at any byte of what they read or send and come back with a position, while others publish. What
//! such a client has taken together is compared with the room's own order: the same messages, each once, or a gap that
//! was told where the room could not have everything any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use flume::{Receiver, Sender};
use harness::{Addresses, Client, Endpoint, Random, Transport, until};
use roomcast::broker::PUBLICATION_BYTES;
use roomcast::config::Size;

use crate::cut_client::{Came, CutClient, Manner, Taken};
use crate::server::{Shape, TestServer, contract};

/// Clients of one room that are cut.
const CLIENTS: usize = 2;

/// Cuts of each client.
const CUTS: usize = 40;

/// Members that publish. Two, so that the order is the room's and not a sender's.
const PUBLISHERS: usize = 2;

/// What a room can give to a client that comes back.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The newest messages that the room retains.
    messages: usize,
    /// The bytes of messages that a client may have missed.
    bytes: usize,
}

/// Limits that the clients here hardly ever exceed.
const ROOMY: Limits = Limits { messages: 300, bytes: 1 << 20 };

impl Limits {
    /// Whether the room must tell a client that has missed these messages that it cannot have them.
    fn must_refuse(self, missed: &[String]) -> bool {
        missed.len() > self.messages || missed.iter().map(String::len).sum::<usize>() > self.bytes
    }

    /// Whether it may: each message may count for more than its bytes.
    fn may_refuse(self, missed: &[String]) -> bool {
        let bytes = missed.iter().map(|line| line.len() + PUBLICATION_BYTES).sum::<usize>();
        missed.len() > self.messages || bytes > self.bytes
    }
}

/// A room with members that publish as much as they are permitted to, and a member that is never cut and hears it all.
pub struct LiveRoom {
    tcp: Endpoint,
    http: Endpoint,
    permits: Sender<()>,
    heard: Arc<AtomicUsize>,
    witness: JoinHandle<Vec<String>>,
    publishers: Vec<JoinHandle<Client>>,
}

impl LiveRoom {
    fn open(server: &TestServer) -> Self {
        let heard = Arc::new(AtomicUsize::new(0));
        let witness = Client::member(server, Transport::Tcp, "a", "witness");
        let (permits, permitted) = flume::unbounded();
        let publisher = |number: usize| {
            let client = Client::member(server, Transport::ALL[number % 2], "a", &format!("p{number}"));
            let permitted = permitted.clone();
            thread::spawn(move || publish(client, &format!("p{number}"), &permitted))
        };
        let publishers = (0..PUBLISHERS).map(publisher).collect();
        let counted = Arc::clone(&heard);
        let witness = thread::spawn(move || hear_all(witness, &counted));
        Self { tcp: server.tcp, http: server.http, permits, heard, witness, publishers }
    }

    /// Lets the publishers say this many messages more, at once or soon.
    pub fn permit(&self, messages: usize) {
        (0..messages).for_each(|_| self.permits.send(()).expect("publishers that wait"));
    }

    /// The messages that the witness has heard so far, so that a client which asks from now on is told of no fewer.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Acquire)
    }

    /// Permits messages. If `is_waited_for`, waits until the witness has heard as many more.
    fn go_on(&self, messages: usize, is_waited_for: bool) {
        let before = self.heard();
        self.permit(messages);
        if is_waited_for {
            until(|| self.heard() >= before + messages);
        }
    }

    /// Ends the publishers. Returns all messages of the room in its order.
    fn close(self) -> Vec<String> {
        drop(self.permits);
        let ended = self.publishers.into_iter().map(|thread| thread.join().expect("it heard itself"));
        let mut publishers: Vec<Client> = ended.collect();
        publishers[0].send("over");
        self.witness.join().expect("it heard all")
    }
}

impl Addresses for LiveRoom {
    fn tcp(&self) -> Endpoint {
        self.tcp
    }

    fn http(&self) -> Endpoint {
        self.http
    }
}

/// Says one message for each permit, and reads up to its own before the next.
fn publish(mut client: Client, name: &str, permitted: &Receiver<()>) -> Client {
    for (number, ()) in permitted.iter().enumerate() {
        // Frames with short and with long headers.
        let text = format!("{number} {}", "x".repeat(number * 37 % 200));
        client.send(&text);
        let own = format!("[{name}] {text}");
        while client.line() != own {}
    }
    client
}

fn hear_all(mut witness: Client, heard: &AtomicUsize) -> Vec<String> {
    let lines = std::iter::from_fn(|| Some(witness.line()).filter(|line| line != "[p0] over"));
    lines.inspect(|_| _ = heard.fetch_add(1, Ordering::Release)).collect()
}

/// What came of a client's resumes.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    recovered: usize,
    gaps: usize,
}

/// Compares what a client has taken with the order of the room.
fn check(room: &[String], limits: Limits, taken: &[Taken]) -> Outcomes {
    let offsets: HashMap<&str, usize> = room.iter().map(String::as_str).zip(1..).collect();
    let mut outcomes = Outcomes::default();
    // The offset up to which the client has every message, or was told of the gap.
    let mut last = 0;
    // A join without a replay: the next message or position shows which offset the room had then.
    let mut unplaced: Option<Came> = None;
    for (number, taken) in taken.iter().enumerate() {
        let offset = match taken {
            Taken::Came(came) if came.is_recovered => {
                let since = came.since.expect("a client that resumes");
                assert!(unplaced.is_none(), "{number}: it recovered what was a gap before");
                let missed = &room[since..last.max(came.heard)];
                assert!(!limits.must_refuse(missed), "{number}: recovered {} messages", missed.len());
                outcomes.recovered += 1;
                continue;
            }
            Taken::Came(came) => {
                unplaced = Some(came.clone());
                continue;
            }
            Taken::Message(line) => offsets.get(line.as_str()).unwrap_or_else(|| panic!("nobody said {line:?}")) - 1,
            Taken::Position(offset) => *offset,
        };
        match unplaced.take() {
            None => assert_eq!(offset, last, "{number}: {taken:?}"),
            Some(came) => {
                assert!(
                    offset >= last.max(came.heard),
                    "{number}: {taken:?} is older than what was said before it joined"
                );
                if let Some(since) = came.since {
                    let missed = &room[since..offset];
                    assert!(limits.may_refuse(missed), "{number}: refused {} messages", missed.len());
                    outcomes.gaps += 1;
                }
            }
        }
        last = if let Taken::Message(_) = taken { offset + 1 } else { offset };
    }
    outcomes
}

/// Each publisher's messages are in the order in which it said them, and none is missing.
fn check_order(room: &[String]) {
    for publisher in 0..PUBLISHERS {
        let label = format!("[p{publisher}] ");
        let said = room.iter().filter_map(|line| line.strip_prefix(&label));
        for (number, text) in said.enumerate() {
            assert!(text.starts_with(&format!("{number} ")), "p{publisher} said {text:?} as message {number}");
        }
    }
}

/// Cuts the clients of one room again and again and compares what they have taken. Returns what came of it.
fn cut_and_compare(shape: Shape, limits: Limits, manner: Manner, cuts: usize, seed: u64) -> Outcomes {
    let server = TestServer::start(shape, |settings| {
        settings.history_messages = limits.messages;
        settings.outbox_bytes = Size(limits.bytes);
        // The witness may be slower than all publishers.
        settings.outbox_messages = 1 << 20;
        // A message must fit into an outbox.
        settings.message_bytes = Size(1024);
    });
    let room = LiveRoom::open(&server);
    let live = &room;
    let taken: Vec<Vec<Taken>> = thread::scope(|scope| {
        let clients = (0..CLIENTS as u64).map(|number| {
            let mut random = Random(seed + number);
            scope.spawn(move || {
                let mut client = CutClient::default();
                for _ in 0..cuts {
                    client.come_and_be_cut(live, manner, &mut random);
                    live.go_on(random.below(manner.away_max), random.one_in(2));
                }
                client.taken
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().expect("it got what it could be sent")).collect()
    });
    let room = room.close();
    check_order(&room);
    let outcomes = taken.iter().map(|taken| check(&room, limits, taken));
    outcomes.fold(Outcomes::default(), |sum, of_one| Outcomes {
        recovered: sum.recovered + of_one.recovered,
        gaps: sum.gaps + of_one.gaps,
    })
}

/// A client that is cut within the greeting, the reply to its join, or the first ten messages or so.
const fn manner(transports: &'static [Transport]) -> Manner {
    Manner { transports, bytes_max: 1_500, away_max: 12, position_one_in: 4 }
}

const fn only(transport: Transport) -> &'static [Transport] {
    match transport {
        Transport::Tcp => &[Transport::Tcp],
        Transport::WebSocket => &[Transport::WebSocket],
    }
}

#[test]
fn a_client_that_is_cut_at_any_byte_resumes_with_exactly_what_it_has_missed() {
    contract(|shape, transport| {
        let outcomes = cut_and_compare(shape, ROOMY, manner(only(transport)), CUTS, 1);
        assert!(outcomes.recovered > CUTS / 2, "{outcomes:?}");
    });
}

#[test]
fn where_the_room_has_not_everything_a_cut_client_is_told_of_a_gap_and_only_there() {
    contract(|shape, transport| {
        let limits = Limits { messages: 12, ..ROOMY };
        let outcomes = cut_and_compare(shape, limits, manner(only(transport)), CUTS, 2);
        assert!(outcomes.recovered > 0 && outcomes.gaps > 0, "{outcomes:?}");
    });
}

#[test]
fn a_cut_client_that_has_missed_too_many_bytes_is_told_of_a_gap_and_only_then() {
    contract(|shape, transport| {
        let limits = Limits { bytes: 4 * 1024, ..ROOMY };
        let outcomes = cut_and_compare(shape, limits, manner(only(transport)), CUTS, 3);
        assert!(outcomes.recovered > 0 && outcomes.gaps > 0, "{outcomes:?}");
    });
}

#[test]
fn without_history_a_cut_client_is_told_of_every_gap() {
    contract(|shape, transport| {
        let limits = Limits { messages: 0, ..ROOMY };
        let outcomes = cut_and_compare(shape, limits, manner(only(transport)), CUTS, 4);
        assert!(outcomes.gaps > CUTS / 2, "{outcomes:?}");
    });
}

/// A client with an old position that is cut within most of its replays, on a transport by chance.
const CUT_IN_REPLAYS: Manner =
    Manner { transports: &Transport::ALL, bytes_max: 4_000, away_max: 24, position_one_in: 40 };

#[test]
fn a_client_that_is_cut_within_one_replay_after_another_over_either_transport_gets_each_message_once() {
    harness::at_once(Shape::ALL, |shape| {
        let outcomes = cut_and_compare(shape, ROOMY, CUT_IN_REPLAYS, 2 * CUTS, 5);
        assert!(outcomes.recovered > CUTS / 2, "{outcomes:?}");
    });
}

#[test]
#[ignore = "slow: 30 000 cuts"]
fn clients_that_are_cut_thousands_of_times_lose_nothing_silently() {
    for (seed, messages) in [(1_000, 300), (2_000, 40), (3_000, 12)] {
        contract(|shape, transport| {
            let limits = Limits { messages, ..ROOMY };
            cut_and_compare(shape, limits, manner(only(transport)), 12 * CUTS, seed);
            cut_and_compare(shape, limits, CUT_IN_REPLAYS, 5 * CUTS, seed + 500);
        });
    }
}
