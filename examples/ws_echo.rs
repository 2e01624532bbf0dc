//! Echoes WebSocket messages at `/ws`, for conformance suites: `cargo run --example ws_echo -- --listen 127.0.0.1:9001`.
//! Handshake, frames, reading, writing, keepalive and closing are the server's own; only what a message means is different.
//! Never ends by itself, and lets a client fall far behind: not to be left facing a network.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use roomcast::broker::{BrokerSeed, Capacity};
use roomcast::config::{
    AddressLimits, HttpLimits, InputRules, KeepaliveRules, Origins, OutboxLimits, RoomLimits, Size, SlowPolicy,
};
use roomcast::memory::Needs;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::Label;
use roomcast::protocol::websocket::encode;
use roomcast::session::{Handled, Session, SessionHost, SpentAllowances};
use roomcast::shutdown::Drain;
use roomcast::transport::accept::{Admission, Listener, accept};
use roomcast::transport::census::Census;
use roomcast::transport::conversation::{Client, ReadBuffer};
use roomcast::transport::http::{HttpHost, HttpRules, HttpState, Upgraded};
use roomcast::transport::metrics::ServerMetrics;
use roomcast::transport::proxied::Proxies;
use roomcast::transport::watch::Watch;
use roomcast::transport::websocket::{self, Keepalive, Meaning};
use roomcast::writer::WriterIndex;
use roomcast::writer::handle::mailbox;
use roomcast::writer::task::WriterTask;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

const CLIENTS_MAX: usize = 1_024;

const BACKLOG: u32 = 1_024;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

const KEEPALIVE: KeepaliveRules =
    KeepaliveRules { ping_interval: Duration::from_secs(30), pong_timeout: Duration::from_secs(60) };

/// A suite may send much before it reads anything.
const INPUT: InputRules =
    InputRules { budget: 256 * 1024 * 1024, message_timeout: None, idle_timeout: None, line_keepalive: None };

const OUTBOX: OutboxLimits = OutboxLimits {
    bytes_max: 256 * 1024 * 1024,
    messages_max: 1 << 20,
    slow_after: Duration::from_secs(60),
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
}

/// Every message comes back.
struct Echo;

impl Meaning for Echo {
    fn text(&self, session: &mut Session, text: &str) -> Handled {
        echo(session, text.as_bytes(), encode::text)
    }

    fn binary(&self, session: &mut Session, bytes: &[u8]) -> Handled {
        echo(session, bytes, encode::binary)
    }
}

fn echo(session: &mut Session, payload: &[u8], encode: fn(&mut Vec<u8>, usize)) -> Handled {
    let mut message = Vec::with_capacity(encode::header_bytes(payload.len()) + payload.len());
    message.extend_from_slice(payload);
    encode(&mut message, 0);
    session.send(message.into())
}

fn main() -> io::Result<()> {
    let Arguments { listen, message_bytes } = Arguments::parse();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = bind(listen)?;
        writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
        serve(listener, message_bytes.0).await;
        Ok(())
    })
}

/// Accepted sockets inherit what is set here.
fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    Listener::from_std(socket.listen(BACKLOG)?.into_std()?)
}

/// What `Worker` puts together, without line clients, shards and an end.
async fn serve(listener: Listener, message_bytes_max: usize) {
    let drain = Drain::default();
    let metrics = ServerMetrics::new(1, 1, CLIENTS_MAX);
    let (counts, transport_counts) = (metrics.writers[0].clone(), metrics.transports[0].clone());
    let (own, commands) = mailbox();
    let (writer_task, writer) = WriterTask::new(own, commands, counts, OUTBOX, drain.clone(), &Needs::default());
    spawn_local(writer_task.run());
    // Nobody is ever in a room, so no shard is ever told anything.
    let (broker, _shards) = BrokerSeed::new(1, &Capacity::new(RoomLimits { rooms_max: 0, members_max: 0 }));
    let sessions = Rc::new(SessionHost {
        broker: broker.broker(),
        writer,
        writer_index: WriterIndex(0),
        greeting: String::new(),
        message_bytes_max,
        deliveries: None,
        spent: SpentAllowances::new(Instant::now()),
        drain: drain.clone(),
    });
    let keepalive = Rc::new(Keepalive::default());
    let buffer = ReadBuffer::new(Needs::default(), Rc::new(Watch::new(INPUT)));
    spawn_local(Rc::clone(&keepalive).run_until_stop(KEEPALIVE, &sessions));
    let http_buffer = buffer.clone();
    let on_upgrade = move |Upgraded { stream, place, address, already_read }| {
        let label = Label::of_server("WS");
        let client = Client { stream, place, dialect: Dialect::WebSocket, label, address, already_read };
        spawn_local(websocket::open(client, message_bytes_max, Echo, &buffer, &sessions, &keepalive));
    };
    let admission = Admission::new(CLIENTS_MAX);
    let census = Census::new(AddressLimits { clients_max: None, connects_per_second: None });
    let state = HttpState { drain, admission: admission.clone(), census, metrics };
    let limits = HttpLimits { connection_time: None, hosts: Vec::new() };
    let proxies = Proxies::new(&[], false);
    let rules = HttpRules { header_timeout: HEADER_TIMEOUT, limits, origins: Origins::Any, proxies };
    let host = Rc::new(HttpHost::new(state, transport_counts, rules, http_buffer, on_upgrade));
    accept(listener, admission, |accepted| drop(spawn_local(Rc::clone(&host).serve(accepted)))).await;
}
