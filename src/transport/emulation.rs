//! Commands of clients without WebSocket, which come by requests of their own, perhaps to another worker than their
//! stream: the streams of each worker by their secret names, and the mailboxes between the workers. Knows no socket.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::memory::shrink;
use crate::session::centrifuge::StreamName;
use crate::shutdown::Drain;

/// Frames that wait in the mailbox of a worker.
const MAILBOX_FRAMES: usize = 64;

/// How long a request waits until its frame is executed, while the session has other work.
const EXECUTION_TIME_MAX: Duration = Duration::from_secs(10);

/// The most bytes of frames that wait for one stream, beside one frame of any length, so that no stream takes the budget of
/// all others.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// Memory of a frame beside its bytes.
const FRAME_BYTES: usize = 256;

/// A frame that has come by a request, with its share of the budget of such input.
pub struct Frame {
    /// The frame.
    pub bytes: Vec<u8>,
    /// What it takes of the budget until it is executed.
    pub budget: OwnedSemaphorePermit,
}

/// A frame on its way to a stream. Its request is answered once the frame is executed, and the frame is not executed if
/// its request has ended.
pub struct Emulated {
    secret: u128,
    frame: Frame,
    answer: oneshot::Sender<Result<(), NotExecuted>>,
}

/// Why a frame was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotExecuted {
    /// There is no such stream, or it has ended.
    Gone,
    /// The session has had other work for too long, or too much waits for it.
    Busy,
}

/// The ways to all workers. Clones lead to the same ones.
#[derive(Clone)]
pub struct EmulationSenders {
    node: u64,
    /// By the index of the worker.
    workers: Arc<[mpsc::Sender<Emulated>]>,
}

/// The mailbox of one worker.
pub struct EmulationMailbox(mpsc::Receiver<Emulated>);

/// New mailboxes for all workers of a process, and the ways to them.
pub fn emulation_mailboxes(workers: u16) -> (EmulationSenders, Vec<EmulationMailbox>) {
    let (senders, mailboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(MAILBOX_FRAMES)).unzip();
    let senders = EmulationSenders { node: StreamName::new_node(), workers: senders.into() };
    (senders, mailboxes.into_iter().map(EmulationMailbox).collect())
}

/// The streams of one worker, and the ways to those of the others.
pub struct Streams {
    worker: u16,
    senders: EmulationSenders,
    open: RefCell<HashMap<u128, Weak<Waiting>>>,
    /// Bytes of bodies that may be read or wait on this worker.
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    /// The longest frame, in bytes.
    pub(super) frame_bytes_max: usize,
}

/// The frames that wait for one stream.
#[derive(Default)]
struct Waiting {
    frames: RefCell<VecDeque<Emulated>>,
    waker: RefCell<Option<Waker>>,
}

/// The receiving end of one stream. Without it the stream has no name any more.
pub(super) struct StreamMailbox {
    streams: Rc<Streams>,
    secret: u128,
    waiting: Rc<Waiting>,
}

impl EmulationSenders {
    /// The number of this life of the process.
    pub fn node(&self) -> u64 {
        self.node
    }
}

impl Streams {
    /// A worker without streams. Bodies of requests take at most this many bytes at once, until they are executed.
    pub fn new(worker: u16, senders: EmulationSenders, budget_bytes: usize, frame_bytes_max: usize) -> Rc<Self> {
        let budget_bytes = budget_bytes.min(Semaphore::MAX_PERMITS);
        let budget = Arc::new(Semaphore::new(budget_bytes));
        Rc::new(Self { worker, senders, open: RefCell::default(), budget, budget_bytes, frame_bytes_max })
    }

    /// Takes frames from other workers, and its own, until the server stops.
    pub async fn run_until_stop(self: Rc<Self>, EmulationMailbox(mut mailbox): EmulationMailbox, drain: Drain) {
        loop {
            let emulated = tokio::select! {
                () = drain.stopping() => return,
                emulated = mailbox.recv() => emulated,
            };
            let Some(emulated) = emulated else { return };
            self.queue(emulated);
        }
    }

    fn queue(&self, emulated: Emulated) {
        let waiting = self.open.borrow().get(&emulated.secret).and_then(Weak::upgrade);
        // Dropped with the rest, an answer says that there is no such stream.
        if let Some(waiting) = waiting {
            waiting.push(emulated);
        }
    }

    /// Waits until the budget has room for a body whose bytes come later, which it may not have for a while.
    pub(super) async fn reserve(&self) -> OwnedSemaphorePermit {
        self.acquire(FRAME_BYTES).await
    }

    /// Waits until the budget has room for so much more of a body. A body that is longer than the budget takes all of it. A
    /// client takes no more than it has sent: otherwise a few hundred that send nothing would take all.
    pub(super) async fn reserve_more(&self, permit: &mut OwnedSemaphorePermit, bytes: usize) {
        permit.merge(self.acquire(bytes.min(self.budget_bytes.saturating_sub(permit.num_permits()))).await);
    }

    async fn acquire(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes.min(self.budget_bytes)).unwrap_or(u32::MAX);
        Arc::clone(&self.budget).acquire_many_owned(bytes).await.expect("the budget is never closed")
    }

    /// Has a frame executed by the stream of that name, on whichever worker it is, behind those that came before.
    ///
    /// # Errors
    /// The frame is not executed, and will not be.
    pub(super) async fn execute(&self, name: &StreamName, frame: Frame) -> Result<(), NotExecuted> {
        let worker = self.senders.workers.get(usize::from(name.worker));
        let Some(worker) = worker.filter(|_| name.node == self.senders.node) else { return Err(NotExecuted::Gone) };
        let (answer, mut executed) = oneshot::channel();
        let emulated = Emulated { secret: name.secret, frame, answer };
        let answered = timeout(EXECUTION_TIME_MAX, async {
            worker.send(emulated).await.map_err(|_| NotExecuted::Gone)?;
            (&mut executed).await.unwrap_or(Err(NotExecuted::Gone))
        });
        match answered.await {
            Ok(outcome) => outcome,
            Err(_) => {
                executed.close();
                executed.try_recv().unwrap_or(Err(NotExecuted::Busy))
            }
        }
    }

    /// Opens a stream under a new name.
    pub(super) fn open(self: &Rc<Self>) -> (StreamName, StreamMailbox) {
        let name = StreamName::new(self.senders.node, self.worker);
        let waiting = Rc::new(Waiting::default());
        self.open.borrow_mut().insert(name.secret, Rc::downgrade(&waiting));
        (name, StreamMailbox { streams: Rc::clone(self), secret: name.secret, waiting })
    }

    fn close(&self, secret: u128) {
        let mut open = self.open.borrow_mut();
        open.remove(&secret);
        shrink(&mut open);
    }
}

impl Waiting {
    /// Adds a frame, unless too many wait. Linear in those that wait, which are few.
    fn push(&self, emulated: Emulated) {
        let mut frames = self.frames.borrow_mut();
        frames.retain(|waiting| !waiting.answer.is_closed());
        if frames.iter().map(|waiting| FRAME_BYTES + waiting.frame.bytes.len()).sum::<usize>() > WAITING_BYTES_MAX {
            let _ = emulated.answer.send(Err(NotExecuted::Busy));
            return;
        }
        frames.push_back(emulated);
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl StreamMailbox {
    /// Ready once a frame waits.
    pub fn poll_waiting(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.waiting.frames.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.waiting.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// The next frame, whose request is answered hereby.
    pub fn take(&self) -> Option<Frame> {
        let mut frames = self.waiting.frames.borrow_mut();
        while let Some(Emulated { frame, answer, .. }) = frames.pop_front() {
            if answer.send(Ok(())).is_ok() {
                return Some(frame);
            }
        }
        *frames = VecDeque::new();
        None
    }
}

impl Drop for StreamMailbox {
    fn drop(&mut self) {
        self.streams.close(self.secret);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const BUDGET_BYTES: usize = 10 * (FRAME_BYTES + 1);

    fn worker() -> (Rc<Streams>, EmulationMailbox) {
        let (senders, mut mailboxes) = emulation_mailboxes(1);
        (Streams::new(0, senders, BUDGET_BYTES, 1), mailboxes.remove(0))
    }

    async fn frame(streams: &Streams, byte: u8) -> Frame {
        let mut budget = streams.reserve().await;
        streams.reserve_more(&mut budget, 1).await;
        Frame { bytes: vec![byte], budget }
    }

    fn queue_all(streams: &Streams, EmulationMailbox(mailbox): &mut EmulationMailbox) {
        while let Ok(emulated) = mailbox.try_recv() {
            streams.queue(emulated);
        }
    }

    #[tokio::test]
    async fn frames_are_executed_in_order_except_those_whose_requests_have_ended() {
        let (streams, mut mailbox) = worker();
        let (name, stream) = streams.open();
        let mut requests = Vec::new();
        for byte in 0..3 {
            requests.push(Box::pin(streams.execute(&name, frame(&streams, byte).await)));
            assert_eq!(requests[usize::from(byte)].as_mut().now_or_never(), None);
        }
        drop(requests.remove(1));
        queue_all(&streams, &mut mailbox);
        let taken: Vec<u8> = std::iter::from_fn(|| stream.take()).flat_map(|frame| frame.bytes).collect();
        assert_eq!(taken, [0, 2]);
        for request in requests {
            assert_eq!(request.now_or_never(), Some(Ok(())));
        }
    }

    #[tokio::test]
    async fn a_frame_for_a_stream_that_is_not_there_or_ends_is_refused() {
        let (streams, mut mailbox) = worker();
        let (name, stream) = streams.open();
        let [other_node, other_worker, other_secret] = [
            StreamName { node: name.node ^ 1, ..name },
            StreamName { worker: 1, ..name },
            StreamName { secret: name.secret ^ 1, ..name },
        ];
        let mut other = Box::pin(streams.execute(&other_secret, frame(&streams, 0).await));
        let mut own = Box::pin(streams.execute(&name, frame(&streams, 0).await));
        assert_eq!((other.as_mut().now_or_never(), own.as_mut().now_or_never()), (None, None));
        queue_all(&streams, &mut mailbox);
        assert_eq!((other.now_or_never(), own.as_mut().now_or_never()), (Some(Err(NotExecuted::Gone)), None));
        drop(stream);
        assert_eq!(own.now_or_never(), Some(Err(NotExecuted::Gone)));
        for name in [other_node, other_worker] {
            let outcome = streams.execute(&name, frame(&streams, 0).await).now_or_never();
            assert_eq!(outcome, Some(Err(NotExecuted::Gone)));
        }
        assert!(streams.open.borrow().is_empty());
    }

    #[tokio::test]
    async fn bodies_share_a_budget_until_they_are_executed() {
        let (streams, mut mailbox) = worker();
        let (name, stream) = streams.open();
        let mut requests = Vec::new();
        for byte in 0..10 {
            requests.push(Box::pin(streams.execute(&name, frame(&streams, byte).await)));
            assert_eq!(requests[usize::from(byte)].as_mut().now_or_never(), None);
        }
        queue_all(&streams, &mut mailbox);
        assert!(streams.reserve().now_or_never().is_none());
        drop(stream.take());
        let mut budget = streams.reserve().now_or_never().unwrap();
        assert!(streams.reserve_more(&mut budget, 2).now_or_never().is_none());
        drop(stream);
        drop(requests);
        streams.reserve_more(&mut budget, usize::MAX).now_or_never().unwrap();
        assert_eq!(budget.num_permits(), BUDGET_BYTES, "a body that is longer than the budget takes all of it");
    }

    #[tokio::test]
    async fn no_more_waits_for_one_stream_than_a_part_of_the_budget_and_nothing_whose_request_has_ended() {
        const BYTES: usize = WAITING_BYTES_MAX / 8;
        let (senders, mut mailboxes) = emulation_mailboxes(1);
        let (streams, mut mailbox) = (Streams::new(0, senders, usize::MAX, 1), mailboxes.remove(0));
        let (name, stream) = streams.open();
        let request = async || {
            let frame = Frame { bytes: vec![0; BYTES], budget: streams.reserve().await };
            streams.execute(&name, frame).await
        };
        let mut requests = Vec::new();
        let fitting = 1 + WAITING_BYTES_MAX / (FRAME_BYTES + BYTES);
        for count in 0..=fitting {
            requests.push(Box::pin(request()));
            assert_eq!(requests[count].as_mut().now_or_never(), None);
            queue_all(&streams, &mut mailbox);
        }
        assert_eq!(requests.pop().and_then(FutureExt::now_or_never), Some(Err(NotExecuted::Busy)));
        assert_eq!(stream.waiting.frames.borrow().len(), fitting);
        drop(requests);
        let mut next = Box::pin(request());
        assert_eq!(next.as_mut().now_or_never(), None);
        queue_all(&streams, &mut mailbox);
        assert_eq!(stream.waiting.frames.borrow().len(), 1, "those whose requests have ended do not count");
    }
}
