//! One worker: a thread with its own runtime, listener, shards and writer. Shares with the others the mailboxes, the places for
//! clients, the drain and what it counts; no state that anybody would wait for.

mod table;

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio_util::task::TaskTracker;

use crate::broker::{BrokerSeed, ShardMailbox, ShardTask};
use crate::config::{ProxyProtocol, Rules};
use crate::memory::Needs;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::Label;
use crate::session::{SessionHost, SpentAllowances};
use crate::shutdown::{Drain, Serving};
use crate::transport::accept::{Accepted, Admission, Listener, accept, accept_until_stop};
use crate::transport::census::Census;
use crate::transport::conversation::{Client, ReadBuffer};
use crate::transport::http::{HttpHost, HttpRules, HttpState, Upgraded};
use crate::transport::metrics::{ServerMetrics, TransportMetrics};
use crate::transport::proxied::Proxies;
use crate::transport::tcp::{self, LineRules};
use crate::transport::watch::Watch;
use crate::transport::websocket::{self, Commands, Keepalive};
use crate::writer::handle::{BatchSender, WriterMailbox};
use crate::writer::task::WriterTask;
use crate::writer::{Counts, WriterIndex};

pub use table::OwnTable;

/// Everything a worker owns or tells, made before any of them starts.
pub struct Worker {
    /// Which one; its writer has the same index.
    pub index: WriterIndex,
    /// How many there are.
    pub workers: u16,
    /// Its own listener for line clients.
    pub lines: TcpListener,
    /// Its own listener for HTTP.
    pub http: TcpListener,
    /// Its own descriptor table, if it is to have one.
    pub table: Option<OwnTable>,
    /// The places for its clients.
    pub admission: Admission,
    /// Who is here, by address, over all workers.
    pub census: Census,
    /// The shards that live here.
    pub shards: Vec<ShardMailbox>,
    /// To tell the shards, wherever they live.
    pub broker: BrokerSeed,
    /// To tell the writers, by `WriterIndex`.
    pub writers: Vec<BatchSender>,
    /// What its own writer is told through.
    pub writer: WriterMailbox,
    /// Where all workers count.
    pub metrics: ServerMetrics,
    /// What clients have cost that are gone, over all workers.
    pub spent: SpentAllowances,
    /// What applies to its clients.
    pub rules: Rules,
    /// When to stop.
    pub drain: Drain,
    /// Until its last client is gone.
    pub serving: Serving,
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

    async fn work(mut self, say_ready: oneshot::Sender<()>) -> io::Result<Counts> {
        if let Some(table) = self.table.take() {
            table.split_off().await?;
        }
        let lines = Listener::from_std(self.lines)?;
        let http = Listener::from_std(self.http)?;
        let _ = say_ready.send(());
        let own = self.writers[usize::from(self.index.0)].clone();
        let counts = self.metrics.writers[usize::from(self.index.0)].clone();
        let transport_counts = self.metrics.transports[usize::from(self.index.0)].clone();
        let limits = self.rules.outbox.of_one_worker(self.workers);
        let needs = Needs::default();
        spawn_local(needs.clone().give_back());
        let (writer_task, writer) = WriterTask::new(own, self.writer, counts, limits, self.drain.clone(), &needs);
        let writer_task = spawn_local(writer_task.run());
        let tasks = TaskTracker::new();
        for mailbox in self.shards {
            let counts = self.metrics.shards[usize::from(mailbox.index.0)].clone();
            spawn_local(tasks.track_future(ShardTask::new(mailbox, self.writers.clone(), counts, &needs).run()));
        }
        // From here on only the shards tell other workers' writers: when the shards have ended, so do the writers.
        drop(self.writers);
        let sessions = Rc::new(SessionHost {
            broker: self.broker.broker(),
            writer,
            writer_index: self.index,
            greeting: self.rules.greeting.clone(),
            message_bytes_max: self.rules.message_bytes_max,
            deliveries: self.rules.deliveries,
            spent: self.spent,
            drain: self.drain.clone(),
        });
        // Numbers that no other worker gives: index + 1, then every `workers`-th.
        let ids = (u64::from(self.index.0) + 1..).step_by(usize::from(self.workers));
        let state = HttpState {
            drain: self.drain.clone(),
            admission: self.admission.clone(),
            census: self.census.clone(),
            metrics: self.metrics,
        };
        let watch = Rc::new(Watch::new(self.rules.input.of_one_worker(self.workers)));
        spawn_local(tasks.track_future(Rc::clone(&watch).run_until_stop(&sessions)));
        let announced = matches!(self.rules.proxy_protocol, ProxyProtocol::Tcp | ProxyProtocol::Both);
        let door = Rc::new(Door {
            proxies: Proxies::new(&self.rules.trusted_proxies, announced),
            rules: self.rules,
            census: self.census,
            ids: RefCell::new(ids),
            counts: transport_counts,
            buffer: ReadBuffer::new(needs, watch),
            tasks,
        });
        spawn_local(Rc::clone(&door).serve_http(http, state, &sessions));
        let on_client = |accepted: Accepted| match door.proxies.announce(accepted.peer) {
            false => door.let_in_line_client(accepted, &sessions),
            true => {
                let announced = Rc::clone(&door).let_in_announced(accepted, Rc::clone(&sessions));
                spawn_local(door.tasks.track_future(announced));
            }
        };
        accept_until_stop(lines, self.admission, self.drain.clone(), on_client).await;
        drop(sessions);
        door.tasks.close();
        door.tasks.wait().await;
        let counts = writer_task.await.expect("a panic ends the process");
        // Open HTTP connections are answered until the last client of all workers is gone.
        drop(self.serving);
        self.drain.served().await;
        Ok(counts)
    }
}

/// Where clients come in.
struct Door<Ids> {
    rules: Rules,
    census: Census,
    /// Those that line clients come through.
    proxies: Proxies,
    ids: RefCell<Ids>,
    counts: Arc<TransportMetrics>,
    buffer: ReadBuffer,
    /// Everything that must have ended before the worker does.
    tasks: TaskTracker,
}

impl<Ids: Iterator<Item = u64> + 'static> Door<Ids> {
    fn let_in_line_client(&self, accepted: Accepted, sessions: &Rc<SessionHost>) {
        let Accepted { stream, peer, place } = accepted;
        let place = place.and_then(|place| place.of_address(&self.census, peer.ip()));
        if let Err(no_place) = place {
            self.counts.count_line_client_refused(no_place.into());
        }
        let accepted = Accepted { stream, peer, place };
        let rules = LineRules { line_bytes_max: self.rules.message_bytes_max, labels: self.rules.labels };
        if let Some(conversation) = tcp::open(accepted, self.next_id(), rules, &self.buffer, sessions) {
            spawn_local(self.tasks.track_future(conversation));
        }
    }

    /// The same once its proxy has said who it is; not at all if the server stops first.
    async fn let_in_announced(self: Rc<Self>, mut accepted: Accepted, sessions: Rc<SessionHost>) {
        let Accepted { stream, peer, .. } = &accepted;
        let announced = tokio::select! {
            biased;
            () = sessions.drain.stopping() => Err(Disconnect::Shutdown),
            announced = self.proxies.client(stream, *peer, self.rules.header_timeout) => announced,
        };
        match announced {
            Ok(client) => {
                accepted.peer = client;
                self.let_in_line_client(accepted, &sessions);
            }
            Err(reason) => tcp::refuse(stream, reason, &self.buffer, &sessions),
        }
    }

    /// Accepts until the server stops, so that another one can take the port, or until the worker ends. Connections that were
    /// accepted are answered in any case: a server that drains says so. So this keeps no handle to the sessions alive.
    fn serve_http(
        self: Rc<Self>,
        listener: Listener,
        state: HttpState,
        sessions: &Rc<SessionHost>,
    ) -> impl Future<Output = ()> + use<Ids> {
        let keepalive = Rc::new(Keepalive::default());
        let pinging = Rc::clone(&keepalive).run_until_stop(self.rules.keepalive, sessions);
        spawn_local(self.tasks.track_future(pinging));
        let (admission, drain) = (state.admission.clone(), state.drain.clone());
        let until_end = self.rules.probes_until_end;
        let announced = matches!(self.rules.proxy_protocol, ProxyProtocol::Http | ProxyProtocol::Both);
        let rules = HttpRules {
            header_timeout: self.rules.header_timeout,
            limits: self.rules.http.clone(),
            origins: self.rules.origins.clone(),
            proxies: Proxies::new(&self.rules.trusted_proxies, announced),
        };
        let sessions = Rc::downgrade(sessions);
        let (buffer, counts) = (self.buffer.clone(), Arc::clone(&self.counts));
        let host = Rc::new(HttpHost::new(state, counts, rules, buffer, move |upgraded| {
            if let Some(sessions) = sessions.upgrade() {
                self.let_in_websocket_client(upgraded, &sessions, &keepalive);
            }
        }));
        async move {
            let on_connection = |accepted| drop(spawn_local(Rc::clone(&host).serve(accepted)));
            if until_end {
                accept(listener, admission, on_connection).await;
            } else {
                accept_until_stop(listener, admission, drain, on_connection).await;
            }
        }
    }

    fn let_in_websocket_client(&self, upgraded: Upgraded, sessions: &Rc<SessionHost>, keepalive: &Keepalive) {
        let Upgraded { stream, place, address, already_read } = upgraded;
        let label = Label::of_server(format_args!("WS-{}", self.next_id()));
        let client = Client { stream, place, dialect: Dialect::WebSocket, label, address, already_read };
        let conversation = websocket::open(
            client,
            self.rules.message_bytes_max,
            Commands::default(),
            &self.buffer,
            sessions,
            keepalive,
        );
        spawn_local(self.tasks.track_future(conversation));
    }

    fn next_id(&self) -> u64 {
        self.ids.borrow_mut().next().expect("2^64 clients never come")
    }
}
