//! Commands that have to wait: for an answer, for space in a mailbox, for the client's rate. A client that waits is not
//! read meanwhile; that is the backpressure.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

use super::Session;
use super::rate_limiter::RateLimiter;
use crate::broker::{Join, Joined, LongReplyTurn, MemberCommand, Request};
use crate::config::DeliveryLimits;
use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Everything is on its way.
    Done,
    /// Something has to wait: poll until it is ready, before the next call.
    Pending,
    /// The session ends, for this reason.
    Ended(Disconnect),
}

/// What a command that had to wait has come to.
#[derive(Debug)]
pub enum Finished {
    /// It is on its way, or its client is gone.
    Sent,
    /// The client has a place reserved.
    Reserved,
    /// The client is in the room, which has said so.
    Joined,
    /// The client has left the room.
    Left,
    /// The rooms with members.
    Rooms(Arc<Listing<RoomName>>),
    /// The command was refused, and the client has been told nothing yet.
    Refused(CommandError),
}

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// A command that has not finished. Small where thousands of clients wait at once; boxed where few do.
pub(super) enum Waiting {
    Sending(Boxed<()>),
    Pausing(Box<Pause>),
    Turn(Box<TurnWait>),
    Reserving(Request<Result<(), CommandError>>),
    Joining(Request<Result<Joined, CommandError>>),
    Leaving(Request<()>),
    Listing(Boxed<Arc<Listing<RoomName>>>),
    /// It waits for nothing, and is told like what is refused later.
    Refused(CommandError),
}

/// A command whose reply may be long, and which waits until the long reply before has left.
pub(super) struct TurnWait {
    command: LongReplyCommand,
    turn: Boxed<LongReplyTurn>,
}

enum LongReplyCommand {
    Member(MemberCommand),
    Join(Join),
}

/// A command that waits until its client may cause so many deliveries.
pub(super) struct Pause {
    command: MemberCommand,
    deliveries: usize,
    sleep: Pin<Box<Sleep>>,
}

impl Session {
    /// Goes on with the command that has not finished.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        let finished = match &mut self.waiting {
            None => Finished::Sent,
            Some(Waiting::Sending(sending)) => {
                // A dead client is not to keep its connection permit. A server that stops still sends what it has read.
                match self.context.writer.poll_disconnect(self.slot, context) {
                    Poll::Ready(reason) if reason != Disconnect::Shutdown => {}
                    _ => ready!(sending.as_mut().poll(context)),
                }
                Finished::Sent
            }
            Some(Waiting::Reserving(request)) => match ready!(Pin::new(request).poll(context)) {
                Ok(()) => Finished::Reserved,
                Err(error) => Finished::Refused(error),
            },
            Some(Waiting::Joining(request)) => match ready!(Pin::new(request).poll(context)) {
                Ok(joined) => {
                    // Most clients are in one room.
                    self.memberships.reserve_exact(1);
                    self.memberships.push(joined);
                    Finished::Joined
                }
                Err(error) => Finished::Refused(error),
            },
            Some(Waiting::Leaving(request)) => {
                ready!(Pin::new(request).poll(context));
                Finished::Left
            }
            Some(Waiting::Listing(listing)) => Finished::Rooms(ready!(listing.as_mut().poll(context))),
            Some(Waiting::Pausing(_)) => return self.poll_pause(context),
            Some(Waiting::Turn(_)) => return self.poll_turn(context),
            Some(Waiting::Refused(_)) => {
                let Some(Waiting::Refused(error)) = self.waiting.take() else { unreachable!("it was just looked at") };
                Finished::Refused(error)
            }
        };
        self.waiting = None;
        Poll::Ready(finished)
    }

    pub(super) fn wait(&mut self, waiting: Waiting) -> Outcome {
        debug_assert!(self.waiting.is_none(), "the command before has not finished");
        self.waiting = Some(waiting);
        Outcome::Pending
    }

    /// Sends a join, once no long reply is on its way to a client that resumes.
    pub(super) fn send_join(&mut self, mut join: Join) -> Outcome {
        if join.since.is_some() && join.turn.is_none() {
            join.turn = self.window.try_turn();
            if join.turn.is_none() {
                return self.wait_for_turn(LongReplyCommand::Join(join));
            }
        }
        self.wait(Waiting::Joining(self.context.broker.join(join)))
    }

    /// Sends a command of a member, or waits while the client has too much on its way.
    pub(super) fn send_to_room(&mut self, mut command: MemberCommand) -> Outcome {
        if let Some(turn) = command.act.long_reply_turn()
            && turn.is_none()
        {
            *turn = self.window.try_turn();
            if turn.is_none() {
                return self.wait_for_turn(LongReplyCommand::Member(command));
            }
        }
        match self.context.broker.try_send(command, &mut self.window) {
            Ok(()) => Outcome::Done,
            Err(command) => {
                // The window exists since the attempt, so that a clone is the same one.
                let (broker, mut window) = (self.context.broker.clone(), self.window.clone());
                self.wait(Waiting::Sending(Box::pin(async move { broker.send(command, &mut window).await })))
            }
        }
    }

    /// Sends a command of a member once the client may cause these deliveries.
    pub(super) fn send_charged(&mut self, command: MemberCommand, deliveries: usize, now: Instant) -> Outcome {
        match self.charge(deliveries, now) {
            Ok(()) => self.send_to_room(command),
            Err(time) => self.pause(command, deliveries, time),
        }
    }

    /// Charges deliveries to the rate limiter. An error is the time to wait first.
    fn charge(&mut self, deliveries: usize, now: Instant) -> Result<(), Duration> {
        let Some(limits) = self.context.deliveries else { return Ok(()) };
        let rate_limiter = self
            .rate_limiter
            .get_or_insert_with(|| RateLimiter::new(limits, &self.context.spent, self.address, now).into());
        rate_limiter.acquire(deliveries, now)
    }

    /// Waits until the client may cause these deliveries, for `pause_max` at most.
    fn pause(&mut self, command: MemberCommand, deliveries: usize, time: Duration) -> Outcome {
        let time_max = self.context.deliveries.map_or(Duration::ZERO, |limits| limits.pause_max);
        let sleep = Box::pin(sleep(time.min(time_max)));
        self.wait(Waiting::Pausing(Box::new(Pause { command, deliveries, sleep })))
    }

    fn wait_for_turn(&mut self, command: LongReplyCommand) -> Outcome {
        let turn = Box::pin(self.window.turn());
        self.wait(Waiting::Turn(Box::new(TurnWait { command, turn })))
    }

    /// A client that is disconnected gets no long reply any more. Its join is sent all the same, without a turn: a place may
    /// be reserved for it, and a client of a server that stops must not be in a room without what it has missed.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        let Some(Waiting::Turn(wait)) = &mut self.waiting else { unreachable!("the caller has looked") };
        let is_disconnected = self.context.writer.poll_disconnect(self.slot, context).is_ready();
        let granted = if is_disconnected { None } else { Some(ready!(wait.turn.as_mut().poll(context))) };
        let Some(Waiting::Turn(wait)) = self.waiting.take() else { unreachable!("the caller has looked") };
        let outcome = match (wait.command, granted) {
            (LongReplyCommand::Member(_), None) => Outcome::Done,
            (LongReplyCommand::Member(mut command), granted) => {
                if let Some(turn) = command.act.long_reply_turn() {
                    *turn = granted;
                }
                self.send_to_room(command)
            }
            (LongReplyCommand::Join(join), turn) => {
                self.wait(Waiting::Joining(self.context.broker.join(Join { turn, ..join })))
            }
        };
        match outcome {
            Outcome::Pending => self.poll(context),
            _ => Poll::Ready(Finished::Sent),
        }
    }

    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        let Some(Waiting::Pausing(pause)) = &mut self.waiting else { unreachable!("the caller has looked") };
        let disconnected = self.context.writer.poll_disconnect(self.slot, context);
        if disconnected.is_pending() {
            ready!(pause.sleep.as_mut().poll(context));
        }
        let Some(Waiting::Pausing(pause)) = self.waiting.take() else { unreachable!("the caller has looked") };
        match (disconnected, self.context.deliveries) {
            // A server that stops still publishes what it has read.
            (Poll::Ready(Disconnect::Shutdown), _) => {}
            (Poll::Ready(_), _) => return Poll::Ready(Finished::Sent),
            (Poll::Pending, Some(limits)) if self.charge(pause.deliveries, Instant::now()).is_err() => {
                let DeliveryLimits { per_second, burst, .. } = limits;
                let error = CommandError::TooManyDeliveries { per_second: per_second.get(), burst };
                return Poll::Ready(Finished::Refused(error));
            }
            (Poll::Pending, _) => {}
        }
        match self.send_to_room(pause.command) {
            Outcome::Pending => self.poll(context),
            _ => Poll::Ready(Finished::Sent),
        }
    }
}
