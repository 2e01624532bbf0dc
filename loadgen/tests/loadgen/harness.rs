//! The built programs as children that end with their test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Loads that run at real-time priority take turns: beside each other nothing else would have its time.
#[allow(clippy::disallowed_types)]
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// A turn, until dropped.
#[allow(clippy::disallowed_types)]
pub fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// No test waits that long unless it fails.
const ENDS_WITHIN: Duration = Duration::from_secs(50);

/// How long messages are sent, where a test does not say it.
const DURATION: [&str; 2] = ["--duration", "500ms"];

/// Measured from the first message on.
const NO_WARMUP: [&str; 2] = ["--warmup", "0s"];

/// The program.
pub fn loadgen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The same, with no more descriptors than this in a process.
pub fn loadgen_within(descriptors: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    let program = env!("CARGO_BIN_EXE_loadgen");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""), program]);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end; one that goes on is killed.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::of(piped).end()
}

/// A load and what came of it.
#[derive(Debug)]
pub struct Measured {
    pub ended: Ended,
    pub report: Value,
}

/// Puts a short load on a target.
#[track_caller]
pub fn measure(target: &str, arguments: &[&str]) -> Measured {
    measure_with(&mut loadgen(&[&[target], &short(arguments)[..]].concat()))
}

/// A load that is over soon.
pub fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let duration = if arguments.contains(&"--duration") { &[][..] } else { &DURATION };
    [&NO_WARMUP, duration, arguments].concat()
}

/// The same, however it was started.
#[track_caller]
pub fn measure_with(command: &mut Command) -> Measured {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let ended = run(command.arg("--json").arg(&path));
    Measured { report: read_json(&path, &ended), ended }
}

/// What a command has written.
#[track_caller]
pub fn read_json(path: &Path, ended: &Ended) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    serde_json::from_slice(&text).expect("JSON")
}

impl Measured {
    /// A number anywhere in the report, as `/rooms/tally/lost`.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> f64 {
        number(&self.report, pointer)
    }

    /// It counted this and nothing else, and failed.
    #[track_caller]
    pub fn expect_only(&self, fault: &str, count: u64) {
        for counted in FAULTS {
            let wanted = if counted == fault { count } else { 0 };
            assert_eq!(self.number(&format!("/rooms/tally/{counted}")) as u64, wanted, "{counted}: {self:?}");
        }
        self.expect_code(if count > 0 { 1 } else { 0 });
    }

    /// It counted no fault, and passed.
    #[track_caller]
    pub fn expect_clean(&self) {
        self.expect_only("lost", 0);
        assert_eq!(self.report["faults"], Value::Array(Vec::new()), "{self:?}");
    }

    /// Each member has had each message.
    #[track_caller]
    pub fn expect_all(&self, members: u64) {
        let published = self.number("/rooms/tally/published") as u64;
        assert!(published > 0, "{self:?}");
        assert_eq!(self.number("/rooms/expected") as u64, published * members, "{self:?}");
        assert_eq!(self.number("/rooms/tally/received") as u64, published * members, "{self:?}");
    }

    #[track_caller]
    pub fn expect_code(&self, code: i32) {
        assert_eq!(self.ended.code, Some(code), "{self:?}");
    }
}

/// What makes a load fail.
const FAULTS: [&str; 5] = ["lost", "duplicated", "reordered", "stray", "damaged"];

/// A number anywhere.
#[track_caller]
pub fn number(of: &Value, pointer: &str) -> f64 {
    of.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {of:#}"))
}

/// A child that was not waited for yet. Killed when dropped.
pub struct Running(Option<Child>);

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(Some(child))
    }
}

impl Running {
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        command.spawn().expect("a program that was built").into()
    }

    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it has not ended")
    }

    pub fn id(&mut self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child().id().cast_signed())
    }

    #[track_caller]
    pub fn signal(&mut self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.id(), signal).expect("a child that was not waited for");
    }

    /// Its end, with all that it and its own children have said.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let id = self.id();
        let child = self.0.take().expect("it has not ended");
        let (tell, ended) = channel();
        thread::spawn(move || tell.send(child.wait_with_output()));
        let output = ended.recv_timeout(ENDS_WITHIN).unwrap_or_else(|_| {
            // Fails if it has ended in this moment.
            let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL);
            panic!("it goes on and on");
        });
        Ended::of(output.expect("a child of ours"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail for one that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Lines of a child as they come. Goes on reading when nobody listens, so that the child never waits.
pub fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // The test may have heard enough.
            let _ = tell.send(line);
        }
    });
    lines
}

/// The first line with this phrase.
#[track_caller]
pub fn line_with(phrase: &str, lines: &Receiver<String>) -> String {
    let mut heard = Vec::new();
    loop {
        let Ok(line) = lines.recv_timeout(ENDS_WITHIN) else { panic!("no {phrase:?} in {heard:#?}") };
        if line.contains(phrase) {
            return line;
        }
        heard.push(line);
    }
}
