//! One node: its shards and writers with small mailboxes, and how it follows the stream.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use roomcast::backplane::feed::{FeedMailbox, Followed, Placed, ProposalMailbox, Reached, ShardFeed, proposals};
use roomcast::broker::{Batch, Broker, Now, RoomLimiter, Shard, ShardCommand, ShardMailbox, ShardRules, ShardSenders};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Epoch, Offset};
use roomcast::protocol::publication::{ClientId, Publisher};
use roomcast::session::{Session, SessionContext};
use roomcast::shutdown::Drain;
use roomcast::writer::{Address, Entry};
use tokio::sync::oneshot;

use super::stream::{Failed, Outbound, Stored, Stream};
use crate::common::{ROOMY, Random, label};
use crate::simulation::server::context;
use crate::simulation::tasks::{SHARD_COMMANDS_MAX, WriterTask, has_room};

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A shard, its mailboxes and the batch that it is handing over.
pub struct ClusterShard {
    pub shard: Shard,
    mailbox: ShardMailbox,
    feed: FeedMailbox,
    batch: Batch,
    entries: VecDeque<(usize, Vec<Entry>)>,
    handing_over: Option<LocalBoxFuture<'static, ()>>,
    next_sweep: Option<Instant>,
    /// News of the backplane so far.
    heard: usize,
}

/// How far a node has followed the stream.
pub struct Following {
    pub life: usize,
    next: usize,
    /// The shards that have not said yet that they go on in another epoch.
    telling: Vec<oneshot::Receiver<()>>,
    /// Clients may come: the node had caught up.
    pub is_ready: bool,
    /// Times at which the shards were told to go on elsewhere, and at which all clients were to be disconnected.
    pub begun: usize,
    pub restarts: usize,
}

pub struct Node {
    pub number: usize,
    pub shards: Vec<ClusterShard>,
    pub writers: Vec<WriterTask>,
    pub outbound: Outbound,
    pub following: Option<Following>,
    pub broker: Broker,
    pub shard_of: Box<dyn Fn(&RoomName) -> usize + Send>,
    proposals: ProposalMailbox,
    feeds: Vec<ShardFeed>,
    /// What each shard was told so far.
    told: Vec<usize>,
    reached: Reached,
    contexts: Vec<Rc<SessionContext>>,
}

impl Node {
    pub fn new(number: usize, (shards, writers): (usize, usize), rules: ShardRules, epoch: Epoch) -> Self {
        let limiter = RoomLimiter::new(usize::MAX);
        let (senders, mut mailboxes) = ShardSenders::with_capacity(SHARD_COMMANDS_MAX, shards as u16, &limiter, rules);
        let ((proposer, proposals), reached) = (proposals(), Reached::default());
        let feeds: Vec<ShardFeed> = mailboxes
            .iter_mut()
            .map(|mailbox| mailbox.join_cluster(proposer.clone(), epoch, reached.clone()))
            .collect();
        let writers: Vec<_> = (0..writers).map(|_| WriterTask::new(ROOMY)).collect();
        let drain = Drain::default();
        Self {
            number,
            contexts: (0..).zip(&writers).map(|worker| context(&senders, worker, 3, &drain)).collect(),
            shards: mailboxes.into_iter().map(|mailbox| ClusterShard::new(mailbox, writers.len())).collect(),
            writers,
            outbound: Outbound::default(),
            following: None,
            shard_of: senders.router(),
            broker: senders.broker(),
            proposals,
            told: vec![0; feeds.len()],
            feeds,
            reached,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.is_ready)
    }

    pub fn restarts(&self) -> usize {
        self.following.as_ref().map_or(0, |following| following.restarts)
    }

    /// The session of a line client with the label `L<number>`.
    pub fn session(&self, number: usize, address: Address) -> Session {
        let identity = Publisher::anonymous(ClientId(number as u64), label(format_args!("L{number}")));
        let context = Rc::clone(&self.contexts[usize::from(address.writer.0)]);
        Session::new(context, address.slot, Dialect::TextLines, identity.into(), IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The node begins to follow, from the first entry that can be had.
    pub fn start(&mut self, stream: &Stream) {
        let life = stream.lives.len() - 1;
        let next = stream.life().first_kept;
        self.following = Some(Following { life, next, telling: Vec::new(), is_ready: false, begun: 0, restarts: 0 });
        self.restart(stream.life().epoch, stream.life().horizon());
    }

    fn restart(&mut self, epoch: Epoch, horizon: Offset) {
        self.reached.advance(horizon);
        let following = self.following.as_mut().expect("it follows");
        following.begun += usize::from(following.is_ready);
        following.telling.clear();
        for shard in 0..self.feeds.len() {
            let (told, telling) = oneshot::channel();
            self.following.as_mut().expect("it follows").telling.push(telling);
            self.tell(shard, Followed::Restarted { epoch, horizon, told });
        }
    }

    fn tell(&mut self, shard: usize, followed: Followed) {
        self.told[shard] += 1;
        self.feeds[shard].tell(followed).now_or_never().expect("the feed has room");
    }

    /// Follows one envelope, or notices that it cannot.
    pub fn follow(&mut self, stream: &mut Stream, random: &mut Random) {
        let Some(following) = &mut self.following else { return };
        if !following.telling.is_empty() {
            following.telling.retain_mut(|telling| telling.try_recv().is_err());
            // They are told once all shards go on. At its start a node has no clients.
            following.restarts += usize::from(following.telling.is_empty() && following.is_ready);
            return;
        }
        let (life, newest) = (&stream.lives[following.life], stream.lives.len() - 1);
        let is_at_end = following.next == life.entries.len();
        if following.life < newest && (is_at_end || random.one_in(8)) {
            (following.life, following.next) = (newest, stream.life().first_kept);
            return self.restart(stream.life().epoch, stream.life().horizon());
        }
        if following.next < life.first_kept {
            following.next = life.first_kept;
            let (epoch, horizon) = (life.epoch, life.horizon());
            self.restart(epoch, horizon);
            let lost = self.outbound.lose(stream);
            return self.tell_failed(lost);
        }
        let entries = &life.entries[following.next..];
        let Some(last) = entries.iter().position(|stored| stored.is_last) else {
            following.is_ready |= following.life == newest;
            return;
        };
        let envelope = &entries[..=last];
        following.next += envelope.len();
        let is_own = envelope[0].origin.0 == self.number && self.outbound.seen(envelope, random.one_in(2));
        for stored in envelope {
            self.place(stored, is_own.then_some(stored.origin.2));
        }
        let Offset(offset) = envelope[last].offset;
        // Nothing follows in this envelope.
        self.reached.advance(Offset(if random.one_in(2) { offset | 4_095 } else { offset }));
    }

    fn place(&mut self, stored: &Stored, proposal: Option<u64>) {
        let Stored { offset, stored_at, entry, .. } = stored;
        let shard = (self.shard_of)(entry.room());
        let (entry, stored_at) = (entry.clone(), *stored_at);
        let placed = Placed { offset: *offset, stored_at, entry, proposal, permit: None };
        self.tell(shard, Followed::Placed(placed));
    }

    /// Takes what the shards propose; loses the connection, or gets it back; sends an envelope.
    pub fn step_outbound(&mut self, stream: &mut Stream, now: Now, random: &mut Random) {
        match random.below(8) {
            0..3 => {
                for _ in 0..=random.below(4) {
                    self.proposals
                        .proposals
                        .try_recv()
                        .into_iter()
                        .for_each(|proposal| self.outbound.collect(proposal));
                }
            }
            3..5 => self.outbound.send(1 + random.below(3)),
            5..7 if !self.outbound.is_down || random.one_in(4) => self.outbound.store(self.number, now.unix, stream),
            _ if self.outbound.is_down => self.outbound.is_down = !random.one_in(8),
            _ => self.outbound.is_down = random.one_in(16),
        }
        if self.outbound.is_down && random.one_in(2) {
            self.fail(stream);
        }
    }

    /// Tells the shards what came of proposals that have no place.
    pub fn fail(&mut self, stream: &mut Stream) {
        let failed = self.outbound.fail(stream);
        self.tell_failed(failed);
    }

    fn tell_failed(&mut self, failed: Vec<Failed>) {
        for (shard, number, error) in failed {
            self.tell(shard, Followed::Failed(number, error));
        }
    }

    pub fn step_shard(&mut self, now: Now, random: &mut Random) {
        let shard = random.below(self.shards.len());
        self.shards[shard].step(now, random, &mut self.writers);
    }

    /// Nothing is on its way, but for what the stream has and the node has not.
    pub fn is_idle(&self, stream: &Stream) -> bool {
        let has_all = self.following.as_ref().is_some_and(|following| {
            let is_newest = following.life == stream.lives.len() - 1 && following.next == stream.life().entries.len();
            is_newest && following.telling.is_empty()
        });
        let is_sent = self.outbound.is_idle() && self.proposals.proposals.is_empty();
        let has_heard = self.shards.iter().zip(&self.told).all(|(shard, told)| shard.heard == *told);
        has_all && is_sent && has_heard && self.shards.iter().all(ClusterShard::is_idle)
    }
}

impl ClusterShard {
    fn new(mut mailbox: ShardMailbox, writers: usize) -> Self {
        let (shard, batch) = (mailbox.shard(), Batch::new(writers));
        let feed = mailbox.take_feed().expect("a shard of a cluster");
        Self { shard, mailbox, feed, batch, entries: VecDeque::new(), handing_over: None, next_sweep: None, heard: 0 }
    }

    /// Hands over one writer's entries, or takes a batch.
    fn step(&mut self, now: Now, random: &mut Random, writers: &mut [WriterTask]) {
        if self.handing_over.is_none() {
            match self.entries.pop_front() {
                Some((writer, entries)) => self.handing_over = Some(writers[writer].deliver(entries)),
                None => self.take_batch(now, random, writers),
            }
        }
        let context = &mut Context::from_waker(Waker::noop());
        if self.handing_over.as_mut().is_some_and(|sending| sending.poll_unpin(context).is_ready()) {
            self.handing_over = None;
        }
        if self.handing_over.is_none() && self.entries.is_empty() {
            self.batch.acknowledge();
        }
    }

    fn take_batch(&mut self, now: Now, random: &mut Random, writers: &[WriterTask]) {
        if self.shard.needs_sweep() && self.next_sweep.is_none_or(|next_sweep| now.instant >= next_sweep) {
            while self.shard.sweep(now, &mut self.batch) {}
            self.next_sweep = Some(now.instant + SWEEP_INTERVAL);
        }
        for _ in 0..=random.below(SHARD_COMMANDS_MAX) {
            if !random.one_in(4) {
                self.hear_next(now, writers);
            }
            if self.shard.is_waiting()
                && let Some(command) = self.shard.next_waiting(has_room(writers, &self.batch))
            {
                self.shard.step(now, command, &mut self.batch);
            }
            if !random.one_in(4)
                && let Some(command) = self.mailbox.try_next()
            {
                self.handle(now, command, writers);
            }
        }
        self.shard.look_ahead(now);
        let entries = self.batch.take_entries();
        self.entries.extend(entries.map(|(writer, entries)| (usize::from(writer.0), entries)));
    }

    fn hear_next(&mut self, now: Now, writers: &[WriterTask]) {
        let reached = self.feed.reached();
        let next = self.feed.try_next();
        self.heard += usize::from(next.is_some());
        match next {
            Some(Followed::Placed(placed)) => self.handle(now, ShardCommand::Placed(placed), writers),
            Some(followed) => self.shard.hear(now, followed, &mut self.batch),
            None => self.shard.reach(reached),
        }
    }

    fn handle(&mut self, now: Now, command: ShardCommand, writers: &[WriterTask]) {
        let admitted = self.shard.admit(command, has_room(writers, &self.batch));
        admitted.into_iter().for_each(|command| self.shard.step(now, command, &mut self.batch));
    }

    fn is_idle(&self) -> bool {
        let holds_nothing = self.entries.is_empty() && self.handing_over.is_none();
        self.mailbox.waiting() == 0 && holds_nothing && !self.shard.is_waiting() && !self.shard.is_behind()
    }
}
