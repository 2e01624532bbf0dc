//! The Centrifuge protocol: commands of SDKs become calls of a session, and what comes of them becomes replies.

use std::task::{Context, Poll, ready};

use super::{Outcome, ProtocolHandler, Session};
use crate::protocol::disconnect::Disconnect;

/// The protocol handler of one client of the Centrifuge protocol.
pub struct CentrifugeHandler {
    session: Session,
}

impl CentrifugeHandler {
    /// A handler for a client that has not connected yet.
    pub fn new(session: Session) -> Self {
        Self { session }
    }
}

impl ProtocolHandler for CentrifugeHandler {
    fn begin(&mut self) -> Outcome {
        Outcome::Done
    }

    fn text(&mut self, _: &str) -> Outcome {
        Outcome::Ended(Disconnect::ProtocolError)
    }

    fn binary(&mut self, _: &[u8]) -> Outcome {
        Outcome::Ended(Disconnect::ProtocolError)
    }

    fn review(&mut self) -> Outcome {
        self.session.review()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        let _ = ready!(self.session.poll(context));
        Poll::Ready(Outcome::Done)
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    fn into_session(self) -> Session {
        self.session
    }
}
