//! Commands that have to wait: for an answer, for space in a mailbox, for the client's rate. A client that waits is not
//! read meanwhile; that is the backpressure.

use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use super::Session;
use super::asking::{Asked, PublishRequest};
use super::pass::Pass;
use super::rate_limiter::RateLimiter;
use crate::broker::{Asking, Join, Joined, LongReplyTurn, MemberCommand, Request, Reserved};
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
    /// The client may hold what it has missed in several rooms, until this is dropped.
    Collecting(OwnedSemaphorePermit),
    /// The client has a place reserved, and a token for the membership if the application has given one.
    Reserved(Reserved, Option<Box<Pass>>),
    /// The client is in the room, which has said so.
    Joined,
    /// The client has left the room.
    Left,
    /// The client has lost the right to be in this room, for this reason, and has left it.
    Evicted(RoomName, CommandError),
    /// The rooms with members.
    Rooms(Arc<Listing<RoomName>>),
    /// The command was refused, and the client has been told nothing yet.
    Refused(CommandError),
    /// The application lets the client in.
    Admitted,
    /// The application does not let the client in, which has been told nothing yet.
    NotAdmitted(CommandError),
    /// The client is disconnected, and what it has waited for is not done.
    Disconnected(Disconnect),
}

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// A command that has not finished.
pub(super) enum Waiting {
    Answer(Answer),
    Pausing(Box<Pause>),
    Turn(Box<TurnWait>),
    /// The application is asked first.
    Asked(Box<Asked>),
    /// The other nodes are asked first.
    Peers(Box<PeersWait>),
    /// It waits for nothing, and is told like what is refused later.
    Refused(CommandError),
    /// As `Refused`, of a connect.
    NotAdmitted(CommandError),
}

/// What a command waits for until it has finished. Small where thousands of clients wait at once; boxed where few do.
pub(super) enum Answer {
    Sending(Boxed<()>),
    Collecting(Boxed<OwnedSemaphorePermit>),
    Reserving(Request<Result<Reserved, CommandError>>, Option<Box<Pass>>),
    Joining(Request<Result<Joined, CommandError>>, Option<Box<Pass>>),
    Leaving(Request<()>),
    Evicting(Request<()>, Box<(RoomName, CommandError)>),
    Listing(Boxed<Arc<Listing<RoomName>>>),
}

impl From<Answer> for Waiting {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// A command whose reply may be long, and which waits until the long reply before has left.
pub(super) struct TurnWait {
    command: LongReplyCommand,
    turn: Boxed<LongReplyTurn>,
}

enum LongReplyCommand {
    Member(MemberCommand),
    Join(Joining),
}

/// A join, and the token for the membership if it has one of its own.
pub(super) struct Joining {
    pub join: Join,
    pub pass: Option<Box<Pass>>,
}

/// A command whose reply needs what other nodes say.
pub(super) struct PeersWait {
    command: MemberCommand,
    asking: Asking,
}

/// What waits until its client may cause more deliveries.
pub(super) enum Paused {
    Command(MemberCommand),
    /// The application may have to be asked about it then.
    Publish(PublishRequest),
}

/// A command that waits until its client may cause so many deliveries.
pub(super) struct Pause {
    paused: Paused,
    deliveries: usize,
    sleep: Pin<Box<Sleep>>,
}

impl Session {
    /// Goes on with the command that has not finished.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        match self.waiting.take() {
            None => Poll::Ready(Finished::Sent),
            Some(Waiting::Refused(error)) => Poll::Ready(Finished::Refused(error)),
            Some(Waiting::NotAdmitted(error)) => Poll::Ready(Finished::NotAdmitted(error)),
            Some(Waiting::Asked(asked)) => self.poll_asked(asked, context),
            Some(Waiting::Peers(wait)) => self.poll_peers(wait, context),
            Some(Waiting::Pausing(pause)) => self.poll_pause(pause, context),
            Some(Waiting::Turn(wait)) => self.poll_turn(wait, context),
            Some(Waiting::Answer(mut answer)) => {
                let polled = self.poll_answer(&mut answer, context);
                if polled.is_pending() {
                    self.waiting = Some(answer.into());
                }
                polled
            }
        }
    }

    fn poll_answer(&mut self, answer: &mut Answer, context: &mut Context<'_>) -> Poll<Finished> {
        Poll::Ready(match answer {
            Answer::Sending(sending) => {
                // A dead client is not to keep its connection permit. A server that stops still sends what it has read.
                match self.context.writer.poll_disconnect(self.slot, context) {
                    Poll::Ready(reason) if reason != Disconnect::Shutdown => {}
                    _ => ready!(sending.as_mut().poll(context)),
                }
                Finished::Sent
            }
            Answer::Collecting(turn) => Finished::Collecting(ready!(turn.as_mut().poll(context))),
            Answer::Reserving(request, pass) => match ready!(Pin::new(request).poll(context)) {
                Ok(reserved) => Finished::Reserved(reserved, pass.take()),
                Err(error) => Finished::Refused(error),
            },
            Answer::Joining(request, pass) => match ready!(Pin::new(request).poll(context)) {
                Ok(joined) => {
                    self.add_membership(joined, pass.take());
                    Finished::Joined
                }
                Err(error) => Finished::Refused(error),
            },
            Answer::Leaving(request) => {
                ready!(Pin::new(request).poll(context));
                Finished::Left
            }
            Answer::Evicting(request, evicted) => {
                ready!(Pin::new(request).poll(context));
                let (room, error) = (**evicted).clone();
                Finished::Evicted(room, error)
            }
            Answer::Listing(listing) => Finished::Rooms(ready!(listing.as_mut().poll(context))),
        })
    }

    pub(super) fn wait(&mut self, waiting: impl Into<Waiting>) -> Outcome {
        debug_assert!(self.waiting.is_none(), "the command before has not finished");
        self.waiting = Some(waiting.into());
        Outcome::Pending
    }

    /// Sends a join, once no long reply is on its way to a client that resumes.
    pub(super) fn send_join(&mut self, mut joining: Joining) -> Outcome {
        let join = &mut joining.join;
        if join.since.is_some() && join.turn.is_none() {
            join.turn = self.window.try_turn();
            if join.turn.is_none() {
                return self.wait_for_turn(LongReplyCommand::Join(joining));
            }
        }
        self.wait(Answer::Joining(self.context.broker.join(joining.join), joining.pass))
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
        self.send_in_order(iter::once(command))
    }

    /// Sends a command of a member, once the other nodes have said what its reply needs.
    pub(super) fn send_asked(&mut self, command: MemberCommand) -> Outcome {
        match self.context.broker.ask_for(&command) {
            Some(asking) => self.wait(Waiting::Peers(Box::new(PeersWait { command, asking }))),
            None => self.send_to_room(command),
        }
    }

    /// Sends commands of a member, each to its room, or waits while the client has too much on its way.
    pub(super) fn send_in_order(&mut self, mut commands: impl Iterator<Item = MemberCommand> + 'static) -> Outcome {
        while let Some(command) = commands.next() {
            if let Err(command) = self.context.broker.try_send(command, &mut self.window) {
                // The window exists since the attempt, so that a clone is the same one.
                let (broker, mut window) = (self.context.broker.clone(), self.window.clone());
                return self.wait(Answer::Sending(Box::pin(async move {
                    for command in iter::once(command).chain(commands) {
                        broker.send(command, &mut window).await;
                    }
                })));
            }
        }
        Outcome::Done
    }

    /// Sends a command of a member once the client may cause these deliveries.
    pub(super) fn send_charged(&mut self, command: MemberCommand, deliveries: usize, now: Instant) -> Outcome {
        match self.charge(deliveries, now) {
            Ok(()) => self.send_asked(command),
            Err(time) => self.pause(Paused::Command(command), deliveries, time),
        }
    }

    /// Charges deliveries to the rate limiter. An error is the time to wait first.
    pub(super) fn charge(&mut self, deliveries: usize, now: Instant) -> Result<(), Duration> {
        let Some(limits) = self.context.deliveries else { return Ok(()) };
        let rate_limiter = self
            .rate_limiter
            .get_or_insert_with(|| RateLimiter::new(limits, &self.context.spent, self.address, now).into());
        rate_limiter.owe(self.window.take_uncharged());
        rate_limiter.acquire(deliveries, now)
    }

    /// Charges deliveries beyond those that the command was charged at first.
    pub(super) fn owe(&mut self, deliveries: usize) {
        if let Some(rate_limiter) = &mut self.rate_limiter {
            rate_limiter.owe(deliveries);
        }
    }

    /// Waits until the client may cause these deliveries, for `pause_max` at most. A command that asks for a reply is refused
    /// at once: an SDK waits 5 s for each reply, and takes a late one for a lost connection.
    pub(super) fn pause(&mut self, paused: Paused, deliveries: usize, time: Duration) -> Outcome {
        let request = match &paused {
            Paused::Command(command) => command.from.request,
            Paused::Publish(publish) => publish.request,
        };
        if let (Some(_), Some(limits)) = (request, self.context.deliveries) {
            return self.wait(Waiting::Refused(too_many_deliveries(limits)));
        }
        let time_max = self.context.deliveries.map_or(Duration::ZERO, |limits| limits.pause_max);
        let sleep = Box::pin(sleep(time.min(time_max)));
        self.wait(Waiting::Pausing(Box::new(Pause { paused, deliveries, sleep })))
    }

    fn wait_for_turn(&mut self, command: LongReplyCommand) -> Outcome {
        let turn = Box::pin(self.window.turn());
        self.wait(Waiting::Turn(Box::new(TurnWait { command, turn })))
    }

    /// A client that is disconnected gets no long reply any more. Its join is sent all the same, without a turn: a place may
    /// be reserved for it, and a client of a server that stops must not be in a room without what it has missed.
    fn poll_turn(&mut self, mut wait: Box<TurnWait>, context: &mut Context<'_>) -> Poll<Finished> {
        let permitted = match &mut wait.command {
            LongReplyCommand::Member(command) => self.permit_late(command),
            LongReplyCommand::Join(joining) => self.permit_joining(joining),
        };
        if let Err(error) = permitted {
            return Poll::Ready(Finished::Refused(error));
        }
        let is_disconnected = self.context.writer.poll_disconnect(self.slot, context).is_ready();
        let turn = match wait.turn.as_mut().poll(context) {
            _ if is_disconnected => None,
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => {
                self.waiting = Some(Waiting::Turn(wait));
                return Poll::Pending;
            }
        };
        let outcome = match wait.command {
            LongReplyCommand::Member(_) if turn.is_none() => Outcome::Done,
            LongReplyCommand::Member(mut command) => {
                if let Some(empty) = command.act.long_reply_turn() {
                    *empty = turn;
                }
                self.send_to_room(command)
            }
            LongReplyCommand::Join(Joining { join, pass }) => {
                self.wait(Answer::Joining(self.context.broker.join(Join { turn, ..join }), pass))
            }
        };
        self.poll_again(outcome, context)
    }

    /// A client that is disconnected gets no reply any more.
    fn poll_peers(&mut self, mut wait: Box<PeersWait>, context: &mut Context<'_>) -> Poll<Finished> {
        if let Err(error) = self.permit_late(&wait.command) {
            return Poll::Ready(Finished::Refused(error));
        }
        match self.context.writer.poll_disconnect(self.slot, context) {
            Poll::Ready(reason) if reason != Disconnect::Shutdown => return Poll::Ready(Finished::Sent),
            _ => {}
        }
        let Poll::Ready(answers) = wait.asking.poll_unpin(context) else {
            self.waiting = Some(Waiting::Peers(wait));
            return Poll::Pending;
        };
        wait.command.act.hear(answers);
        let outcome = self.send_to_room(wait.command);
        self.poll_again(outcome, context)
    }

    fn poll_pause(&mut self, mut pause: Box<Pause>, context: &mut Context<'_>) -> Poll<Finished> {
        let permitted = match &pause.paused {
            Paused::Command(command) => self.permit_late(command),
            Paused::Publish(publish) => self.permit_publish_late(publish),
        };
        if let Err(error) = permitted {
            return Poll::Ready(Finished::Refused(error));
        }
        let disconnected = self.context.writer.poll_disconnect(self.slot, context);
        if disconnected.is_pending() && pause.sleep.as_mut().poll(context).is_pending() {
            self.waiting = Some(Waiting::Pausing(pause));
            return Poll::Pending;
        }
        match (disconnected, self.context.deliveries) {
            // A server that stops still publishes what it has read.
            (Poll::Ready(Disconnect::Shutdown), _) => {}
            (Poll::Ready(_), _) => return Poll::Ready(Finished::Sent),
            (Poll::Pending, Some(limits)) if self.charge(pause.deliveries, Instant::now()).is_err() => {
                return Poll::Ready(Finished::Refused(too_many_deliveries(limits)));
            }
            (Poll::Pending, _) => {}
        }
        let outcome = match pause.paused {
            Paused::Command(command) => self.send_asked(command),
            Paused::Publish(publish) => self.publish_charged(publish, Instant::now()),
        };
        self.poll_again(outcome, context)
    }

    /// The command goes on at once if it still has to wait, so that its new wait wakes the client.
    pub(super) fn poll_again(&mut self, outcome: Outcome, context: &mut Context<'_>) -> Poll<Finished> {
        if outcome == Outcome::Pending { self.poll(context) } else { Poll::Ready(Finished::Sent) }
    }
}

fn too_many_deliveries(limits: DeliveryLimits) -> CommandError {
    CommandError::TooManyDeliveries { per_second: limits.per_second.get(), burst: limits.burst }
}
