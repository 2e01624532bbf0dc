//! Simulates the whole server without its transports: sessions, broker and writers, under a seeded scheduler. At every
//! tick, one task, client or socket makes one step. The seed of a run reproduces its interleaving.

mod clients;
mod laws;
mod ledger;
mod retention;
pub mod server;
mod stream_check;
pub mod tasks;

use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{Fuse, LocalBoxFuture};
use proptest::test_runner::Config as ProptestConfig;
use roomcast::broker::{PUBLICATION_BYTES, ROOM_BYTES, Unrecovered};
use roomcast::config::{HistoryLimits, LimitsOfRoom, OutboxLimits, SlowPolicy};
use roomcast::protocol::position::Offset;
use roomcast::writer::{Counts, Slot};

use self::clients::Client;
use self::laws::finished;
use self::server::{Server, Shape};
use self::stream_check::{Bookmark, Received};
use self::tasks::WriterTask;
use crate::common::{PrintOnPanic, ROOM_LIMITS, ROOMY, Random};
use crate::wire::ALL;

/// Limits that slow clients reach.
const LIMITS: OutboxLimits =
    OutboxLimits { bytes_max: 200, messages_max: 6, slow_after: Duration::from_secs(3), ..ROOMY };

/// Half of the seeds run with this policy, and half of them with this budget.
const DROPPING: SlowPolicy = SlowPolicy::DropOldest;
const BUDGET: usize = 1_500;

/// Half of the seeds run with this many members in a room at most.
const MEMBERS_MAX: usize = 2;

/// The number of rooms, and the most of them that one client is in.
const ROOMS: usize = 4;
const ROOMS_MAX: usize = 3;

/// The number of clients in a run, and the most of them at once.
const CLIENTS: usize = 12;
const CLIENTS_AT_ONCE: usize = 6;

/// What the rooms of a shard remember. A third of the seeds run with the short age, a third with the small budget, and
/// half with the small number of publications that a client may have missed. In a third of them, now and then a rule gives
/// one room another count, another age and another number of members.
pub const HISTORY: HistoryLimits = HistoryLimits { budget: 1 << 30, recovery_messages_max: 8 };
const ROOM: LimitsOfRoom =
    LimitsOfRoom { history_messages_max: 8, history_age_max: Duration::from_secs(1_000), ..ROOM_LIMITS };
const HISTORY_AGE: Duration = Duration::from_millis(800);
const RECOVERY_MESSAGES_MAX: usize = 2;
const HISTORY_BUDGET: usize = 2 * ROOM_BYTES + 8 * (PUBLICATION_BYTES + 8);

/// An upper bound for the replies that wait to be written beside the deliveries.
const REPLIES: usize = 40;

/// The most ticks of a run. A longer run counts as stuck.
const TICKS_MAX: usize = 100_000;

/// How fast a client's socket takes bytes.
#[derive(Clone, Copy, Debug)]
enum ReadRate {
    Unlimited,
    /// The client reads at once, but its socket refuses bytes for a moment when it is full.
    AtOnce,
    Slow,
    Stalled,
}

/// The whole server with its clients.
struct World {
    random: Random,
    now: Instant,
    server: Server,
    clients: Vec<Client>,
    read_rates: Vec<ReadRate>,
    /// The limits of the rooms that no rule names.
    room: LimitsOfRoom,
    has_rules: bool,
    stop: Stop,
}

/// How the server stops, in a quarter of the seeds.
enum Stop {
    Never,
    /// Clients are ended one after another, and once all have come the rest at once.
    Spread,
    /// The rest end.
    OfAll(Fuse<LocalBoxFuture<'static, ()>>),
}

/// What has happened in a run.
struct Met {
    counts: Counts,
    received: Received,
    unrecovered: Vec<Unrecovered>,
}

impl Met {
    fn unrecovered(&self, why: Unrecovered) -> u64 {
        self.unrecovered.iter().filter(|met| **met == why).count() as u64
    }
}

impl World {
    fn new(seed: u64, shards: usize, writers: usize) -> Self {
        let mut random = Random(seed);
        let policy = if random.one_in(2) { DROPPING } else { SlowPolicy::Disconnect };
        let budget = if random.one_in(2) { BUDGET } else { ROOMY.budget };
        let members_max = if random.one_in(2) { MEMBERS_MAX } else { ROOM.members_max };
        let outbox = OutboxLimits { policy, budget, ..LIMITS };
        let history_age_max = if random.one_in(3) { HISTORY_AGE } else { ROOM.history_age_max };
        let budget = if random.one_in(3) { HISTORY_BUDGET } else { HISTORY.budget };
        let recovery_messages_max =
            if random.one_in(2) { RECOVERY_MESSAGES_MAX } else { HISTORY.recovery_messages_max };
        let history = HistoryLimits { budget, recovery_messages_max };
        let room = LimitsOfRoom { members_max, history_age_max, ..ROOM };
        let shape = Shape { shards, writers, rooms: ROOMS, outbox, room, rooms_max: ROOMS_MAX, history };
        let (server, has_rules) = (Server::new(shape), random.one_in(3));
        let (clients, read_rates) = (Vec::new(), Vec::new());
        let stop = if random.one_in(4) { Stop::Spread } else { Stop::Never };
        Self { random, now: Instant::now(), server, clients, read_rates, room, has_rules, stop }
    }

    fn run(&mut self) -> Met {
        for tick in 0..TICKS_MAX {
            self.tick();
            if tick % 64 == 0 {
                self.check_conservation();
                self.check_bound();
                self.server.writers.iter().for_each(WriterTask::check_pings);
                if self.is_over() {
                    return self.check_end();
                }
            }
        }
        panic!("the end is never reached");
    }

    fn tick(&mut self) {
        self.now += Duration::from_micros(1);
        match self.random.below(64) {
            0..24 => self.step_client(),
            24..36 => self.step_shard(),
            36..44 => self.step_writer(WriterTask::take_command),
            44..52 => self.step_writer(WriterTask::flush),
            52..59 => self.grant(),
            59..61 => self.pass_time(),
            61..63 => self.open(),
            _ if self.random.one_in(4) => self.ping(),
            _ if self.random.one_in(16) => self.break_socket_of_last(),
            _ if self.has_rules && self.random.one_in(4) => self.apply_rule(),
            _ => self.go_on_with_stop(),
        }
    }

    /// Ends a client while others go on, or all who are left, as the writers do.
    fn go_on_with_stop(&mut self) {
        let context = &mut Context::from_waker(Waker::noop());
        match &mut self.stop {
            Stop::Spread if self.clients.len() == CLIENTS && self.random.one_in(8) => {
                let drain = self.server.drain.clone();
                let mut stopping = async move { drain.stop_publishing().await }.boxed_local().fuse();
                // The phase begins before the clients end.
                let _ = stopping.poll_unpin(context);
                self.clients.iter().for_each(Client::end_by_stop);
                self.stop = Stop::OfAll(stopping);
            }
            Stop::Spread if !self.clients.is_empty() && self.random.one_in(4) => {
                self.clients[self.random.below(self.clients.len())].end_by_stop();
            }
            Stop::OfAll(stopping) => {
                let _ = stopping.poll_unpin(context);
            }
            Stop::Never | Stop::Spread => {}
        }
    }

    fn apply_rule(&mut self) {
        let (shard, room) = (self.random.below(self.server.shards.len()), self.random.below(ROOMS));
        let limits = LimitsOfRoom {
            members_max: if self.random.one_in(2) { 1 } else { ROOM.members_max },
            history_messages_max: [0, 2, 8][self.random.below(3)],
            history_age_max: if self.random.one_in(3) { HISTORY_AGE } else { ROOM.history_age_max },
            ..self.room
        };
        self.server.apply_rule(shard, self.now, room, limits, self.room);
    }

    fn step_client(&mut self) {
        if !self.clients.is_empty() {
            let client = self.random.below(self.clients.len());
            self.clients[client].step(&mut self.random);
        }
    }

    fn step_shard(&mut self) {
        let shard = self.random.below(self.server.shards.len());
        self.server.step_shard(shard, self.now, &mut self.random);
    }

    fn step_writer(&mut self, step: fn(&mut WriterTask, Instant)) {
        let writer = self.random.below(self.server.writers.len());
        step(&mut self.server.writers[writer], self.now);
    }

    /// Lets a client's socket take more bytes, unless it has always taken all or never does again. The writer is notified
    /// if it watches the socket.
    fn grant(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let client = self.random.below(self.clients.len());
        let bytes = match self.read_rates[client] {
            ReadRate::Slow => self.random.below(60),
            ReadRate::AtOnce => 0,
            ReadRate::Unlimited | ReadRate::Stalled => return,
        };
        let address = self.clients[client].address;
        self.server.writer(address).grant(self.now, address.slot, bytes);
    }

    /// Pings the clients of one writer.
    fn ping(&mut self) {
        let writer = self.random.below(self.server.writers.len());
        let here = self.clients.iter().filter(|client| client.is_here()).map(|client| client.address);
        let slots: Vec<Slot> =
            here.filter(|address| usize::from(address.writer.0) == writer).map(|address| address.slot).collect();
        self.server.writers[writer].ping(&slots);
    }

    fn pass_time(&mut self) {
        self.now += Duration::from_millis(self.random.below(300) as u64);
        self.step_writer(WriterTask::sweep);
    }

    fn open(&mut self) {
        let here = self.clients.iter().filter(|client| !client.is_done()).count();
        if self.clients.len() == CLIENTS || here >= CLIENTS_AT_ONCE {
            return;
        }
        let (read_rate, capacity) = match self.random.below(7) {
            0..2 => (ReadRate::Unlimited, ALL),
            2..4 => (ReadRate::AtOnce, 1 + self.random.below(60)),
            4..6 => (ReadRate::Slow, 40),
            _ => (ReadRate::Stalled, self.random.below(100)),
        };
        let piece = if self.random.one_in(2) { ALL } else { 1 + self.random.below(20) };
        let writer = self.random.below(self.server.writers.len());
        let address = self.server.writers[writer].open(writer, capacity, piece);
        if let ReadRate::AtOnce = read_rate {
            self.server.writer(address).read_at_once(address.slot, capacity);
        }
        let open = if self.random.one_in(3) { Client::in_many_rooms } else { Client::in_one_room };
        let commands = self.random.below(30);
        let bookmark = self.bookmark();
        self.read_rates.push(read_rate);
        self.clients.push(open(self.clients.len(), address, commands, &self.server).resuming(bookmark));
    }

    /// Where a client that has ended would resume, for most of those that come later.
    fn bookmark(&mut self) -> Option<Bookmark> {
        let ended: Vec<usize> = (0..self.clients.len()).filter(|&client| self.clients[client].is_done()).collect();
        if ended.is_empty() || self.random.one_in(4) {
            return None;
        }
        // Mostly the last one that can.
        let (client, received) = ended.into_iter().rev().take(5).find_map(|client| {
            let received = self.check_received(&self.clients[client]);
            (received.bookmark.is_some() && !self.random.one_in(4)).then_some((client, received))
        })?;
        let (client, mut bookmark) = (&self.clients[client], received.bookmark?);
        received.positions.iter().for_each(|(life, position)| self.server.ledger.learn(*life, position.epoch));
        // A client that was cut while it was sent again what it had seen still has all of it.
        let before = client.bookmark.as_ref().filter(|before| before.position == bookmark.position);
        if let Some(before) = before.filter(|before| before.seen.len() > bookmark.seen.len()) {
            bookmark.seen.clone_from(&before.seen);
        }
        if self.random.one_in(8) {
            // A position that the room may not have reached.
            bookmark.position.offset = Offset(bookmark.position.offset.0 + self.random.below(32) as u64);
            bookmark.seen.clear();
        }
        Some(bookmark)
    }

    fn break_socket_of_last(&mut self) {
        if let Some(client) = self.clients.last() {
            self.server.writer(client.address).break_socket(client.address.slot);
        }
    }

    fn is_over(&self) -> bool {
        self.clients.len() == CLIENTS && self.clients.iter().all(Client::is_done) && self.server.is_idle()
    }

    fn counts(&self) -> Counts {
        Counts::of(&self.server.writers)
    }

    fn check_end(&mut self) -> Met {
        self.check_conservation();
        let counts = self.counts();
        assert_eq!(counts.fanned_out, finished(&counts), "all clients have ended, so no delivery is pending");
        let received = self.check_all_received();
        assert_eq!(counts.delivered, received.messages);
        assert!(counts.dropped_gap >= received.missed, "the notices count {} missing messages", received.missed);
        assert!(self.server.ledger.refused >= received.refused_by_room, "{} refusals", received.refused_by_room);
        assert!(self.server.writers.iter().all(WriterTask::holds_nothing));
        self.check_readers();
        self.server.ledger.check_rooms_are_empty();
        self.check_memory_comes_back();
        let unrecovered = self.unrecovered().collect();
        Met { counts, received, unrecovered }
    }

    fn check_all_received(&mut self) -> Received {
        let mut all = Received::default();
        for client in &self.clients {
            let received = self.check_received(client);
            received.positions.iter().for_each(|(life, position)| self.server.ledger.learn(*life, position.epoch));
            all.add(&received);
            if let Some(bookmark) = &client.bookmark {
                self.server.ledger.check_resumed(client.address, bookmark);
            }
        }
        all
    }

    fn check_received(&self, client: &Client) -> Received {
        let Client { address, is_in_one_room, .. } = *client;
        self.server.ledger.check_received(address, is_in_one_room, self.server.socket(address))
    }

    /// Why clients could not have what they had missed.
    fn unrecovered(&self) -> impl Iterator<Item = Unrecovered> {
        let addresses = self.clients.iter().map(|client| client.address);
        let memberships = addresses.flat_map(|address| self.server.ledger.memberships_of(address));
        memberships.filter_map(|membership| membership.missed.err())
    }
}

fn run(seed: u64, shards: usize, writers: usize) -> Met {
    let _print = PrintOnPanic { seed, shards, writers };
    World::new(seed, shards, writers).run()
}

/// Runs as many seeds as a property has cases: 256, or the value of `PROPTEST_CASES`.
fn run_many(shards: usize, writers: usize) {
    let runs = ProptestConfig::default().cases;
    let mut seeds = Random((shards * 16 + writers) as u64);
    let met: Vec<Met> = (0..runs).map(|_| run(seeds.next(), shards, writers)).collect();
    // Everything that can happen must be common enough, otherwise the runs would test too little.
    let counts: [fn(&Met) -> u64; 15] = [
        |met| met.counts.delivered,
        |met| met.counts.dropped_slow,
        |met| met.counts.dropped_gap,
        |met| met.counts.dropped_gone,
        |met| met.counts.cut,
        |met| met.received.refused_by_room,
        |met| met.received.refused_by_session,
        |met| met.received.replayed,
        |met| met.received.unrecovered,
        |met| met.received.stopped,
        |met| met.unrecovered(Unrecovered::OtherEpoch),
        |met| met.unrecovered(Unrecovered::Ahead),
        |met| met.unrecovered(Unrecovered::Trimmed),
        |met| met.unrecovered(Unrecovered::TooMany),
        |met| met.unrecovered(Unrecovered::TooLong),
    ];
    for (index, count) in counts.into_iter().enumerate() {
        let sum: u64 = met.iter().map(count).sum();
        assert!(sum > u64::from(runs) / 16, "count {index} is only {sum}");
    }
}

#[test]
fn every_member_receives_the_messages_of_each_room_in_the_same_order_with_one_writer() {
    [1, 2, 4].into_iter().for_each(|shards| run_many(shards, 1));
}

#[test]
fn every_member_receives_the_messages_of_each_room_in_the_same_order_with_two_writers() {
    [1, 2, 4].into_iter().for_each(|shards| run_many(shards, 2));
}
