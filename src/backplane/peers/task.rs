//! The task of the backplane's thread that speaks with the other nodes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::asking::{Asking, from_node, of_node};
use super::known::{ANNOUNCE_PERIOD, Announcement, Heard, KnownNodes};
use super::{ANSWERS_WITHIN, PeerChannels, PeerNode, Question};
use crate::backplane::envelope::NodeId;
use crate::backplane::metrics::BackplaneMetrics;
use crate::backplane::nats::{Subjects, is_connected};

/// The time to the next look for a connection, while an announcement waits for one.
const ANNOUNCE_RETRY: Duration = Duration::from_millis(50);

/// Questions of other nodes that are being answered at once.
const ANSWERING_MAX: usize = 64;

/// Speaks with the other nodes.
pub(in crate::backplane) struct PeerTask {
    client: Client,
    subjects: Arc<Subjects>,
    metrics: Arc<BackplaneMetrics>,
    own: PeerNode,
    known: KnownNodes,
    /// Before this time there may be nodes that have not told of themselves yet.
    complete_at: Instant,
    asking: Asking,
    inbox: String,
    channels: PeerChannels,
}

/// The answer of this node to a question of another, if it comes in time.
type Answering = std::pin::Pin<Box<dyn Future<Output = Option<(Bytes, String)>> + Send>>;

struct Subscriptions {
    nodes: Subscriber,
    questions: Subscriber,
    answers: Subscriber,
}

enum Step {
    Question(Option<Question>),
    Answer(Option<Message>),
    Other(Option<Message>),
    Answered(Option<(Bytes, String)>),
    Node(Option<Message>),
    Announce,
    Late,
    End,
}

impl PeerTask {
    pub(in crate::backplane) fn new(
        client: Client,
        subjects: Arc<Subjects>,
        metrics: Arc<BackplaneMetrics>,
        own: PeerNode,
        channels: PeerChannels,
    ) -> Self {
        let (known, inbox) = (KnownNodes::new(own.id), client.new_inbox());
        let complete_at = Instant::now() + ANNOUNCE_PERIOD;
        Self { client, subjects, metrics, own, known, complete_at, asking: Asking::default(), inbox, channels }
    }

    /// Runs until `end`, and then says goodbye.
    pub(in crate::backplane) async fn run(mut self, end: CancellationToken) {
        let Some(mut subscriptions) = self.subscribe().await else { return };
        let mut announcements = announcements();
        let mut answering = FuturesUnordered::<Answering>::new();
        loop {
            let late = self.asking.due_at();
            let step = tokio::select! {
                question = self.channels.questions.recv_async() => Step::Question(question.ok()),
                message = subscriptions.answers.next() => Step::Answer(message),
                message = subscriptions.questions.next(), if answering.len() < ANSWERING_MAX => Step::Other(message),
                Some(answer) = answering.next() => Step::Answered(answer),
                message = subscriptions.nodes.next() => Step::Node(message),
                _ = announcements.tick() => Step::Announce,
                () = sleep_until(late.unwrap_or_else(Instant::now).into()), if late.is_some() => Step::Late,
                () = end.cancelled() => Step::End,
            };
            match step {
                Step::Question(Some(question)) => self.ask(question),
                Step::Answer(Some(message)) => self.take_answer(message),
                Step::Other(Some(message)) => answering.extend(self.pass_on(message)),
                Step::Answered(Some((answer, reply))) => self.send(reply, answer),
                Step::Answered(None) => {}
                Step::Node(Some(message)) => self.hear(&message),
                Step::Announce => {
                    if !self.announce(false) {
                        announcements.reset_after(ANNOUNCE_RETRY);
                    }
                }
                Step::Late => self.asking.end_late(Instant::now()),
                Step::End => {
                    self.announce(true);
                    return;
                }
                // The connection is closed, or nobody is left who asks.
                Step::Question(None) | Step::Answer(None) | Step::Other(None) | Step::Node(None) => {
                    end.cancelled().await;
                    self.announce(true);
                    return;
                }
            }
        }
    }

    async fn subscribe(&self) -> Option<Subscriptions> {
        let nodes = self.client.subscribe(self.subjects.nodes.clone()).await.ok()?;
        let questions = self.client.subscribe(self.subjects.questions.clone()).await.ok()?;
        let answers = self.client.subscribe(format!("{}.*", self.inbox)).await.ok()?;
        Some(Subscriptions { nodes, questions, answers })
    }

    fn ask(&mut self, Question { text, answers }: Question) {
        let Some(number) = self.asking.ask(answers, Instant::now()) else { return };
        let reply = format!("{}.{number}", self.inbox);
        let question = from_node(self.own.id, &text);
        let sent =
            publish(&self.client, || self.client.publish_with_reply(self.subjects.questions.clone(), reply, question));
        if !sent || self.is_complete(&HashSet::new()) {
            self.asking.end(number);
        }
    }

    fn take_answer(&mut self, message: Message) {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let (Some(number), Some((node, answer))) = (number, of_node(message.payload)) else { return };
        let (known, is_certain) = (&self.known, Instant::now() >= self.complete_at);
        self.asking.answered(number, node, answer, |answered| is_certain && known.are_all(answered));
    }

    /// Whether these are all other nodes.
    fn is_complete(&self, answered: &HashSet<NodeId>) -> bool {
        Instant::now() >= self.complete_at && self.known.are_all(answered)
    }

    /// Passes on a question of another node to those who answer.
    fn pass_on(&self, message: Message) -> Option<Answering> {
        let reply = message.reply?.into_string();
        let (node, question) = of_node(message.payload)?;
        if node == self.own.id {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        self.channels.others_questions.try_send((question, answer)).ok()?;
        Some(Box::pin(async move {
            let answer = timeout(ANSWERS_WITHIN, answered).await.ok()?.ok()?;
            Some((answer, reply))
        }))
    }

    fn send(&self, reply: String, answer: Bytes) {
        let answer = from_node(self.own.id, &answer);
        publish(&self.client, || self.client.publish(reply, answer));
    }

    fn hear(&mut self, message: &Message) {
        match self.known.hear(&message.payload, Instant::now()) {
            Heard::New => {
                self.announce(false);
                self.tell_of_nodes();
            }
            Heard::Known | Heard::Left => self.tell_of_nodes(),
            Heard::Nothing => {}
        }
    }

    /// Tells the other nodes of this one, and forgets those that have been silent. False without a connection.
    fn announce(&mut self, is_leaving: bool) -> bool {
        let now = Instant::now();
        if self.known.forget_silent(now) {
            self.tell_of_nodes();
        }
        self.own.sequence = self.metrics.sequence.get();
        let json = serde_json::to_vec(&Announcement::new(&self.own, is_leaving)).expect("texts and numbers are JSON");
        let is_announced = publish(&self.client, || self.client.publish(self.subjects.nodes.clone(), json.into()));
        if !is_announced {
            self.complete_at = now + 2 * ANNOUNCE_PERIOD;
        }
        is_announced
    }

    fn tell_of_nodes(&self) {
        self.metrics.peers.set(self.known.len() as u64);
        self.channels.nodes.send_replace(self.known.all());
    }
}

/// Publishes unless there is no connection, or one that takes nothing: then the library would make the caller wait.
/// Returns whether it was published.
pub(in crate::backplane) fn publish<F>(client: &Client, publish: impl FnOnce() -> F) -> bool
where
    F: Future<Output = Result<(), async_nats::PublishError>>,
{
    is_connected(client) && matches!(tokio::task::unconstrained(publish()).now_or_never(), Some(Ok(())))
}

fn announcements() -> Interval {
    let mut announcements = interval(ANNOUNCE_PERIOD);
    announcements.set_missed_tick_behavior(MissedTickBehavior::Delay);
    announcements
}
