//! What the three brokers that share their rooms have in common: tasks on a runtime of as many threads as the sharded one has,
//! one task for each member, which takes what its mailbox holds, and one for each publisher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, JoinSet, yield_now};

use crate::common::sink::{Round, Sink};
use crate::common::{line, room};
use crate::workload::{Act, Architecture, Workload};
use crate::{THREADS, TURN_ACTS};

/// Rooms that every task reaches for itself.
pub trait Rooms: Default + Send + Sync + 'static {
    const NAME: &'static str;

    /// Where a member finds what is said in its room.
    type Mailbox: Send + 'static;

    fn join(&self, room: &str, member: usize) -> Self::Mailbox;

    fn leave(&self, room: &str, member: usize);

    fn publish(&self, room: &str, message: Bytes);

    /// Takes all that comes, to the end of the mailbox.
    fn take_all(mailbox: Self::Mailbox, sink: Sink) -> impl Future<Output = ()> + Send;
}

/// The threads, the rooms and those who publish.
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
    /// Its task, while it is in a room.
    guest_in: Option<JoinHandle<()>>,
    script: Vec<Act>,
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
            drop(let_in(&*shared, &names[workload.room_of(member)], member, Sink::new(&round)));
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
        let mut acting = JoinSet::new();
        let begun = Instant::now();
        for publisher in self.publishers.drain(..) {
            acting.spawn_on(publisher.act(), self.runtime.handle());
        }
        let over = self.rounds.recv().expect("the members are there");
        self.publishers = self.runtime.block_on(acting.join_all());
        over.duration_since(begun)
    }
}

/// A member with its task, which is told that it is in, as members of the sharded broker are.
fn let_in<R: Rooms>(rooms: &R, room: &str, member: usize, mut sink: Sink) -> JoinHandle<()> {
    let mailbox = rooms.join(room, member);
    let joined = format!("Joined {room}\n");
    tokio::spawn(async move {
        sink.take(joined.as_bytes());
        R::take_all(mailbox, sink).await;
    })
}

impl<R: Rooms> Publisher<R> {
    async fn act(mut self) -> Self {
        for at in 0..self.script.len() {
            match self.script[at] {
                // Encoded once for all of the room.
                Act::Publish { room } => self.rooms.publish(&self.names[room], line().into()),
                Act::Visit { room } => self.visit(room),
            }
            if (at + 1) % TURN_ACTS == 0 {
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
            self.guest_in = Some(let_in(&*self.rooms, room, self.guest, Sink::new(&Round::endless())));
        }
    }
}
