//! Echoes WebSocket messages at `/ws`, for conformance suites: `cargo run --example ws_echo -- --listen
//! 127.0.0.1:9001`. Handshake, frames, reading, writing, keepalive and closing are the server's own; only what a
//! message means is different. Never ends by itself, and lets a client fall far behind: do not expose it to a network.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clap::Parser;
use roomcast::api::Node;
use roomcast::broker::{RoomLimiter, ShardRules, ShardSenders};
use roomcast::config::{
    AddressLimits, Config, InputRules, KeepaliveRules, Origins, OutboxLimits, Settings, Size, SlowPolicy, WebPages,
};
use roomcast::memory::MemoryUse;
use roomcast::net::accept::Listener;
use roomcast::net::address_limiter::AddressLimiter;
use roomcast::net::connection_limit::ConnectionLimit;
use roomcast::net::handshakes::{Handshakes, TlsServer};
use roomcast::net::proxy::TrustedProxies;
use roomcast::protocol::compression::Compression;
use roomcast::protocol::dialect::{Framing, Transport};
use roomcast::protocol::names::Label;
use roomcast::protocol::publication::{ClientId, Publisher};
use roomcast::session::access::WorkerAccess;
use roomcast::session::clients::Clients;
use roomcast::session::workers::worker_mailboxes;
use roomcast::session::{Outcome, ProtocolHandler, Session, SessionContext, SpentDeliveries};
use roomcast::shutdown::Drain;
use roomcast::stats::Limits;
use roomcast::transport::connection::ReadBuffer;
use roomcast::transport::emulation::{Streams, emulation_mailboxes};
use roomcast::transport::http::{HttpContext, HttpServer, HttpTimes, OriginRules, Upgrade};
use roomcast::transport::input_guard::InputGuard;
use roomcast::transport::keepalive::Keepalive;
use roomcast::transport::metrics::ServerMetrics;
use roomcast::transport::websocket;
use roomcast::writer::WriterIndex;
use roomcast::writer::handle::mailbox;
use roomcast::writer::task::WriterTask;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;

const CLIENTS_MAX: usize = 1_024;

const BACKLOG: u32 = 1_024;

/// A suite that shares its processor with a compiler may answer nothing for minutes.
const PATIENCE: Duration = Duration::from_secs(600);

const KEEPALIVE: KeepaliveRules = KeepaliveRules { ping_interval: Duration::from_secs(30), pong_timeout: PATIENCE };

/// A suite may send much before it reads anything.
const INPUT: InputRules =
    InputRules { budget: 256 * 1024 * 1024, message_timeout: None, idle_timeout: None, line_keepalive: None };

const OUTBOX: OutboxLimits = OutboxLimits {
    bytes_max: 256 * 1024 * 1024,
    messages_max: 1 << 20,
    slow_after: PATIENCE,
    policy: SlowPolicy::Disconnect,
    budget: 1024 * 1024 * 1024,
};

/// Echoes WebSocket messages at /ws.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// The longest message
    #[arg(long, value_name = "SIZE", default_value = "16MiB")]
    message_bytes: Size,
    /// The shortest message that is compressed, in bytes; 0 turns compression off
    #[arg(long, value_name = "BYTES", default_value = "1")]
    deflate_bytes: u16,
}

/// Sends every message back.
struct Echo {
    session: Session,
    compression: Compression,
}

impl Echo {
    fn send(&mut self, payload: &[u8], framing: fn(Compression) -> Framing) -> Outcome {
        let framing = framing(self.compression);
        let mut message = Vec::with_capacity(framing.bytes(payload.len()) + payload.len());
        message.extend_from_slice(payload);
        framing.frame(&mut message, 0);
        self.session.send(None, message.into())
    }
}

impl ProtocolHandler for Echo {
    fn begin(&mut self) -> Outcome {
        Outcome::Done
    }

    fn text(&mut self, text: &str) -> Outcome {
        self.send(text.as_bytes(), Framing::WebSocketText)
    }

    fn binary(&mut self, bytes: &[u8]) -> Outcome {
        self.send(bytes, Framing::WebSocketBinary)
    }

    fn review(&mut self) -> Outcome {
        Outcome::Done
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        self.session.poll(context).map(|_| Outcome::Done)
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    fn into_session(self) -> Session {
        self.session
    }
}

fn main() -> io::Result<()> {
    let Arguments { listen, message_bytes, deflate_bytes } = Arguments::parse();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let limit = ConnectionLimit::new(CLIENTS_MAX);
        let listener = bind(listen, limit.clone())?;
        writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
        serve(listener, limit, message_bytes.0, NonZeroU16::new(deflate_bytes)).await;
        Ok(())
    })
}

/// Accepted sockets inherit what is set here.
fn bind(address: SocketAddr, limit: ConnectionLimit) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    Listener::new(socket.listen(BACKLOG)?.into_std()?, limit)
}

/// Composes what a `Worker` has, without line clients, shards and an end.
async fn serve(
    listener: Listener,
    connection_limit: ConnectionLimit,
    message_bytes_max: usize,
    deflate_bytes_min: Option<NonZeroU16>,
) {
    let drain = Drain::default();
    let metrics = ServerMetrics::new(1, 1, Limits { clients_max: CLIENTS_MAX as u64, ..Limits::default() });
    let (sender, commands) = mailbox();
    let (writer_task, writer, sockets) =
        WriterTask::new(sender, commands, metrics.writers[0].clone(), OUTBOX, drain.clone(), &MemoryUse::default());
    spawn_local(writer_task.run());
    // No client is ever in a room, so no shard ever has anything to do.
    let rules = ShardRules::from(&Config::try_from(Settings::default()).expect("valid settings"));
    let (broker, _shards) = ShardSenders::new(1, &RoomLimiter::new(0), rules);
    let keepalive = Rc::new(Keepalive::new(KEEPALIVE));
    spawn_local(Rc::clone(&keepalive).run_until_stop(drain.clone(), writer.clone(), sockets.clone()));
    let access = Rc::new(WorkerAccess::open());
    let context = Rc::new(SessionContext {
        broker: broker.broker(),
        access: Rc::clone(&access),
        clients: Rc::new(Clients::default()),
        workers: worker_mailboxes(1).0,
        hooks: None,
        writer,
        writer_index: WriterIndex(0),
        greeting: String::new(),
        message_bytes_max,
        rooms_max: 0,
        deliveries: None,
        spent: SpentDeliveries::new(Instant::now()),
        ping_interval: Duration::from_secs(30),
        drain: drain.clone(),
    });
    let buffer = ReadBuffer::new(MemoryUse::default(), Rc::new(InputGuard::new(INPUT)), sockets.clone());
    let http = HttpContext {
        drain,
        caught_up: None,
        connection_limit,
        address_limiter: AddressLimiter::new(AddressLimits { clients_max: None, connects_per_second: None }),
        counts: metrics.transports[0].clone(),
        metrics,
        // Nobody samples, so there are no figures.
        stats: watch::channel(Arc::default()).1,
        buffer: Rc::clone(&buffer),
        times: HttpTimes { header_timeout: PATIENCE, idle: None, unread: PATIENCE, connection: None },
        origins: OriginRules { origins: Origins::Any, hosts: Vec::new(), is_tls: false },
        proxies: TrustedProxies::new(&[], false),
        pages: WebPages::Off,
        access,
        sessions: Rc::downgrade(&context),
        deflate_bytes_min,
        // There are no streams, so no command ever comes for one.
        streams: Streams::new(0, emulation_mailboxes(1).0, INPUT.budget, message_bytes_max),
        handshakes: Rc::new(Handshakes::new(watch::channel(TlsServer::default()).1)),
        node: Node::new(0),
    };
    let server = Rc::new(HttpServer::new(http, move |client, upgrade| {
        // Streams without WebSocket are closed.
        let Upgrade::Client(dialect) = upgrade else { return };
        if dialect.transport() != Transport::WebSocket {
            return;
        }
        let identity = Publisher::anonymous(ClientId(0), Label::generated("WS"));
        let echo = move |session| Echo { session, compression: dialect.compression() };
        spawn_local(websocket::open(client, identity, dialect, echo, &buffer, &context, &keepalive));
    }));
    listener.accept(|accepted| drop(spawn_local(Rc::clone(&server).serve(accepted)))).await;
}
