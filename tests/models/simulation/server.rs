//! The shards and writers of a server, with the handles that sessions reach them through: the same as in the server, with
//! small mailboxes.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use roomcast::auth::rules::RoomRules;
use roomcast::broker::{Farewell, PUBLICATION_BYTES, RoomLimiter, ShardMailbox, ShardRules, ShardSenders};
use roomcast::config::{HistoryLimits, LimitsOfRoom, OutboxLimits};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::publication::{ClientId, Publisher};
use roomcast::session::access::WorkerAccess;
use roomcast::session::clients::Clients;
use roomcast::session::workers::worker_mailboxes;
use roomcast::session::{Session, SessionContext, SpentDeliveries};
use roomcast::shutdown::Drain;
use roomcast::writer::{Address, WriterIndex};

use super::ledger::Ledger;
use super::tasks::{SHARD_COMMANDS_MAX, ShardTask, WriterTask};
use crate::common::{ROOM_LIMITS, Random, address, label, limits_of_all, rule, rules, slot};
use crate::wire::Socket;

const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The most bytes of publications that a client gets at once: two of their usual length.
pub const REPLAY_BYTES_MAX: usize = 2 * (PUBLICATION_BYTES + 12);

/// Rooms that remember nothing.
pub const NO_HISTORY: LimitsOfRoom = LimitsOfRoom { history_messages_max: 0, ..ROOM_LIMITS };

/// A record that nothing is written to, since no session has a limit of deliveries.
static SPENT: LazyLock<SpentDeliveries> = LazyLock::new(|| SpentDeliveries::new(Instant::now()));

/// The size and the limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub shards: usize,
    pub writers: usize,
    /// The number of rooms that clients may use.
    pub rooms: usize,
    pub outbox: OutboxLimits,
    /// The limits of each room at first.
    pub room: LimitsOfRoom,
    /// The rooms of one client.
    pub rooms_max: usize,
    /// What the rooms of one shard remember together.
    pub history: HistoryLimits,
}

/// The shards and the writers, and the record of what the shards have handled.
pub struct Server {
    pub shards: Vec<ShardTask>,
    pub writers: Vec<WriterTask>,
    pub ledger: Ledger,
    /// The names of the rooms, of which shard 0 has the first, shard 1 the second, and so on in turn.
    pub rooms: Rc<[RoomName]>,
    pub drain: Drain,
    /// What the sessions of each worker share.
    contexts: Vec<Rc<SessionContext>>,
}

impl Server {
    pub fn new(shape: Shape) -> Self {
        let Shape { shards, writers, rooms, outbox, room, rooms_max, history } = shape;
        let room_limiter = RoomLimiter::new(usize::MAX);
        let rules = ShardRules { history, replay_bytes_max: REPLAY_BYTES_MAX, rooms: limits_of_all(room), ..rules() };
        let (senders, mut mailboxes) =
            ShardSenders::with_capacity(SHARD_COMMANDS_MAX, shards as u16, &room_limiter, rules);
        let rooms = rooms_in_turn(&senders, &mut mailboxes, rooms);
        let writers: Vec<_> = (0..writers).map(|_| WriterTask::new(outbox)).collect();
        let drain = Drain::default();
        let context = |worker| context(&senders, worker, rooms_max, &drain);
        Self {
            contexts: (0..).zip(&writers).map(context).collect(),
            shards: mailboxes.into_iter().map(|mailbox| ShardTask::new(mailbox, writers.len())).collect(),
            writers,
            ledger: Ledger::new(shards, room, history),
            rooms,
            drain,
        }
    }

    /// What the sessions of the address's worker share.
    pub fn context(&self, address: Address) -> &Rc<SessionContext> {
        &self.contexts[usize::from(address.writer.0)]
    }

    /// The session of a line client with the label `L<number>`.
    pub fn session(&self, number: usize, address: Address) -> Session {
        let identity = Publisher::anonymous(ClientId(number as u64), label(format_args!("L{number}")));
        let context = Rc::clone(self.context(address));
        Session::new(context, address.slot, Dialect::TextLines, identity.into(), IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    pub fn step_shard(&mut self, shard: usize, now: Instant, random: &mut Random) {
        self.shards[shard].step(now, random, &mut self.ledger, &mut self.writers);
    }

    /// Applies a rule to a shard: these limits for one room, and the others for the rest.
    pub fn apply_rule(&mut self, shard: usize, now: Instant, room: usize, limits: LimitsOfRoom, others: LimitsOfRoom) {
        let room = &self.rooms[room];
        let rules = RoomRules::new(vec![rule(room.as_str(), limits)], others);
        self.ledger.apply_rule(shard, now, room, limits, others);
        self.shards[shard].apply_rules(now, rules, &self.ledger);
    }

    pub fn writer(&mut self, address: Address) -> &mut WriterTask {
        &mut self.writers[usize::from(address.writer.0)]
    }

    pub fn writer_of(&self, address: Address) -> &WriterTask {
        &self.writers[usize::from(address.writer.0)]
    }

    /// The socket of an open or closed client.
    pub fn socket(&self, address: Address) -> &Socket {
        self.writer_of(address).socket(address.slot)
    }

    /// The number of deliveries that no writer has taken yet.
    pub fn deliveries_on_their_way(&self) -> u64 {
        let of_shards: u64 = self.shards.iter().map(ShardTask::deliveries_on_their_way).sum();
        of_shards + self.writers.iter().map(WriterTask::deliveries_on_their_way).sum::<u64>()
    }

    pub fn is_idle(&self) -> bool {
        self.shards.iter().all(ShardTask::is_idle) && self.writers.iter().all(WriterTask::is_idle)
    }
}

/// What the sessions of one worker share.
pub fn context(
    senders: &ShardSenders,
    (index, writer): (u16, &WriterTask),
    rooms_max: usize,
    drain: &Drain,
) -> Rc<SessionContext> {
    Rc::new(SessionContext {
        broker: senders.clone().broker(),
        access: Rc::new(WorkerAccess::open()),
        hooks: None,
        clients: Rc::new(Clients::default()),
        workers: worker_mailboxes(0).0,
        writer: writer.handle.clone(),
        writer_index: WriterIndex(index),
        greeting: "Welcome".to_owned(),
        message_bytes_max: MESSAGE_BYTES_MAX,
        rooms_max,
        deliveries: None,
        spent: SPENT.clone(),
        ping_interval: Duration::from_secs(30),
        drain: drain.clone(),
    })
}

/// Names of equal length, chosen so that the shards have the rooms in turn. Which shard a name belongs to is random in
/// each process; with other names in each, a seed still reproduces its run. A leave of a client that is in no room shows
/// the shard of a name and does nothing.
fn rooms_in_turn(senders: &ShardSenders, mailboxes: &mut [ShardMailbox], rooms: usize) -> Rc<[RoomName]> {
    let broker = senders.clone().broker();
    let mut named = vec![None; rooms];
    for name in (100..1_000).map(|number| RoomName::parse(&format!("r{number}")).expect("a valid name")) {
        drop(broker.leave(name.clone(), address(0, slot(0)), Farewell::Nobody));
        let shard = mailboxes.iter_mut().position(|mailbox| mailbox.try_next().is_some());
        let of_shard = named.iter_mut().skip(shard.expect("one shard has got it")).step_by(mailboxes.len());
        if let Some(free) = of_shard.into_iter().find(|name| name.is_none()) {
            *free = Some(name);
        }
        if named.iter().all(Option::is_some) {
            break;
        }
    }
    named.into_iter().map(|name| name.expect("a name for each room")).collect()
}
