//! The answers of monitors and load balancers: health, readiness and metrics.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use strum::{IntoStaticStr, VariantArray};

use super::HttpServer;
use super::body::{Answer, text, typed};
use crate::backplane::{BackplaneState, CaughtUp};
use crate::metrics::Exposition;
use crate::net::NoPermit;

/// The text of the metrics is at most this old: requests that come more often get the same text again.
const SCRAPE_AGE_MAX: Duration = Duration::from_millis(100);

/// Whether a load balancer should send clients here, and why not. The label of the metric is the variant's name in kebab
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
enum Readiness {
    Ready,
    /// NATS is unavailable. Clients are served from what was followed, and NATS may be away for all nodes alike.
    Degraded,
    CatchingUp,
    Full,
    Draining,
}

impl HttpServer {
    /// Says whether a load balancer should send clients here.
    pub(super) fn answer_ready(&self, no_permit: Option<NoPermit>) -> Answer {
        let readiness = self.readiness(no_permit);
        let (status, said) = readiness.answer();
        if readiness == Readiness::Draining {
            let clients = self.context.metrics.clients();
            return text(status, format!("{said}: {clients} clients left"));
        }
        text(status, said)
    }

    /// As a connection sees it that has this permit.
    fn readiness(&self, no_permit: Option<NoPermit>) -> Readiness {
        let is_full = match no_permit {
            // A connection with a permit does not count itself.
            None | Some(NoPermit::TooManyOfAddress) => false,
            Some(NoPermit::Full) => self.context.connection_limit.is_full(),
            Some(NoPermit::OutOfDescriptors) => true,
        };
        if self.context.drain.is_announced() {
            Readiness::Draining
        } else if is_full {
            Readiness::Full
        } else if !self.has_caught_up() {
            // NATS may be away meanwhile.
            Readiness::CatchingUp
        } else {
            Readiness::of(self.context.metrics.backplane.as_ref().map(|backplane| backplane.state()))
        }
    }

    /// Whether there are rooms: a node of a cluster has none until it has read the stream.
    pub(super) fn has_caught_up(&self) -> bool {
        self.context.caught_up.as_ref().is_none_or(CaughtUp::is_true)
    }

    /// The metrics, made anew if their text is too old.
    pub(super) fn metrics(&self, no_permit: Option<NoPermit>) -> Answer {
        typed(StatusCode::OK, Exposition::CONTENT_TYPE, self.metrics_text(no_permit))
    }

    fn metrics_text(&self, no_permit: Option<NoPermit>) -> Bytes {
        let newest = &mut *self.metrics_text.borrow_mut();
        if let Some((made_at, text)) = newest
            && made_at.elapsed() < SCRAPE_AGE_MAX
        {
            return text.clone();
        }
        self.context.counts.scrapes.add(1);
        let mut out = Exposition::default();
        self.readiness(no_permit).expose(&mut out);
        self.context.metrics.expose(&mut out);
        let text = Bytes::from(out.into_text());
        *newest = Some((Instant::now(), text.clone()));
        text
    }
}

impl Readiness {
    /// The readiness of a server whose backplane is in this state; one without a backplane is alone.
    fn of(backplane: Option<BackplaneState>) -> Self {
        match backplane {
            None | Some(BackplaneState::Following) => Self::Ready,
            Some(BackplaneState::CatchingUp) => Self::CatchingUp,
            Some(BackplaneState::Unavailable { .. }) => Self::Degraded,
        }
    }

    /// What `GET /ready` answers.
    fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Ready => (StatusCode::OK, "ready"),
            Self::Degraded => (StatusCode::OK, "degraded: NATS is unavailable"),
            Self::CatchingUp => (StatusCode::SERVICE_UNAVAILABLE, "catching up"),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "full"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        }
    }

    /// Appends a gauge for each state, of which one is 1.
    fn expose(self, out: &mut Exposition) {
        let sample = |&state: &Self| (format!("state=\"{}\"", <&str>::from(state)), u64::from(state == self));
        out.gauges(
            "roomcast_readiness",
            "1 for the state that GET /ready answers with: ready and degraded welcome clients, the others do not.",
            Self::VARIANTS.iter().map(sample),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_once_it_has_caught_up_and_stays_so_while_nats_is_away() {
        let away = BackplaneState::Unavailable { since: Instant::now() };
        let states = [None, Some(BackplaneState::CatchingUp), Some(BackplaneState::Following), Some(away)];
        let answers = states.map(|state| Readiness::of(state).answer()).map(|(status, said)| (status.as_u16(), said));
        let degraded = (200, "degraded: NATS is unavailable");
        assert_eq!(answers, [(200, "ready"), (503, "catching up"), (200, "ready"), degraded]);
    }
}
