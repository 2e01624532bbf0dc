//! What the state machines decide is done: shards are told, envelopes sent, holes read, the leader asked.

use std::mem;
use std::time::Instant;

use tracing::warn;

use super::Task;
use crate::backplane::envelope::{Envelope, EnvelopeError};
use crate::backplane::following::Next;
use crate::backplane::metrics::BackplaneState;
use crate::backplane::publishing::PublishStep;
use crate::backplane::stream::StoredAt;

impl Task {
    /// Does everything that can be done now.
    pub(super) async fn turn(&mut self) {
        self.follow().await;
        self.publish().await;
        self.ask();
        self.tell_state();
    }

    /// Notes when the connection was made or lost. One that was lost and made again in between is a new one. Returns
    /// whether there is a new one: whatever has come from the stream before is void.
    pub(super) fn notice_connection(&mut self) -> bool {
        let now = Instant::now();
        let (is_up, connects) = (self.links.connection.is_up(), self.links.connection.connects());
        let is_new = is_up && connects > self.connects;
        if is_new {
            self.connects = connects;
            self.following.connected(now);
            self.publishing.connected(now);
            self.void_reads();
            self.links.drop_feed();
        } else if !is_up {
            self.publishing.disconnected(now);
        }
        self.is_up = is_up;
        self.node.metrics.is_connected.set(is_up.into());
        self.node.metrics.connects.set(connects);
        is_new
    }

    /// What was asked for is not taken any more.
    pub(super) fn void_reads(&mut self) {
        self.life += 1;
        self.read_ends = 0;
    }

    async fn follow(&mut self) {
        while let Some(Next { sequence, stored_at, envelope }) = self.following.take_next() {
            self.node.metrics.envelopes_followed.add(1);
            match envelope {
                Ok(Some(envelope)) => self.place(sequence, stored_at, envelope).await,
                Ok(None) => {}
                Err(error) => self.skip(sequence, &error),
            }
            self.shards.reached.advance(self.following.reached());
        }
        for _ in 0..mem::take(&mut self.read_ends) {
            self.following.read_ended(Instant::now());
        }
    }

    async fn place(&mut self, sequence: u64, stored_at: StoredAt, envelope: Envelope) {
        let Envelope { node, number, entries } = envelope;
        let proposals = if node == self.node.id { self.publishing.seen(number) } else { Vec::new() };
        self.node.metrics.publications_followed.add(entries.len() as u64);
        self.shards.place(sequence, stored_at, entries, &proposals).await;
    }

    fn skip(&self, sequence: u64, error: &EnvelopeError) {
        self.node.metrics.envelopes_unreadable.add(1);
        if let Some(times) = self.throttles.unreadable.count() {
            warn!(times, sequence, %error, "an envelope of the stream cannot be read, and is skipped");
        }
    }

    async fn publish(&mut self) {
        loop {
            let now = Instant::now();
            match self.publishing.step(now) {
                PublishStep::Send { number, bytes, is_repeat } => {
                    let metrics = &self.node.metrics;
                    let count = if is_repeat { &metrics.envelopes_repeated } else { &metrics.envelopes_published };
                    count.add(1);
                    if !self.links.send_envelope(number, bytes) {
                        self.note_refusal(number, "the connection takes nothing, or not so much");
                    }
                }
                PublishStep::Fail(proposals, error) => self.fail(&proposals, error).await,
                PublishStep::Wait(until) => {
                    self.publish_at = until;
                    return;
                }
            }
        }
    }

    /// Asks for what is missing, and the leader for what is there.
    fn ask(&mut self) {
        if !self.is_up {
            return;
        }
        let now = Instant::now();
        if let Some(read) = self.following.read(now) {
            self.node.metrics.reads.add(1);
            self.links.read(read, self.life);
        }
        if let Some(question) = self.following.ask_leader(now) {
            self.links.ask_leader(question);
        }
    }

    fn tell_state(&mut self) {
        let now = Instant::now();
        let metrics = &self.node.metrics;
        let (lag, behind) = self.following.lag();
        metrics.lag_messages.set(lag);
        metrics.lag_nanoseconds.set(u64::try_from(behind.as_nanos()).unwrap_or(u64::MAX));
        metrics.sequence.set(self.following.followed());
        let (waiting, in_flight) = self.publishing.counts();
        metrics.waiting.set((waiting + self.mailbox.proposals.len()) as u64);
        metrics.in_flight.set(in_flight as u64);
        let has_caught_up = self.following.has_caught_up();
        metrics.set_state(match has_caught_up {
            _ if self.publishing.is_unavailable(now) => BackplaneState::Unavailable { since: now },
            true => BackplaneState::Following,
            false => BackplaneState::CatchingUp,
        });
        if has_caught_up && !*self.tellers.caught_up.borrow() {
            self.tellers.caught_up.send_replace(true);
        }
    }
}
