//! NATS servers as child processes, alone and as a cluster of three, for the tests of several nodes.

mod client;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Process, Signal, until};
pub use client::NatsClient;

/// The version that most tests run.
pub const NATS: &str = "2.15.1";

/// The oldest version that a cluster works with.
pub const OLDEST_NATS: &str = "2.11.11";

/// A version that is too old. Debian's package has it.
pub const OLD_NATS: &str = "2.9.10";

/// A further user and its password, where there are users.
const ADMINISTRATOR: (&str, &str) = ("administrator", "of-the-tests");

const CLIENT_PORT: u16 = 4222;

const ROUTE_PORT: u16 = 6222;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// One of the versions above.
    pub version: &'static str,
    /// The user and the password that clients must have.
    pub credentials: Option<(&'static str, &'static str)>,
    /// Further lines of the user's permissions, in the configuration's words.
    pub permissions: String,
    /// Further lines of the configuration.
    pub further: String,
    /// The folder of the store, if it is not one of the server's own.
    pub store: Option<PathBuf>,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self { version: NATS, credentials: None, permissions: String::new(), further: String::new(), store: None }
    }
}

/// A server with JetStream, on a loopback address of its own. Killed when dropped.
pub struct NatsServer {
    process: Process,
    program: PathBuf,
    folder: TempDir,
    options: NatsOptions,
    /// Its name in a cluster.
    pub name: String,
    /// Where clients connect.
    pub address: SocketAddr,
}

impl NatsServer {
    /// Starts a server of the version that most tests run. `None`, with a message, if it is not installed.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::start_with(NatsOptions::default())
    }

    /// Starts a server with these options. `None`, with a message, if its version is not installed.
    #[track_caller]
    pub fn start_with(options: NatsOptions) -> Option<Self> {
        let server = Self::spawn(installed(options.version)?, options, "alone", free_loopback(), "");
        server.wait_until_ready();
        Some(server)
    }

    /// An address on which nobody listens.
    pub fn free_address() -> SocketAddr {
        SocketAddr::new(IpAddr::V4(free_loopback()), CLIENT_PORT)
    }

    fn spawn(program: PathBuf, options: NatsOptions, name: &str, host: Ipv4Addr, cluster: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(config_of(&folder), configuration(&options, &folder, name, host, cluster)).expect("a file");
        let process = run(&program, &folder);
        let address = SocketAddr::new(IpAddr::V4(host), CLIENT_PORT);
        Self { process, program, folder, options, name: name.to_owned(), address }
    }

    /// The URL for `--cluster`, with the credentials.
    pub fn url(&self) -> String {
        let credentials = self.options.credentials.map(|(user, password)| format!("{user}:{password}@"));
        format!("nats://{}{}", credentials.unwrap_or_default(), self.address)
    }

    /// A client that may do everything.
    #[track_caller]
    pub fn client(&self) -> NatsClient {
        self.try_client().and_then(NatsClient::patient).expect("a server that accepts")
    }

    /// A client for requests that may have no answer, which it waits for as long as a server takes.
    pub fn try_client(&self) -> std::io::Result<NatsClient> {
        NatsClient::connect(self.address, self.options.credentials.map(|_| ADMINISTRATOR))
    }

    /// Waits until it answers requests of JetStream.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        until(|| {
            let answer = self.try_client().and_then(|mut client| client.request("$JS.API.INFO", ""));
            answer.is_ok_and(|answer| answer["error"].is_null())
        });
    }

    /// Kills it. Its address and its store stay.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }

    /// Starts it again after its end, at the same address and with the same store, and waits for nothing.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.has_ended(), "it runs");
        self.process = run(&self.program, &self.folder);
    }

    /// Stops all of its threads.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Lets its threads go on.
    pub fn go_on(&self) {
        self.process.signal(Signal::CONT);
    }

    /// The newest lines of its log.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the log of NATS server {}:\n{}", self.name, self.log());
        }
    }
}

/// Three servers that replicate their streams.
pub struct NatsCluster {
    /// The servers.
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers, which can create a stream with three replicas when this returns. `None`, with a message,
    /// if they are not installed.
    #[track_caller]
    pub fn start() -> Option<Self> {
        let program = installed(NATS)?;
        let hosts = [(); 3].map(|()| free_loopback());
        let routes: Vec<String> = hosts.iter().map(|host| format!("nats://{host}:{ROUTE_PORT}")).collect();
        let server = |(number, host): (usize, Ipv4Addr)| {
            let cluster = format!(
                "cluster {{ name: tests, listen: \"{host}:{ROUTE_PORT}\", no_advertise: true, routes: {routes:?} }}"
            );
            Self::spawn_one(&program, number, host, &cluster)
        };
        let cluster = Self { servers: hosts.into_iter().enumerate().map(server).collect() };
        cluster.servers.iter().for_each(NatsServer::wait_until_ready);
        cluster.create_stream(&json!({ "name": "probe", "subjects": ["probe"], "num_replicas": 3 }));
        let delete = "$JS.API.STREAM.DELETE.probe";
        until(|| cluster.servers[0].try_client().is_ok_and(|mut client| client.request(delete, "").is_ok()));
        Some(cluster)
    }

    /// Creates a stream, once its servers have agreed on a leader.
    #[track_caller]
    pub fn create_stream(&self, config: &Value) {
        until(|| self.servers[0].try_client().is_ok_and(|mut client| client.create_stream(config).is_ok()));
    }

    fn spawn_one(program: &Path, number: usize, host: Ipv4Addr, cluster: &str) -> NatsServer {
        NatsServer::spawn(program.to_owned(), NatsOptions::default(), &format!("n{number}"), host, cluster)
    }

    /// The URLs for `--cluster`.
    pub fn url(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<String>>().join(",")
    }

    /// Waits until all servers have all of this stream.
    #[track_caller]
    pub fn until_replicated(&self, stream: &str) {
        until(|| {
            let info = self.servers.iter().find_map(|server| server.try_client().ok()?.stream(stream));
            info.is_some_and(|info| {
                let replicas = info["cluster"]["replicas"].as_array().map_or(&[][..], Vec::as_slice);
                let is_current = |replica: &Value| replica["current"] == true && replica["offline"] != true;
                replicas.len() == self.servers.len() - 1 && replicas.iter().all(is_current)
            })
        });
    }

    /// The server that leads this stream, by its place in `servers`.
    #[track_caller]
    pub fn leader(&self, stream: &str) -> usize {
        let mut found = None;
        until(|| {
            let info = self.servers.iter().find_map(|server| server.try_client().ok()?.stream(stream));
            let leader = info.and_then(|info| info["cluster"]["leader"].as_str().map(str::to_owned));
            found = self.servers.iter().position(|server| Some(&server.name) == leader.as_ref());
            found.is_some()
        });
        found.expect("it was waited for")
    }
}

/// The program of this version, if it is installed: below the target folder, where `tests/nats/install` puts it, or on the
/// path.
fn installed(version: &str) -> Option<PathBuf> {
    let test = env::current_exe().expect("a path");
    let target = test.ancestors().nth(3).expect("a test is in target/<profile>/deps");
    let below_target = target.join("nats").join(version).join("nats-server");
    let is_of_version = |program: &Path| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim_end().ends_with(&format!("v{version}")))
    };
    let found = [below_target, "nats-server".into()].into_iter().find(|program| is_of_version(program));
    if found.is_none() {
        println!("skipped: nats-server {version} is not installed: run tests/nats/install");
    }
    found
}

/// A loopback address on which nobody listens, for one server: a fixed port there is free whenever the server starts
/// again, which a port of the kernel's choice need not be.
pub fn free_loopback() -> Ipv4Addr {
    loop {
        let [first, second, third, ..] = RandomState::new().hash_one(()).to_ne_bytes();
        let address = Ipv4Addr::new(127, first, second, third.clamp(1, 254));
        if address != Ipv4Addr::LOCALHOST && TcpListener::bind((address, CLIENT_PORT)).is_ok() {
            return address;
        }
    }
}

fn config_of(folder: &TempDir) -> PathBuf {
    folder.path().join("nats.conf")
}

fn configuration(options: &NatsOptions, folder: &TempDir, name: &str, host: Ipv4Addr, cluster: &str) -> String {
    let store = options.store.clone().unwrap_or_else(|| folder.path().join("store"));
    let log = folder.path().join("log");
    let further = &options.further;
    let users = options.credentials.map(|(user, password)| {
        let permissions = &options.permissions;
        let user = format!("{{ user: {user}, password: {password}, {permissions} }}");
        let (name, password) = ADMINISTRATOR;
        format!("authorization {{ users: [{user}, {{ user: {name}, password: {password} }}] }}")
    });
    format!(
        "server_name: {name}\nlisten: \"{host}:{CLIENT_PORT}\"\nlog_file: {log:?}\n{cluster}\n{further}\n{}\n\
         jetstream {{ store_dir: {store:?}, max_file_store: 4GB, max_memory_store: 64MB }}\n",
        users.unwrap_or_default()
    )
}

fn run(program: &Path, folder: &TempDir) -> Process {
    Process::start(Command::new(program).arg("--config").arg(config_of(folder)))
}
