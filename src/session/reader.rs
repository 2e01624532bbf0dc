//! A client that reads one room and sends nothing. It joins the room as it connects, and what ends its membership ends
//! the connection. Knows the session, and how nothing is written.

use std::task::{Context, Poll, ready};

use super::orders::{Duty, NotObeyed, ObeyedAnswer};
use super::{Finished, JoinRequest, Outcome, Pending, ProtocolHandler, Session};
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::Since;

/// The room that a client reads.
#[derive(Debug)]
pub struct Reading {
    /// The room.
    pub room: RoomName,
    /// Up to where the client has everything, if it resumes.
    pub since: Option<Since>,
}

/// Joins the room of a reader, and ends the connection with the membership.
pub struct ReaderHandler {
    session: Session,
    /// Until the client joins.
    reading: Option<Box<Reading>>,
    /// Answered once the client has left its room, as the application has ordered.
    leaving: Option<Box<ObeyedAnswer>>,
    /// The session ends once the client has been told why.
    ending: Option<Disconnect>,
}

impl ReaderHandler {
    /// A handler for a client that is in no room yet.
    pub fn new(session: Session, reading: Box<Reading>) -> Self {
        Self { session, reading: Some(reading), leaving: None, ending: None }
    }

    fn join(&mut self) -> Outcome {
        let Reading { room, since } = *self.reading.take().expect("a reader joins once");
        self.session.join(JoinRequest { since, ..JoinRequest::of(room) })
    }

    /// Tells the client why it is not in the room, and ends the connection.
    fn refuse(&mut self, error: &CommandError) -> Outcome {
        self.end_with(
            error,
            match error {
                CommandError::TokenExpired(_) => Disconnect::TokenExpired,
                CommandError::Forbidden(_) => Disconnect::Kicked,
                CommandError::Unavailable(_) => Disconnect::Refused,
                _ => Disconnect::TooManyConnections,
            },
        )
    }

    fn end_with(&mut self, error: &CommandError, reason: Disconnect) -> Outcome {
        self.ending = Some(reason);
        match self.session.reply(None, &Event::Error(error)) {
            Outcome::Done => Outcome::Ended(reason),
            outcome => outcome,
        }
    }

    fn go_on(&mut self, finished: Finished) -> Outcome {
        match finished {
            Finished::Refused(error) | Finished::Evicted(_, error) => self.refuse(&error),
            Finished::Admitted => self.join(),
            Finished::NotAdmitted(error) => self.end_with(&error, Disconnect::Refused),
            Finished::Disconnected(reason) => Outcome::Ended(reason),
            Finished::Left => {
                self.leaving.take().map(|answer| answer.send(Ok(())));
                Outcome::Ended(Disconnect::Kicked)
            }
            _ => self.ending.map_or(Outcome::Done, Outcome::Ended),
        }
    }

    /// Begins to do what the application has ordered, and answers once it is done.
    fn obey(&mut self, Pending { duty, answer }: Pending) -> Outcome {
        let obeyed = match duty {
            Duty::Leave(room) if self.session.is_in(&room) => {
                self.leaving = Some(answer.into());
                return self.session.leave(&room);
            }
            Duty::Join(order) if !self.session.is_in(&order.room) => {
                Err(NotObeyed::Refused(CommandError::NotAvailable("the client reads one room, and no other")))
            }
            Duty::Refresh { expires_at, info } => {
                self.session.refresh(expires_at, info);
                Ok(())
            }
            Duty::Join(_) | Duty::Leave(_) => Ok(()),
        };
        let _ = answer.send(obeyed);
        Outcome::Done
    }
}

impl ProtocolHandler for ReaderHandler {
    fn begin(&mut self) -> Outcome {
        match self.session.ask_to_connect() {
            Outcome::Done => self.join(),
            outcome => outcome,
        }
    }

    fn text(&mut self, _: &str) -> Outcome {
        Outcome::Ended(Disconnect::Unsupported)
    }

    fn binary(&mut self, _: &[u8]) -> Outcome {
        Outcome::Ended(Disconnect::Unsupported)
    }

    fn review(&mut self) -> Outcome {
        match self.session.next_order() {
            Some(pending) => self.obey(pending),
            None => self.session.review(),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let finished = ready!(self.session.poll(context));
            match self.go_on(finished) {
                Outcome::Pending => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    fn into_session(self) -> Session {
        self.session
    }
}
