//! The built load generator, and the reports that it writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Ended, Process, within_descriptors};
use serde_json::Value;
use tempfile::TempDir;

/// The duration of a load where a test does not set another.
const DURATION: [&str; 2] = ["--duration", "500ms"];

/// A load that is measured from the first message on.
const NO_WARMUP: [&str; 2] = ["--warmup", "0s"];

/// One room of four, to which 100 messages are published. All but the first of its members, which publishes where members
/// do, are cut and miss about 40: a starved server may have read few of them when they come back, and each must miss some.
pub const RETURNING: [&str; 12] = [
    "--clients",
    "4",
    "--rooms",
    "1",
    "--rate",
    "100",
    "--duration",
    "1s",
    "--reconnect",
    "1@200ms",
    "--away",
    "400ms",
];

/// The built program.
const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// The command of the load generator.
pub fn loadgen(arguments: &[&str]) -> Command {
    let mut command = Command::new(LOADGEN);
    command.args(arguments);
    command
}

/// The command of the load generator with no more descriptors than this in a process.
pub fn loadgen_within(descriptors: u64, arguments: &[&str]) -> Command {
    let mut command = within_descriptors(descriptors, Path::new(LOADGEN));
    command.args(arguments);
    command
}

/// A load that has ended, and its report.
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

/// The arguments of a short load.
pub fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let duration = if arguments.contains(&"--duration") { &[][..] } else { &DURATION };
    [&NO_WARMUP, duration, arguments].concat()
}

/// Runs a command of a load and reads its report.
#[track_caller]
pub fn measure_with(command: &mut Command) -> Measured {
    Running::start(command).end()
}

/// A load that runs.
pub struct Running {
    process: Process,
    folder: TempDir,
}

impl Running {
    /// Starts a command of a load.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Process::start_piped(command.arg("--json").arg(report_in(&folder)));
        Self { process, folder }
    }

    /// Waits for its end and reads its report.
    #[track_caller]
    pub fn end(self) -> Measured {
        let ended = self.process.end();
        Measured { report: read_json(&report_in(&self.folder), &ended), ended }
    }
}

fn report_in(folder: &TempDir) -> PathBuf {
    folder.path().join("report.json")
}

/// Reads the JSON that a command has written.
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

    /// The load has counted this fault and no other, and fails if the count is not zero.
    #[track_caller]
    pub fn expect_only(&self, fault: &str, count: u64) {
        for counted in FAULTS {
            let wanted = if counted == fault { count } else { 0 };
            assert_eq!(self.number(&format!("/rooms/tally/{counted}")) as u64, wanted, "{counted}: {self:?}");
        }
        self.expect_code(if count > 0 { 1 } else { 0 });
    }

    /// The load has counted no fault and passes.
    #[track_caller]
    pub fn expect_clean(&self) {
        self.expect_only("lost", 0);
        assert_eq!(self.report["faults"], Value::Array(Vec::new()), "{self:?}");
    }

    /// Each member has got each message that was accepted.
    #[track_caller]
    pub fn expect_all(&self, members: u64) {
        let published = (self.number("/rooms/tally/published") - self.number("/rooms/tally/unaccepted")) as u64;
        assert!(published > 0, "{self:?}");
        assert_eq!(self.number("/rooms/expected") as u64, published * members, "{self:?}");
        assert_eq!(self.number("/rooms/tally/received") as u64, published * members, "{self:?}");
    }

    /// The load has failed with this fault and no other, and every delivery that was owed has come.
    #[track_caller]
    pub fn expect_fault(&self, fault: &str) {
        assert_eq!(self.report["faults"], serde_json::json!([fault]), "{self:?}");
        self.expect_code(1);
    }

    #[track_caller]
    pub fn expect_code(&self, code: i32) {
        assert_eq!(self.ended.code, Some(code), "{self:?}");
    }
}

/// The faults that make a load fail.
const FAULTS: [&str; 6] = ["lost", "duplicated", "reordered", "overtaken", "stray", "damaged"];

/// A number anywhere in JSON.
#[track_caller]
pub fn number(of: &Value, pointer: &str) -> f64 {
    of.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {of:#}"))
}
