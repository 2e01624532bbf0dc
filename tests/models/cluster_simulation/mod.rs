//! Simulates several nodes around one stream: sessions, shards and writers of each, under a seeded scheduler. At every
//! tick one of them, one client or the stream makes one step.

mod checks;
mod clients;
mod node;
mod stream;

use std::rc::Rc;
use std::time::{Duration, Instant};

use proptest::test_runner::Config as ProptestConfig;
use roomcast::broker::{Now, Page, ShardRules};
use roomcast::config::{HistoryLimits, LimitsOfRoom};
use roomcast::protocol::names::RoomName;

use self::checks::{Received, Truth};
use self::clients::{Backend, Bookmark, Client};
use self::node::Node;
use self::stream::{Stream, stored_at};
use crate::common::{PrintOnPanic, ROOM_LIMITS, Random, limits_of_all, rules};
use crate::simulation::tasks::WriterTask;
use crate::wire::ALL;

const NODES: usize = 3;
const ROOMS: usize = 3;

/// The number of clients in a run, and the most of them at once.
const CLIENTS: usize = 16;
const CLIENTS_AT_ONCE: usize = 8;

/// The most ticks of a run. A longer run counts as stuck.
const TICKS_MAX: usize = 400_000;

struct World {
    random: Random,
    now: Instant,
    started: Now,
    nodes: Vec<Node>,
    stream: Stream,
    clients: Vec<Client>,
    backend: Backend,
    rooms: Rc<[RoomName]>,
    /// Nothing is lost in the run, so that every client that resumes gets what it has missed.
    is_gentle: bool,
    is_ending: bool,
}

/// Names of equal length. Each room is on the same shard of a node in every run, and on different ones of two nodes.
fn rooms(nodes: &[Node]) -> Rc<[RoomName]> {
    let names = (100..1_000).map(|number| RoomName::parse(&format!("r{number}")).expect("a valid name"));
    let mut names: Vec<RoomName> = names.collect();
    (0..ROOMS)
        .map(|room| {
            let is_there = |node: &Node, name| (node.shard_of)(name) == (room + node.number) % node.shards.len();
            let place = names.iter().position(|name| nodes.iter().all(|node| is_there(node, name)));
            names.remove(place.expect("one in eight names fits"))
        })
        .collect()
}

impl World {
    fn new(seed: u64, shards: usize, writers: usize) -> Self {
        let mut random = Random(seed);
        let is_gentle = random.one_in(2);
        let messages_max = if is_gentle { 1_000 } else { [0, 4, 1_000][random.below(3)] };
        let age_max = if is_gentle || random.one_in(2) { 1_000_000 } else { 800 };
        let room = LimitsOfRoom {
            history_messages_max: messages_max,
            history_age_max: Duration::from_millis(age_max),
            ..ROOM_LIMITS
        };
        let history = HistoryLimits { budget: 1 << 30, recovery_messages_max: 1_000 };
        let rules = ShardRules { history, replay_bytes_max: 1 << 20, rooms: limits_of_all(room), ..rules() };
        let stream = Stream::new(!is_gentle && random.one_in(2));
        let epoch = stream.life().epoch;
        let mut nodes: Vec<Node> =
            (0..NODES).map(|number| Node::new(number, (shards, writers), rules.clone(), epoch)).collect();
        // One starts late in some runs.
        let late = usize::from(random.one_in(2));
        nodes.iter_mut().skip(late).for_each(|node| node.start(&stream));
        let started = Now::read();
        Self {
            random,
            now: started.instant,
            started,
            rooms: rooms(&nodes),
            nodes,
            stream,
            clients: Vec::new(),
            backend: Backend::default(),
            is_gentle,
            is_ending: false,
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.now, unix: stored_at((self.started.instant, self.started.unix), self.now) }
    }

    fn run(&mut self) -> Received {
        for tick in 0..TICKS_MAX {
            self.tick();
            if tick % 64 > 0 {
                continue;
            }
            let is_at_rest = self.clients.iter().all(Client::is_at_rest);
            self.is_ending |= self.clients.len() == CLIENTS && is_at_rest && self.backend.is_idle();
            if self.is_ending && self.is_over() {
                return self.check_end();
            }
        }
        let state = |node: &Node| (node.is_idle(&self.stream), node.outbound.is_idle(), node.outbound.is_down);
        let nodes: Vec<_> = self.nodes.iter().map(state).collect();
        let clients: Vec<_> = self.clients.iter().filter(|client| !client.is_done()).collect();
        panic!("the end is never reached: {} {nodes:?} {clients:?}", self.is_ending);
    }

    fn tick(&mut self) {
        self.now += Duration::from_micros(1);
        let node = self.random.below(NODES);
        let now = self.now();
        match self.random.below(64) {
            0..14 => self.step_client(),
            14..26 => self.nodes[node].step_shard(now, &mut self.random),
            26..34 => self.step_writer(node, WriterTask::take_command),
            34..42 => self.step_writer(node, WriterTask::flush),
            42..50 if self.is_ending => self.end_outage(node),
            42..50 => self.nodes[node].step_outbound(&mut self.stream, now, &mut self.random),
            // The first node that runs is slower than the others.
            50..58 if node > 0 || self.random.one_in(3) => self.nodes[node].follow(&mut self.stream, &mut self.random),
            58..60 => self.open(node),
            60 => self.pass_time(),
            61 => self.step_backend(node),
            62 if !self.is_ending => self.start_late(node),
            63 if !self.is_gentle && !self.is_ending && self.random.one_in(64) => self.stream.make_anew(),
            _ => self.backend.poll(),
        }
    }

    /// The connections come back, and what waits is sent.
    fn end_outage(&mut self, node: usize) {
        self.start_late(node);
        self.nodes[node].outbound.is_down = false;
        let now = self.now();
        self.nodes[node].step_outbound(&mut self.stream, now, &mut self.random);
    }

    fn start_late(&mut self, node: usize) {
        if self.nodes[node].following.is_none() && (self.is_ending || self.random.one_in(16)) {
            self.nodes[node].start(&self.stream);
        }
    }

    fn step_client(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let client = self.random.below(self.clients.len());
        let client = &mut self.clients[client];
        let node = &self.nodes[client.node];
        client.step(node, &mut self.random);
        // Once all is settled, each says where it is, so that what was never sent to it shows.
        if self.is_ending && (client.is_leaving() || self.nodes.iter().all(|node| node.is_idle(&self.stream))) {
            client.say_last_words();
        }
    }

    fn step_writer(&mut self, node: usize, step: fn(&mut WriterTask, Instant)) {
        let writers = &mut self.nodes[node].writers;
        let writer = self.random.below(writers.len());
        step(&mut writers[writer], self.now);
    }

    fn pass_time(&mut self) {
        let milliseconds = if self.is_gentle { 10 } else { 600 };
        self.now += Duration::from_millis(self.random.below(milliseconds) as u64);
    }

    fn step_backend(&mut self, node: usize) {
        if self.is_ending || !self.nodes[node].is_ready() || !self.random.one_in(3) {
            return;
        }
        let room = self.rooms[self.random.below(ROOMS)].clone();
        if !self.is_gentle && self.random.one_in(8) {
            self.backend.remove_history(&self.nodes[node], room);
        } else {
            // A node that has missed a key does not know its repeats.
            let has_key = !self.stream.forgets && self.random.one_in(2);
            self.backend.publish(&self.nodes[node], room, has_key, &mut self.random);
        }
    }

    fn open(&mut self, node: usize) {
        let here = self.clients.iter().filter(|client| !client.is_done()).count();
        if self.clients.len() == CLIENTS || here >= CLIENTS_AT_ONCE || !self.nodes[node].is_ready() {
            return;
        }
        let bookmark = self.bookmark();
        let writer = self.random.below(self.nodes[node].writers.len());
        let address = self.nodes[node].writers[writer].open(writer, ALL, ALL);
        let client =
            Client::new(self.clients.len(), &self.nodes[node], address, Rc::clone(&self.rooms), &mut self.random);
        self.clients.push(client.resuming(bookmark));
    }

    /// Where a client that has ended would resume.
    fn bookmark(&mut self) -> Option<Bookmark> {
        let truth = Truth::of(&self.stream);
        let ended = self.clients.iter().rev().filter(|client| client.is_done());
        let bookmarks = ended.filter_map(|client| self.check_client(&truth, client).bookmark);
        let bookmarks: Vec<Bookmark> = bookmarks.take(3).collect();
        if bookmarks.is_empty() || self.random.one_in(6) {
            return None;
        }
        Some(bookmarks[self.random.below(bookmarks.len())].clone())
    }

    fn check_client(&self, truth: &Truth, client: &Client) -> Received {
        let node = &self.nodes[client.node];
        let socket = node.writers[usize::from(client.address.writer.0)].socket(client.address.slot);
        let begun = node.following.as_ref().map_or(0, |following| following.begun);
        truth.check_client(client, begun, &socket.taken, client.is_done() && socket.finished)
    }

    fn is_over(&self) -> bool {
        let is_done = self.clients.iter().all(Client::is_done);
        let is_written = self.nodes.iter().flat_map(|node| &node.writers).all(WriterTask::is_idle);
        is_done && is_written && self.backend.is_idle() && self.nodes.iter().all(|node| node.is_idle(&self.stream))
    }

    fn check_end(&mut self) -> Received {
        let truth = Truth::of(&self.stream);
        truth.check();
        let mut all = Received::default();
        for client in &self.clients {
            let received = self.check_client(&truth, client);
            all.add(&received);
        }
        assert!(!self.is_gentle || all.unrecovered == 0, "{} could not resume", all.unrecovered);
        self.check_backend(&truth);
        self.check_histories(&truth);
        all
    }

    /// What was answered with a place is there, what was refused is not.
    fn check_backend(&self, truth: &Truth) {
        for (room, text, result) in &self.backend.published {
            let is_keyed = text.rsplit_once('.').is_some_and(|(_, number)| number.len() < 3);
            match result {
                Ok(position) => {
                    let position = position.expect("a place in the stream");
                    let offset = truth.offset(position, room, &format!("[api] {text}"));
                    assert_eq!(offset, Some(position.offset), "{text}");
                }
                Err(error) if error.to_string().contains("not published") => {
                    assert!(is_keyed || !truth.is_stored(text), "{text} was refused");
                }
                Err(error) => assert!(error.to_string().contains("in time"), "{error}"),
            }
        }
    }

    /// All nodes retain the same of each room, as far as each goes back.
    fn check_histories(&mut self, truth: &Truth) {
        let newest = self.stream.lives.len() - 1;
        for node in 0..NODES {
            for room in Rc::clone(&self.rooms).iter() {
                let page = self.page(node, room);
                let Some(position) = page.position else { continue };
                let stored = truth.room(newest, room);
                assert_eq!(truth.place(room, position), (newest, stored.len()), "node {node} is at its end");
                assert!(position.offset <= self.stream.life().end());
                let retained = stored.iter().filter(|(offset, _)| *offset > page.forgotten);
                let offsets: Vec<_> = page.publications.iter().map(|publication| publication.offset).collect();
                assert_eq!(offsets, retained.map(|(offset, _)| *offset).collect::<Vec<_>>(), "of {room:?} on {node}");
                let removed = self.stream.life().removed(room);
                assert!(offsets.first().is_none_or(|first| *first > removed), "{room:?} was removed");
            }
        }
    }

    fn page(&mut self, node: usize, room: &RoomName) -> roomcast::broker::PageOfRoom {
        let all = Page { since: None, messages_max: usize::MAX, is_reverse: false };
        let mut page = Box::pin(self.nodes[node].broker.page(room.clone(), all));
        loop {
            let now = self.now();
            self.nodes[node].step_shard(now, &mut self.random);
            if let Some(page) = futures_util::FutureExt::now_or_never(&mut page) {
                return page.expect("no position was given");
            }
        }
    }
}

fn run(seed: u64, shards: usize, writers: usize) -> Received {
    let _print = PrintOnPanic { seed, shards, writers };
    World::new(seed, shards, writers).run()
}

/// Runs a seed for four cases that a property has: 64, or a quarter of `PROPTEST_CASES`.
fn run_many(shards: usize, writers: usize) {
    let runs = ProptestConfig::default().cases / 4;
    let mut seeds = Random((shards * 16 + writers) as u64);
    let mut all = Received::default();
    (0..runs).for_each(|_| all.add(&run(seeds.next(), shards, writers)));
    // Everything that can happen must be common enough, otherwise the runs would test too little.
    let Received { messages, recovered, unrecovered, replayed, positions, refused, unknown, .. } = all;
    let counts = [messages, recovered, unrecovered, replayed, positions, refused, unknown];
    assert!(counts.iter().all(|count| *count > runs as usize / 16), "{all:?}");
}

#[test]
fn all_nodes_give_their_members_each_room_in_the_same_order_with_one_shard() {
    run_many(1, 1);
}

#[test]
fn all_nodes_give_their_members_each_room_in_the_same_order_with_two_shards() {
    run_many(2, 2);
}
