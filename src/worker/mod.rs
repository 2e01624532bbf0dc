//! One worker: a thread with its own runtime, listeners, shards and writer. It shares mailboxes, limits, the drain and metrics
//! with the other workers, and no state that anybody would wait for.

mod acceptor;
mod descriptor_table;

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio_util::task::TaskTracker;

use self::acceptor::{ClientAcceptor, Ids};
use crate::broker::{ShardMailbox, ShardSenders, ShardTask};
use crate::config::Rules;
use crate::memory::MemoryUse;
use crate::net::accept::Listener;
use crate::net::address_limiter::AddressLimiter;
use crate::net::connection_limit::ConnectionLimit;
use crate::session::{SessionContext, SpentDeliveries};
use crate::shutdown::{Drain, ServingToken};
use crate::transport::connection::ReadBuffer;
use crate::transport::http::HttpState;
use crate::transport::input_guard::InputGuard;
use crate::transport::metrics::ServerMetrics;
use crate::writer::handle::{BatchSender, WriterMailbox};
use crate::writer::task::WriterTask;
use crate::writer::{Counts, WriterIndex};

pub use descriptor_table::DescriptorTable;

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    /// The number of workers.
    pub workers: u16,
    /// Sends to the shards, whichever worker they live on.
    pub shards: ShardSenders,
    /// Sends to the writers, by `WriterIndex`.
    pub writers: Vec<BatchSender>,
    /// The limits of one address.
    pub address_limiter: AddressLimiter,
    /// The deliveries that clients have spent that are gone.
    pub spent: SpentDeliveries,
    /// The counters of all workers.
    pub metrics: ServerMetrics,
    /// What applies to every client.
    pub rules: Rules,
    /// The phases of the stop.
    pub drain: Drain,
}

/// What one worker has for itself, made before any of them starts.
pub struct Worker {
    /// The index of the worker and of its writer.
    pub index: WriterIndex,
    /// Its listener for line clients.
    pub lines: TcpListener,
    /// Its listener for HTTP.
    pub http: TcpListener,
    /// Its own descriptor table, where workers do not share one.
    pub table: Option<DescriptorTable>,
    /// The limit of its connections.
    pub connection_limit: ConnectionLimit,
    /// The shards that live on it.
    pub shards: Vec<ShardMailbox>,
    /// The mailbox of its writer.
    pub writer: WriterMailbox,
    /// Held until its last client is gone.
    pub serving: ServingToken,
}

/// A worker's thread as the server knows it.
pub struct RunningWorker {
    /// Answered when the worker accepts clients; dropped if it cannot.
    pub ready: oneshot::Receiver<()>,
    /// What its writer has done, once everything on it has ended; or why it could not start.
    pub ended: oneshot::Receiver<io::Result<Counts>>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self, shared: Shared) -> io::Result<RunningWorker> {
        let (say_ready, ready) = oneshot::channel();
        let (say_ended, ended) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("worker-{}", self.index.0));
        // After a start that failed nobody listens.
        thread.spawn(move || drop(say_ended.send(self.run(shared, say_ready))))?;
        Ok(RunningWorker { ready, ended })
    }

    fn run(self, shared: Shared, say_ready: oneshot::Sender<()>) -> io::Result<Counts> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(self.work(shared, say_ready))
    }

    async fn work(self, shared: Shared, say_ready: oneshot::Sender<()>) -> io::Result<Counts> {
        let Self { index, lines, http, table, connection_limit, shards, writer, serving } = self;
        let Shared { workers, shards: senders, writers, address_limiter, spent, metrics, rules, drain } = shared;
        if let Some(table) = table {
            table.unshare().await?;
        }
        let lines = Listener::new(lines, connection_limit.clone())?;
        let http = Listener::new(http, connection_limit.clone())?;
        let _ = say_ready.send(());
        let own = usize::from(index.0);
        let memory = MemoryUse::default();
        spawn_local(memory.clone().trim());
        let limits = rules.outbox.of_one_worker(workers);
        let counts = metrics.writers[own].clone();
        let (writer_task, writer) =
            WriterTask::new(writers[own].clone(), writer, counts, limits, drain.clone(), &memory);
        let writer_task = spawn_local(writer_task.run());
        let tasks = TaskTracker::new();
        for mailbox in shards {
            let counts = metrics.shards[usize::from(mailbox.index.0)].clone();
            spawn_local(tasks.track_future(ShardTask::new(mailbox, writers.clone(), counts, &memory).run()));
        }
        // From here on only the shards send to other workers' writers: when the shards have ended, so do the writers.
        drop(writers);
        let sessions = Rc::new(SessionContext {
            broker: senders.broker(),
            writer,
            writer_index: index,
            greeting: rules.greeting.clone(),
            message_bytes_max: rules.message_bytes_max,
            deliveries: rules.deliveries,
            spent,
            drain: drain.clone(),
        });
        let guard = Rc::new(InputGuard::new(rules.input.of_one_worker(workers)));
        spawn_local(tasks.track_future(Rc::clone(&guard).run_until_stop(&sessions)));
        let buffer = ReadBuffer::new(memory, guard);
        let counts = metrics.transports[own].clone();
        let ids = Ids::new(index, workers);
        let acceptor = ClientAcceptor::new(rules, address_limiter.clone(), ids, counts, buffer, tasks.clone());
        let state = HttpState { drain: drain.clone(), connection_limit, address_limiter, metrics };
        spawn_local(Rc::clone(&acceptor).serve_http(http, state, &sessions));
        acceptor.accept_lines(lines, sessions).await;
        tasks.close();
        tasks.wait().await;
        let counts = writer_task.await.expect("a panic ends the process");
        // Open HTTP connections are answered until the last client of all workers is gone.
        drop(serving);
        drain.served().await;
        Ok(counts)
    }
}
