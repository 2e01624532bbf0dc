//! One worker: a thread with its own runtime, listeners, shards and writer. It shares mailboxes, limits, the drain and
//! metrics with the other workers, and no state that a worker would wait for.

mod acceptor;
mod access;
mod descriptor_table;

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle, LocalOptions, RuntimeMetrics};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::acceptor::ClientAcceptor;
use self::access::keep_up_to_date;
use crate::access::Access;
use crate::api::Node;
use crate::backplane::{CaughtUp, Peers};
use crate::broker::{Now, ShardMailbox, ShardSenders, ShardTask};
use crate::config::Rules;
use crate::hooks::{Application, HookMetrics, Hooks};
use crate::memory::MemoryUse;
use crate::net::accept::Listener;
use crate::net::address_limiter::AddressLimiter;
use crate::net::connection_limit::ConnectionLimit;
use crate::net::handshakes::{Handshakes, TlsServer};
use crate::probe::ProbeMailbox;
use crate::session::access::WorkerAccess;
use crate::session::clients::Clients;
use crate::session::workers::{WorkerCommand, WorkerSenders};
use crate::session::{SessionContext, SpentDeliveries};
use crate::shutdown::Drain;
use crate::stats::Stats;
use crate::transport::connection::ReadBuffer;
use crate::transport::emulation::{EmulationMailbox, EmulationSenders, Streams};
use crate::transport::input_guard::InputGuard;
use crate::transport::metrics::ServerMetrics;
use crate::writer::WriterIndex;
use crate::writer::handle::{BatchSender, WriterMailbox};
use crate::writer::task::WriterTask;

pub use descriptor_table::DescriptorTable;

/// What all workers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub workers: u16,
    pub shards: ShardSenders,
    /// By `WriterIndex`.
    pub writers: Vec<BatchSender>,
    pub address_limiter: AddressLimiter,
    /// The deliveries that disconnected clients have spent.
    pub spent: SpentDeliveries,
    pub metrics: ServerMetrics,
    /// The figures of the dashboard, renewed each second.
    pub stats: watch::Receiver<Arc<Stats>>,
    pub rules: Rules,
    /// What new connections speak TLS with.
    pub tls: watch::Receiver<TlsServer>,
    /// The first rules of what clients may do; others come as commands.
    pub access: Arc<Access>,
    /// The application that hooks ask; `None` where none is on.
    pub application: Option<Arc<Application>>,
    /// Clients are accepted once the node has caught up with its cluster; `None` where the server is alone.
    pub caught_up: Option<CaughtUp>,
    /// The ways of commands to all workers.
    pub commands: WorkerSenders,
    /// The ways of commands to the streams of all workers.
    pub emulation: EmulationSenders,
    /// What the server API says of this process.
    pub node: Node,
    /// The other nodes; `None` where the server is alone.
    pub peers: Option<Peers>,
    pub drain: Drain,
}

/// What one worker has for itself, made before any of them starts.
pub(crate) struct Worker {
    /// The index of the worker and of its writer.
    pub index: WriterIndex,
    pub lines: TcpListener,
    pub http: TcpListener,
    /// `None` where all workers share one descriptor table.
    pub table: Option<DescriptorTable>,
    pub connection_limit: ConnectionLimit,
    /// The shards that live on this worker.
    pub shards: Vec<ShardMailbox>,
    pub writer: WriterMailbox,
    pub commands: mpsc::Receiver<WorkerCommand>,
    pub emulated: EmulationMailbox,
    pub probes: ProbeMailbox,
    /// Held until its last client is gone.
    pub serving: TaskTrackerToken,
}

/// A worker's thread as the server knows it.
pub(crate) struct RunningWorker {
    /// Answered when the worker accepts clients; dropped if it cannot. The metrics of its runtime must be dropped before
    /// the worker is told to end: they hold descriptors, which the worker must close in its own table.
    pub ready: oneshot::Receiver<RuntimeMetrics>,
    /// Answered once everything on the worker has ended, or with why the worker could not start.
    pub ended: oneshot::Receiver<io::Result<()>>,
}

/// The name of a worker's thread.
pub(crate) fn thread_name(worker: u16) -> String {
    format!("worker-{worker}")
}

impl Worker {
    /// Starts the thread. Fails if the system provides none.
    pub fn start(self, shared: Shared) -> io::Result<RunningWorker> {
        let (send_ready, ready) = oneshot::channel();
        let (send_ended, ended) = oneshot::channel();
        let thread = thread::Builder::new().name(thread_name(self.index.0));
        // After a start that failed, nothing receives this.
        thread.spawn(move || drop(send_ended.send(self.run(shared, send_ready))))?;
        Ok(RunningWorker { ready, ended })
    }

    fn run(self, shared: Shared, send_ready: oneshot::Sender<RuntimeMetrics>) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let outcome = runtime.block_on(self.work(shared, send_ready));
        // A name server that does not answer a hook is not waited for.
        runtime.shutdown_background();
        outcome
    }

    async fn work(self, shared: Shared, send_ready: oneshot::Sender<RuntimeMetrics>) -> io::Result<()> {
        let Self { index, lines, http, table, connection_limit, shards, writer, commands, .. } = self;
        let Self { emulated, probes, serving, .. } = self;
        let Shared { workers, shards: senders, writers, address_limiter, spent, stats, .. } = shared;
        let Shared { metrics, rules, tls, access, application, commands: workers_commands, .. } = shared;
        let Shared { caught_up, emulation, node, peers, drain, .. } = shared;
        spawn_local(probes.answer_all());
        if let Some(table) = table {
            table.unshare().await?;
        }
        let lines = Listener::new(lines, connection_limit.clone())?;
        let http = Listener::new(http, connection_limit.clone())?;
        let own = usize::from(index.0);
        let memory = MemoryUse::default();
        spawn_local(memory.clone().trim());
        let limits = rules.outbox.of_one_worker(workers);
        let counts = metrics.writers[own].clone();
        let (writer_task, writer, sockets) =
            WriterTask::new(writers[own].clone(), writer, counts, limits, drain.clone(), &memory);
        let writer_task = spawn_local(writer_task.run());
        let tasks = TaskTracker::new();
        start_shards(shards, writers, &metrics, &memory, &tasks);
        let input = rules.input.of_one_worker(workers);
        let streams = Streams::new(index.0, emulation, input.budget, rules.message_bytes_max);
        spawn_local(tasks.track_future(Rc::clone(&streams).run_until_stop(emulated, drain.clone())));
        let input_guard = Rc::new(InputGuard::new(input));
        spawn_local(tasks.track_future(Rc::clone(&input_guard).run_until_stop(drain.clone(), writer.clone())));
        let access = Rc::new(WorkerAccess::new(access, rules.header_timeout, metrics.access[own].clone()));
        let clients = Rc::new(Clients::default());
        spawn_local(keep_up_to_date(Rc::clone(&access), Rc::clone(&clients), commands, writer.clone(), drain.clone()));
        let context = Rc::new(SessionContext {
            broker: senders.broker().with_peers(peers.zip(metrics.backplane.clone())),
            access,
            hooks: application.map(|application| hooks(application, workers, &metrics.hooks[own])),
            clients,
            workers: workers_commands,
            writer,
            writer_index: index,
            greeting: rules.greeting.clone(),
            message_bytes_max: rules.message_bytes_max,
            rooms_max: rules.rooms_per_client_max,
            deliveries: rules.deliveries,
            spent,
            ping_interval: rules.keepalive.ping_interval,
            drain: drain.clone(),
        });
        let counts = metrics.transports[own].clone();
        let acceptor = Rc::new(ClientAcceptor {
            rules,
            address_limiter,
            next_number: Cell::new(u64::from(index.0) + 1),
            workers,
            counts,
            buffer: ReadBuffer::new(memory, input_guard, sockets),
            handshakes: Rc::new(Handshakes::new(tls)),
            streams,
            node,
            tasks: tasks.clone(),
        });
        let http =
            Rc::clone(&acceptor).serve_http(http, connection_limit, (metrics, stats), caught_up.clone(), &context);
        spawn_local(http);
        become_ready(caught_up, send_ready, &drain).await;
        acceptor.accept_lines(lines, Rc::clone(&context)).await;
        // Calls over HTTP that come while clients end one after another need it, even where no session is left.
        drain.stopping().await;
        drop(context);
        end(tasks, writer_task, serving, &drain).await;
        Ok(())
    }
}

/// Waits until there are rooms for clients, and says so. A stop that comes before is not waited for.
async fn become_ready(caught_up: Option<CaughtUp>, ready: oneshot::Sender<RuntimeMetrics>, drain: &Drain) {
    tokio::select! {
        () = CaughtUp::wait(caught_up) => drop(ready.send(Handle::current().metrics())),
        () = drain.stopping() => {}
    }
}

/// Waits until the clients of this worker are gone, and answers HTTP connections until those of all workers are.
async fn end(tasks: TaskTracker, writer_task: JoinHandle<()>, serving: TaskTrackerToken, drain: &Drain) {
    tasks.close();
    tasks.wait().await;
    writer_task.await.expect("a panic ends the process");
    drop(serving);
    drain.served().await;
}

/// Starts shards. From here on only they send to other workers' writers: when they have ended, so do the writers.
fn start_shards(
    shards: Vec<ShardMailbox>,
    writers: Vec<BatchSender>,
    metrics: &ServerMetrics,
    memory: &MemoryUse,
    tasks: &TaskTracker,
) {
    for mailbox in shards {
        let counts = metrics.shards[usize::from(mailbox.index.0)].clone();
        spawn_local(tasks.track_future(ShardTask::new(mailbox, writers.clone(), counts, memory).run()));
    }
}

fn hooks(application: Arc<Application>, workers: u16, metrics: &Arc<HookMetrics>) -> Rc<Hooks> {
    let unix_seconds = || Now::read().unix_seconds();
    Hooks::new(application, workers, Arc::clone(metrics), unix_seconds)
}
