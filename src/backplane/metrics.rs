//! Counters of the backplane, and the state of the node in its cluster. Written by the thread of the backplane alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::metrics::{Counter, Exposition};
use crate::stats::{ClusterFigures, ClusterState};

/// How the node stands to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackplaneState {
    /// It follows the stream.
    Following,
    /// It has not followed yet what was there when it started, or when it was connected again.
    CatchingUp,
    /// NATS cannot be reached or stores nothing, and publishes are refused. Rooms are served from what was followed.
    Unavailable {
        /// Since when.
        since: Instant,
    },
}

/// What the thread of the backplane counts.
#[derive(Debug)]
pub struct BackplaneMetrics {
    started_at: Instant,
    /// 0 is catching up, 1 following, above that unavailable since this number of milliseconds after the start.
    state: AtomicU64,
    pub(super) is_connected: Counter,
    /// The last message that was followed.
    pub(super) sequence: Counter,
    pub(super) lag_messages: Counter,
    pub(super) lag_nanoseconds: Counter,
    pub(super) waiting: Counter,
    pub(super) in_flight: Counter,
    pub(super) envelopes_published: Counter,
    pub(super) envelopes_repeated: Counter,
    pub(super) envelopes_followed: Counter,
    pub(super) publications_followed: Counter,
    pub(super) envelopes_unreadable: Counter,
    pub(super) refused_unavailable: Counter,
    pub(super) refused_unknown: Counter,
    pub(super) reads: Counter,
    pub(super) connects: Counter,
    pub(super) messages_dropped: Counter,
    pub(super) restarts: Counter,
    pub(super) peers: Counter,
}

impl Default for BackplaneMetrics {
    fn default() -> Self {
        let counter = Counter::default;
        Self {
            started_at: Instant::now(),
            state: AtomicU64::new(0),
            is_connected: counter(),
            sequence: counter(),
            lag_messages: counter(),
            lag_nanoseconds: counter(),
            waiting: counter(),
            in_flight: counter(),
            envelopes_published: counter(),
            envelopes_repeated: counter(),
            envelopes_followed: counter(),
            publications_followed: counter(),
            envelopes_unreadable: counter(),
            refused_unavailable: counter(),
            refused_unknown: counter(),
            reads: counter(),
            connects: counter(),
            messages_dropped: counter(),
            restarts: counter(),
            peers: counter(),
        }
    }
}

impl BackplaneMetrics {
    /// How the node stands to the stream.
    pub fn state(&self) -> BackplaneState {
        match self.state.load(Ordering::Relaxed) {
            0 => BackplaneState::CatchingUp,
            1 => BackplaneState::Following,
            since => BackplaneState::Unavailable { since: self.started_at + Duration::from_millis(since) },
        }
    }

    /// The last message of the stream that was followed, and the number of those that the leader had beyond it.
    pub fn place(&self) -> (u64, u64) {
        (self.sequence.get(), self.lag_messages.get())
    }

    /// Whether there is a connection to NATS.
    pub fn is_connected(&self) -> bool {
        self.is_connected.get() == 1
    }

    /// The other nodes that have been heard of lately.
    pub fn peers(&self) -> u64 {
        self.peers.get()
    }

    /// Time from the last message that was followed to the last of the stream.
    pub fn lag(&self) -> Duration {
        Duration::from_nanos(self.lag_nanoseconds.get())
    }

    /// How the node stands in its cluster.
    pub fn figures(&self) -> ClusterFigures {
        ClusterFigures {
            nodes: self.peers() + 1,
            state: match self.state() {
                BackplaneState::Following => ClusterState::Following,
                BackplaneState::CatchingUp => ClusterState::CatchingUp,
                BackplaneState::Unavailable { .. } => ClusterState::Unavailable,
            },
            lag_messages: self.lag_messages.get(),
            lag_seconds: self.lag().as_secs_f64(),
        }
    }

    /// Notes the state. One that is unavailable already stays so since then.
    pub(super) fn set_state(&self, state: BackplaneState) {
        let word = match (state, self.state()) {
            (BackplaneState::Unavailable { .. }, BackplaneState::Unavailable { .. }) => return,
            (BackplaneState::CatchingUp, _) => 0,
            (BackplaneState::Following, _) => 1,
            (BackplaneState::Unavailable { since }, _) => {
                let passed = since.saturating_duration_since(self.started_at).as_millis();
                u64::try_from(passed).unwrap_or(u64::MAX).max(2)
            }
        };
        self.state.store(word, Ordering::Relaxed);
    }

    /// Appends the counts.
    pub fn expose(&self, out: &mut Exposition) {
        self.expose_state(out);
        self.expose_publishing(out);
        self.expose_following(out);
    }

    fn expose_state(&self, out: &mut Exposition) {
        let is_following = self.state() == BackplaneState::Following;
        out.gauge("roomcast_backplane_connected", "1 while there is a connection to NATS.", self.is_connected.get());
        out.gauge(
            "roomcast_backplane_following",
            "1 while the node follows the stream; 0 while it catches up or NATS is unavailable.",
            is_following.into(),
        );
        out.counter("roomcast_backplane_connects_total", "Connections made to NATS.", self.connects.get());
        out.gauge("roomcast_backplane_peers", "Other nodes that have been heard of lately.", self.peers.get());
    }

    fn expose_publishing(&self, out: &mut Exposition) {
        out.gauge(
            "roomcast_backplane_proposals_waiting",
            "Publications of the node that wait for its next envelope.",
            self.waiting.get(),
        );
        out.gauge(
            "roomcast_backplane_proposals_in_flight",
            "Publications of the node in the envelope that was sent and has not come back in the stream.",
            self.in_flight.get(),
        );
        out.counter(
            "roomcast_backplane_envelopes_published_total",
            "Messages that the node has made for the stream.",
            self.envelopes_published.get(),
        );
        out.counter(
            "roomcast_backplane_envelopes_repeated_total",
            "Times that a message was sent again, since it did not come back in the stream.",
            self.envelopes_repeated.get(),
        );
        let reasons = [("unavailable", &self.refused_unavailable), ("unknown", &self.refused_unknown)];
        out.counters(
            "roomcast_backplane_refused_total",
            "Publications that have no place in the stream: unavailable (never sent), unknown (sent and not seen in time).",
            reasons.map(|(reason, count)| (format!("reason=\"{reason}\""), count.get())),
        );
    }

    fn expose_following(&self, out: &mut Exposition) {
        let help = "The number of the last message of the stream that was followed.";
        out.gauge("roomcast_backplane_sequence", help, self.sequence.get());
        out.gauge(
            "roomcast_backplane_lag_messages",
            "Messages of the stream that the node has not followed, as of the leader's last answer.",
            self.lag_messages.get(),
        );
        let seconds = self.lag_nanoseconds.get() as f64 / 1e9;
        let help = "Time from the last message that was followed to the last of the stream, in seconds.";
        out.family("gauge", "roomcast_backplane_lag_seconds", help, [(String::new(), seconds)]);
        out.counter(
            "roomcast_backplane_envelopes_followed_total",
            "Messages of the stream that were followed.",
            self.envelopes_followed.get(),
        );
        out.counter(
            "roomcast_backplane_publications_followed_total",
            "Publications and other entries in them.",
            self.publications_followed.get(),
        );
        out.counter(
            "roomcast_backplane_envelopes_unreadable_total",
            "Messages that were skipped, since they break a rule or are of a later format.",
            self.envelopes_unreadable.get(),
        );
        out.counter("roomcast_backplane_reads_total", "Reads of what had not come by itself.", self.reads.get());
        out.counter(
            "roomcast_backplane_dropped_total",
            "Messages that came faster than they could be taken. Those of the stream are read again.",
            self.messages_dropped.get(),
        );
        out.counter(
            "roomcast_backplane_restarts_total",
            "Times that the stream was another one, or had lost what the node had not followed.",
            self.restarts.get(),
        );
    }
}
