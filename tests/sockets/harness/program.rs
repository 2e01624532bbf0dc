//! The built binary as a child process, that ends with its test.

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;

use super::server::Addresses;
use super::{GETS_THERE_WITHIN, Lines, WELCOME, gets_there, until};

/// The binary, with nothing in its environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// The same, with no more descriptors than this in a table.
pub fn command_within(descriptors: u64, arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    let binary = env!("CARGO_BIN_EXE_roomcast");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""), binary]);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    run_to_end(&mut command(arguments))
}

/// Runs a command to its end; one that goes on is killed. What it says fits a pipe.
pub fn run_to_end(command: &mut Command) -> Output {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("a binary that was built");
    if !gets_there(|| child.try_wait().expect("a child of ours").is_some()) {
        child.kill().expect("a child of ours");
    }
    child.wait_with_output().expect("a child of ours")
}

/// A serving child.
pub struct Program {
    child: Child,
    log: Receiver<String>,
    folder: TempDir,
    pub tcp: SocketAddr,
    pub http: SocketAddr,
}

impl Program {
    /// The binary on free ports, once its ready file is there.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_command(command(arguments))
    }

    /// The same, of a command.
    pub fn start_command(command: Command) -> Self {
        Self::start_logging_to(command, Stdio::piped(), log_of)
    }

    /// The same, with no more descriptors than this in a table.
    pub fn start_within(descriptors: u64, arguments: &[&str]) -> Self {
        Self::start_logging_to(command_within(descriptors, arguments), Stdio::piped(), log_of)
    }

    /// The same, with a log that nobody reads.
    pub fn start_deaf(arguments: &[&str]) -> Self {
        Self::start_logging_to(command(arguments), Stdio::piped(), |child| {
            drop(child.stderr.take());
            channel().1
        })
    }

    /// The same, with a log that is full from the start and not read yet.
    pub fn start_with_full_log(command: Command) -> (Self, PipeReader) {
        let (reader, writer) = full_pipe();
        (Self::start_logging_to(command, writer.into(), |_| channel().1), reader)
    }

    /// The same, with a fault in every task of this kind.
    pub fn start_with_fault(task: &str, arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        command.env("ROOMCAST_FAULT", task);
        Self::start_logging_to(command, Stdio::piped(), log_of)
    }

    fn start_logging_to(
        mut command: Command,
        stderr: Stdio,
        log_of: impl FnOnce(&mut Child) -> Receiver<String>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ready_file = folder.path().join("ready");
        let mut child = command
            .env("ROOMCAST_TCP", "127.0.0.1:0")
            .env("ROOMCAST_HTTP", "127.0.0.1:0")
            .env("ROOMCAST_READY_FILE", &ready_file)
            .stderr(stderr)
            .spawn()
            .expect("a binary that was built");
        // The pipe of its log is to end with it.
        drop(command);
        let log = log_of(&mut child);
        let [tcp, http] = wait_until_ready(&ready_file, &mut child);
        Self { child, log, folder, tcp, http }
    }

    /// A server that is told to stop by `tell` and would take hours: it owes megabytes to a client that reads byte by byte, for
    /// longer than a test needs, yet never so still that it is cut. With the thread of that client.
    pub fn start_that_stops_for_hours(arguments: &[&str], tell: impl FnOnce(&Self)) -> (Self, JoinHandle<()>) {
        let outboxes = ["--outbox-bytes", "1GiB", "--outbox-messages", "1048576", "--slow-after", "1h"];
        let program = Self::start(&[&outboxes[..], &["--grace", "1h"], arguments].concat());
        let mut slow = Lines::connect_short_of_buffer(program.tcp);
        slow.send("JOIN a\n");
        slow.expect(WELCOME);
        slow.expect("Joined a");
        program.say_megabytes("a");
        tell(&program);
        let reading = thread::spawn(move || while matches!(slow.stream().read(&mut [0]), Ok(1)) {});
        program.log_until("stopping");
        (program, reading)
    }

    pub fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready")
    }

    /// The next line of its log; `None` at its end.
    #[track_caller]
    pub fn log_line(&self) -> Option<String> {
        match self.log.recv_timeout(GETS_THERE_WITHIN) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the log neither goes on nor ends"),
        }
    }

    /// The log up to the line that holds the phrase.
    #[track_caller]
    pub fn log_until(&self, phrase: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(phrase)) {
            lines.push(self.log_line().expect(phrase));
        }
        lines
    }

    /// Memory that only it has written to, in bytes, as the kernel counts it. Its code is not counted: whose that is depends
    /// on how many of its kind are running, and just after a build the kernel calls it dirty.
    #[track_caller]
    pub fn private_bytes(&self) -> u64 {
        let rollup = self.told("smaps_rollup");
        let written = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("the kernel counts it");
        kibibytes(written)
    }

    /// The most memory that it has had at any time, with its code.
    #[track_caller]
    pub fn peak_bytes(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Memory that it has asked for, whether it has written to it or not.
    #[track_caller]
    pub fn reserved_bytes(&self) -> u64 {
        self.status("VmData:")
    }

    /// A figure of proc_pid_status(5), in bytes.
    #[track_caller]
    fn status(&self, name: &str) -> u64 {
        let status = self.told("status");
        kibibytes(status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel counts it"))
    }

    /// The processor's time that it has taken, in steps of 10 ms.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        const TICK: Duration = Duration::from_millis(10);
        let stat = self.told("stat");
        // The name of the program, in brackets, may hold anything; behind it is the third figure of proc_pid_stat(5).
        let (_, figures) = stat.rsplit_once(')').expect("a name");
        let figures: Vec<&str> = figures.split_ascii_whitespace().collect();
        let [user, system] = [14, 15].map(|figure| figures[figure - 3].parse::<u32>().expect("a number"));
        TICK * (user + system)
    }

    /// What the kernel tells of it.
    #[track_caller]
    fn told(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("a child of ours")
    }

    /// The descriptors that it has open, in the table of its main thread.
    pub fn descriptors(&self) -> Vec<u64> {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a child that runs");
        let names = folder.map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_str().and_then(|name| name.parse().ok()).expect("a number")).collect()
    }

    /// From now on it gets no descriptor of this number or above.
    pub fn limit_descriptors(&self, limit: u64) {
        // Only the soft limit: the hard one is this process's own.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let pid = Some(Pid::from_child(&self.child));
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(limit), maximum }).expect("a child of ours");
    }

    /// It stands still, in the midst of whatever it does, while this is done.
    pub fn stand_still(&self, meanwhile: impl FnOnce()) {
        self.signal(Signal::STOP);
        until(|| self.is_stopped());
        meanwhile();
        self.signal(Signal::CONT);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that was not waited for");
    }

    /// Sends the signal again and again until it ends.
    #[track_caller]
    pub fn signal_until_end(&mut self, signal: Signal) {
        until(|| {
            let has_ended = self.child.try_wait().expect("a child of ours").is_some();
            if !has_ended {
                self.signal(signal);
            }
            has_ended
        });
    }

    /// Whether every thread of it stands still after a `SIGSTOP`.
    fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a child that runs");
        let stats = tasks.map(|task| std::fs::read_to_string(task.expect("a thread").path().join("stat")));
        // The state is behind the name, which may hold anything but is in parentheses.
        stats
            .map(|stat| stat.expect("a thread that runs"))
            .all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    }

    /// Stops it, and returns the log, whatever the clients do.
    #[track_caller]
    pub fn stop_and_read_log(self) -> Vec<String> {
        self.signal(Signal::TERM);
        let (code, log) = self.end();
        assert_eq!(code, Some(0), "{log:?}");
        log
    }

    /// A client says 32 MiB in the room and leaves.
    pub fn say_megabytes(&self, room: &str) {
        let mut publisher = Lines::connect(self.tcp);
        publisher.send(format!("JOIN {room}\n"));
        publisher.expect(WELCOME);
        publisher.expect(&format!("Joined {room}"));
        let text = "x".repeat(64 * 1024 - 64);
        for _ in 0..512 {
            publisher.send(format!("{text}\n"));
            assert!(publisher.line().is_some_and(|line| line.ends_with(&text)));
        }
        publisher.send("QUIT\n");
        publisher.expect("Bye");
    }

    /// Waits for the end. Returns the exit code and the rest of the log.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        let rest = std::iter::from_fn(|| self.log_line()).collect();
        let status = self.child.wait().expect("a child of ours");
        (status.code(), rest)
    }
}

impl Addresses for Program {
    fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    fn http(&self) -> SocketAddr {
        self.http
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails for one that has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A figure of the kernel's, in bytes.
fn kibibytes(figure: &str) -> u64 {
    let kibibytes = figure.split_ascii_whitespace().next().expect("a number");
    kibibytes.parse::<u64>().expect("a number") * 1024
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

fn log_of(child: &mut Child) -> Receiver<String> {
    let stderr = child.stderr.take().expect("it is piped");
    let (tell, log) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // The test may have ended first.
            let _ = tell.send(line);
        }
    });
    log
}

/// The file appears whole, so that it can be read is all there is to wait for.
fn wait_until_ready(path: &Path, child: &mut Child) -> [SocketAddr; 2] {
    until(|| {
        let ended = child.try_wait().expect("a child of ours");
        assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
        path.exists()
    });
    let text = std::fs::read_to_string(path).expect("a file that exists");
    ["tcp ", "http "].map(|listener| {
        let address = text.lines().find_map(|line| line.strip_prefix(listener)).expect("a line for each listener");
        address.parse().expect("an address")
    })
}
