//! Nodes with a key for the server API, and rooms that remember everything that a test says.

use std::fs;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::thread;

use harness::{Cluster, Http, NatsServer, NodeAddress, Program, Stream, until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Settings of all nodes.
const ROOMY: [&str; 10] = [
    "--history-messages=1000000",
    "--recovery-messages=1000000",
    "--outbox-messages=1000000",
    "--outbox-bytes=64MiB",
    "--slow-after=60s",
    "--grace=5s",
    "--log=info",
    "--log-format=text",
    "--labels=id",
    "--clients-per-address=100000",
];

/// Nodes, and who may use their API.
pub struct Nodes {
    cluster: Cluster,
    /// The key that may do everything.
    pub key: String,
    _folder: TempDir,
}

impl Nodes {
    /// Starts this many nodes.
    #[track_caller]
    pub fn start(nats: &NatsServer, nodes: usize) -> Self {
        Self::start_with(&nats.url(), nodes, &[])
    }

    /// Starts this many nodes that reach NATS at these URLs, with further settings.
    #[track_caller]
    pub fn start_with(url: &str, nodes: usize, further: &[&str]) -> Self {
        let made = Program::run(&["gen-key", "backend", "--may", "all"]).out;
        let lines: Vec<&str> = made.lines().collect();
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("keys.toml");
        fs::write(&keys, lines[3]).expect("a file");
        let keys = format!("--api-keys-file={}", keys.display());
        let arguments = [&ROOMY[..], &[&keys], further].concat();
        let cluster = Cluster::start_at(url, nodes, &arguments);
        Self { cluster, key: lines[1].to_owned(), _folder: folder }
    }

    /// The backend of an application, which talks to this node.
    pub fn backend(&self, node: usize) -> Backend {
        Backend::new(self.addresses()[node], &self.key)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if thread::panicking() {
            for (number, node) in self.nodes.iter().enumerate() {
                eprintln!("the log of node {number}:\n{}", node.log.so_far().join("\n"));
            }
        }
    }
}

impl Deref for Nodes {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Nodes {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

/// A client of the server API of one node, on one connection while that lasts.
pub struct Backend {
    node: NodeAddress,
    key: String,
    client: Option<Http>,
}

impl Backend {
    /// Connects with the first call.
    pub fn new(node: NodeAddress, key: &str) -> Self {
        Self { node, key: key.to_owned(), client: None }
    }

    /// The answer to a call, with `result` or `error`. An error where the node cannot be reached or stops.
    pub fn try_call(&mut self, method: &str, parameters: &Value) -> io::Result<Value> {
        let answer = self.ask(method, parameters);
        if answer.is_err() {
            self.client = None;
        }
        answer
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> io::Result<Value> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Http::on(Stream::try_connect(self.node.http)?),
        };
        let (body, key) = (parameters.to_string(), &self.key);
        let head = format!("POST /api/{method} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n");
        write!(client.write_half(), "{head}Content-Length: {}\r\n\r\n{body}", body.len())?;
        let (head, body) = client.try_answer()?;
        if head.header("connection") != Some("close") {
            self.client = Some(client);
        }
        if head.status != 200 {
            return Err(io::Error::other(body));
        }
        Ok(serde_json::from_str(&body)?)
    }

    /// The result of a call.
    #[track_caller]
    pub fn result(&mut self, method: &str, parameters: Value) -> Value {
        let mut answer = self.try_call(method, &parameters).expect("an answer");
        assert!(answer["result"].is_object(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Gives an order to clients on all nodes. Where a node does not answer in time, the API says that it may be given
    /// once more.
    #[track_caller]
    pub fn order(&mut self, method: &str, parameters: &Value) {
        until(|| {
            let answer = self.try_call(method, parameters).expect("an answer");
            assert!(answer["result"].is_object() || answer["error"]["code"] == 100, "{method}: {answer}");
            answer["result"].is_object()
        });
    }

    /// The code and the message with which a call is refused.
    #[track_caller]
    pub fn error(&mut self, method: &str, parameters: Value) -> (u64, String) {
        let answer = self.try_call(method, &parameters).expect("an answer");
        let code = answer["error"]["code"].as_u64().unwrap_or_else(|| panic!("{method}: {answer}"));
        (code, answer["error"]["message"].as_str().expect("a message").to_owned())
    }

    /// Publishes a text.
    #[track_caller]
    pub fn publish(&mut self, room: &str, text: &str) -> Value {
        self.result("publish", json!({ "channel": room, "data": { "text": text } }))
    }
}
