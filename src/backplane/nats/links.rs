//! What the task has of its connection: what comes from NATS, and how it sends. Never waits for a server.

use std::sync::Arc;

use async_nats::{Client, ConnectError, HeaderMap, Message, SubscribeError, Subscriber, header, jetstream};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use thiserror::Error;
use tokio::sync::mpsc;

use super::super::leader::Question;
use super::super::peers::task::publish;
use super::super::stream::{Inspection, Read};
use super::connection::{Connection, Dialing};
use super::messages::read_request;
use super::stream::{Stream, StreamError};
use super::subjects::{Inbox, InboxTopic, Subjects};
use crate::config::ClusterRules;

/// Answers of the leader that wait for the task. It asks one question at a time.
const LEADER_ANSWERS_MAX: usize = 4;

/// What the task has of its connection.
pub(super) struct Links {
    pub connection: Connection,
    pub subjects: Arc<Subjects>,
    /// What the stream publishes again.
    pub feed: Subscriber,
    /// What was asked for, and acknowledgements.
    pub inbox_messages: Subscriber,
    pub inbox: Inbox,
    pub signals: Subscriber,
    pub leader_answers: mpsc::Receiver<LeaderAnswer>,
    leader_answer_sender: mpsc::Sender<LeaderAnswer>,
    rules: ClusterRules,
    /// Answers in a row by which there is no stream.
    missing: u32,
}

/// What the leader has answered to a question.
#[derive(Debug)]
pub(super) struct LeaderAnswer {
    pub question: u64,
    pub state: Result<Option<Inspection>, StreamError>,
}

/// The connection cannot be used.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
}

impl Links {
    /// Connects as soon as that is possible. Returns at once.
    pub(super) async fn new(dialing: &Dialing, rules: &ClusterRules) -> Result<Self, LinkError> {
        let connection = dialing.connect_in_time().await?;
        let client = &connection.client;
        let subjects = Arc::new(Subjects::new(&rules.name));
        let inbox = Inbox::new(client);
        let feed = client.subscribe(subjects.feed.clone()).await?;
        let inbox_messages = client.subscribe(inbox.pattern()).await?;
        let signals = client.subscribe(subjects.signals.clone()).await?;
        let (leader_answer_sender, leader_answers) = mpsc::channel(LEADER_ANSWERS_MAX);
        let rules = rules.clone();
        Ok(Self {
            connection,
            subjects,
            feed,
            inbox_messages,
            inbox,
            signals,
            leader_answers,
            leader_answer_sender,
            rules,
            missing: 0,
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.connection.client
    }

    /// Drops what waits of the feed.
    pub(super) fn drop_feed(&mut self) {
        while waiting(&mut self.feed).is_some() {}
    }

    /// Subscribes to the feed anew: what waits there is of a stream that is gone.
    pub(super) fn renew_feed(&mut self) {
        let subscribed = self.client().subscribe(self.subjects.feed.clone()).now_or_never();
        if let Some(Ok(feed)) = subscribed {
            self.feed = feed;
        }
    }

    /// Sends an envelope. Returns whether it was sent.
    pub(super) fn send_envelope(&self, number: u64, bytes: Bytes) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_STREAM, self.subjects.stream.as_str());
        let (subject, reply) = (self.subjects.log.clone(), self.inbox.reply(InboxTopic::Acknowledgement(number)));
        let client = self.client();
        publish(client, || client.publish_with_reply_and_headers(subject, reply, headers, bytes))
    }

    /// Asks for a part of the stream. `life` tells the answers from those of an earlier stream.
    pub(super) fn read(&self, read: Read, life: u64) {
        let subject = format!("$JS.API.DIRECT.GET.{}", self.subjects.stream);
        let reply = self.inbox.reply(InboxTopic::Read(life));
        let client = self.client();
        // One that was not sent is asked for again, as one without an answer.
        publish(client, || client.publish_with_reply(subject, reply, read_request(read)));
    }

    /// Tells the other nodes.
    pub(super) fn signal(&self, signals: Bytes) {
        let client = self.client();
        publish(client, || client.publish(self.subjects.signals.clone(), signals));
    }

    /// Asks the leader. The answer comes to `leader_answers`. If there is no stream, as it has said before, it is made.
    pub(super) fn ask_leader(&self, question: Question) {
        let context = jetstream::new(self.client().clone());
        let stream = Stream::new(context, &self.rules, &self.subjects, &self.client().server_info());
        let (answers, is_missing) = (self.leader_answer_sender.clone(), self.missing > 1);
        tokio::spawn(async move {
            let state = match is_missing {
                true => stream.create().await.map(|_| None),
                false => stream.inspect(question.sequence).await,
            };
            // Fails if the task has ended.
            let _ = answers.send(LeaderAnswer { question: question.number, state }).await;
        });
    }

    /// Notes whether the leader has said that there is no stream.
    pub(super) fn note_missing(&mut self, is_missing: bool) {
        self.missing = if is_missing && self.missing < 2 { self.missing + 1 } else { 0 };
    }
}

/// The next message of a subscription.
pub(super) async fn message(subscription: &mut Subscriber) -> Message {
    subscription.next().await.expect("a subscription lasts as long as its client")
}

/// The next message of a subscription, if one waits.
pub(super) fn waiting(subscription: &mut Subscriber) -> Option<Message> {
    message(subscription).now_or_never()
}
