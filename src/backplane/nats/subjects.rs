//! The names in NATS that the nodes of a cluster share, and those of one connection.

use async_nats::Client;

/// The subjects of a cluster and its stream. All begin with the name of the cluster, which is also that of the stream.
#[derive(Clone, Debug)]
pub(in crate::backplane) struct Subjects {
    /// The stream.
    pub stream: String,
    /// What the stream stores.
    pub log: String,
    /// Where the stream says what it has stored.
    pub feed: String,
    /// Questions to all nodes.
    pub questions: String,
    /// News of members.
    pub signals: String,
    /// News of nodes.
    pub nodes: String,
}

/// Where answers come to one connection.
#[derive(Clone, Debug)]
pub(super) struct Inbox(String);

/// What came to an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InboxTopic {
    /// A part of what was read, with the number of the stream's restarts when it was asked for.
    Read(u64),
    /// The acknowledgement of an envelope, by its number.
    Acknowledgement(u64),
}

impl Subjects {
    pub(super) fn new(cluster: &str) -> Self {
        let subject = |end: &str| format!("{cluster}.{end}");
        Self {
            stream: cluster.to_owned(),
            log: subject("log"),
            feed: subject("feed"),
            questions: subject("questions"),
            signals: subject("signals"),
            nodes: subject("nodes"),
        }
    }

    /// All subjects that nodes publish to and subscribe to.
    pub(super) fn all(&self) -> [&str; 5] {
        [&self.log, &self.feed, &self.questions, &self.signals, &self.nodes]
    }
}

impl Inbox {
    pub(super) fn new(client: &Client) -> Self {
        Self(client.new_inbox())
    }

    /// What to subscribe to.
    pub(super) fn pattern(&self) -> String {
        format!("{}.*.*", self.0)
    }

    /// Where answers of a topic are to be sent.
    pub(super) fn reply(&self, topic: InboxTopic) -> String {
        match topic {
            InboxTopic::Read(life) => format!("{}.read.{life}", self.0),
            InboxTopic::Acknowledgement(number) => format!("{}.ack.{number}", self.0),
        }
    }

    /// The topic of what came.
    pub(super) fn topic(&self, subject: &str) -> Option<InboxTopic> {
        let (topic, number) = subject.strip_prefix(&self.0)?.strip_prefix('.')?.split_once('.')?;
        let number = number.parse().ok()?;
        match topic {
            "read" => Some(InboxTopic::Read(number)),
            "ack" => Some(InboxTopic::Acknowledgement(number)),
            _ => None,
        }
    }
}
