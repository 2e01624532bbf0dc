//! Servers as processes: Roomcast as it was built, and those of others where they are installed.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use harness::{Process, Program, built, metrics, until};

/// Ports that the system never gives to a connection, so a free one stays free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Roomcast on free ports, as targets.
pub struct Server {
    program: Program,
    tcp: String,
    websocket: String,
    centrifuge: String,
    centrifuge_protobuf: String,
    readers: String,
    api: String,
}

impl Server {
    /// Starts it.
    #[track_caller]
    pub fn roomcast() -> Self {
        Self::roomcast_with(&[])
    }

    /// Starts it with these flags too.
    #[track_caller]
    pub fn roomcast_with(flags: &[&str]) -> Self {
        let program = Program::start(flags);
        let (tcp, websocket) = (format!("tcp://{}", program.tcp), format!("ws://{}/ws", program.http));
        let centrifuge = format!("centrifuge+ws://{}", program.http);
        let centrifuge_protobuf = format!("centrifuge-protobuf+ws://{}", program.http);
        let (readers, api) = (format!("sse://{}", program.http), format!("api://{}", program.http));
        Self { program, tcp, websocket, centrifuge, centrifuge_protobuf, readers, api }
    }

    /// Starts it with these flags too, on ports that stay free for another one, which takes its place.
    #[track_caller]
    pub fn roomcast_on(ports: [u16; 2], flags: &[&str]) -> Self {
        let [tcp, http] = ports.map(|port| format!("127.0.0.1:{port}"));
        Self::roomcast_with(&[&["--tcp", &tcp, "--http", &http], flags].concat())
    }

    /// Waits until its members have been sent this many messages.
    #[track_caller]
    pub fn wait_for_deliveries(&self, count: f64) {
        until(|| metrics(self.program.http)["roomcast_fanned_out_total"] >= count);
    }

    /// Stops it and waits for its end.
    #[track_caller]
    pub fn stop(self) {
        self.program.stop_and_read_log();
    }

    /// Its listener for lines.
    pub fn tcp(&self) -> &str {
        &self.tcp
    }

    /// Its WebSocket listener.
    pub fn websocket(&self) -> &str {
        &self.websocket
    }

    /// The same for the Centrifuge protocol in JSON.
    pub fn centrifuge(&self) -> &str {
        &self.centrifuge
    }

    /// The same for the Centrifuge protocol in Protobuf.
    pub fn centrifuge_protobuf(&self) -> &str {
        &self.centrifuge_protobuf
    }

    /// The same for readers of rooms.
    pub fn readers(&self) -> &str {
        &self.readers
    }

    /// The same for publishers by the server API.
    pub fn api(&self) -> &str {
        &self.api
    }
}

/// A server of others, and its target.
pub struct Other {
    _process: Process,
    pub target: String,
}

impl Other {
    /// NATS; `None` with a message if it is not installed.
    #[track_caller]
    pub fn nats() -> Option<Self> {
        // It takes a free port and logs which.
        let mut command = Command::new("nats-server");
        let mut process = start(command.args(["-a", "127.0.0.1", "-p", "-1"]).stderr(Stdio::piped()))?;
        let log = process.stderr();
        let listening = log.line_with("Listening for client connections on ");
        let address = listening.rsplit(' ').next().expect("a last word");
        let target = format!("nats://{address}");
        log.line_with("Server is ready");
        Some(Self { _process: process, target })
    }

    /// Redis; `None` with a message if it is not installed.
    #[track_caller]
    pub fn redis() -> Option<Self> {
        let port = free_port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
        let mut process = start(command.stdout(Stdio::piped()))?;
        let log = process.stdout();
        log.line_with("Ready to accept connections");
        Some(Self { _process: process, target: format!("redis://127.0.0.1:{port}") })
    }
}

fn start(command: &mut Command) -> Option<Process> {
    match Process::try_start(command) {
        Ok(process) => Some(process),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {:?} is not installed", command.get_program());
            None
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// A port on which nothing listens, and which no other test gets.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % u32::from(PORTS.end - PORTS.start);
    loop {
        let next = (first + u32::from(TAKEN.fetch_add(1, Ordering::Relaxed))) % u32::from(PORTS.end - PORTS.start);
        let port = PORTS.start + next as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The command that starts Roomcast, listening for lines and for HTTP at these addresses.
#[track_caller]
pub fn roomcast_at(tcp: &str, http: &str) -> String {
    format!("{} --tcp {tcp} --http {http}", built("roomcast").display())
}
