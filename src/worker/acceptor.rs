//! Accepting on one worker: sockets become connections of line clients, HTTP and WebSocket clients.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio_util::task::TaskTracker;

use crate::api::Node;
use crate::auth::tokens::Token;
use crate::backplane::CaughtUp;
use crate::config::{Labels, ProxyProtocol, Rules};
use crate::net::accept::{Accepted, Listener};
use crate::net::address_limiter::AddressLimiter;
use crate::net::connection_limit::ConnectionLimit;
use crate::net::handshakes::{Handshakes, Port};
use crate::net::proxy::TrustedProxies;
use crate::net::stream::Stream;
use crate::protocol::dialect::{Dialect, Encoding, Transport};
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::Label;
use crate::protocol::publication::{ClientId, Publisher, PublisherKind};
use crate::session::SessionContext;
use crate::session::centrifuge::{CentrifugeHandler, Opening};
use crate::session::text::TextHandler;
use crate::stats::Stats;
use crate::transport::connection::{Client, ReadBuffer};
use crate::transport::emulation::Streams;
use crate::transport::http::{HttpContext, HttpServer, HttpTimes, OriginRules, Upgrade};
use crate::transport::keepalive::Keepalive;
use crate::transport::metrics::{ServerMetrics, TransportMetrics};
use crate::transport::{stream, tcp, websocket};

/// Accepts the clients of one worker.
pub struct ClientAcceptor {
    pub rules: Rules,
    pub address_limiter: AddressLimiter,
    /// The number of the next client. It begins at the worker's index + 1 and goes up by the number of workers, so that
    /// no two workers give the same one.
    pub next_number: Cell<u64>,
    pub workers: u16,
    pub counts: Arc<TransportMetrics>,
    pub buffer: Rc<ReadBuffer>,
    pub handshakes: Rc<Handshakes>,
    pub streams: Rc<Streams>,
    /// What the server API says of this process.
    pub node: Node,
    /// The tasks that must have ended before the worker ends.
    pub tasks: TaskTracker,
}

impl ClientAcceptor {
    /// Accepts line clients until the server begins to end its clients.
    pub async fn accept_lines(self: Rc<Self>, listener: Listener, context: Rc<SessionContext>) {
        let proxies = self.trusted_proxies(ProxyProtocol::Tcp);
        let drain = context.drain.clone();
        let on_client = |accepted: Accepted| match proxies.sends_header(accepted.peer) {
            false => Rc::clone(&self).open_line_client(accepted, &context),
            true => {
                let behind_proxy = Rc::clone(&self).open_behind_proxy(accepted, proxies.clone(), Rc::clone(&context));
                spawn_local(self.tasks.track_future(behind_proxy));
            }
        };
        listener.accept_until_stop(drain, on_client).await;
    }

    fn open_line_client(self: Rc<Self>, accepted: Accepted, context: &Rc<SessionContext>) {
        let Accepted { stream, peer, permit } = accepted;
        let number = self.number_client();
        let permit = match permit.and_then(|permit| permit.for_address(&self.address_limiter, peer.ip())) {
            Ok(permit) => permit,
            Err(no_permit) => {
                self.counts.count_line_client_refused(no_permit);
                return self.refuse_line_client(&stream, Disconnect::TooManyConnections, context);
            }
        };
        let label = match self.rules.labels {
            Labels::Address => Label::generated(peer),
            Labels::Auto if peer.ip().is_loopback() => Label::generated(peer),
            Labels::Auto | Labels::Id => Label::generated(format_args!("TCP-{number}")),
        };
        let client = Client { stream, permit, address: peer.ip(), already_read: Vec::new(), token: None };
        if self.handshakes.are_on(Port::Lines) {
            let tasks = self.tasks.clone();
            spawn_local(tasks.track_future(self.open_after_handshake(client, label, Rc::clone(context))));
        } else {
            self.run_line_client(client, label, context);
        }
    }

    fn run_line_client(&self, client: Client, label: Label, context: &Rc<SessionContext>) {
        spawn_local(self.tasks.track_future(tcp::open(
            client,
            self.publisher(PublisherKind::NamedClient, label, None),
            &self.buffer,
            context,
        )));
    }

    fn refuse_line_client(&self, stream: &Stream, reason: Disconnect, context: &SessionContext) {
        tcp::refuse(stream, reason, self.handshakes.are_on(Port::Lines), &self.buffer, context);
    }

    /// Runs a line client once its TLS handshake is complete, unless the server stops first.
    async fn open_after_handshake(self: Rc<Self>, mut client: Client, label: Label, context: Rc<SessionContext>) {
        let outcome = tokio::select! {
            biased;
            () = context.drain.turning_away() => Err(Disconnect::Shutdown),
            outcome = self.handshakes.shake_hands(&mut client.stream, Port::Lines, self.rules.header_timeout) => outcome,
        };
        self.counts.count_handshake(outcome);
        match outcome {
            Ok(()) => self.run_line_client(client, label, &context),
            Err(reason) => self.refuse_line_client(&client.stream, reason, &context),
        }
    }

    /// Opens a line client once its proxy has sent its address, unless the server stops first.
    async fn open_behind_proxy(
        self: Rc<Self>,
        mut accepted: Accepted,
        proxies: TrustedProxies,
        context: Rc<SessionContext>,
    ) {
        let Accepted { stream, peer, .. } = &accepted;
        let client = tokio::select! {
            biased;
            () = context.drain.turning_away() => Err(Disconnect::Shutdown),
            client = proxies.client(stream, *peer, self.rules.header_timeout) => client,
        };
        match client {
            Ok(client) => {
                accepted.peer = client;
                self.open_line_client(accepted, &context);
            }
            Err(reason) => self.refuse_line_client(stream, reason, &context),
        }
    }

    /// Accepts HTTP connections until the server stops, so that another server can take the port, or until the worker
    /// ends. Accepted connections are answered in any case: a server that drains says so, and so does a node that is still
    /// catching up. They therefore do not keep the context of the sessions alive.
    pub fn serve_http(
        self: Rc<Self>,
        listener: Listener,
        connection_limit: ConnectionLimit,
        (metrics, stats): (ServerMetrics, watch::Receiver<Arc<Stats>>),
        caught_up: Option<CaughtUp>,
        context: &Rc<SessionContext>,
    ) -> impl Future<Output = ()> + use<> {
        let drain = context.drain.clone();
        let keepalive = Rc::new(Keepalive::new(self.rules.keepalive));
        let pinging =
            Rc::clone(&keepalive).run_until_stop(drain.clone(), context.writer.clone(), self.buffer.sockets.clone());
        spawn_local(self.tasks.track_future(pinging));
        let http = HttpContext {
            drain: drain.clone(),
            caught_up,
            connection_limit,
            address_limiter: self.address_limiter.clone(),
            metrics,
            stats,
            counts: Arc::clone(&self.counts),
            buffer: Rc::clone(&self.buffer),
            times: HttpTimes {
                header_timeout: self.rules.header_timeout,
                idle: self.rules.http.idle_time,
                unread: self.rules.outbox.slow_after,
                connection: self.rules.http.connection_time,
            },
            pages: self.rules.pages,
            origins: OriginRules {
                origins: self.rules.origins.clone(),
                hosts: self.rules.http.hosts.clone(),
                is_tls: self.handshakes.are_on(Port::Http),
            },
            proxies: self.trusted_proxies(ProxyProtocol::Http),
            handshakes: Rc::clone(&self.handshakes),
            access: Rc::clone(&context.access),
            sessions: Rc::downgrade(context),
            deflate_bytes_min: self.rules.deflate_bytes_min,
            streams: Rc::clone(&self.streams),
            node: self.node.clone(),
        };
        let context = Rc::downgrade(context);
        let is_until_end = self.rules.probes_until_end;
        let server = Rc::new(HttpServer::new(http, move |client, upgrade| {
            if let Some(context) = context.upgrade() {
                self.open_http_client(client, upgrade, &context, &keepalive);
            }
        }));
        async move {
            let on_connection = |accepted| drop(spawn_local(Rc::clone(&server).serve(accepted)));
            if is_until_end {
                listener.accept(on_connection).await;
            } else {
                listener.accept_until_stop(drain, on_connection).await;
            }
        }
    }

    fn open_http_client(&self, client: Client, upgrade: Upgrade, context: &Rc<SessionContext>, keepalive: &Keepalive) {
        let (dialect, reading) = match upgrade {
            Upgrade::Client(dialect) => (dialect, None),
            Upgrade::Reader(reading) => (Dialect::RoomEvents, Some(reading)),
        };
        let number = self.number_client();
        let is_text = dialect.encoding() == Encoding::Text;
        let label = Label::generated(format_args!("{}-{number}", if is_text { "WS" } else { "client" }));
        let kind = if is_text { PublisherKind::NamedClient } else { PublisherKind::UnnamedClient };
        let publisher = self.publisher(kind, label, client.token.as_deref());
        let buffer = &self.buffer;
        if let Some(reading) = reading {
            let connection = stream::open_reader(client, publisher, reading, buffer, context, keepalive);
            spawn_local(self.tasks.track_future(connection));
        } else if dialect.transport() != Transport::WebSocket {
            let connection = stream::open(client, publisher, dialect, &self.streams, buffer, context, keepalive);
            spawn_local(self.tasks.track_future(connection));
        } else if is_text {
            let handler = TextHandler::new;
            let connection = websocket::open(client, publisher, dialect, handler, buffer, context, keepalive);
            spawn_local(self.tasks.track_future(connection));
        } else {
            let handler = |session| CentrifugeHandler::new(session, Opening::default());
            let connection = websocket::open(client, publisher, dialect, handler, buffer, context, keepalive);
            spawn_local(self.tasks.track_future(connection));
        }
    }

    /// A client as others see it: what its token says, and `label` where no token names it.
    fn publisher(&self, kind: PublisherKind, label: Label, token: Option<&Token>) -> Publisher {
        let client = ClientId(RandomState::new().hash_one(self.next_number.get()));
        let mut publisher = Publisher { kind, ..Publisher::anonymous(client, label) };
        if let Some(Token { user, info, label, .. }) = token.cloned() {
            (publisher.user, publisher.info) = (user, info);
            label.into_iter().for_each(|label| publisher.name(label));
        }
        publisher
    }

    fn number_client(&self) -> u64 {
        self.next_number.replace(self.next_number.get() + u64::from(self.workers))
    }

    /// The trusted proxies of a port, `Tcp` or `Http`.
    fn trusted_proxies(&self, port: ProxyProtocol) -> TrustedProxies {
        let send_header = self.rules.proxy_protocol == port || self.rules.proxy_protocol == ProxyProtocol::Both;
        TrustedProxies::new(&self.rules.trusted_proxies, send_header)
    }
}
