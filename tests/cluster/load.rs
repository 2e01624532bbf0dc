//! Members of all kinds on all nodes, and publishers of all kinds among them, in two rooms. Ended by a last text in each
//! room, behind which what all have heard is compared with one order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use harness::{NodeAddress, until};
use serde_json::{Value, json};

use crate::checker::{Heard, Outcome, Record};
use crate::listener::{Kind, Listener, Staying};
use crate::nodes::{Backend, Nodes};
use crate::publisher::{Published, Publisher, Way};

const ROOMS: [&str; 2] = ["a", "b"];

/// The text that ends a listener.
const LAST: &str = "over";

/// A thread with a count of what it has got.
struct Counted<T> {
    name: String,
    room: &'static str,
    count: Arc<AtomicUsize>,
    thread: JoinHandle<T>,
}

impl<T> Counted<T> {
    fn count(&self) -> usize {
        assert!(!self.thread.is_finished(), "{} has ended", self.name);
        self.count.load(Ordering::Acquire)
    }
}

/// Listeners and publishers at work.
pub struct Load {
    nodes: Vec<NodeAddress>,
    key: String,
    is_over: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    listeners: Vec<Counted<Vec<Heard>>>,
    publishers: Vec<Counted<Vec<Published>>>,
}

/// What the members and publishers have been through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Texts that were acknowledged.
    pub acknowledged: usize,
    /// Texts of which the publisher was told that they are not published.
    pub refused: usize,
    /// Texts of which the publisher knows nothing.
    pub unknown: usize,
    /// Members that came back and missed nothing.
    pub recovered: usize,
    /// Members that came back and were told that they miss something.
    pub gaps: usize,
}

impl Load {
    /// Starts one listener of each kind and one publisher of each kind on every node, and waits until all have begun.
    #[track_caller]
    pub fn start(nodes: &Nodes) -> Self {
        Self::start_with(nodes, Staying::Always)
    }

    /// The same with listeners that may cut themselves.
    #[track_caller]
    pub fn start_with(nodes: &Nodes, staying: Staying) -> Self {
        let (key, is_over) = (nodes.key.clone(), Arc::new(AtomicBool::new(false)));
        let (listeners, publishers, refused) = (Vec::new(), Vec::new(), Arc::default());
        let mut load = Self { nodes: nodes.addresses(), key, is_over, refused, listeners, publishers };
        let [text, told]: [Vec<usize>; 2] =
            [true, false].map(|is_text| (0..Kind::ALL.len()).filter(|&kind| is_text == is_text_kind(kind)).collect());
        // Members that are told places come first, so that the place of every text is known.
        load.listen(&told, staying);
        load.say_hello();
        load.listen(&text, staying);
        load.publish();
        load.until_all_go_on(1);
        load
    }

    fn listen(&mut self, kinds: &[usize], staying: Staying) {
        for node in 0..self.nodes.len() {
            for &number in kinds {
                let (kind, room) = (Kind::ALL[number], ROOMS[(node + number) % ROOMS.len()]);
                let listener = Listener::new(kind, room, &self.nodes, node, LAST, staying);
                let listener = spawn(format!("{kind:?} of node {node}"), room, move |count| listener.listen(count));
                self.listeners.push(listener);
            }
        }
    }

    /// Publishes until all listeners that there are have heard something.
    fn say_hello(&self) {
        let mut backend = Backend::new(self.nodes[0], &self.key);
        let mut number = 0;
        until(|| {
            number += 1;
            ROOMS.iter().for_each(|room| drop(backend.publish(room, &format!("hello {number}"))));
            self.listeners.iter().all(|listener| listener.count() > 0)
        });
    }

    fn publish(&mut self) {
        for node in 0..self.nodes.len() {
            for (number, way) in Way::ALL.into_iter().enumerate() {
                let room = ROOMS[(node + number) % ROOMS.len()];
                let name = format!("{way:?}{node}");
                let publisher = Publisher::new(way, &name, room, &self.nodes, node, &self.key);
                let (is_over, refused) = (Arc::clone(&self.is_over), Arc::clone(&self.refused));
                let publish = move |acknowledged: &AtomicUsize| publisher.publish(acknowledged, &refused, &is_over);
                self.publishers.push(spawn(name, room, publish));
            }
        }
    }

    /// Waits until each listener has heard as many texts more, and each publisher had as many more acknowledged.
    #[track_caller]
    pub fn until_all_go_on(&self, texts: usize) {
        let counts = || -> Vec<usize> {
            let listeners = self.listeners.iter().map(Counted::count);
            listeners.chain(self.publishers.iter().map(Counted::count)).collect()
        };
        let before = counts();
        until(|| counts().into_iter().zip(&before).all(|(now, before)| now >= before + texts));
    }

    /// Waits until a publisher is told that what it publishes is not published.
    #[track_caller]
    pub fn until_refused(&self) {
        let before = self.refused.load(Ordering::Acquire);
        until(|| self.refused.load(Ordering::Acquire) > before);
    }

    /// Ends publishers and listeners, and compares what they have heard and were told.
    #[track_caller]
    pub fn end(self) -> Summary {
        self.is_over.store(true, Ordering::Release);
        let mut records: HashMap<&str, Record> = HashMap::new();
        for publisher in self.publishers {
            let published = publisher.thread.join().expect("a publisher that works");
            records.entry(publisher.room).or_default().published.extend(published);
        }
        ROOMS.iter().for_each(|room| say_last(room, &self.nodes, &self.key));
        for listener in self.listeners {
            let heard = listener.thread.join().expect("a listener that works");
            records.entry(listener.room).or_default().members.push((listener.name, heard));
        }
        for (room, record) in &mut records {
            for (number, node) in self.nodes.iter().enumerate() {
                let history = history(room, &mut Backend::new(*node, &self.key));
                record.members.push((format!("the history of node {number}"), history));
            }
        }
        records.values().for_each(|record| record.check(LAST));
        records.values().fold(Summary::default(), |summary, record| summary.and(record))
    }
}

impl Summary {
    fn and(mut self, record: &Record) -> Self {
        for (_, outcome) in record.published.iter().flatten() {
            match outcome {
                Outcome::Acknowledged(_) => self.acknowledged += 1,
                Outcome::Refused => self.refused += 1,
                Outcome::Unknown => self.unknown += 1,
            }
        }
        for (_, heard) in &record.members {
            // The first is no coming back.
            let came = heard.iter().filter(|heard| matches!(heard, Heard::Came { .. })).skip(1);
            let (recovered, gaps): (Vec<_>, Vec<_>) =
                came.partition(|heard| **heard == Heard::Came { is_recovered: true });
            self.recovered += recovered.len();
            self.gaps += gaps.len();
        }
        self
    }
}

fn spawn<T: Send + 'static>(
    name: String,
    room: &'static str,
    work: impl FnOnce(&AtomicUsize) -> T + Send + 'static,
) -> Counted<T> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let builder = thread::Builder::new().name(name.clone());
    let thread = builder.spawn(move || work(&counted)).expect("a thread");
    Counted { name, room, count, thread }
}

fn is_text_kind(number: usize) -> bool {
    matches!(Kind::ALL[number], Kind::Text(_))
}

/// Everything that a node remembers of a room, as a member would have heard it, once it has the last text.
fn history(room: &str, backend: &mut Backend) -> Vec<Heard> {
    let mut heard = Vec::new();
    until(|| {
        let history = backend.result("history", json!({ "channel": room, "limit": -1 }));
        let epoch = history["epoch"].as_str().expect("an epoch");
        let publications = history["publications"].as_array().expect("a list").iter();
        let said = |publication: &Value| {
            let text = publication["data"]["text"].as_str().expect("a text").to_owned();
            let place = Some((epoch.to_owned(), publication["offset"].as_u64().expect("an offset")));
            Heard::Said { text, place }
        };
        heard = [Heard::Came { is_recovered: false }].into_iter().chain(publications.map(said)).collect();
        matches!(heard.last(), Some(Heard::Said { text, .. }) if text == LAST)
    });
    heard
}

/// Publishes the last text of a room once, on any node.
fn say_last(room: &str, nodes: &[NodeAddress], key: &str) {
    let call = json!({ "channel": room, "data": { "text": LAST }, "idempotency_key": LAST });
    let mut nodes = nodes.iter().cycle();
    until(|| {
        let mut backend = Backend::new(*nodes.next().expect("a cycle"), key);
        backend.try_call("publish", &call).is_ok_and(|answer| answer["result"].is_object())
    });
}
