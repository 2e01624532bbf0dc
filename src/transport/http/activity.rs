//! What an HTTP connection does now, and how long it may: wait for a request, send the head of one, take its answers. A
//! request that is being answered has no such limit: its body and what it waits for have their own.
//!
//! hyper's own timer of heads runs between two requests too, where nothing but the idle time counts.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep_until;

use crate::net::stream::Stream;

/// Bytes that keep a body or an answer in time: so many must come, or be taken, within each period that its direction
/// has. A long one may take long, but does not hold its share of a budget for a byte now and then.
pub const PROGRESS_BYTES: usize = 4 * 1024;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct HttpTimes {
    /// To begin its first request, for the head of each request, and for each `PROGRESS_BYTES` of its body.
    pub header_timeout: Duration,
    /// From an answer to the next request; `None` is no limit.
    pub idle: Option<Duration>,
    /// To take each `PROGRESS_BYTES` of its answers, or what is left of them.
    pub unread: Duration,
    /// The first answer after this time is the last of its connection; `None` is no limit.
    pub connection: Option<Duration>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A request of which nothing has come.
    Idle,
    /// The rest of a head.
    Head,
    /// The answer to a request.
    Answering,
}

/// The phase of a connection, and when it began.
pub struct Activity {
    times: HttpTimes,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Set while hyper has bytes that the socket has not taken.
    unsent: Cell<Option<Unsent>>,
    /// When the connection ends, whatever it does; `None` is no such time.
    deadline: Cell<Option<Instant>>,
}

/// The period in which the client has to take more of its answers.
#[derive(Clone, Copy, Debug)]
struct Unsent {
    since: Instant,
    /// Bytes that are to be taken before the next period begins.
    missing: usize,
}

impl Activity {
    /// A connection whose first bytes have come.
    pub fn new(times: HttpTimes, deadline: Option<Instant>) -> Self {
        let since = Cell::new(Instant::now());
        Self { times, phase: Cell::new(Phase::Head), since, unsent: Cell::default(), deadline: Cell::new(deadline) }
    }

    /// The connection has only the times of its phases from now on.
    pub fn lift_deadline(&self) {
        self.deadline.set(None);
    }

    /// What the connection waits for.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Whether hyper has bytes that the socket has not taken.
    pub fn has_unsent(&self) -> bool {
        self.unsent.get().is_some()
    }

    /// A phase begins.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }

    /// When the client has taken too long, or the deadline; `None` if nothing is expected of it.
    fn due(&self) -> Option<Instant> {
        self.due_in_phase().into_iter().chain(self.deadline.get()).min()
    }

    fn due_in_phase(&self) -> Option<Instant> {
        if let Some(unsent) = self.unsent.get() {
            return Some(unsent.since + self.times.unread);
        }
        match self.phase.get() {
            Phase::Idle => self.times.idle.map(|idle| self.since.get() + idle),
            Phase::Head => Some(self.since.get() + self.times.header_timeout),
            Phase::Answering => None,
        }
    }

    /// Returns `None` once the client has taken too long, or at the deadline.
    pub async fn within_times<T>(&self, answered: impl Future<Output = T>) -> Option<T> {
        let mut answered = pin!(answered);
        let mut timer = pin!(sleep_until((Instant::now() + self.times.header_timeout).into()));
        poll_fn(|context| {
            if let Poll::Ready(ended) = answered.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            loop {
                let Some(due) = self.due() else { return Poll::Pending };
                // A timer that ends too early is set again then, and not at every request.
                if timer.deadline() > due.into() {
                    timer.as_mut().reset(due.into());
                }
                ready!(timer.as_mut().poll(context));
                if due <= Instant::now() {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(due.into());
            }
        })
        .await
    }

    fn has_read(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn has_written(&self, written: &Poll<io::Result<usize>>) {
        let taken = if let Poll::Ready(Ok(bytes)) = written { *bytes } else { 0 };
        let unsent = match self.unsent.get() {
            Some(unsent) if taken < unsent.missing => Unsent { missing: unsent.missing - taken, ..unsent },
            _ => Unsent { since: Instant::now(), missing: PROGRESS_BYTES },
        };
        self.unsent.set(Some(unsent));
    }

    /// hyper flushes only once it has written all that it has.
    fn has_flushed(&self) {
        if self.unsent.take().is_some() && self.phase.get() == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }
}

/// The stream of a connection as hyper uses it, which notes what happens on it.
pub struct Watched<'a> {
    pub stream: Stream,
    pub activity: &'a Activity,
}

impl AsyncRead for Watched<'_> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if into.filled().len() > before {
            self.activity.has_read();
        }
        read
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.has_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.activity.has_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.activity.has_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_taken_a_byte_at_a_time_has_no_longer_than_one_of_which_nothing_is_taken() {
        let minute = Duration::from_secs(60);
        let times = HttpTimes { header_timeout: minute, idle: None, unread: minute, connection: None };
        let activity = Activity::new(times, None);
        activity.enter(Phase::Answering);
        let take = |bytes| activity.has_written(&Poll::Ready(Ok(bytes)));
        take(1);
        let due = activity.due();
        assert!(due.is_some());
        for _ in 1..PROGRESS_BYTES {
            take(1);
            activity.has_written(&Poll::Pending);
            assert_eq!(activity.due(), due);
        }
        take(1);
        assert!(activity.due() > due, "the next period");
        activity.has_flushed();
        assert_eq!(activity.due(), None);
    }
}
