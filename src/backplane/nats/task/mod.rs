//! The task that follows the stream and publishes to it. Waits for shards, and for nobody else: what comes meanwhile is
//! kept by its subscription, or is read later.

mod taking;
mod turn;

use std::time::{Duration, Instant};

use async_nats::{Event, Message};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::links::{LeaderAnswer, LinkError, Links, message};
use super::prepare::{Opened, entry_bytes_max};
use super::shards::Shards;
use crate::backplane::entry::Proposal;
use crate::backplane::feed::ProposalMailbox;
use crate::backplane::following::Following;
use crate::backplane::peers::task::PeerTask;
use crate::backplane::peers::{PeerChannels, PeerNode};
use crate::backplane::publishing::Publishing;
use crate::backplane::signal::Signal;
use crate::log::LogThrottle;

/// The connection is looked at this often, since the library drops events.
const LOOK_PERIOD: Duration = Duration::from_millis(250);

/// The time for what is in flight when the node ends.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Follows and publishes.
pub(super) struct Task {
    node: Node,
    links: Links,
    following: Following,
    publishing: Publishing,
    shards: Shards,
    mailbox: ProposalMailbox,
    tellers: Tellers,
    peers: JoinHandle<()>,
    peers_end: CancellationToken,
    /// Connections that were noticed; each is noticed as up once.
    connects: u64,
    is_up: bool,
    /// Rises with each connection and each stream. The answers to reads of the one before are void.
    life: u64,
    /// Ends of reads that were taken, and what they have found is not followed.
    read_ends: u32,
    /// When the publisher has something to do by itself.
    publish_at: Option<Instant>,
    /// Until when it waits for what is in flight, once every proposer is gone.
    ends_by: Option<Instant>,
    takes_signals: bool,
    throttles: Throttles,
}

/// Who is told of the stream besides the shards.
pub(super) struct Tellers {
    pub restarts: watch::Sender<u64>,
    pub caught_up: watch::Sender<bool>,
}

/// One for each warning.
#[derive(Default)]
struct Throttles {
    refused: LogThrottle,
    unreadable: LogThrottle,
    signal: LogThrottle,
    complaint: LogThrottle,
    leader: LogThrottle,
    read: LogThrottle,
}

/// What has woken the task.
enum Wake {
    Feed(Message),
    Inbox(Message),
    Signals(Message),
    Leader(Option<LeaderAnswer>),
    Proposal(Result<Proposal, flume::RecvError>),
    Signal(Result<Signal, flume::RecvError>),
    Event(Option<Event>),
    Time,
}

impl Task {
    /// Connects as soon as that is possible. Returns at once.
    pub(super) async fn connect(
        node: Node,
        opened: Opened,
        shards: Shards,
        mailbox: ProposalMailbox,
        peers: PeerChannels,
        tellers: Tellers,
    ) -> Result<Self, LinkError> {
        let now = Instant::now();
        let links = Links::new(&opened.dialing, &node.rules).await?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let own = PeerNode { id: node.id, name: node.name.clone(), version, sequence: 0 };
        let peers = PeerTask::new(links.client().clone(), links.subjects.clone(), node.metrics.clone(), own, peers);
        let peers_end = CancellationToken::new();
        Ok(Self {
            following: Following::new(opened.inspection, now),
            publishing: Publishing::new(node.id, entry_bytes_max(&node), now),
            peers: tokio::spawn(peers.run(peers_end.clone())),
            node,
            links,
            shards,
            mailbox,
            tellers,
            peers_end,
            connects: 0,
            is_up: false,
            life: 0,
            read_ends: 0,
            publish_at: None,
            ends_by: None,
            takes_signals: true,
            throttles: Throttles::default(),
        })
    }

    /// Runs until every proposer is gone.
    pub(super) async fn run(mut self) {
        // Rooms that nobody has spoken in since can be resumed from here on.
        self.shards.restart(self.following.epoch(), self.following.reached()).await;
        while !self.has_ended() {
            let wake = self.wake().await;
            // What has come is of the connection before.
            let is_void = self.notice_connection() && matches!(wake, Wake::Feed(_));
            if !is_void {
                self.accept(wake).await;
            }
            self.turn().await;
        }
        self.end().await;
    }

    async fn wake(&mut self) -> Wake {
        let now = Instant::now();
        let asks_at = self.is_up.then(|| self.following.due_at());
        let due_at = [asks_at, self.publish_at, self.ends_by, Some(now + LOOK_PERIOD)].into_iter().flatten().min();
        let takes_proposals = self.ends_by.is_none() && self.publishing.is_open(now);
        let links = &mut self.links;
        tokio::select! {
            message = message(&mut links.feed) => Wake::Feed(message),
            message = message(&mut links.inbox_messages) => Wake::Inbox(message),
            proposal = self.mailbox.proposals.recv_async(), if takes_proposals => Wake::Proposal(proposal),
            signal = self.mailbox.signals.recv_async(), if self.takes_signals => Wake::Signal(signal),
            message = message(&mut links.signals) => Wake::Signals(message),
            answer = links.leader_answers.recv() => Wake::Leader(answer),
            event = links.connection.event() => Wake::Event(event),
            () = sleep_until(due_at.unwrap_or(now).into()) => Wake::Time,
        }
    }

    async fn accept(&mut self, wake: Wake) {
        match wake {
            Wake::Feed(message) => self.take_feed(message),
            Wake::Inbox(message) => self.take_inbox(message),
            Wake::Signals(message) => self.take_signals(message),
            Wake::Leader(Some(answer)) => self.take_leader_answer(answer).await,
            Wake::Proposal(Ok(proposal)) => self.take_proposals(proposal).await,
            Wake::Signal(Ok(signal)) => self.send_signals(signal),
            Wake::Signal(Err(_)) => self.takes_signals = false,
            Wake::Proposal(Err(_)) => self.ends_by = Some(Instant::now() + END_WITHIN),
            Wake::Event(Some(event)) => self.take_event(&event),
            Wake::Event(None) | Wake::Leader(None) | Wake::Time => {}
        }
    }

    /// Whether nothing is left to be sent, or the time for it is over.
    fn has_ended(&self) -> bool {
        self.ends_by.is_some_and(|by| Instant::now() >= by || self.publishing.is_idle())
    }

    /// Says goodbye and closes the connection.
    async fn end(self) {
        self.peers_end.cancel();
        // It waits for nobody.
        let _ = self.peers.await;
        self.links.connection.close().await;
    }
}
