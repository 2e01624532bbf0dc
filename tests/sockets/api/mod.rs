//! The server API over real sockets, as the backend of an application uses it.

mod batch;
mod bodies;
mod command_line;
mod description;
mod keys;
mod orders;
mod publishing;
mod reading;
mod stopping;

use std::fs;

use harness::{Client, Endpoint, Head, Http, Transport};
use roomcast::auth::api_keys::new_key;
use roomcast::config::Settings;
use serde_json::Value;
use tempfile::TempDir;

use crate::access::secret_file;
use crate::server::{Shape, TestServer};

/// A server with three keys: `backend` may do everything, `teams` may publish and read in rooms `team:*`, and `reader`
/// may read histories. It verifies tokens as well.
pub struct Served {
    pub server: TestServer,
    pub backend: String,
    pub teams: String,
    pub reader: String,
    _folders: [TempDir; 2],
}

impl Served {
    /// Starts a server with these further settings.
    pub fn start(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let (folder, secret) = secret_file();
        let keys_folder = tempfile::tempdir().expect("a folder");
        let keys =
            [("backend", "all", None), ("teams", "publish,history", Some("team:*")), ("reader", "history", None)];
        let made = (1_u8..).zip(keys).map(|(random, (name, may, rooms))| {
            let may: Vec<String> = may.split(',').map(str::to_owned).collect();
            new_key(&[random; 32], name, &may, rooms).expect("a key")
        });
        let (keys, lines): (Vec<String>, Vec<String>) = made.unzip();
        let path = keys_folder.path().join("keys.toml");
        fs::write(&path, lines.join("\n")).expect("a file");
        let server = TestServer::start(shape, |settings| {
            settings.token_secret_file = vec![secret.to_str().expect("a path in UTF-8").into()];
            settings.api_keys_file = Some(path);
            change(settings);
        });
        let [backend, teams, reader] = <[String; 3]>::try_from(keys).expect("three keys");
        Self { server, backend, teams, reader, _folders: [folder, keys_folder] }
    }

    /// Starts a server with the default settings.
    pub fn plain(shape: Shape) -> Self {
        Self::start(shape, |_| {})
    }

    /// A text client that has joined a room, under the label that the server gives it.
    pub fn member(&self, transport: Transport, room: &str) -> Client {
        let mut member = Client::connect(&self.server, transport);
        member.send(&format!("JOIN {room}"));
        member.expect(&format!("Joined {room}"));
        member
    }

    /// A backend with the key that may do everything.
    pub fn backend(&self) -> Backend {
        self.with(&self.backend)
    }

    /// A backend with this key.
    pub fn with(&self, key: &str) -> Backend {
        Backend { client: Http::connect(self.server.http), key: key.to_owned() }
    }
}

/// A backend on one connection, which is kept open.
pub struct Backend {
    client: Http,
    key: String,
}

impl Backend {
    /// The answer to a call, which has status 200.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: impl ToString) -> Value {
        self.send(method, parameters);
        self.answer()
    }

    /// Sends a call and waits for nothing.
    #[track_caller]
    pub fn send(&mut self, method: &str, parameters: impl ToString) {
        self.client.send(post(method, &format!("X-API-Key: {}\r\n", self.key), &parameters.to_string()));
    }

    /// The next answer, which has status 200.
    #[track_caller]
    pub fn answer(&mut self) -> Value {
        let (head, body) = self.client.answer();
        assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")), "{body}");
        assert_eq!(head.header("cache-control"), Some("no-store"));
        serde_json::from_str(&body).expect("JSON")
    }

    /// The result of a call.
    #[track_caller]
    pub fn result(&mut self, method: &str, parameters: impl ToString) -> Value {
        let mut answer = self.call(method, parameters);
        assert_eq!(answer.as_object().expect("an object").len(), 1, "{answer}");
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].take()
    }

    /// The code and the message of a call that is refused.
    #[track_caller]
    pub fn error(&mut self, method: &str, parameters: impl ToString) -> (u64, String) {
        let answer = self.call(method, parameters);
        assert_eq!(answer.as_object().expect("an object").len(), 1, "{answer}");
        let error = &answer["error"];
        (error["code"].as_u64().expect("a code"), error["message"].as_str().expect("a message").to_owned())
    }
}

/// A request with a call.
pub fn post(method: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST /api/{method} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

/// The answer to a request, on a connection of its own.
#[track_caller]
pub fn ask(server: impl Into<Endpoint>, request: impl AsRef<[u8]>) -> (Head, String) {
    let mut client = Http::connect(server);
    client.send(request);
    client.answer()
}
