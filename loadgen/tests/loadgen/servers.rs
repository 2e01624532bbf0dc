//! Servers that nobody here has written for a test: started on free ports, ended when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::SystemTime;
use std::{fs, net::TcpListener};

use tempfile::TempDir;

use crate::harness::{Running, line_with, lines};

/// Where the system never looks for the port of a connection: what is free here stays free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A server, and where it listens.
pub struct Server {
    _process: Running,
    _folder: TempDir,
    tcp: String,
    http: String,
}

impl Server {
    /// Roomcast as it was built, on any free ports.
    #[track_caller]
    pub fn roomcast() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ready_file = folder.path().join("ready");
        let mut command = Command::new(roomcast());
        command.args(["--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file"]).arg(&ready_file);
        let mut process = Running::of(command.stdin(Stdio::null()).stderr(Stdio::piped()));
        let log = lines(process.child().stderr.take().expect("it is piped"));
        line_with("listening for http", &log);
        let ready = fs::read_to_string(ready_file).expect("a file that was announced");
        let address = |listener| ready.lines().find_map(|line| line.strip_prefix(listener)).expect("both listeners");
        let (tcp, http) = (format!("tcp://{}", address("tcp ")), format!("ws://{}/ws", address("http ")));
        Self { _process: process, _folder: folder, tcp, http }
    }

    /// Its lines as a target.
    pub fn tcp(&self) -> &str {
        &self.tcp
    }

    /// Its WebSocket as a target.
    pub fn websocket(&self) -> &str {
        &self.http
    }
}

/// A server of others, and the target it is.
pub struct Other {
    _process: Running,
    pub target: String,
}

impl Other {
    /// NATS; `None` if it is not installed, which is said.
    #[track_caller]
    pub fn nats() -> Option<Self> {
        // It takes a port of its own choice and tells which.
        let mut command = Command::new("nats-server");
        let mut process = start(command.args(["-a", "127.0.0.1", "-p", "-1"]).stderr(Stdio::piped()))?;
        let log = lines(process.child().stderr.take().expect("it is piped"));
        let listening = line_with("Listening for client connections on ", &log);
        let address = listening.rsplit(' ').next().expect("a last word");
        let target = format!("nats://{address}");
        line_with("Server is ready", &log);
        Some(Self { _process: process, target })
    }

    /// Redis; `None` if it is not installed, which is said.
    #[track_caller]
    pub fn redis() -> Option<Self> {
        let port = free_port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
        let mut process = start(command.stdout(Stdio::piped()))?;
        let log = lines(process.child().stdout.take().expect("it is piped"));
        line_with("Ready to accept connections", &log);
        Some(Self { _process: process, target: format!("redis://127.0.0.1:{port}") })
    }
}

fn start(command: &mut Command) -> Option<Running> {
    match command.stdin(Stdio::null()).spawn() {
        Ok(child) => Some(Running::from(child)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {:?} is not installed", command.get_program());
            None
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// A port on which nothing listens, and that no other test is given.
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

/// The server's program, in the folder of this one's.
#[track_caller]
pub fn roomcast() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("roomcast");
        let built = fs::metadata(&program).and_then(|file| file.modified()).ok();
        let written = last_change(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../src")));
        assert!(
            built >= Some(written),
            "{} is missing or old: `cargo build --workspace` comes first",
            program.display()
        );
        program
    })
}

/// When a file in this folder, or below, was last written.
fn last_change(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let changes = entries.map(|path| match path.is_dir() {
        true => last_change(&path),
        false => fs::metadata(&path).and_then(|file| file.modified()).expect("a file"),
    });
    changes.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
