//! One worker: a thread with its own runtime, listener, shards and writer. Shares nothing with the others but mailboxes.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio_util::task::TaskTracker;

use crate::broker::{BrokerSeed, ShardMailbox, ShardTask};
use crate::config::Rules;
use crate::session::SessionHost;
use crate::shutdown::Drain;
use crate::transport::accept::{Admission, accept};
use crate::transport::tcp::{self, LineHost};
use crate::writer::handle::BatchSender;
use crate::writer::task::WriterTask;
use crate::writer::{Counts, WriterCommand, WriterIndex};

/// Everything a worker owns or tells, made before any of them starts.
pub struct Worker {
    /// Which one; its writer has the same index.
    pub index: WriterIndex,
    /// How many there are.
    pub workers: u16,
    /// Its own listener for line clients.
    pub lines: TcpListener,
    /// The places for clients of the whole server.
    pub admission: Admission,
    /// The shards that live here.
    pub shards: Vec<ShardMailbox>,
    /// To tell the shards, wherever they live.
    pub broker: BrokerSeed,
    /// To tell the writers, by `WriterIndex`.
    pub writers: Vec<BatchSender>,
    /// What its own writer is told through.
    pub writer: flume::Receiver<WriterCommand>,
    /// What applies to its clients.
    pub rules: Rules,
    /// When to stop.
    pub drain: Drain,
}

/// A worker's thread as the server knows it.
pub struct Started {
    /// Told when it accepts clients; dropped if it cannot.
    pub ready: oneshot::Receiver<()>,
    /// What its writer has done, once everything on it has ended; or why it could not start.
    pub ended: oneshot::Receiver<io::Result<Counts>>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(self) -> io::Result<Started> {
        let (say_ready, ready) = oneshot::channel();
        let (say_ended, ended) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("worker-{}", self.index.0));
        // Nobody listens any more to what a worker says once the server was given up.
        thread.spawn(move || drop(say_ended.send(self.run(say_ready))))?;
        Ok(Started { ready, ended })
    }

    fn run(self, say_ready: oneshot::Sender<()>) -> io::Result<Counts> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.work(say_ready))
    }

    async fn work(self, say_ready: oneshot::Sender<()>) -> io::Result<Counts> {
        let listener = tokio::net::TcpListener::from_std(self.lines)?;
        let _ = say_ready.send(());
        let own = self.writers[usize::from(self.index.0)].clone();
        let (writer_task, writer) = WriterTask::new(own, self.writer, self.rules.outbox, self.drain.clone());
        let writer_task = spawn_local(writer_task.run());
        let tasks = TaskTracker::new();
        for mailbox in self.shards {
            spawn_local(tasks.track_future(ShardTask::new(mailbox, self.writers.clone()).run()));
        }
        // From here on only the shards tell other workers' writers: when the shards have ended, so do the writers.
        drop(self.writers);
        let sessions = Rc::new(SessionHost {
            broker: self.broker.broker(),
            writer,
            writer_index: self.index,
            greeting: self.rules.greeting,
            drain: self.drain.clone(),
        });
        let lines = Rc::new(LineHost::new(self.rules.message_bytes_max, self.rules.labels));
        // Numbers that no other worker gives: index + 1, then every `workers`-th.
        let mut ids = (u64::from(self.index.0) + 1..).step_by(usize::from(self.workers));
        accept(listener, self.admission, self.drain, |accepted| {
            let id = ids.next().expect("2^64 clients never come");
            if let Some(connection) = tcp::open(accepted, id, Rc::clone(&lines), Rc::clone(&sessions)) {
                spawn_local(tasks.track_future(connection));
            }
        })
        .await;
        drop(sessions);
        tasks.close();
        tasks.wait().await;
        Ok(writer_task.await.expect("a panic ends the process"))
    }
}
