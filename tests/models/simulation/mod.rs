//! Simulates the whole broker and its writers under a seeded scheduler. At every tick, one task, client or socket makes
//! one step. The seed of a run reproduces its interleaving.

mod clients;
mod ledger;
mod tasks;

use std::time::{Duration, Instant};

use proptest::test_runner::Config as ProptestConfig;
use roomcast::broker::ShardCommand;
use roomcast::config::{OutboxLimits, SlowPolicy};
use roomcast::protocol::listing::Listing;
use roomcast::writer::{Address, Counts};
use tokio::sync::oneshot;

use self::clients::Client;
use self::ledger::Ledger;
use self::tasks::{DELIVERIES_MAX, ShardTask, WriterTask};
use crate::common::{ROOMY, Random};
use crate::wire::ALL;

/// Limits that slow clients reach.
const LIMITS: OutboxLimits =
    OutboxLimits { bytes_max: 200, messages_max: 6, slow_after: Duration::from_secs(3), ..ROOMY };

/// Half of the seeds run with this policy, and half of them with this budget.
const DROPPING: SlowPolicy = SlowPolicy::DropOldest;
const BUDGET: usize = 1_500;

/// The number of clients in a run, and the most of them at once.
const CLIENTS: usize = 9;
const CLIENTS_AT_ONCE: usize = 6;

/// An upper bound for the replies that wait to be written beside the deliveries.
const REPLIES: usize = 40;

/// The most ticks of a run. A longer run counts as stuck.
const TICKS_MAX: usize = 100_000;

/// How fast a client's socket takes bytes.
#[derive(Clone, Copy, Debug)]
enum ReadRate {
    Unlimited,
    Slow,
    Stalled,
}

/// The whole broker with its writers and clients.
struct World {
    random: Random,
    now: Instant,
    shards: Vec<ShardTask>,
    writers: Vec<WriterTask>,
    clients: Vec<Client>,
    read_rates: Vec<ReadRate>,
    ledger: Ledger,
}

impl World {
    fn new(seed: u64, shards: usize, writers: usize) -> Self {
        let mut random = Random(seed);
        let policy = if random.one_in(2) { DROPPING } else { SlowPolicy::Disconnect };
        let budget = if random.one_in(2) { BUDGET } else { ROOMY.budget };
        let limits = OutboxLimits { policy, budget, ..LIMITS };
        Self {
            random,
            now: Instant::now(),
            shards: (0..shards).map(|_| ShardTask::new(writers)).collect(),
            writers: (0..writers).map(|_| WriterTask::new(limits)).collect(),
            clients: Vec::new(),
            read_rates: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    fn run(&mut self) {
        for tick in 0.. {
            assert!(tick < TICKS_MAX, "the end is never reached");
            self.tick();
            if tick % 64 == 0 {
                self.check_conservation();
                self.check_bound();
                if self.is_over() {
                    return self.check_end();
                }
            }
        }
    }

    fn tick(&mut self) {
        match self.random.below(64) {
            0..24 => self.step_client(),
            24..36 => self.step_shard(),
            36..44 => self.step_writer(WriterTask::take_command),
            44..52 => self.step_writer(WriterTask::flush),
            52..59 => self.grant(),
            59..61 => self.pass_time(),
            61..63 => self.open(),
            _ if self.random.one_in(16) => self.break_socket_of_last(),
            _ => {}
        }
    }

    fn step_client(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let client = self.random.below(self.clients.len());
        self.clients[client].step(&mut self.random, &mut self.shards, &mut self.writers);
    }

    fn step_shard(&mut self) {
        let shard = self.random.below(self.shards.len());
        self.shards[shard].step(&mut self.random, &mut self.ledger, &mut self.writers);
    }

    fn step_writer(&mut self, step: fn(&mut WriterTask, Instant)) {
        let writer = self.random.below(self.writers.len());
        step(&mut self.writers[writer], self.now);
    }

    /// Lets a slow client's socket take more bytes. The writer is notified if it watches the socket.
    fn grant(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let client = self.random.below(self.clients.len());
        if let ReadRate::Slow = self.read_rates[client] {
            let bytes = self.random.below(60);
            let address = self.clients[client].address;
            self.writers[usize::from(address.writer.0)].grant(self.now, address.slot, bytes);
        }
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
        let (read_rate, capacity) = match self.random.below(6) {
            0..3 => (ReadRate::Unlimited, ALL),
            3..5 => (ReadRate::Slow, 40),
            _ => (ReadRate::Stalled, self.random.below(100)),
        };
        let piece = if self.random.one_in(2) { ALL } else { 1 + self.random.below(20) };
        let writer = self.random.below(self.writers.len());
        let address = self.writers[writer].open(writer, capacity, piece);
        let commands = self.random.below(30);
        self.read_rates.push(read_rate);
        self.clients.push(Client::new(self.clients.len(), address, commands));
    }

    fn break_socket_of_last(&mut self) {
        if let Some(client) = self.clients.last() {
            self.writers[usize::from(client.address.writer.0)].break_socket(client.address.slot);
        }
    }

    fn is_over(&self) -> bool {
        self.clients.len() == CLIENTS
            && self.clients.iter().all(Client::is_done)
            && self.shards.iter().all(ShardTask::is_idle)
            && self.writers.iter().all(WriterTask::is_idle)
    }

    fn counts(&self) -> Counts {
        Counts::of(&self.writers)
    }

    /// Checks that no delivery is lost: a writer has counted it, or it is on its way to one. A writer delivers, drops
    /// or queues what it has counted.
    fn check_conservation(&self) {
        let counts = self.counts();
        let shards = self.shards.iter().map(ShardTask::deliveries_on_their_way);
        let writers = self.writers.iter().map(WriterTask::deliveries_on_their_way);
        let on_their_way: u64 = shards.chain(writers).sum();
        assert_eq!(self.ledger.fanned_out, counts.fanned_out + on_their_way);
        assert!(counts.fanned_out >= finished(&counts));
    }

    fn check_end(&mut self) {
        self.check_conservation();
        let counts = self.counts();
        assert_eq!(counts.fanned_out, finished(&counts), "all clients have ended, so no delivery is pending");
        let received = self.clients.iter().map(|client| self.check_received(client.address));
        let (received, missed) = received.fold((0, 0), |(received, missed), one| (received + one.0, missed + one.1));
        assert_eq!(counts.delivered, received);
        assert!(counts.dropped_gap >= missed, "the notices count {missed} missing messages");
        assert!(self.writers.iter().all(WriterTask::holds_nothing));
        self.check_readers();
        self.ledger.check_rooms_are_empty();
        self.check_no_room_is_left();
    }

    fn check_received(&self, address: Address) -> (u64, u64) {
        let writer = &self.writers[usize::from(address.writer.0)];
        self.ledger.check_received(address, writer.socket(address.slot))
    }

    /// Checks that a client with a socket that always takes bytes is never cut and loses no message because of others.
    fn check_readers(&self) {
        for (client, read_rate) in self.clients.iter().zip(&self.read_rates) {
            let writer = &self.writers[usize::from(client.address.writer.0)];
            let socket = writer.socket(client.address.slot);
            if let (ReadRate::Unlimited, false) = (read_rate, socket.broken) {
                let received = String::from_utf8_lossy(&socket.taken);
                assert!(!received.contains("ERR closed slow-consumer") && !received.contains("GAP "), "{received}");
                assert!(socket.finished, "cut off: {received}");
            }
        }
    }

    /// Checks how many messages a reply may wait behind. Each shard hands over batches only while the writer has room.
    fn check_bound(&self) {
        let bound = self.shards.len() * (DELIVERIES_MAX + CLIENTS_AT_ONCE) + REPLIES;
        for writer in &self.writers {
            assert!(writer.unwritten() <= bound, "{} are on their way", writer.unwritten());
        }
    }

    fn check_no_room_is_left(&mut self) {
        for shard in &mut self.shards {
            let (ack, mut rooms) = oneshot::channel();
            shard.request(ShardCommand::Rooms(Instant::now(), ack));
            assert_eq!(*rooms.try_recv().expect("answered"), Listing::default());
        }
    }
}

/// The number of deliveries that were sent or dropped.
fn finished(counts: &Counts) -> u64 {
    counts.delivered + counts.dropped_slow + counts.dropped_gap + counts.dropped_gone
}

/// Prints the call that reproduces a failed run.
struct PrintOnPanic {
    seed: u64,
    shards: usize,
    writers: usize,
}

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, shards, writers } = self;
            eprintln!("failed: run(0x{seed:x}, {shards}, {writers})");
        }
    }
}

fn run(seed: u64, shards: usize, writers: usize) -> Counts {
    let _print = PrintOnPanic { seed, shards, writers };
    let mut world = World::new(seed, shards, writers);
    world.run();
    world.counts()
}

/// Runs as many seeds as a property has cases: 256, or the value of `PROPTEST_CASES`.
fn run_many(shards: usize, writers: usize) {
    let runs = ProptestConfig::default().cases;
    let mut seeds = Random((shards * 16 + writers) as u64);
    let counts: Vec<Counts> = (0..runs).map(|_| run(seeds.next(), shards, writers)).collect();
    // Every kind of ending must be common enough, otherwise the runs would test too little.
    let met: [fn(&Counts) -> u64; 5] =
        [|of| of.delivered, |of| of.dropped_slow, |of| of.dropped_gap, |of| of.dropped_gone, |of| of.cut];
    for (index, met) in met.into_iter().enumerate() {
        assert!(counts.iter().map(met).sum::<u64>() > u64::from(runs) / 10, "count {index}");
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
