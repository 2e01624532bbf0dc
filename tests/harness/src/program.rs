//! The built server as a child process.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Addresses, Ended, Endpoint, Lines, Log, Process, built, until, within_descriptors};

/// A server that serves. It is a [`Process`] with two addresses and a log.
pub struct Program {
    process: Process,
    folder: TempDir,
    /// The lines that it logs.
    pub log: Log,
    /// Where it listens for lines.
    pub tcp: SocketAddr,
    /// Where it listens for HTTP and WebSocket.
    pub http: SocketAddr,
}

impl Program {
    /// The server's command, with nothing in its environment.
    #[track_caller]
    pub fn command(arguments: &[&str]) -> Command {
        let mut command = Command::new(built("roomcast"));
        command.args(arguments).env_clear();
        command
    }

    /// The server's command, with at most this many descriptors in a table.
    #[track_caller]
    pub fn command_within(descriptors: u64, arguments: &[&str]) -> Command {
        let mut command = within_descriptors(descriptors, &built("roomcast"));
        command.args(arguments).env_clear();
        command
    }

    /// Runs the server's command to its end.
    #[track_caller]
    pub fn run(arguments: &[&str]) -> Ended {
        Process::run(&mut Self::command(arguments))
    }

    /// Starts a server on free ports and waits for its ready file.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_command(Self::command(arguments))
    }

    /// Starts a server whose descriptor tables hold at most this many.
    #[track_caller]
    pub fn start_within(descriptors: u64, arguments: &[&str]) -> Self {
        Self::start_command(Self::command_within(descriptors, arguments))
    }

    /// Starts a server with a fault in every task of this kind.
    #[track_caller]
    pub fn start_with_fault(task: &str, arguments: &[&str]) -> Self {
        let mut command = Self::command(arguments);
        command.env("ROOMCAST_FAULT", task);
        Self::start_command(command)
    }

    /// Starts this command of a server.
    #[track_caller]
    pub fn start_command(command: Command) -> Self {
        Self::start_logging_to(Stdio::piped(), command, Process::stderr)
    }

    /// Starts a server whose log goes to a closed pipe.
    #[track_caller]
    pub fn start_with_closed_log(arguments: &[&str]) -> Self {
        let (_, writer) = io::pipe().expect("a pipe");
        Self::start_logging_to(writer.into(), Self::command(arguments), |_| Log::none())
    }

    /// Starts a server whose log goes to a pipe that is full until the test reads it.
    #[track_caller]
    pub fn start_with_full_log(command: Command) -> (Self, PipeReader) {
        let (reader, writer) = full_pipe();
        (Self::start_logging_to(writer.into(), command, |_| Log::none()), reader)
    }

    #[track_caller]
    fn start_logging_to(stderr: Stdio, mut command: Command, log_of: impl FnOnce(&mut Process) -> Log) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ready_file = folder.path().join("ready");
        command.env("ROOMCAST_TCP", "127.0.0.1:0").env("ROOMCAST_HTTP", "127.0.0.1:0");
        let mut process = Process::start(command.env("ROOMCAST_READY_FILE", &ready_file).stderr(stderr));
        // It holds the writing end of a piped log, which must end with the child.
        drop(command);
        let log = log_of(&mut process);
        let [tcp, http] = wait_until_ready(&ready_file, &mut process);
        Self { process, folder, log, tcp, http }
    }

    /// Starts a server, tells it to stop by `stop`, and returns it while it drains for hours: it has megabytes for a
    /// client that reads little by little, for longer than any test and never so slowly that it is cut.
    #[track_caller]
    pub fn start_that_drains_for_hours(arguments: &[&str], stop: impl FnOnce(&Self)) -> Self {
        Self::start_command_that_drains_for_hours(Self::command(arguments), stop)
    }

    /// Does the same with this command of a server.
    #[track_caller]
    pub fn start_command_that_drains_for_hours(mut command: Command, stop: impl FnOnce(&Self)) -> Self {
        command.args(["--outbox-bytes", "1GiB", "--outbox-messages", "1048576", "--slow-after", "1h", "--grace", "1h"]);
        let program = Self::start_command(command);
        let slow = Lines::member_short_of_buffer(program.tcp, "a");
        Lines::publish_megabytes(program.tcp, "a", 12);
        stop(&program);
        // Ends with the connection.
        thread::spawn(move || slow.read_slowly_until(|| false));
        program.log.until("stopping");
        program
    }

    /// The file that says where it listens.
    pub fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready")
    }

    /// Stops it and returns the rest of its log.
    #[track_caller]
    pub fn stop_and_read_log(self) -> Vec<String> {
        self.signal(Signal::TERM);
        let (code, log) = self.end();
        assert_eq!(code, Some(0), "{log:?}");
        log
    }

    /// Waits for its end. Returns the exit code and the rest of its log.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        let rest = self.log.rest();
        (self.process.wait(), rest)
    }
}

impl Addresses for Program {
    fn tcp(&self) -> Endpoint {
        self.tcp.into()
    }

    fn http(&self) -> Endpoint {
        self.http.into()
    }
}

impl Deref for Program {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A pipe that takes nothing more until it is read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let set_blocking = |writer: &PipeWriter, is_blocking| {
        let flags = fcntl_getfl(writer).expect("a pipe");
        fcntl_setfl(writer, if is_blocking { flags - OFlags::NONBLOCK } else { flags | OFlags::NONBLOCK })
    };
    set_blocking(&writer, false).expect("a pipe");
    while writer.write(b"full\n").is_ok() {}
    set_blocking(&writer, true).expect("a pipe");
    (reader, writer)
}

/// Waits for the ready file, which appears whole, and returns its addresses.
#[track_caller]
fn wait_until_ready(path: &Path, process: &mut Process) -> [SocketAddr; 2] {
    until(|| {
        assert!(!process.has_ended(), "it ended before it was ready");
        path.exists()
    });
    let text = std::fs::read_to_string(path).expect("a file that exists");
    ["tcp ", "http "].map(|listener| {
        let address = text.lines().find_map(|line| line.strip_prefix(listener)).expect("a line for each listener");
        address.parse().expect("an address")
    })
}
