//! The rules of a cluster: which NATS its nodes share, and what they keep there.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The cluster of which the server is a node.
#[derive(Clone, Debug)]
pub struct ClusterRules {
    /// Servers of one NATS, at least one.
    pub servers: Vec<NatsServer>,
    /// The name of the cluster: that of its stream, and the first part of its subjects.
    pub name: String,
    /// PEM file of the authorities that NATS' certificate may come from, beside those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// PEM files of the certificate and the key by which the node proves to NATS who it is.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Copies of the stream; `None` is three where NATS is a cluster, else one.
    pub replicas: Option<u8>,
    /// The most bytes of the stream. Beyond it the oldest are dropped.
    pub stream_bytes_max: u64,
    /// How long the stream keeps what nodes may need: the longest history of any room.
    pub stream_age: Duration,
    /// The longest message of a client, in bytes, which NATS must carry.
    pub message_bytes_max: usize,
}

/// The URL of a NATS server. It may hold a password, which is not displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsServer(pub String);

impl fmt::Display for NatsServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("nats", &self.0));
        match rest.rsplit_once('@') {
            Some((_, host)) => write!(out, "{scheme}://…@{host}"),
            None => write!(out, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for NatsServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
