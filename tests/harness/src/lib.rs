//! What the tests over real sockets share: programs as child processes, clients of each transport, and waiting for a
//! state. Nothing here uses the server's code, so a test compares bytes of the wire with a second implementation, and
//! the load generator's tests can use it without linking the server.

mod application;
mod at_once;
mod blast;
mod centrifuge;
mod client;
mod cluster;
pub mod deflate;
mod disconnect;
mod endpoint;
mod events;
mod forwarder;
pub mod frame;
mod http;
mod lines;
mod log;
mod nats;
mod process;
mod program;
mod random;
mod service_manager;
mod stream;
mod tls;
mod tls_front;
mod turn;
mod wait;
mod websocket;

pub use application::{Application, AskedQuestion, http_answer};
pub use at_once::at_once;
pub use blast::Blast;
pub use centrifuge::{Centrifuge, CentrifugeTransport, Encoding, protobuf_command, varint};
pub use client::{Addresses, Client, Transport};
pub use cluster::{Cluster, NodeAddress};
pub use disconnect::Disconnect;
pub use endpoint::Endpoint;
pub use events::{EventStream, ServerSentEvent};
pub use forwarder::Forwarder;
pub use http::{Body, Head, Http, metrics, metrics_when};
pub use lines::Lines;
pub use log::Log;
pub use nats::{NATS, NatsClient, NatsCluster, NatsOptions, NatsServer, OLD_NATS, OLDEST_NATS};
pub use process::{Ended, Process, built, within_descriptors};
pub use program::Program;
pub use random::Random;
pub use rustix::process::{Resource, Rlimit, Signal, kill_process};
pub use service_manager::{Notice, ServiceManager};
pub use stream::Stream;
pub use tls::{CertificateFiles, Identity};
pub use tls_front::TlsFront;
pub use turn::Turn;
pub use wait::{FAILSAFE, until, until_at_most};
pub use websocket::{HANDSHAKE, WebSocket};

/// The greeting that a server has by default.
pub const WELCOME: &str = "Welcome! Commands: JOIN <room>, LEAVE, LIST";
