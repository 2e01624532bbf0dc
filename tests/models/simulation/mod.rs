//! The whole broker and its writers under a seeded scheduler: at every tick one task, client or socket takes one step.
//! Every interleaving can be had again from its seed.

mod clients;
mod ledger;
mod tasks;

use std::time::{Duration, Instant};

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

/// Reached by the clients that take little.
const LIMITS: OutboxLimits =
    OutboxLimits { bytes_max: 200, messages_max: 6, slow_after: Duration::from_secs(3), ..ROOMY };

/// What one seed in two has, and one in two of those and of the others.
const DROPPING: SlowPolicy = SlowPolicy::DropOldest;
const BUDGET: usize = 1_500;

/// Clients that come over time, and how many are there at once at most.
const CLIENTS: usize = 9;
const CLIENTS_AT_ONCE: usize = 6;

/// Replies that wait to be written beside the deliveries: those of all commands that are ever given, at most.
const REPLIES: usize = 40;

/// A run that has not ended by then never will.
const TICKS_MAX: usize = 100_000;

/// How much a client's socket takes.
#[derive(Clone, Copy, Debug)]
enum Appetite {
    All,
    Little,
    Nothing,
}

/// Everything there is.
struct World {
    random: Random,
    now: Instant,
    shards: Vec<ShardTask>,
    writers: Vec<WriterTask>,
    clients: Vec<Client>,
    appetites: Vec<Appetite>,
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
            appetites: Vec::new(),
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
            52..59 => self.feed(),
            59..61 => self.pass_time(),
            61..63 => self.open(),
            _ if self.random.one_in(16) => self.break_one(),
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

    /// A socket takes more, and the writer is told if it waits for that.
    fn feed(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let client = self.random.below(self.clients.len());
        if let Appetite::Little = self.appetites[client] {
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
        let (appetite, capacity) = match self.random.below(6) {
            0..3 => (Appetite::All, ALL),
            3..5 => (Appetite::Little, 40),
            _ => (Appetite::Nothing, self.random.below(100)),
        };
        let piece = if self.random.one_in(2) { ALL } else { 1 + self.random.below(20) };
        let writer = self.random.below(self.writers.len());
        let address = self.writers[writer].open(writer, capacity, piece);
        let commands = self.random.below(30);
        self.appetites.push(appetite);
        self.clients.push(Client::new(self.clients.len(), address, commands));
    }

    fn break_one(&mut self) {
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

    /// What was fanned out is with a writer or on its way there; what is with a writer is delivered, dropped or queued.
    fn check_conservation(&self) {
        let counts = self.counts();
        let shards = self.shards.iter().map(ShardTask::deliveries_on_their_way);
        let writers = self.writers.iter().map(WriterTask::deliveries_on_their_way);
        let on_their_way: u64 = shards.chain(writers).sum();
        assert_eq!(self.ledger.fanned_out, counts.fanned_out + on_their_way);
        assert!(counts.fanned_out >= ended(&counts));
    }

    fn check_end(&mut self) {
        self.check_conservation();
        let counts = self.counts();
        assert_eq!(counts.fanned_out, ended(&counts), "nobody is left to be owed anything");
        let heard = self.clients.iter().map(|client| self.check_heard(client.address));
        let (heard, missed) = heard.fold((0, 0), |(heard, missed), one| (heard + one.0, missed + one.1));
        assert_eq!(counts.delivered, heard);
        assert!(counts.dropped_gap >= missed, "{missed} were said to be missing, but for those who were cut since");
        assert!(self.writers.iter().all(WriterTask::holds_nothing));
        self.check_readers();
        self.ledger.check_nobody_is_left();
        self.check_no_room_is_left();
    }

    fn check_heard(&self, address: Address) -> (u64, u64) {
        let writer = &self.writers[usize::from(address.writer.0)];
        self.ledger.check_heard(address, writer.socket(address.slot))
    }

    /// No client whose socket always takes bytes is ever cut or loses a message, whatever others do.
    fn check_readers(&self) {
        for (client, appetite) in self.clients.iter().zip(&self.appetites) {
            let writer = &self.writers[usize::from(client.address.writer.0)];
            let socket = writer.socket(client.address.slot);
            if let (Appetite::All, false) = (appetite, socket.broken) {
                let heard = String::from_utf8_lossy(&socket.taken);
                assert!(!heard.contains("ERR closed slow-consumer") && !heard.contains("GAP "), "{heard}");
                assert!(socket.finished, "cut off: {heard}");
            }
        }
    }

    /// A reply waits behind no more deliveries than shards may hand over while there is room, each its own batch.
    fn check_bound(&self) {
        let bound = self.shards.len() * (DELIVERIES_MAX + CLIENTS_AT_ONCE) + REPLIES;
        for writer in &self.writers {
            assert!(writer.unwritten() <= bound, "{} are on their way", writer.unwritten());
        }
    }

    fn check_no_room_is_left(&mut self) {
        for shard in &mut self.shards {
            let (ack, mut rooms) = oneshot::channel();
            shard.ask(ShardCommand::Rooms(Instant::now(), ack));
            assert_eq!(*rooms.try_recv().expect("answered"), Listing::default());
        }
    }
}

/// The deliveries of which nothing more is to come.
fn ended(counts: &Counts) -> u64 {
    counts.delivered + counts.dropped_slow + counts.dropped_gap + counts.dropped_gone
}

/// Says which run failed.
struct Named {
    seed: u64,
    shards: usize,
    writers: usize,
}

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, shards, writers } = self;
            eprintln!("failed: run(0x{seed:x}, {shards}, {writers})");
        }
    }
}

fn run(seed: u64, shards: usize, writers: usize) -> Counts {
    let _named = Named { seed, shards, writers };
    let mut world = World::new(seed, shards, writers);
    world.run();
    world.counts()
}

fn run_many(shards: usize, writers: usize) {
    const RUNS: u64 = 1_000;
    let mut seeds = Random((shards * 16 + writers) as u64);
    let counts: Vec<Counts> = (0..RUNS).map(|_| run(seeds.next(), shards, writers)).collect();
    // Otherwise the runs would be too tame to show anything.
    let met: [fn(&Counts) -> u64; 5] =
        [|of| of.delivered, |of| of.dropped_slow, |of| of.dropped_gap, |of| of.dropped_gone, |of| of.cut];
    for (index, met) in met.into_iter().enumerate() {
        assert!(counts.iter().map(met).sum::<u64>() > RUNS / 10, "count {index}");
    }
}

#[test]
fn everyone_hears_each_room_in_its_one_order_with_one_shard_and_one_writer() {
    run_many(1, 1);
}

#[test]
fn everyone_hears_each_room_in_its_one_order_with_one_shard_and_two_writers() {
    run_many(1, 2);
}

#[test]
fn everyone_hears_each_room_in_its_one_order_with_two_shards_and_one_writer() {
    run_many(2, 1);
}

#[test]
fn everyone_hears_each_room_in_its_one_order_with_two_shards_and_two_writers() {
    run_many(2, 2);
}

#[test]
fn everyone_hears_each_room_in_its_one_order_with_four_shards_and_one_writer() {
    run_many(4, 1);
}

#[test]
fn everyone_hears_each_room_in_its_one_order_with_four_shards_and_two_writers() {
    run_many(4, 2);
}
