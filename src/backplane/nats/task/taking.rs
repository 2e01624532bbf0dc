//! What comes from NATS and from shards is taken in; nothing is decided here.

use std::time::Instant;

use async_nats::{Event, Message};
use aws_lc_rs::rand;
use bytes::BytesMut;
use tracing::{error, info, warn};

use super::super::links::{LeaderAnswer, waiting};
use super::super::messages::{ReadPart, acknowledgement, read_part, stored};
use super::super::stream::StreamError;
use super::super::subjects::InboxTopic;
use super::Task;
use crate::backplane::entry::{Proposal, ProposalError};
use crate::backplane::envelope::{append_signal, decode_signals, seal_signals};
use crate::backplane::following::{Restart, RestartCause, Source, Verdict};
use crate::backplane::publishing::{ENTRIES_MAX, ENVELOPE_BYTES, ProposalId};
use crate::backplane::signal::Signal;
use crate::fault;

/// Messages of one subscription that are taken in one turn.
const TURN_MAX: usize = 256;

impl Task {
    pub(super) fn take_feed(&mut self, first: Message) {
        self.take_republished(first);
        for _ in 0..TURN_MAX {
            let Some(message) = waiting(&mut self.links.feed) else { return };
            self.take_republished(message);
        }
    }

    fn take_republished(&mut self, message: Message) {
        if let Some(stored) = stored(message) {
            self.following.take(stored, Source::Feed, Instant::now());
        }
    }

    pub(super) fn take_inbox(&mut self, first: Message) {
        self.take_answer(first);
        for _ in 0..TURN_MAX {
            let Some(message) = waiting(&mut self.links.inbox_messages) else { return };
            self.take_answer(message);
        }
    }

    fn take_answer(&mut self, message: Message) {
        match self.links.inbox.topic(&message.subject) {
            Some(InboxTopic::Read(life)) if life == self.life => self.take_read(message),
            Some(InboxTopic::Acknowledgement(number)) => self.take_acknowledgement(number, &message),
            _ => {}
        }
    }

    fn take_read(&mut self, message: Message) {
        let now = Instant::now();
        match read_part(message) {
            ReadPart::Stored(stored) => self.following.take(stored, Source::Read, now),
            ReadPart::End => {
                // What it has found is to be followed first: only then it shows whether something is missing.
                self.read_ends += 1;
            }
            ReadPart::Failed(cause) => {
                if let Some(times) = self.throttles.read.count() {
                    warn!(times, cause, "a read of the stream has failed");
                }
            }
        }
    }

    fn take_acknowledgement(&mut self, number: u64, message: &Message) {
        match acknowledgement(message) {
            Ok(()) => self.publishing.stored(number, Instant::now()),
            Err(cause) => self.note_refusal(number, &cause),
        }
    }

    /// The envelope is sent again later.
    pub(super) fn note_refusal(&mut self, number: u64, cause: &str) {
        self.publishing.refused(number, Instant::now());
        if let Some(times) = self.throttles.refused.count() {
            warn!(times, cause, "NATS does not store an envelope: it is sent again");
        }
    }

    pub(super) fn take_signals(&mut self, message: Message) {
        match decode_signals(message.payload) {
            Ok((node, _)) if node == self.node.id => {}
            Ok((_, signals)) => signals.into_iter().for_each(|signal| self.shards.signal(signal)),
            Err(error) => {
                if let Some(times) = self.throttles.signal.count() {
                    warn!(times, %error, "news of another node cannot be read");
                }
            }
        }
    }

    /// Sends this signal and those that wait.
    pub(super) fn send_signals(&mut self, first: Signal) {
        let mut signals = BytesMut::new();
        append_signal(first, &mut signals);
        while signals.len() < ENVELOPE_BYTES {
            let Ok(signal) = self.mailbox.signals.try_recv() else { break };
            append_signal(signal, &mut signals);
        }
        self.links.signal(seal_signals(self.node.id, &signals));
    }

    /// Takes this proposal and those that wait, as far as there is room in the next envelope.
    pub(super) async fn take_proposals(&mut self, first: Proposal) {
        fault::inject("proposals");
        self.take_proposal(first).await;
        for _ in 0..ENTRIES_MAX {
            let is_open = self.publishing.is_open(Instant::now());
            let Some(proposal) = is_open.then(|| self.mailbox.proposals.try_recv().ok()).flatten() else { return };
            self.take_proposal(proposal).await;
        }
    }

    async fn take_proposal(&mut self, proposal: Proposal) {
        let id = ProposalId { shard: proposal.shard, number: proposal.number };
        if let Err(error) = self.publishing.propose(proposal, Instant::now()) {
            self.fail(&[id], error).await;
        }
    }

    /// Tells shards that proposals have no place.
    pub(super) async fn fail(&self, proposals: &[ProposalId], error: ProposalError) {
        let count = match error {
            ProposalError::Unavailable => &self.node.metrics.refused_unavailable,
            ProposalError::Unknown => &self.node.metrics.refused_unknown,
        };
        count.add(proposals.len() as u64);
        self.shards.fail(proposals, error).await;
    }

    pub(super) async fn take_leader_answer(&mut self, answer: LeaderAnswer) {
        let now = Instant::now();
        let LeaderAnswer { question, state } = answer;
        self.links.note_missing(matches!(state, Ok(None)));
        match state {
            Ok(Some(inspection)) => {
                let verdict = self.following.leader_answered(question, inspection, random(), now);
                if let Verdict::Restarted(restart) = verdict {
                    self.restart(restart).await;
                }
            }
            Ok(None) => self.following.leader_failed(question, now),
            Err(StreamError::NotYet(cause)) => self.note_silence(question, &cause),
            Err(StreamError::Final(error)) => self.note_silence(question, &error.to_string()),
        }
    }

    fn note_silence(&mut self, question: u64, cause: &str) {
        self.following.leader_failed(question, Instant::now());
        if let Some(times) = self.throttles.leader.count() {
            warn!(times, cause, "the leader of the stream does not answer");
        }
    }

    async fn restart(&mut self, Restart { cause, epoch, horizon }: Restart) {
        let (stream, epoch_text) = (&self.node.rules.name, epoch.to_string());
        match cause {
            RestartCause::Anew => {
                error!(stream, epoch = epoch_text, "the stream was recreated: rooms begin without history");
                self.links.renew_feed();
            }
            RestartCause::Lost => {
                error!(stream, epoch = epoch_text, "NATS has lost what it had stored: rooms begin with what is left");
            }
            RestartCause::Hole => {
                error!(stream, horizon = horizon.0, "the stream has dropped what this node has not followed");
            }
        }
        self.void_reads();
        self.publishing.restarted(Instant::now());
        self.shards.restart(epoch, horizon).await;
        self.node.metrics.restarts.add(1);
        self.tellers.restarts.send_modify(|restarts| *restarts += 1);
    }

    pub(super) fn take_event(&mut self, event: &Event) {
        match event {
            Event::Connected => info!("connected to NATS"),
            Event::Disconnected => warn!("disconnected from NATS"),
            Event::SlowConsumer(_) => self.node.metrics.messages_dropped.add(1),
            Event::ServerError(error) => {
                if let Some(times) = self.throttles.complaint.count() {
                    error!(times, %error, "NATS complains");
                }
            }
            _ => {}
        }
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("the system has random bytes");
    u64::from_le_bytes(bytes)
}
