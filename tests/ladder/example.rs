//! An example as a process that ends with its test.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use harness::{Lines, Log, Process, Resource, Rlimit, WELCOME, built};

/// The examples of stages 1 and 2.
pub const ECHOES: [&str; 2] = ["echo_blocking", "echo_threaded"];

/// The examples that serve several clients at once.
pub const CONCURRENT: [&str; 3] = ["echo_threaded", "chat_broadcast", "chat_rooms_locked"];

/// The examples of stages 1 to 4.
pub const STAGES: [&str; 4] = ["echo_blocking", "echo_threaded", "chat_broadcast", "chat_rooms_locked"];

/// The longest line that any of them takes, without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Enough memory for a line, but not for a thread.
const SPARE_BYTES: u64 = 512 * 1024;

/// An example as a process that listens.
pub struct Example {
    name: &'static str,
    process: Process,
    stdout: Log,
    stderr: Log,
    pub address: SocketAddr,
}

impl Example {
    /// The example on a free port, once it listens.
    #[track_caller]
    pub fn start(name: &'static str) -> Self {
        let mut process = Process::start(command(name, "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()));
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let line = stdout.line().expect("a line");
        let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{name} begins with {line:?}"));
        Self { name, process, stdout, stderr, address }
    }

    /// A client that is served.
    #[track_caller]
    pub fn client(&self) -> Lines {
        self.served(Lines::connect(self.address))
    }

    /// The client once it is served: it was welcomed, or its own line has come back.
    #[track_caller]
    pub fn served(&self, mut client: Lines) -> Lines {
        if self.name == "chat_rooms_locked" {
            client.expect(WELCOME);
            return client;
        }
        let hello = format!("hello from {}", client.label());
        client.send(format!("{hello}\n"));
        while client.line() != hello {}
        client
    }

    /// A client of stage 4 in this room.
    #[track_caller]
    pub fn member(&self, room: &str) -> Lines {
        let mut client = self.client();
        join(&mut client, room);
        client
    }

    /// From here on it may hold no more descriptors than this.
    pub fn limit_descriptors(&self, count: u64) {
        self.process.limit(Resource::Nofile, Rlimit { current: Some(count), maximum: Some(count) });
    }

    /// For this long it gets hardly more memory than it has, not enough for a stack.
    pub fn while_short_of_memory(&self, behaviour: impl FnOnce()) {
        let bytes = self.process.address_space_bytes() + SPARE_BYTES;
        let before = self.process.limit(Resource::As, Rlimit { current: Some(bytes), maximum: None });
        behaviour();
        self.process.limit(Resource::As, before);
    }

    /// The next line that it writes to stderr.
    #[track_caller]
    pub fn report(&self) -> String {
        self.stderr.line().expect("a report")
    }

    /// Ends it and returns the lines that it printed after the first.
    pub fn end(self) -> Vec<String> {
        drop(self.process);
        self.stdout.rest()
    }
}

/// A client of stage 4 joins a room.
#[track_caller]
pub fn join(client: &mut Lines, room: &str) {
    client.send(format!("JOIN {room}\n"));
    client.expect(&format!("Joined {room}"));
}

/// A line of its own comes back, and nothing before it.
#[track_caller]
pub fn expect_echo(client: &mut Lines, line: &str) {
    client.send(format!("{line}\n"));
    client.expect(line);
}

/// The command of an example, with nothing in its environment.
#[track_caller]
pub fn command(name: &str, address: &str) -> Command {
    let mut command = Command::new(built(&format!("examples/{name}")));
    command.arg(address).env_clear();
    command
}
