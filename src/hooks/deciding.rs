//! A question on its way: it waits for its permit, is sent, and is decided within the time of `hook-timeout`. Its body
//! exists only once it has the permit.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant as Deadline, timeout_at};
use tracing::info;

use super::answer::Asked;
use super::cache::Key;
use super::circuit::Ticket;
use super::metrics::{HookMetrics, Outcome};
use super::question::Question;
use super::{Decision, Hook, Hooks};

/// The memory of the bodies of all questions that one worker has sent and that are not answered, in bytes. A longer body
/// is sent alone.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A question that is not decided yet. Dropping it withdraws the question.
pub struct Deciding {
    next: Pin<Box<dyn Future<Output = Next>>>,
}

/// What follows a wait.
enum Next {
    /// The question has its permit, and is to be sent.
    Send(UnderWay, QuestionPermit),
    Decided(Decision),
}

/// Bounds the questions of one worker that are under way at once. Further ones wait in order.
pub(super) struct QuestionLimit {
    questions: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
}

/// Counts a question as under way until it is dropped.
struct QuestionPermit {
    _question: OwnedSemaphorePermit,
    _body: OwnedSemaphorePermit,
}

/// A question that counts for the circuit.
struct UnderWay {
    hooks: Rc<Hooks>,
    ticket: Ticket,
    hook: Hook,
    key: Option<Key>,
    begun: Instant,
    /// Until when it waits for its permit: half of its time, so that the application has the other half at least.
    permit_by: Deadline,
    decided_by: Deadline,
    /// The application has answered, or has had its time. Otherwise the question says nothing about it.
    is_decided: bool,
}

impl QuestionLimit {
    /// Allows as many questions at once.
    pub(super) fn new(questions: usize) -> Self {
        let [questions, body_bytes] = [questions, BODY_BYTES_MAX].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { questions, body_bytes }
    }

    async fn acquire(&self, body_bytes: usize) -> Result<QuestionPermit, AcquireError> {
        let question = Arc::clone(&self.questions).acquire_owned().await?;
        let permits = u32::try_from(body_bytes.min(BODY_BYTES_MAX)).expect("the memory of all bodies fits");
        let body = Arc::clone(&self.body_bytes).acquire_many_owned(permits).await?;
        Ok(QuestionPermit { _question: question, _body: body })
    }
}

impl Deciding {
    pub(super) fn new(hooks: &Rc<Hooks>, question: &Question<'_>, ticket: Ticket, now: Instant) -> Self {
        let (time, from) = (hooks.application.timeout, Deadline::now());
        let under_way = UnderWay {
            hooks: Rc::clone(hooks),
            ticket,
            hook: question.wish.hook(),
            key: question.key(),
            begun: now,
            permit_by: from + time / 2,
            decided_by: from + time,
            is_decided: false,
        };
        Self { next: Box::pin(under_way.wait(question.body_bytes_max())) }
    }

    /// Polls for the decision on the same question as before.
    pub fn poll(&mut self, question: &Question<'_>, context: &mut Context<'_>) -> Poll<Decision> {
        loop {
            self.next = match ready!(self.next.as_mut().poll(context)) {
                Next::Decided(decision) => return Poll::Ready(decision),
                Next::Send(under_way, permit) => {
                    let message_bytes_max = under_way.hooks.application.message_bytes_max;
                    let asked = Asked::of(question, message_bytes_max);
                    Box::pin(under_way.send(permit, asked, question.body()))
                }
            };
        }
    }
}

impl UnderWay {
    /// Waits for a permit. A question that gets none in time is no failure of the application, which has not seen it.
    async fn wait(self, body_bytes: usize) -> Next {
        let hooks = Rc::clone(&self.hooks);
        let outcome = match timeout_at(self.permit_by, hooks.limit.acquire(body_bytes)).await {
            Ok(permit) if hooks.circuit.borrow().still_admits(self.ticket) => {
                return Next::Send(self, permit.expect("the limit is never closed"));
            }
            Ok(_) => Outcome::CircuitOpen,
            Err(_) => {
                let error = "it was not asked: too many questions at once, see hook-concurrency";
                hooks.log_failure(self.hook, error);
                Outcome::Overloaded
            }
        };
        hooks.metrics.count(self.hook, outcome);
        Next::Decided(hooks.without_answer(self.hook))
    }

    async fn send(mut self, permit: QuestionPermit, asked: Asked, body: Bytes) -> Next {
        let hooks = Rc::clone(&self.hooks);
        let in_flight = InFlight::count(&hooks.metrics);
        let answer = timeout_at(self.decided_by, hooks.answer(&asked, body)).await;
        drop((in_flight, permit));
        hooks.metrics.record(self.begun.elapsed());
        self.is_decided = true;
        let (outcome, error) = match answer {
            Ok(Ok((decision, max_age))) => {
                hooks.circuit.borrow_mut().succeeded();
                let is_allowed = matches!(decision, Decision::Allowed(_));
                hooks.metrics.count(self.hook, if is_allowed { Outcome::Allowed } else { Outcome::Refused });
                hooks.keep(self.key.take(), &decision, max_age);
                return Next::Decided(decision);
            }
            Ok(Err(error)) => (Outcome::Failed, error),
            Err(_) => (Outcome::Timeout, format!("none within {:?}", hooks.application.timeout)),
        };
        hooks.metrics.count(self.hook, outcome);
        hooks.log_failure(self.hook, &error);
        if hooks.circuit.borrow_mut().failed(self.ticket, Instant::now()) {
            info!("the application is not asked for a while, after failures in a row");
        }
        Next::Decided(hooks.without_answer(self.hook))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_decided {
            self.hooks.circuit.borrow_mut().abandoned(self.ticket, Instant::now());
        }
    }
}

/// A question that was sent, in the gauge of those.
struct InFlight<'a>(&'a HookMetrics);

impl<'a> InFlight<'a> {
    fn count(metrics: &'a HookMetrics) -> Self {
        metrics.in_flight.add(1);
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.subtract(1);
    }
}
