//! The answers of monitors and load balancers: health, readiness and metrics.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;

use super::HttpServer;
use super::body::{Answer, text, typed};
use crate::backplane::BackplaneState;
use crate::metrics::Exposition;
use crate::net::NoPermit;

/// The text of the metrics is at most this old: requests that come more often get the same text again.
const SCRAPE_AGE_MAX: Duration = Duration::from_millis(100);

impl HttpServer {
    /// Says whether a load balancer should send clients here.
    pub(super) fn readiness(&self, no_permit: Option<NoPermit>) -> Answer {
        let is_full = match no_permit {
            // A connection with a permit does not count itself.
            None | Some(NoPermit::TooManyOfAddress) => false,
            Some(NoPermit::Full) => self.context.connection_limit.is_full(),
            Some(NoPermit::OutOfDescriptors) => true,
        };
        if self.context.drain.is_announced() {
            let clients = self.context.metrics.clients();
            text(StatusCode::SERVICE_UNAVAILABLE, format!("draining: {clients} clients left"))
        } else if is_full {
            text(StatusCode::SERVICE_UNAVAILABLE, "full")
        } else {
            let (status, said) =
                readiness_of(self.context.metrics.backplane.as_ref().map(|backplane| backplane.state()));
            text(status, said)
        }
    }

    /// The metrics, made anew if their text is too old.
    pub(super) fn metrics(&self) -> Answer {
        typed(StatusCode::OK, Exposition::CONTENT_TYPE, self.metrics_text())
    }

    fn metrics_text(&self) -> Bytes {
        let newest = &mut *self.metrics_text.borrow_mut();
        if let Some((made_at, text)) = newest
            && made_at.elapsed() < SCRAPE_AGE_MAX
        {
            return text.clone();
        }
        self.context.counts.scrapes.add(1);
        let text = Bytes::from(self.context.metrics.expose());
        *newest = Some((Instant::now(), text.clone()));
        text
    }
}

/// Whether a server whose backplane is in this state is ready; one without a backplane is alone.
fn readiness_of(backplane: Option<BackplaneState>) -> (StatusCode, &'static str) {
    match backplane {
        None | Some(BackplaneState::Following) => (StatusCode::OK, "ready"),
        Some(BackplaneState::CatchingUp) => (StatusCode::SERVICE_UNAVAILABLE, "catching up"),
        // Clients are served from what was followed, and NATS may be away for all nodes alike.
        Some(BackplaneState::Unavailable { .. }) => (StatusCode::OK, "degraded: NATS is unavailable"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_once_it_has_caught_up_and_stays_so_while_nats_is_away() {
        let away = BackplaneState::Unavailable { since: Instant::now() };
        let states = [None, Some(BackplaneState::CatchingUp), Some(BackplaneState::Following), Some(away)];
        let answers = states.map(|state| (readiness_of(state).0.as_u16(), readiness_of(state).1));
        let degraded = (200, "degraded: NATS is unavailable");
        assert_eq!(answers, [(200, "ready"), (503, "catching up"), (200, "ready"), degraded]);
    }
}
