//! Programs as child processes that end with their test, and the kernel's figures for them.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::{FAILSAFE, Log, until};

/// A program of the server's package, as Cargo has built it: `roomcast`, or `examples/ws_echo`. Fails when a source has
/// changed since: with `--test` or the name of a test, Cargo does not build examples, nor programs of other packages.
#[track_caller]
pub fn built(name: &str) -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let main = if name.starts_with("examples/") { format!("{name}.rs") } else { "src/main.rs".to_owned() };
    let changed_at = changed_at(&root.join(main)).max(library_changed_at(&root.join("src")));
    let test = std::env::current_exe().expect("a path");
    let folder = test.parent().and_then(Path::parent).expect("a test is in target/<profile>/deps");
    let program = folder.join(name);
    let built_at = fs::metadata(&program).and_then(|found| found.modified()).ok();
    assert!(
        built_at >= Some(changed_at),
        "{name} is missing or old: run `cargo build --workspace --all-targets` first"
    );
    program
}

fn changed_at(source: &Path) -> SystemTime {
    fs::metadata(source).and_then(|found| found.modified()).expect("a source")
}

/// When a source of the library was last changed.
fn library_changed_at(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let sources = entries.filter(|path| !path.ends_with("src/main.rs"));
    let changes = sources.map(|path| if path.is_dir() { library_changed_at(&path) } else { changed_at(&path) });
    changes.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A command that runs the program with at most this many descriptors in a table.
pub fn within_descriptors(descriptors: u64, program: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]).arg(program);
    command
}

/// How a process has ended, with all of its output.
#[derive(Debug)]
pub struct Ended {
    /// The exit code, or `None` after a signal.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// A child process. Killed when dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it. A program that is not installed is an error of its own, so that a test can be left out.
    pub fn try_start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).spawn().map(Self)
    }

    /// Starts a program that was built.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self::try_start(command).expect("a program that was built")
    }

    /// Starts it with both outputs piped, for `end`.
    #[track_caller]
    pub fn start_piped(command: &mut Command) -> Self {
        Self::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts a program that was built, and returns the writing end of its standard input.
    #[track_caller]
    pub fn start_with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("a program that was built");
        let input = child.stdin.take().expect("it is piped");
        (Self(child), input)
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(command: &mut Command) -> Ended {
        Self::start_piped(command).end()
    }

    /// Waits for the end of a process. The process is killed when it does not end, which fails the test.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let (out, err) = (text_of(self.0.stdout.take()), text_of(self.0.stderr.take()));
        let [out, err] = [out, err].map(|text| text.recv_timeout(FAILSAFE).expect("an end of what it prints"));
        Ended { code: self.wait(), out, err }
    }

    /// Waits for the end and returns the exit code, or `None` after a signal.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        until(|| self.has_ended());
        self.0.wait().expect("a child of this process").code()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child of this process").is_some()
    }

    /// The lines of its standard output, which must be piped and not taken yet.
    pub fn stdout(&mut self) -> Log {
        Log::of(self.0.stdout.take().expect("it is piped"))
    }

    /// The lines of its standard error, which must be piped and not taken yet.
    pub fn stderr(&mut self) -> Log {
        Log::of(self.0.stderr.take().expect("it is piped"))
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("a child that was not waited for");
    }

    /// Sends it the signal again and again until it has ended.
    #[track_caller]
    pub fn signal_until_end(&mut self, signal: Signal) {
        until(|| {
            let has_ended = self.has_ended();
            if !has_ended {
                self.signal(signal);
            }
            has_ended
        });
    }

    /// Stops all of its threads, wherever they are. Returns once none of them does anything more.
    #[track_caller]
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        until(|| self.is_stopped());
    }

    /// Stops all of its threads while this runs.
    #[track_caller]
    pub fn while_stopped(&self, meanwhile: impl FnOnce()) {
        self.stop();
        meanwhile();
        self.signal(Signal::CONT);
    }

    /// Whether every thread has stopped after a `SIGSTOP`.
    fn is_stopped(&self) -> bool {
        let mut tasks = fs::read_dir(self.path_in_proc("task")).expect("a child that runs");
        tasks.all(|task| {
            let stat = fs::read_to_string(task.expect("a thread").path().join("stat")).expect("a thread that runs");
            // The state follows the name, which may hold anything but ends with the last parenthesis.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Limits a resource from now on, and returns the limit that held before.
    pub fn limit(&self, resource: Resource, limit: Rlimit) -> Rlimit {
        prlimit(Some(self.id()), resource, limit).expect("a child of this process")
    }

    /// From now on it gets no descriptor of this number or above.
    pub fn limit_descriptors(&self, limit: u64) {
        // Only the soft limit changes: a raised one is needed later.
        let maximum = getrlimit(Resource::Nofile).maximum;
        self.limit(Resource::Nofile, Rlimit { current: Some(limit), maximum });
    }

    /// The descriptors that it has open, in the table of its main thread.
    pub fn descriptors(&self) -> Vec<u64> {
        let folder = fs::read_dir(self.path_in_proc("fd")).expect("a child that runs");
        let names = folder.map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_str().and_then(|name| name.parse().ok()).expect("a number")).collect()
    }

    /// The processes that it has started and that have not ended.
    pub fn children(&self) -> Vec<Pid> {
        let id = self.id().as_raw_pid();
        let children = self.read_proc(&format!("task/{id}/children"));
        let pid = |id: &str| id.parse().ok().and_then(Pid::from_raw).expect("a process id");
        children.split_whitespace().map(pid).collect()
    }

    /// Memory that only it has written to, in bytes, as the kernel counts it. Its code is not counted: how much of that
    /// is shared depends on other processes, and just after a build the kernel counts it as written.
    #[track_caller]
    pub fn private_bytes(&self) -> u64 {
        self.bytes_in_proc("smaps_rollup", "Anonymous:")
    }

    /// The most memory that it has had at any time, with its code, in bytes.
    #[track_caller]
    pub fn peak_bytes(&self) -> u64 {
        self.bytes_in_proc("status", "VmHWM:")
    }

    /// Memory that it has asked for, whether it has written to it or not, in bytes.
    #[track_caller]
    pub fn reserved_bytes(&self) -> u64 {
        self.bytes_in_proc("status", "VmData:")
    }

    /// The size of its address space, in bytes.
    #[track_caller]
    pub fn address_space_bytes(&self) -> u64 {
        self.bytes_in_proc("status", "VmSize:")
    }

    /// A figure that the kernel gives in KiB, in bytes.
    #[track_caller]
    fn bytes_in_proc(&self, file: &str, name: &str) -> u64 {
        let text = self.read_proc(file);
        let figure = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel counts it");
        figure.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The processor time that it has taken, in steps of 10 ms.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        const TICK: Duration = Duration::from_millis(10);
        let stat = self.read_proc("stat");
        // The name of the program, in parentheses, may hold anything; behind it is the third figure of
        // proc_pid_stat(5).
        let (_, figures) = stat.rsplit_once(')').expect("a name");
        let figures: Vec<&str> = figures.split_ascii_whitespace().collect();
        let [user, system] = [14, 15].map(|figure| figures[figure - 3].parse::<u32>().expect("a number"));
        TICK * (user + system)
    }

    #[track_caller]
    fn read_proc(&self, file: &str) -> String {
        fs::read_to_string(self.path_in_proc(file)).expect("a child that was not waited for")
    }

    fn path_in_proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.0.id()).into()
    }
}

/// All that comes from a pipe, once it has ended; at once if there is none.
fn text_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, text) = channel();
    thread::spawn(move || {
        let text = pipe.map(io::read_to_string).transpose().expect("text");
        // Fails when the test has ended first.
        let _ = sender.send(text.unwrap_or_default());
    });
    text
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
