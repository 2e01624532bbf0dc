//! Nodes of a cluster: servers as processes that share NATS.

use std::net::Ipv4Addr;

use super::{Endpoint, NatsServer, Program, nats};

/// The setting of the size of the stream.
const STREAM_BYTES: &str = "--cluster-stream-bytes";

/// The shapes that nodes take in turn: rooms must be the same whatever shards and workers a node has.
const SHAPES: [[&str; 4]; 2] = [["--workers", "1", "--shards", "1"], ["--workers", "2", "--shards", "3"]];

/// Nodes around one stream.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Program>,
    hosts: Vec<Ipv4Addr>,
    /// The URLs of NATS. Empty for nodes that know of no other.
    url: String,
    arguments: Vec<String>,
}

/// Where a node listens, from one start to the next.
#[derive(Clone, Copy, Debug)]
pub struct NodeAddress {
    /// Its address for lines.
    pub tcp: Endpoint,
    /// Its address for HTTP and WebSocket.
    pub http: Endpoint,
}

impl Cluster {
    /// Starts this many nodes, which have caught up when this returns.
    #[track_caller]
    pub fn start(nats: &NatsServer, nodes: usize, arguments: &[&str]) -> Self {
        Self::start_at(&nats.url(), nodes, arguments)
    }

    /// Starts this many nodes, which reach NATS at these URLs; without a URL each is alone.
    #[track_caller]
    pub fn start_at(url: &str, nodes: usize, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut cluster = Self { nodes: Vec::new(), hosts: Vec::new(), url: url.to_owned(), arguments };
        (0..nodes).for_each(|_| cluster.add_at(url));
        cluster
    }

    /// Starts one more node, which reaches NATS at these URLs.
    #[track_caller]
    pub fn add_at(&mut self, url: &str) {
        self.hosts.push(nats::free_loopback());
        let node = self.node(self.nodes.len(), url);
        self.nodes.push(node);
    }

    /// Starts a node again that was killed or has stopped, at the same addresses.
    #[track_caller]
    pub fn restart(&mut self, place: usize) {
        assert!(self.nodes[place].has_ended(), "it runs");
        self.nodes[place] = self.node(place, &self.url);
    }

    #[track_caller]
    fn node(&self, place: usize, url: &str) -> Program {
        let host = self.hosts[place];
        let addresses = [format!("--tcp={host}:8080"), format!("--http={host}:3000")];
        let further = addresses.iter().chain(&self.arguments).map(String::as_str);
        let shape = SHAPES[place % SHAPES.len()];
        // NATS reserves the bytes of a stream: many tests at once, on a disk that may be rather full.
        let is_sized = self.arguments.iter().any(|argument| argument.starts_with(STREAM_BYTES));
        let shared = ["--cluster", url, STREAM_BYTES, "64MiB"];
        let shared = &shared[..if url.is_empty() {
            0
        } else if is_sized {
            2
        } else {
            4
        }];
        let arguments: Vec<&str> = shared.iter().copied().chain(shape).chain(further).collect();
        Program::start(&arguments)
    }

    /// Where the nodes listen.
    pub fn addresses(&self) -> Vec<NodeAddress> {
        self.nodes.iter().map(|node| NodeAddress { tcp: node.tcp.into(), http: node.http.into() }).collect()
    }
}
