//! Nodes without rooms: the tests are their shards.

use std::sync::Arc;
use std::time::Duration;

use harness::{FAILSAFE, until};
use roomcast::backplane::entry::{Entry, Proposal, Publish};
use roomcast::backplane::feed::{FeedMailbox, Followed, Placed, Proposer, Reached, feed};
use roomcast::backplane::{BackplaneError, BackplaneMetrics, CaughtUp, NatsTls, PeerMailbox, Peers, Prepared, start};
use roomcast::config::{ClusterRules, NatsLogin, NatsServer};
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset};
use roomcast::protocol::publication::{ClientId, Data, Publisher};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// A node of which the test is the shards.
pub struct Node {
    pub epoch: Epoch,
    /// The last offset before what is read at the start.
    pub horizon: Offset,
    pub proposer: Option<Proposer>,
    pub peers: Peers,
    pub questions: PeerMailbox,
    pub restarts: watch::Receiver<u64>,
    pub ended: oneshot::Receiver<()>,
    pub shards: Vec<FeedMailbox>,
    pub caught_up: CaughtUp,
    pub metrics: Arc<BackplaneMetrics>,
}

/// The rules of a node that reaches NATS at these URLs, each with the same login or none.
pub fn rules(urls: &str) -> ClusterRules {
    let (mut servers, mut login) = (Vec::new(), None);
    for url in urls.split(',') {
        let (front, host) = url.strip_prefix("nats://").expect("a URL").rsplit_once('@').unwrap_or(("", url));
        login = front.split_once(':').map(|(user, password)| NatsLogin::User(user.to_owned(), password.to_owned()));
        servers.push(NatsServer(format!("nats://{}", host.trim_start_matches("nats://"))));
    }
    ClusterRules {
        servers,
        login,
        name: "roomcast".to_owned(),
        authorities: None,
        certificate: None,
        replicas: None,
        stream_bytes_max: 64 * 1024 * 1024,
        stream_age: Duration::from_secs(360),
        message_bytes_max: 64 * 1024,
    }
}

impl Node {
    pub async fn start(url: &str) -> Self {
        Self::try_start(rules(url), 1).await.expect("a stream")
    }

    pub async fn try_start(rules: ClusterRules, shards: usize) -> Result<Self, BackplaneError> {
        let metrics = Arc::new(BackplaneMetrics::default());
        let tls = NatsTls::load(&rules).expect("the files");
        let starting = start(rules, tls, Arc::clone(&metrics), "node".to_owned()).expect("a thread");
        let prepared = starting.prepared().await?;
        let Prepared { epoch, proposer, peers, questions, restarts, ended, begin, .. } = prepared;
        let reached = Reached::default();
        let (feeds, mut mailboxes): (_, Vec<FeedMailbox>) = (0..shards).map(|_| feed(reached.clone())).unzip();
        let shard_of = move |room: &RoomName| room.as_str().len() % shards;
        let caught_up = begin.follow(feeds, reached, Box::new(shard_of), Box::pin(async { Ok(()) }));
        let mut horizon = Offset(0);
        for mailbox in &mut mailboxes {
            let Some(Followed::Restarted { horizon: begin, told, .. }) = mailbox.next().await else {
                panic!("no begin")
            };
            horizon = begin;
            told.send(()).expect("the thread waits");
        }
        // What is proposed before waits for two seconds and is then refused.
        until(|| metrics.is_connected());
        let (proposer, shards) = (Some(proposer), mailboxes);
        Ok(Self { epoch, horizon, proposer, peers, questions, restarts, ended, shards, caught_up, metrics })
    }

    /// Proposes a text, as the only shard.
    pub fn propose(&self, number: u64, text: &str) {
        let proposal = Proposal { shard: 0, number, entry: entry("room", text) };
        let proposer = self.proposer.as_ref().expect("it has not ended");
        proposer.try_propose(proposal).expect("room for it");
    }

    /// The next news of the only shard.
    pub async fn next(&mut self) -> Followed {
        let next = timeout(FAILSAFE, self.shards[0].next());
        next.await.expect("news within a minute").expect("the thread runs")
    }

    /// The next entry of the only shard, with no failure before.
    pub async fn placed(&mut self) -> Placed {
        loop {
            match self.next().await {
                Followed::Placed(placed) => return placed,
                Followed::Failed(number, error) => panic!("{number}: {error:?}"),
                Followed::Restarted { .. } | Followed::Signal(_) => {}
            }
        }
    }

    /// The offsets and texts of this number of entries.
    pub async fn texts(&mut self, count: usize) -> Vec<(Offset, String)> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let placed = self.placed().await;
            texts.push((placed.offset, text(&placed.entry)));
        }
        texts
    }
}

pub fn entry(room: &str, text: &str) -> Entry {
    let publisher = Arc::new(Publisher::anonymous(ClientId(7), Label::generated("TCP-7")));
    let (room, data) = (RoomName::parse(room).expect("a name"), Data::Text(text.into()));
    Entry::Publish(Publish { room, publisher, data, is_retained: true, key: None })
}

pub fn text(entry: &Entry) -> String {
    match entry {
        Entry::Publish(Publish { data: Data::Text(text), .. }) => text.to_string(),
        entry => panic!("{entry:?}"),
    }
}
