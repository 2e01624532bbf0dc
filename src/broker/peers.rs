//! The rooms as all nodes of a cluster have them: what the other nodes are asked, what they answer, and what a shard does
//! for them. A server that is alone has no [`PeerRooms`], and pays nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use rustc_hash::FxHashSet;
use tokio::sync::{Semaphore, oneshot};

use super::command::{Act, MemberCommand, PresenceCount, RoomCounts, Viewer};
use super::handle::Broker;
use super::listing_cache::AGE_MAX as LIST_AGE_MAX;
use crate::backplane::questions::{Answer, Question, UserKey};
use crate::backplane::{BackplaneMetrics, BackplaneState, Peers};
use crate::protocol::command::CommandError;
use crate::protocol::listing::Listing;
use crate::protocol::names::{Label, RoomName};
use crate::protocol::publication::{Publisher, UserId};

/// Questions about rooms that one worker has under way at once. Each may bring an answer of half a megabyte from every
/// node; what is asked beyond waits.
const UNDER_WAY_MAX: usize = 16;

/// Counts of other nodes are asked for again after this time.
const COUNT_AGE_MAX: Duration = Duration::from_millis(500);

/// A question that has had no answer for so long is asked again: whoever has asked it may be gone.
const UNANSWERED_AGE_MAX: Duration = Duration::from_millis(500);

/// What all other nodes answer to one question.
pub type Asking = Shared<LocalBoxFuture<'static, PeerAnswers>>;

/// What other nodes have answered; nothing where a server is alone.
#[derive(Clone, Debug, Default)]
pub struct PeerAnswers(Option<Arc<Answers>>);

#[derive(Debug)]
struct Answers {
    answers: Vec<Answer>,
    key: UserKey,
}

/// The users of a room on this node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RoomUsers {
    /// The number of the members.
    pub clients: usize,
    /// Each user once. Clients that have proved nothing are one.
    pub users: Vec<UserId>,
}

/// What other nodes have a shard do.
#[derive(Debug)]
pub enum PeerCommand {
    /// Lists the labels of the members of a room. The time is when it was asked.
    Labels(RoomName, Instant, oneshot::Sender<Arc<Listing<Label>>>),
    /// Lists the users of a room.
    Users(RoomName, oneshot::Sender<RoomUsers>),
    /// Lists the rooms whose members are to be told their number. The next list has those of later changes.
    Recounted(oneshot::Sender<Vec<RoomName>>),
    /// Tells the members of a room their number, of whom so many are on other nodes.
    TellCount(RoomName, usize),
}

/// The other nodes as the sessions of one worker ask them about rooms. One question is asked once, whoever waits for it,
/// and the answers to some are kept for a moment.
pub(super) struct PeerRooms {
    peers: Peers,
    backplane: Arc<BackplaneMetrics>,
    key: UserKey,
    asked: RefCell<HashMap<Bytes, Asked>>,
    swept_at: Cell<Instant>,
    under_way: Arc<Semaphore>,
    /// The newest merged listings, by [`Viewer`].
    merged: RefCell<[Option<MergedRooms>; Viewer::COUNT]>,
}

struct Asked {
    at: Instant,
    age_max: Duration,
    answers: Asking,
}

impl Asked {
    fn is_usable(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.at);
        let is_answered = self.answers.peek().is_some();
        age < if is_answered { self.age_max } else { UNANSWERED_AGE_MAX }
    }
}

/// The rooms of all nodes, and what the list was made of.
struct MergedRooms {
    own: Arc<Listing<RoomName>>,
    others: PeerAnswers,
    whole: Arc<Listing<RoomName>>,
}

impl PeerRooms {
    fn new(peers: Peers, backplane: Arc<BackplaneMetrics>) -> Rc<Self> {
        let random = RandomState::new();
        Rc::new(Self {
            peers,
            backplane,
            key: UserKey(random.hash_one(0), random.hash_one(1)),
            asked: RefCell::default(),
            swept_at: Cell::new(Instant::now()),
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            merged: RefCell::default(),
        })
    }

    /// Asks all other nodes, unless the same was asked a moment ago.
    fn ask(self: &Rc<Self>, question: &Question) -> Asking {
        let (now, age_max) = (Instant::now(), age_max(question));
        self.forget_old(now);
        let question = question.encode();
        let mut asked = self.asked.borrow_mut();
        if let Some(asked) = asked.get(&question).filter(|asked| asked.is_usable(now)) {
            return asked.answers.clone();
        }
        let answers = Rc::clone(self).answers(question.clone(), age_max).boxed_local().shared();
        asked.insert(question, Asked { at: now, age_max, answers: answers.clone() });
        answers
    }

    async fn answers(self: Rc<Self>, question: Bytes, age_max: Duration) -> PeerAnswers {
        let _permit = Arc::clone(&self.under_way).acquire_owned().await.expect("it is never closed");
        let answers = self.peers.ask(question.clone()).await;
        let answers = answers.iter().map(|answer| Answer::decode(answer)).collect();
        if age_max.is_zero() {
            // Long answers are not kept.
            self.asked.borrow_mut().remove(&question);
        }
        PeerAnswers(Some(Arc::new(Answers { answers, key: self.key })))
    }

    fn forget_old(&self, now: Instant) {
        if now.saturating_duration_since(self.swept_at.get()) > COUNT_AGE_MAX {
            self.swept_at.set(now);
            self.asked.borrow_mut().retain(|_, asked| asked.is_usable(now));
        }
    }

    fn merge(&self, viewer: Viewer, own: Arc<Listing<RoomName>>, others: PeerAnswers) -> Arc<Listing<RoomName>> {
        let merged = &mut self.merged.borrow_mut()[viewer as usize];
        match merged {
            Some(merged) if Arc::ptr_eq(&merged.own, &own) && merged.others.is_same(&others) => {
                Arc::clone(&merged.whole)
            }
            _ => {
                let whole = others.rooms(&own);
                *merged = Some(MergedRooms { own, others, whole: Arc::clone(&whole) });
                whole
            }
        }
    }
}

/// How old an answer may be.
fn age_max(question: &Question) -> Duration {
    match question {
        Question::Labels(_) | Question::Rooms { .. } => LIST_AGE_MAX,
        Question::Users(..) | Question::Channels { .. } => COUNT_AGE_MAX,
        _ => Duration::ZERO,
    }
}

impl PeerAnswers {
    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Answer> + Clone {
        self.0.iter().flat_map(|answers| &answers.answers)
    }

    /// The labels of the members of a room on all nodes.
    pub(super) fn labels(&self, own: Arc<Listing<Label>>) -> Arc<Listing<Label>> {
        let lists = self.iter().filter_map(|answer| match answer {
            Answer::Labels { labels, more } if !labels.is_empty() => Some((labels, more)),
            _ => None,
        });
        let more = lists.clone().map(|(_, more)| more).sum();
        let mut others = lists.flat_map(|(labels, _)| labels).cloned().peekable();
        if others.peek().is_none() { own } else { Arc::new(own.with(others, more)) }
    }

    /// The rooms of all nodes, each once. The number of those that are left out counts each on every node that has it.
    fn rooms(&self, own: &Arc<Listing<RoomName>>) -> Arc<Listing<RoomName>> {
        let (mut others, mut left_out) = (Vec::new(), 0);
        for answer in self.iter() {
            if let Answer::Rooms { rooms, more } = answer {
                others.extend(rooms.iter().filter(|room| own.names().binary_search(room).is_err()).cloned());
                left_out += more;
            }
        }
        others.sort_unstable();
        others.dedup();
        if others.is_empty() && left_out == 0 { Arc::clone(own) } else { Arc::new(own.with(others, left_out)) }
    }

    /// The members of a room on other nodes.
    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Publisher>> + Clone {
        self.iter().flat_map(|answer| if let Answer::Presence(members) = answer { &members[..] } else { &[] })
    }

    /// The number of the members of a room on nodes that have too many to name them.
    pub(super) fn members_left_out(&self) -> usize {
        self.iter().map(|answer| if let Answer::PresenceTooLong { members } = answer { *members } else { 0 }).sum()
    }

    /// The members of a room on all nodes, and the users that they are, each counted once.
    pub(super) fn count(&self, own: usize, users: &FxHashSet<&UserId>) -> PresenceCount {
        let Some(answers) = &self.0 else { return PresenceCount { clients: own, users: users.len() } };
        let mut hashes: FxHashSet<u64> = users.iter().map(|user| answers.key.hash(user.as_str())).collect();
        let (mut clients, mut users_left_out) = (own, 0);
        for answer in &answers.answers {
            if let Answer::Users { clients: others, users, more } = answer {
                clients += others;
                users_left_out += more;
                hashes.extend(users);
            }
        }
        PresenceCount { clients, users: hashes.len() + users_left_out }
    }

    /// The rooms of other nodes with the numbers of their members; `None` if a node has too many for an answer.
    pub fn channels(&self) -> Option<impl Iterator<Item = (&RoomName, usize)>> {
        let is_whole = self.iter().all(|answer| *answer != Answer::TooLong);
        let channels =
            self.iter().flat_map(|answer| if let Answer::Channels(rooms) = answer { &rooms[..] } else { &[] });
        is_whole.then(|| channels.map(|(room, members)| (room, *members)))
    }
}

impl Broker {
    /// The broker of a worker whose server may be a node of a cluster with these others.
    #[must_use]
    pub fn with_peers(mut self, peers: Option<(Peers, Arc<BackplaneMetrics>)>) -> Self {
        self.peers = peers.map(|(peers, backplane)| PeerRooms::new(peers, backplane));
        self
    }

    /// The other nodes; `None` where the server is alone.
    pub fn peers(&self) -> Option<&Peers> {
        self.peers.as_ref().map(|rooms| &rooms.peers)
    }

    /// Whether other nodes can be asked now, if there are others.
    pub fn reaches_peers(&self) -> bool {
        let Some(peers) = &self.peers else { return true };
        !matches!(peers.backplane.state(), BackplaneState::Unavailable { .. })
    }

    /// Asks the other nodes what the reply to a command needs to be whole, if there are others.
    pub fn ask_for(&self, command: &MemberCommand) -> Option<Asking> {
        let peers = self.peers.as_ref()?;
        let room = || command.room.clone();
        let question = match &command.act {
            Act::Members(..) => Question::Labels(room()),
            Act::Presence(..) => Question::Presence(room()),
            Act::PresenceCount(..) => Question::Users(room(), peers.key),
            _ => return None,
        };
        Some(peers.ask(&question))
    }

    /// The members of a room as others see them, on all nodes, in no order: as many as one client gets at once.
    ///
    /// # Errors
    /// They are more.
    pub async fn presence(&self, room: RoomName) -> Result<Vec<Arc<Publisher>>, CommandError> {
        let others = self.answers(|_| Question::Presence(room.clone())).await;
        self.own_presence(room, others).await
    }

    /// The number of the members of a room on all nodes, and of the users that they are.
    pub async fn count_presence(&self, room: RoomName) -> PresenceCount {
        let others = self.answers(|key| Question::Users(room.clone(), key)).await;
        self.own_presence_count(room, others).await
    }

    /// The rooms with members on this node, by shard, and those on other nodes whose names match a pattern. Both may be
    /// half a second old.
    pub async fn channels(&self, pattern: Option<String>) -> (Vec<RoomCounts>, PeerAnswers) {
        let others = self.answers(|_| Question::Channels { pattern }).await;
        (self.counts().await, others)
    }

    /// Lists the rooms of all nodes that have members and that the viewer may know of. The listing is at most
    /// 0.1 s old, and from other nodes 0.2 s.
    pub async fn rooms(&self, viewer: Viewer) -> Arc<Listing<RoomName>> {
        let Some(peers) = &self.peers else { return self.own_rooms(viewer).await };
        let others = peers.ask(&Question::Rooms { is_user: viewer == Viewer::User }).await;
        peers.merge(viewer, self.own_rooms(viewer).await, others)
    }

    async fn answers(&self, question: impl FnOnce(UserKey) -> Question) -> PeerAnswers {
        match &self.peers {
            Some(peers) => peers.ask(&question(peers.key)).await,
            None => PeerAnswers::default(),
        }
    }
}
