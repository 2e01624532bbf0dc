//! The common part of the three brokers with shared rooms: a runtime with as many threads as the sharded broker, a task
//! for each member that empties its mailbox, and a task for each publisher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, JoinSet, yield_now};

use crate::common::sink::{Round, Sink};
use crate::common::{line, room};
use crate::workload::{Action, Architecture, Workload};
use crate::{THREADS, TURN_ACTIONS};

/// Rooms that every task accesses directly.
pub trait Rooms: Default + Send + Sync + 'static {
    const NAME: &'static str;

    /// The mailbox in which a member receives the messages of its room.
    type Mailbox: Send + 'static;

    fn join(&self, room: &str, member: usize) -> Self::Mailbox;

    fn leave(&self, room: &str, member: usize);

    fn publish(&self, room: &str, message: Bytes);

    /// Takes everything until the mailbox closes.
    fn take_all(mailbox: Self::Mailbox, sink: Sink) -> impl Future<Output = ()> + Send;
}

/// The threads, the rooms and the publishers.
pub struct Shared<R: Rooms> {
    workload: Workload,
    runtime: Runtime,
    publishers: Vec<Publisher<R>>,
    round: Arc<Round>,
    rounds: flume::Receiver<Instant>,
}

/// A publisher's task.
struct Publisher<R: Rooms> {
    rooms: Arc<R>,
    names: Arc<[String]>,
    guest: usize,
    /// The guest's task while it is in a room.
    guest_in: Option<JoinHandle<()>>,
    script: Vec<Action>,
}

impl<R: Rooms> Architecture for Shared<R> {
    const NAME: &'static str = R::NAME;

    fn open(workload: Workload) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().expect("a runtime");
        let (round, rounds) = Round::first(workload.members_in_all(), workload.bytes_at_join());
        let shared = Arc::new(R::default());
        let names: Arc<[String]> = (0..workload.rooms).map(|number| room(number).as_str().to_owned()).collect();
        let context = runtime.enter();
        for member in 0..workload.members_in_all() {
            drop(start_member(&*shared, &names[workload.room_of(member)], member, Sink::new(&round)));
        }
        drop(context);
        rounds.recv().expect("everybody joins");
        let publisher = |publisher| Publisher {
            rooms: Arc::clone(&shared),
            names: Arc::clone(&names),
            guest: workload.guest_of(publisher),
            guest_in: None,
            script: workload.script(publisher),
        };
        let publishers = (0..workload.publishers).map(publisher).collect();
        Self { workload, runtime, publishers, round, rounds }
    }

    fn round(&mut self) -> Duration {
        self.round.next(self.workload.bytes_per_round());
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        for publisher in self.publishers.drain(..) {
            tasks.spawn_on(publisher.run(), self.runtime.handle());
        }
        let over = self.rounds.recv().expect("the members are there");
        self.publishers = self.runtime.block_on(tasks.join_all());
        over.duration_since(begun)
    }
}

/// Starts the task of a member. The member first receives the answer to its join, like a member of the sharded broker.
fn start_member<R: Rooms>(rooms: &R, room: &str, member: usize, mut sink: Sink) -> JoinHandle<()> {
    let mailbox = rooms.join(room, member);
    let joined = format!("Joined {room}\n");
    tokio::spawn(async move {
        sink.take(joined.as_bytes());
        R::take_all(mailbox, sink).await;
    })
}

impl<R: Rooms> Publisher<R> {
    async fn run(mut self) -> Self {
        for at in 0..self.script.len() {
            match self.script[at] {
                // The message is encoded once for the whole room.
                Action::Publish { room } => self.rooms.publish(&self.names[room], line().into()),
                Action::Visit { room } => self.visit(room),
            }
            if (at + 1) % TURN_ACTIONS == 0 {
                yield_now().await;
            }
        }
        self
    }

    fn visit(&mut self, room: usize) {
        let room = &self.names[room];
        if let Some(guest) = self.guest_in.take() {
            self.rooms.leave(room, self.guest);
            guest.abort();
        } else {
            self.guest_in = Some(start_member(&*self.rooms, room, self.guest, Sink::new(&Round::endless())));
        }
    }
}
