//! The way in to a worker: accepted sockets become connections of line clients, HTTP and WebSocket clients.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_local;
use tokio_util::task::TaskTracker;

use crate::config::{ProxyProtocol, Rules};
use crate::net::accept::{Accepted, Listener};
use crate::net::address_limiter::AddressLimiter;
use crate::net::proxy::TrustedProxies;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::Label;
use crate::session::SessionContext;
use crate::transport::connection::{Client, ReadBuffer};
use crate::transport::http::{HttpRules, HttpServer, HttpState, Upgraded};
use crate::transport::metrics::TransportMetrics;
use crate::transport::tcp::{self, LineRules};
use crate::transport::websocket::{self, Keepalive, TextCommands};
use crate::writer::WriterIndex;

/// Numbers for clients that no other worker gives: its index + 1, then every `workers`-th.
pub struct Ids {
    next: Cell<u64>,
    step: u64,
}

impl Ids {
    /// The numbers of one worker.
    pub fn new(index: WriterIndex, workers: u16) -> Self {
        Self { next: Cell::new(u64::from(index.0) + 1), step: workers.into() }
    }

    fn next(&self) -> u64 {
        self.next.replace(self.next.get() + self.step)
    }
}

/// Accepts the clients of one worker.
pub struct ClientAcceptor {
    rules: Rules,
    address_limiter: AddressLimiter,
    ids: Ids,
    counts: Arc<TransportMetrics>,
    buffer: ReadBuffer,
    /// Everything that must have ended before the worker does.
    tasks: TaskTracker,
}

impl ClientAcceptor {
    /// An acceptor that has accepted nobody.
    pub fn new(
        rules: Rules,
        address_limiter: AddressLimiter,
        ids: Ids,
        counts: Arc<TransportMetrics>,
        buffer: ReadBuffer,
        tasks: TaskTracker,
    ) -> Rc<Self> {
        Rc::new(Self { rules, address_limiter, ids, counts, buffer, tasks })
    }

    /// Accepts line clients until the server stops.
    pub async fn accept_lines(self: Rc<Self>, listener: Listener, sessions: Rc<SessionContext>) {
        let proxies = self.trusted_proxies(ProxyProtocol::Tcp);
        let drain = sessions.drain.clone();
        let on_client = |accepted: Accepted| match proxies.sends_header(accepted.peer) {
            false => self.open_line_client(accepted, &sessions),
            true => {
                let behind_proxy = Rc::clone(&self).open_behind_proxy(accepted, proxies.clone(), Rc::clone(&sessions));
                spawn_local(self.tasks.track_future(behind_proxy));
            }
        };
        listener.accept_until_stop(drain, on_client).await;
    }

    fn open_line_client(&self, accepted: Accepted, sessions: &Rc<SessionContext>) {
        let Accepted { stream, peer, permit } = accepted;
        let permit = permit.and_then(|permit| permit.for_address(&self.address_limiter, peer.ip()));
        if let Err(no_permit) = permit {
            self.counts.count_line_client_refused(no_permit.into());
        }
        let accepted = Accepted { stream, peer, permit };
        let rules = LineRules { line_bytes_max: self.rules.message_bytes_max, labels: self.rules.labels };
        if let Some(connection) = tcp::open(accepted, self.ids.next(), rules, &self.buffer, sessions) {
            spawn_local(self.tasks.track_future(connection));
        }
    }

    /// Opens a line client once its proxy has sent its address, unless the server stops first.
    async fn open_behind_proxy(
        self: Rc<Self>,
        mut accepted: Accepted,
        proxies: TrustedProxies,
        sessions: Rc<SessionContext>,
    ) {
        let Accepted { stream, peer, .. } = &accepted;
        let client = tokio::select! {
            biased;
            () = sessions.drain.stopping() => Err(Disconnect::Shutdown),
            client = proxies.client(stream, *peer, self.rules.header_timeout) => client,
        };
        match client {
            Ok(client) => {
                accepted.peer = client;
                self.open_line_client(accepted, &sessions);
            }
            Err(reason) => tcp::refuse(stream, reason, &self.buffer, &sessions),
        }
    }

    /// Accepts HTTP connections until the server stops, so that another one can take the port, or until the worker ends.
    /// Connections that were accepted are answered in any case: a server that drains says so. This therefore keeps no
    /// handle to the sessions alive.
    pub fn serve_http(
        self: Rc<Self>,
        listener: Listener,
        state: HttpState,
        sessions: &Rc<SessionContext>,
    ) -> impl Future<Output = ()> + use<> {
        let keepalive = Rc::new(Keepalive::default());
        let pinging = Rc::clone(&keepalive).run_until_stop(self.rules.keepalive, sessions);
        spawn_local(self.tasks.track_future(pinging));
        let drain = state.drain.clone();
        let until_end = self.rules.probes_until_end;
        let rules = HttpRules {
            header_timeout: self.rules.header_timeout,
            limits: self.rules.http.clone(),
            origins: self.rules.origins.clone(),
            proxies: self.trusted_proxies(ProxyProtocol::Http),
        };
        let sessions = Rc::downgrade(sessions);
        let (buffer, counts) = (self.buffer.clone(), Arc::clone(&self.counts));
        let server = Rc::new(HttpServer::new(state, counts, rules, buffer, move |upgraded| {
            if let Some(sessions) = sessions.upgrade() {
                self.open_websocket_client(upgraded, &sessions, &keepalive);
            }
        }));
        async move {
            let on_connection = |accepted| drop(spawn_local(Rc::clone(&server).serve(accepted)));
            if until_end {
                listener.accept(on_connection).await;
            } else {
                listener.accept_until_stop(drain, on_connection).await;
            }
        }
    }

    fn open_websocket_client(&self, upgraded: Upgraded, sessions: &Rc<SessionContext>, keepalive: &Keepalive) {
        let Upgraded { stream, permit, address, already_read } = upgraded;
        let label = Label::generated(format_args!("WS-{}", self.ids.next()));
        let client = Client { stream, permit, dialect: Dialect::WebSocket, label, address, already_read };
        let (bytes_max, commands) = (self.rules.message_bytes_max, TextCommands::default());
        let connection = websocket::open(client, bytes_max, commands, &self.buffer, sessions, keepalive);
        spawn_local(self.tasks.track_future(connection));
    }

    /// The proxies of a port, `Tcp` or `Http`.
    fn trusted_proxies(&self, port: ProxyProtocol) -> TrustedProxies {
        let send_header = self.rules.proxy_protocol == port || self.rules.proxy_protocol == ProxyProtocol::Both;
        TrustedProxies::new(&self.rules.trusted_proxies, send_header)
    }
}
